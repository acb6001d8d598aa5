package main

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	osquery "github.com/osquery/osquery-go"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// doctor examines one host. What it asks of the system is here, so that its decisions are tested for every system on any.
type doctor struct {
	socket string // osquery's; empty for the usual places

	goos     string
	euid     int
	pid      int
	program  string // our own path
	settings *config.Store

	readFile    func(name string) ([]byte, error)
	open        func(name string) error
	lstat       func(name string) (fs.FileInfo, error)
	owned       func(fs.FileInfo) int // the user that a file belongs to
	glob        func(pattern string) ([]string, error)
	writeProbe  func(folder string) error // makes a file there and removes it
	openCapture func(capture.LiveOptions) (capture.Source, error)
	openOwners  func() (socketOwners, error)
	process     func(pid int) (process.Process, error)
	responsible func() process.ResponsibleStats
	jobs        func(context.Context) (int, []error)
	rules       func() (int, []error)
	findSocket  func(pattern string) (string, error)
	query       func(ctx context.Context, socket, sql string) ([]map[string]string, error)
	now         func() time.Time
	built       time.Time // zero when not known
}

// socketOwners is what the check needs of process.Owners.
type socketOwners interface {
	Owner(protocol uint8, local, remote netip.AddrPort) (process.Process, bool)
	Degraded() string
	Close() error
}

// thisHost is the host that we run on.
func thisHost() *doctor {
	d := &doctor{
		goos: runtime.GOOS, euid: os.Geteuid(), pid: os.Getpid(), settings: config.NewStore(config.Path()),
		readFile: os.ReadFile, open: tryOpen, lstat: os.Lstat, owned: rootfs.Owner, glob: filepath.Glob, writeProbe: tryWrite,
		openCapture: capture.OpenLive, process: process.Get, responsible: process.Responsibility, findSocket: findSocket, query: askOsquery, now: time.Now, built: buildTime(),
	}
	d.program, _ = os.Executable() // empty where that is not known
	d.openOwners = func() (socketOwners, error) { return process.NewOwners() }
	d.jobs = func(ctx context.Context) (int, []error) {
		root, err := rootfs.Open("/")
		if err != nil {
			return 0, []error{err}
		}
		defer func() { _ = root.Close() }()
		jobs, errs := launchd.Jobs(ctx, root)
		return len(jobs), errs
	}
	d.rules = func() (int, []error) {
		set, errs := allowlist.Load(d.settings, nil)
		return len(set.Rules()), errs
	}
	return d
}

func tryOpen(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// tryWrite makes a file and removes it.
func tryWrite(folder string) error {
	f, err := os.CreateTemp(folder, ".doctor")
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Remove(f.Name())
}

// askOsquery asks over the extension manager's socket.
func askOsquery(ctx context.Context, socket, sql string) ([]map[string]string, error) {
	client, err := osquery.NewClient(socket, checkLimit/2)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.QueryRowsContext(ctx, sql)
}

// buildTime is when this program's source was committed: no clock should be before that.
func buildTime() time.Time {
	t, err := time.Parse(time.RFC3339, thisBuild().Date)
	if err != nil {
		return time.Time{}
	}
	return t
}
