// Command faults breaks things around a running extension, in a seeded order, and checks after each fault: the extension has not crashed and answers within 5 s,
// no finding that was judged before is lost, and cipherlens_coverage says what happened. It needs root: everything happens in network and mount namespaces of its own.
//
//	faults -n 500 -seed 1 -ext build/cipherlens.ext
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "osqueryd" { // the stand-in for osqueryd, a process of its own so that it can be killed
		exit(standIn(os.Args[2]))
	}
	n := flag.Int("n", 500, "faults")
	seed := flag.Uint64("seed", 1, "of their order and kind")
	extension := flag.String("ext", "build/cipherlens.ext", "the extension")
	only := flag.String("only", "", "only faults of this kind")
	inside := flag.Bool("inside", false, "already in namespaces of its own")
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("faults: needs root: skipped")
		return
	}
	if !*inside {
		exit(again())
	}
	path, err := filepath.Abs(*extension)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err == nil {
		err = campaign(*n, *seed, path, *only)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// again runs this program in namespaces of its own.
func again() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// tally is what came of one kind of fault.
type tally struct {
	runs, failed int
	slowest      time.Duration // answer after the fault
}

// campaign runs n faults and prints a line a kind.
func campaign(n int, seed uint64, extension, only string) error {
	w, err := newWorld(extension)
	if err != nil {
		return err
	}
	defer w.close()
	random := rand.New(rand.NewPCG(seed, 0))
	bag := weighted(only)
	if len(bag) == 0 {
		return fmt.Errorf("no kind of fault is named %q", only)
	}
	results := map[string]*tally{}
	started, failures := time.Now(), 0
	for i := range n {
		f := bag[random.IntN(len(bag))]
		if i < len(kinds) && only == "" {
			f = kinds[i] // each kind at least once
		}
		if results[f.name] == nil {
			results[f.name] = &tally{}
		}
		r := results[f.name]
		r.runs++
		took, err := w.suffer(f, rand.New(rand.NewPCG(seed, uint64(i)+1)))
		r.slowest = max(r.slowest, took)
		if err != nil {
			r.failed++
			failures++
			fmt.Printf("fault %d (%s): %v\n", i, f.name, err)
			if err := w.rebuild(); err != nil {
				return fmt.Errorf("after fault %d: %w", i, err)
			}
			found, err := w.alerts()
			if err != nil {
				return fmt.Errorf("after fault %d: %w", i, err)
			}
			clear(w.judged) // what is lost is said once
			w.note(found)
		}
		if i%25 == 24 {
			left := time.Since(started) / time.Duration(i+1) * time.Duration(n-i-1)
			fmt.Printf("%d of %d faults, %d failed, %v left\n", i+1, n, failures, left.Round(time.Second))
		}
	}
	names := make([]string, 0, len(results))
	for name := range results {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Printf("%-28s %6s %6s  %s\n", "fault", "runs", "failed", "slowest answer after it")
	for _, name := range names {
		r := results[name]
		fmt.Printf("%-28s %6d %6d  %v\n", name, r.runs, r.failed, r.slowest.Round(time.Millisecond))
	}
	fmt.Printf("%d faults of %d kinds, seed %d: %d failed; %d findings were kept through them; the extension was started %d times\n",
		n, len(results), seed, failures, len(w.judged), w.starts)
	if failures > 0 {
		return fmt.Errorf("%d of %d faults failed", failures, n)
	}
	return nil
}
