package main

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// attach starts "cipherlens.ext attach".
func attach(t *testing.T, socket string) *child {
	e := &child{cmd: exec.Command("cipherlens.ext", "attach", "--socket", socket, "--verbose", "--state", filepath.Join(t.TempDir(), "alerts")), log: &safeBuffer{}, done: make(chan error, 1)}
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.Env = append(os.Environ(), "CIPHERLENS_CONFIG="+filepath.Join(t.TempDir(), "none.yaml"))
	require.NoError(t, e.cmd.Start())
	go func() { e.done <- e.cmd.Wait() }()
	t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		if t.Failed() {
			t.Log(e.log.String())
		}
	})
	return e
}

// serveOn is an embedded osqueryd on a socket.
func serveOn(t *testing.T, socket string) *sqlhost.Host {
	host, err := sqlhost.New(t.Context(), sqlhost.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = host.Close() })
	require.NoError(t, host.Serve(socket))
	return host
}

func attached(t *testing.T, host *sqlhost.Host, within time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool {
		rows, err := host.Query(t.Context(), "SELECT count(*) AS n FROM cipherlens_coverage")
		return err == nil && rows.Maps()[0]["n"] != "0"
	}, within, 20*time.Millisecond)
}

// TestAttachSurvivesRestarts: osqueryd comes late, is killed, and is shut down; each time the tables come back.
func TestAttachSurvivesRestarts(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(socketDir(t), "osquery.em")
	e := attach(t, socket)
	require.Eventually(t, func() bool { return strings.Contains(e.log.String(), "no socket there") }, 5*time.Second, 20*time.Millisecond)
	for range 2 {
		host := serveOn(t, socket)
		attached(t, host, 10*time.Second)
		require.NoError(t, host.Vanish(), "killed")
	}
	host := serveOn(t, socket)
	attached(t, host, 20*time.Second)
	require.NoError(t, host.Close(), "shut down, telling its extensions")
	host = serveOn(t, socket)
	attached(t, host, 30*time.Second)
	require.NoError(t, e.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, e.ends(t, 2*time.Second))
	require.NotContains(t, e.log.String(), "panic")
}

// TestAttachNoticesThatItWasDropped: osqueryd drops an extension without a word, and pings go on.
func TestAttachNoticesThatItWasDropped(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(socketDir(t), "osquery.em")
	host := serveOn(t, socket)
	e := attach(t, socket)
	attached(t, host, 10*time.Second)
	require.True(t, host.DropSilently(extensionName))
	attached(t, host, 30*time.Second)
	require.Contains(t, e.log.String(), "the registration is gone")
}

// TestAnswerLeavesNothingBehind: an osqueryd that is killed again and again costs no goroutine each time.
func TestAnswerLeavesNothingBehind(t *testing.T) {
	socket := filepath.Join(socketDir(t), "osquery.em")
	b := demoBench(t)
	attach := func() {
		host := serveOn(t, socket)
		ended := make(chan error, 1)
		go func() {
			ended <- answer(t.Context(), serveOptions{socket: socket, timeout: 10 * time.Second, interval: time.Second}, b, slog.New(slog.DiscardHandler))
		}()
		attached(t, host, 30*time.Second)
		require.NoError(t, host.Vanish())
		require.Error(t, <-ended)
	}
	attach()
	before := settled()
	for range 8 {
		attach()
	}
	// Counted here and not in require.Eventually, which makes a goroutine of its own for each look.
	left := runtime.NumGoroutine() - before
	for end := time.Now().Add(30 * time.Second); left > 0 && time.Now().Before(end); left = runtime.NumGoroutine() - before {
		time.Sleep(50 * time.Millisecond)
	}
	if left > 0 {
		stacks := make([]byte, 1<<20)
		t.Fatalf("%d goroutines are left\n%s", left, stacks[:runtime.Stack(stacks, true)])
	}
}

// settled is how many goroutines there are once that has not changed for a second: those that are ending take their time.
func settled() int {
	count := runtime.NumGoroutine()
	for same := 0; same < 20; same++ {
		time.Sleep(50 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != count {
			count, same = now, 0
		}
	}
	return count
}

// TestAttachEndsAtOnce: SIGTERM ends it within 2 s, whatever it waits for.
func TestAttachEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		socket func(t *testing.T, path string)
		until  string
	}{
		{"no socket", func(*testing.T, string) {}, "no socket there"},
		{"no folder", func(t *testing.T, path string) { require.NoError(t, os.Remove(filepath.Dir(path))) }, "no folder"},
		{"nobody listens", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			require.NoError(t, err)
			l.SetUnlinkOnClose(false)
			require.NoError(t, l.Close())
		}, "connection refused"},
		{"a peer that never answers", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, "attaching"},
		{"attached", func(t *testing.T, path string) {
			host := serveOn(t, path)
			t.Cleanup(func() { require.NoError(t, host.Close()) })
		}, "attaching"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(socketDir(t), "s")
			tt.socket(t, path)
			e := attach(t, path)
			require.Eventually(t, func() bool { return strings.Contains(e.log.String(), tt.until) }, 10*time.Second, 10*time.Millisecond)
			time.Sleep(300 * time.Millisecond)
			require.NoError(t, e.cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, e.ends(t, 2*time.Second), "status 0")
		})
	}
}

// TestFindSocket: the newest of those that match, never a file, never a stranger's.
func TestFindSocket(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	_, err := findSocket(filepath.Join(dir, "osquery*.sock"))
	require.ErrorContains(t, err, "no socket there")
	var names []string
	for i, name := range []string{"osquery-a.sock", "osquery-b.sock", "osquery-a.sock.4711"} {
		name = filepath.Join(dir, name)
		l, err := net.Listen("unix", name)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		at := time.Now().Add(time.Duration(i) * time.Minute)
		require.NoError(t, os.Chtimes(name, at, at))
		names = append(names, name)
	}
	later := time.Now().Add(time.Hour)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "osquery-c.sock"), nil, 0o600))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "osquery-c.sock"), later, later))
	got, err := findSocket(filepath.Join(dir, "osquery*.sock"))
	require.NoError(t, err)
	require.Equal(t, names[1], got)
	if os.Geteuid() != 0 {
		t.Skip("only root can give a socket to somebody else")
	}
	require.NoError(t, os.Lchown(names[1], 65534, 65534))
	got, err = findSocket(filepath.Join(dir, "osquery*.sock"))
	require.NoError(t, err)
	require.Equal(t, names[0], got)
	require.NoError(t, os.Lchown(names[0], 65534, 65534))
	_, err = findSocket(filepath.Join(dir, "osquery*.sock"))
	require.ErrorContains(t, err, "neither root nor us")
}

func TestSocketFolder(t *testing.T) {
	t.Parallel()
	require.Equal(t, "/var/osquery", socketFolder("/var/osquery/osquery.em"))
	require.Equal(t, "/var/kolide-k2/k2device.kolide.com", socketFolder("/var/kolide-k2/k2device.kolide.com/osquery*.sock"))
	require.Equal(t, "/var", socketFolder("/var/kolide*/?/osquery.sock"))
	require.Equal(t, ".", socketFolder("osquery.sock"))
}

func TestWaitsGrow(t *testing.T) {
	t.Parallel()
	wait, total := firstWait, time.Duration(0)
	for range 20 {
		total += wait
		wait = nextWait(wait)
		require.LessOrEqual(t, wait, longestWait)
	}
	require.Equal(t, longestWait, wait)
	require.Less(t, total, 10*time.Minute)
}
