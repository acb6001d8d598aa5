//go:build linux

// Command soak runs the real extension under load for minutes and says whether it stays within its goals. In a network namespace of its own, that
// ends with it, a generator plays conversations over a veth pair, at 100 Mbit/s and 20,000 packets a second, while real processes that live 50 ms
// connect over it. The part of osqueryd is played by internal/sqlhost. See docs/soak.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are the command line.
type options struct {
	extension, client, profile string
	time                       time.Duration
	rate, flows, flood, nice   int
	clients                    int
	implants                   time.Duration
	goals                      goals
}

func main() {
	var o options
	flag.StringVar(&o.extension, "ext", "build/cipherlens.ext", "the extension")
	flag.StringVar(&o.client, "client", "build/soak-client", "the short-lived client")
	flag.DurationVar(&o.time, "time", 10*time.Minute, "how long to play")
	flag.IntVar(&o.rate, "rate", 20_000, "packets a second")
	flag.IntVar(&o.flows, "flows", 100, "new flows a second")
	flag.IntVar(&o.flood, "flood", 2000, "new flows a second for a fifth of the time")
	flag.IntVar(&o.clients, "clients", 200, "short-lived processes a second")
	flag.IntVar(&o.nice, "nice", -10, "nice value of everything that is started, the extension included: on a machine that is busy with other things, those are not to be measured")
	flag.DurationVar(&o.implants, "implants", time.Second, "how often a flow begins that must become an alert; 0 is never")
	flag.StringVar(&o.profile, "series", "", "write what was measured each second to this file")
	flag.Int64Var(&o.goals.memory, "max-memory", 64<<20, "bytes of resident memory")
	flag.Float64Var(&o.goals.cpu, "max-cpu", 10, "percent of a core at the base rate")
	flag.Float64Var(&o.goals.dropped, "max-dropped", 0.1, "percent of packets dropped")
	flag.Float64Var(&o.goals.owned, "min-owned", 99, "percent of short-lived clients with the right pid and path")
	flag.Int64Var(&o.goals.growth, "max-growth", 1<<20, "bytes by which resident memory may grow in the last half")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := run(ctx, &o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		status = 1
	}
	stop()
	os.Exit(status)
}

func run(ctx context.Context, o *options) (int, error) {
	switch flag.Arg(0) {
	case "inside":
		return inside(ctx, o)
	case "peer":
		return 0, peer(ctx)
	}
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		fmt.Println("soak: needs root and iproute2: skipped")
		return 0, nil
	}
	// What else the machine does is not to be measured. Children have the nice value of the thread that starts them.
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, o.nice); err != nil {
		return 1, fmt.Errorf("nice %d: %w", o.nice, err)
	}
	c, err := inNewNamespace(ctx, append(os.Args[1:], "inside")...)
	if err != nil {
		return 1, err
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// inNewNamespace is this program again, in a network namespace that ends with it.
func inNewNamespace(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	return c, nil
}

// The ends of the veth pair.
const (
	hostAddress = "10.77.0.1/24"
	peerAddress = "10.77.0.2"
)

var (
	hostMAC = [6]byte{2, 0, 0, 0, 0x77, 1}
	peerMAC = [6]byte{2, 0, 0, 0, 0x77, 2}
)

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// inside is the host that the extension runs on.
func inside(ctx context.Context, o *options) (int, error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	there, err := startPeer(ctx)
	if err != nil {
		return 1, err
	}
	defer there.end()
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "soak0", "address", "02:00:00:00:77:01", "type", "veth", "peer", "name", "soak1", "address", "02:00:00:00:77:02", "netns", fmt.Sprint(there.pid())},
		{"addr", "add", hostAddress, "dev", "soak0"},
		{"link", "set", "soak0", "up"},
	} {
		if err := ip(args...); err != nil {
			return 1, err
		}
	}
	if err := there.begin(); err != nil {
		return 1, err
	}
	copies, err := copyClient(o.client, dir)
	if err != nil {
		return 1, err
	}
	core, err := startExtension(ctx, o.extension, filepath.Join(dir, "osquery.em"))
	if err != nil {
		return 1, err
	}
	defer core.end()
	s := &soak{o: o, core: core, peer: there, programs: copies}
	if err := s.play(ctx); err != nil {
		return 1, err
	}
	if !s.report(os.Stdout) {
		return 1, nil
	}
	return 0, nil
}
