// Command campaign measures the detection live: it makes two network namespaces, starts the sensor with its pack in one of them, the clients of package wire
// and real benign programs beside it, their servers in the other, and writes a report. Traffic stays in the namespaces, which end with the program.
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
	"time"
)

// insideVariable says in the environment which part of the campaign a process is; ATT&CK has nothing to do with it.
const insideVariable = "CIPHERLENS_EMULATION"

type options struct {
	ext, pack, bin, out, work, misses string
	osqueryd, allowlist               string
	seed                              uint64
	runs                              int
	rate                              float64
	interval, limit                   time.Duration
	quick, install                    bool
	least                             float64
}

func main() {
	var o options
	flag.StringVar(&o.ext, "ext", "build/cipherlens.ext", "the extension")
	flag.StringVar(&o.pack, "pack", "packs/an0402.conf", "the pack")
	flag.StringVar(&o.bin, "bin", "build/emulation", "folder of the built commands peer, peer-plain and benign")
	flag.StringVar(&o.out, "out", "docs/detection-report.md", "report to write")
	flag.StringVar(&o.allowlist, "allowlist", "allowlist.d", "folder of the shipped allowlist rules")
	flag.StringVar(&o.work, "work", "", "folder for logs and captures; a temporary one that is removed, if not given")
	flag.StringVar(&o.misses, "misses", "", "folder for captures of the flows of implants and evasions that were not found")
	flag.StringVar(&o.osqueryd, "osqueryd", os.Getenv("OSQUERYD"), "osqueryd to run the extension under as well")
	flag.Uint64Var(&o.seed, "seed", 1, "what keys, sizes, pauses and order follow from")
	flag.IntVar(&o.runs, "runs", 5, "times that each format is used in each shape, 1 to 60")
	flag.Float64Var(&o.rate, "rate", 12, "clients started a second")
	flag.DurationVar(&o.interval, "interval", 10*time.Second, "the pack's interval")
	flag.DurationVar(&o.limit, "time", 10*time.Minute, "end after this time, whatever happens")
	flag.BoolVar(&o.quick, "quick", false, "one run, fewer shapes, no slow programs, an interval of 2 s")
	flag.BoolVar(&o.install, "install", false, "first install the benign programs' Debian packages that are missing")
	flag.Float64Var(&o.least, "least", 0, "fail where a smaller share of the flows that should be found is, or where there is a finding on an approved program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "emulate:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	for _, p := range []*string{&o.ext, &o.pack, &o.bin, &o.out} {
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if o.quick {
		o.runs, o.interval = 1, 2*time.Second
	}
	o.runs = max(1, min(o.runs, 60))
	switch inside := os.Getenv(insideVariable); inside {
	case "":
		return o.outside(ctx)
	case "far":
		o.work = os.Getenv(insideVariable + "_WORK")
		return beFar(ctx, o)
	default:
		o.work = inside
		return beNear(ctx, o)
	}
}

// outside checks what is needed, and runs the campaign in namespaces.
func (o options) outside(ctx context.Context) error {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		fmt.Println("emulate: skipped: needs root and iproute2, for network namespaces")
		return nil
	}
	if o.install {
		if err := install(ctx); err != nil {
			return err
		}
	}
	if o.work == "" {
		dir, err := os.MkdirTemp("", "emulate")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.work = dir
	}
	if err := os.MkdirAll(o.work, 0o755); err != nil {
		return err
	}
	for _, left := range []string{"config", "benign", "volume", "mac-logs", "sensor-" + embedded, "sensor-" + withAllowlist, "sensor-osqueryd"} { // of a campaign before
		if err := os.RemoveAll(filepath.Join(o.work, left)); err != nil {
			return err
		}
	}
	if err := os.Chmod(o.work, 0o755); err != nil { // servers drop privileges
		return err
	}
	return inNamespaces(ctx, o.work)
}

// beNear is the campaign itself.
func beNear(ctx context.Context, o options) error {
	if err := settle(); err != nil {
		return err
	}
	if err := os.Setenv(insideVariable+"_WORK", o.work); err != nil {
		return err
	}
	other, err := startFar(ctx)
	if err != nil {
		return err
	}
	c, err := measure(ctx, o, other.ready)
	if err = errors.Join(err, other.stop()); err != nil {
		return err
	}
	if err := c.mac(ctx); err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return err
	}
	return c.verdict()
}

// rest is how long the sensor goes on after the last client was started: the longest shape's time, and for the pack to run.
func (o options) rest() time.Duration {
	if o.quick {
		return 13*time.Second + 3*o.interval
	}
	return 32*time.Second + 3*o.interval
}
