package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// The two hosts: near has the clients and the sensors, far has every server address. They exist in the campaign's namespaces only.
const (
	nearAddress = "10.76.0.1"
	farAddress  = "10.76.0.2"
	farNetwork  = "10.77.0.0/16"
	nearLink    = "emu0"
	farLink     = "emu1"
)

// inNamespaces runs this program again with the same arguments, as the first process of namespaces of its own for network, processes and mounts: what
// it starts ends with it, and so do the links.
func inNamespaces(ctx context.Context, inside string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+inside)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// settle makes /proc and /run those of the namespaces.
func settle() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func ips(lines ...string) error {
	for _, l := range lines {
		if err := ip(l); err != nil {
			return err
		}
	}
	return nil
}

// far is the other host: a process in a network namespace of its own that starts servers.
type far struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ready []string // benign servers that run
}

// startFar makes the link and lets the other host start its servers.
func startFar(ctx context.Context) (*far, error) {
	f := &far{cmd: exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)}
	f.cmd.Env = append(os.Environ(), insideVariable+"=far")
	f.cmd.Stderr = os.Stderr
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var err error
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewReader(out)
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	err = ips("link set lo up",
		fmt.Sprintf("link add %s type veth peer name %s netns %d", nearLink, farLink, f.cmd.Process.Pid),
		"addr add "+nearAddress+"/30 dev "+nearLink, "link set "+nearLink+" up", "route add "+farNetwork+" via "+farAddress)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(f.in, "linked"); err != nil {
		return nil, err
	}
	for {
		line, err := f.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the other host: %w", err)
		}
		line = strings.TrimSpace(line)
		if line == "ready" {
			return f, nil
		}
		f.ready = append(f.ready, line)
	}
}

func (f *far) stop() error {
	_ = f.in.Close()
	var exit *exec.ExitError
	if err := f.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// beFar is what the other host's process does: it ends when its standard input does.
func beFar(ctx context.Context, o options) error {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	err := ips("link set lo up", "addr add "+farAddress+"/30 dev "+farLink, "link set "+farLink+" up", "route add local "+farNetwork+" dev lo")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peer := exec.CommandContext(ctx, o.bin+"/peer", "-seed", fmt.Sprint(o.seed), "-runs", fmt.Sprint(o.runs), "-limit", o.limit.String())
	peer.Stderr = os.Stderr
	out, err := peer.StdoutPipe()
	if err != nil {
		return err
	}
	if err := peer.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("server: %q: %w", line, err)
	}
	for _, name := range startServers(ctx, o) {
		fmt.Println(name)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, in)
	cancel()
	_ = peer.Wait()
	return nil
}
