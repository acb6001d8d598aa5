package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/privilege"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// subject are the flags of commands that look at a host without osqueryd.
type subject struct {
	root     string
	captures []string
	config   string
	verbose  bool
	writes   []string         // folders that the command writes in
	inspect  sensor.Inspector // looks on while captures are judged; may be nil
}

func (s *subject) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.root, "root", "/", "folder where the analysed volume is mounted")
	f.StringArrayVar(&s.captures, "capture", nil, "capture file to read instead of capturing (may be given more than once)")
	f.StringVar(&s.config, "config", config.Path(), "settings file; allowlist.d/*.yaml beside it")
	f.BoolVar(&s.verbose, "verbose", false, "log more")
}

// session is a bench with the embedded osqueryd on top, its sensor running.
type session struct {
	*bench
	host    *sqlhost.Host
	sensing chan error
	stop    context.CancelFunc
}

// open starts a session. Without captures it captures live where that is possible: as root, on this host's own root.
func (s *subject) open(ctx context.Context, cmd *cobra.Command) (*session, error) {
	settings, err := openSettings(s.config, cmd)
	if err != nil {
		return nil, err
	}
	stderr := cmd.ErrOrStderr()
	show := newProgress(stderr, len(s.captures))
	log := newLogger(lineClearer{stderr, show}, slog.LevelWarn, s.verbose)
	if err := s.confine(); err != nil {
		log.Warn("not all rights could be given up", "error", err)
	}
	b, err := newBench(benchOptions{root: s.root, captures: s.captures, live: s.live(), settings: settings, log: log, progress: show.capture, inspect: s.inspect})
	if err != nil {
		return nil, err
	}
	host, err := sqlhost.New(ctx, sqlhost.Options{Platform: platform(b.root), Offline: !b.root.Live(), Warn: func(line string) { log.Warn(line) }})
	if err == nil {
		err = host.Attach(extensionName, b.plugins...)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &session{bench: b, host: host, sensing: make(chan error, 1), stop: cancel}
	go func() { n.sensing <- b.sensor.Run(ctx) }()
	return n, nil
}

// confinable says that this process does one command and ends: main sets it. A test's process goes on, and rights that are given up do not come back.
var confinable bool

// onlyRead gives up, before what others made is read, everything but reading files and writing in some folders.
func onlyRead(stderr io.Writer, writes ...string) {
	if !confinable {
		return
	}
	if err := privilege.Offline(append(writes, os.TempDir())); err != nil {
		complain(stderr, fmt.Errorf("not all rights could be given up: %w", err))
	}
}

// confine gives up, before what others made is read, everything but reading it, where this host's own processes are not looked at.
func (s *subject) confine() error {
	if !confinable || s.root == "/" {
		return nil
	}
	return privilege.Offline(append(s.writes, os.TempDir()))
}

// live says whether there is a network to listen to.
func (s *subject) live() bool {
	return len(s.captures) == 0 && s.root == "/" && os.Geteuid() == 0
}

// platform is the analysed host's, as packs name it: a mounted macOS volume is darwin wherever it is looked at.
func platform(root *rootfs.Root) string {
	if _, err := root.Stat("/System/Library/CoreServices/SystemVersion.plist"); err == nil {
		return "darwin"
	}
	if root.Live() {
		return runtime.GOOS
	}
	if _, err := root.Stat("/Library/LaunchDaemons"); err == nil {
		return "darwin"
	}
	return "linux"
}

// drained waits until the captures are read to their end; without captures, for a time.
func (n *session) drained(ctx context.Context, captures []string, wait time.Duration) error {
	enough := n.sensor.Drained()
	var over <-chan time.Time
	if len(captures) == 0 {
		enough, over = nil, time.After(wait)
	}
	select {
	case <-enough:
		return nil
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the sensor and gives what went wrong with captures.
func (n *session) close() error {
	n.stop()
	err := <-n.sensing
	_ = n.host.Close()
	n.bench.Close()
	return err
}

// lineClearer takes the progress line away before a log line.
type lineClearer struct {
	w    io.Writer
	show *progress
}

func (l lineClearer) Write(b []byte) (int, error) {
	l.show.clear()
	return l.w.Write(b)
}
