package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// How long to wait before the next attempt: at first, at most, and after which time of being attached the wait starts anew. osqueryd's own watcher
// respawns after 3 s; a console that restarts its osqueryd in a loop must not be hammered.
const (
	firstWait     = 250 * time.Millisecond
	longestWait   = 30 * time.Second
	steadyAfter   = time.Minute
	attachTimeout = 3 * time.Second
)

func newAttachCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "attach --socket PATH",
		Short: "Attach to an osqueryd that somebody else runs, again after each of its restarts",
		Long: `Register with a running osqueryd as its extension, for a console whose agent does not let osqueryd start extensions of others (Kolide's launcher). It waits
for the socket, attaches, and attaches again whenever osqueryd is gone or has dropped it; the sensor goes on in between. --socket may be a pattern like
'/var/kolide-k2/*/osquery*.sock': the newest socket that matches is taken. It ends on SIGTERM, with status 0.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := filepath.Match(o.socket, ""); err != nil {
				return fmt.Errorf("attach: --socket: %q: %w", o.socket, err)
			}
			log := newLogger(cmd.ErrOrStderr(), slog.LevelInfo, o.verbose)
			o.timeout, o.interval = attachTimeout, checkEvery
			if !waitForFolder(cmd.Context(), socketFolder(o.socket), log) {
				return nil
			}
			return onHost(o, log, func(b *bench) error {
				return whileSensing(cmd.Context(), b, log, func(ctx context.Context) error { return keepAttached(ctx, o, b, log) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket", "", "osquery's extension socket, or a pattern for it")
	f.BoolVar(&o.verbose, "verbose", false, "log more")
	f.StringVar(&o.state, "state", "", "file that keeps alerts over a restart, or none (default: the setting state_file)")
	_ = cmd.MarkFlagRequired("socket")
	return cmd
}

// socketFolder is the folder that a socket, or all that a pattern means, is in.
func socketFolder(pattern string) string {
	folder := filepath.Dir(pattern)
	for strings.ContainsAny(folder, `*?[\`) {
		folder = filepath.Dir(folder)
	}
	return folder
}

// waitForFolder waits until the folder is there, which it must be before the rest of the file system is made read-only; false when ctx ends first.
func waitForFolder(ctx context.Context, folder string, log *slog.Logger) bool {
	for wait, said := firstWait, false; ctx.Err() == nil; wait = nextWait(wait) {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return true
		}
		if !said {
			log.Info("not attached", "reason", "no folder "+folder)
			said = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return false
}

// keepAttached attaches to osquery again and again, until ctx ends.
func keepAttached(ctx context.Context, o serveOptions, b *bench, log *slog.Logger) error {
	wait, said := firstWait, ""
	for {
		started := time.Now()
		err := attachOnce(ctx, o, b, log)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) >= steadyAfter {
			wait, said = firstWait, ""
		}
		if reason := fmt.Sprint(err); reason != said { // the same reason is said once
			said = reason
			log.Info("not attached", "reason", reason)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = nextWait(wait)
	}
}

// nextWait doubles the wait up to its longest.
func nextWait(wait time.Duration) time.Duration { return min(2*wait, longestWait) }

// attachOnce attaches and answers until osquery is gone (nil or why). When ctx ends it does not wait for a peer that does not answer.
func attachOnce(ctx context.Context, o serveOptions, b *bench, log *slog.Logger) error {
	socket, err := findSocket(o.socket)
	if err != nil {
		return err
	}
	// A socket that nobody serves any more is refused at once here; osquery-go would wait for it.
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	_ = conn.Close()
	o.socket = socket
	log.Debug("attaching", "socket", socket)
	done := make(chan error, 1)
	go func() { done <- answer(ctx, o, b, log) }()
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err = <-done:
		return err
	case <-time.After(shutdownLimit):
		return ctx.Err()
	}
}

// findSocket gives the newest socket that pattern names. Whoever owns the socket gets our rows and says how we are configured: it must be root or us.
func findSocket(pattern string) (string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("attach: %s: %w", pattern, err)
	}
	newest, at := "", time.Time{}
	var refused error
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Type() != os.ModeSocket {
			continue
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int(owner) != os.Geteuid() {
			refused = fmt.Errorf("attach: %s: owned by user %d, neither root nor us", name, owner)
			continue
		}
		if newest == "" || info.ModTime().After(at) {
			newest, at = name, info.ModTime()
		}
	}
	switch {
	case newest != "":
		return newest, nil
	case refused != nil:
		return "", refused
	}
	return "", fmt.Errorf("attach: %s: no socket there", pattern)
}
