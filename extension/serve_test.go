package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	osquery "github.com/osquery/osquery-go"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// core is an osqueryd: the embedded host, or the real one that $OSQUERYD names.
type core struct {
	socket string
	host   *sqlhost.Host // nil for a real one
	end    func()        // makes it go away at once, without a word to its extensions
}

// cores runs a test against the embedded host, and against a real osqueryd where there is one.
func cores(t *testing.T, options map[string]string, test func(t *testing.T, c core)) {
	t.Run("sqlhost", func(t *testing.T) {
		t.Parallel()
		test(t, embedded(t, options))
	})
	t.Run("osqueryd", func(t *testing.T) {
		t.Parallel()
		binary := os.Getenv("OSQUERYD")
		if binary == "" {
			t.Skip("OSQUERYD names no osqueryd")
		}
		test(t, real(t, binary, options))
	})
}

// socketDir is a folder whose path is short enough for a socket's.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cl")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func embedded(t *testing.T, options map[string]string) core {
	host, err := sqlhost.New(t.Context(), sqlhost.Options{Flags: options})
	require.NoError(t, err)
	socket := filepath.Join(socketDir(t), "osquery.em")
	require.NoError(t, host.Serve(socket))
	end := sync.OnceFunc(func() { _ = host.Vanish() })
	t.Cleanup(end)
	return core{socket, host, end}
}

func real(t *testing.T, binary string, options map[string]string) core {
	dir := socketDir(t)
	var list []string
	for name, value := range options {
		list = append(list, fmt.Sprintf("%q: %q", name, value))
	}
	conf := filepath.Join(dir, "osquery.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `{"options": {%s}, "schedule": {}}`, strings.Join(list, ", ")), 0o600))
	socket := filepath.Join(dir, "osquery.em")
	cmd := exec.Command(binary, "--ephemeral", "--disable_database", "--disable_watchdog", "--config_plugin=filesystem", "--config_path="+conf,
		"--extensions_socket="+socket, "--extensions_interval=3", "--pidfile="+filepath.Join(dir, "pid"), "--logger_path="+dir, "--database_path="+filepath.Join(dir, "db"))
	require.NoError(t, cmd.Start())
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	c := core{socket: socket, end: end}
	require.Eventually(t, func() bool { _, err := c.query("SELECT 1 AS one"); return err == nil }, 30*time.Second, 100*time.Millisecond, "osqueryd does not answer")
	return c
}

// query asks the core over its socket, as osqueryi's clients do.
func (c core) query(sql string) ([]map[string]string, error) {
	client, err := osquery.NewClient(c.socket, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return client.QueryRowsContext(ctx, sql)
}

// child is an extension as a process.
type child struct {
	cmd  *exec.Cmd
	log  *safeBuffer
	done chan error
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts an extension with exactly the flags that osqueryd's autoload passes, and waits until it is registered.
func (c core) start(t *testing.T, name string) *child { return c.startWith(t, name) }

// startWith is start with more variables in the extension's environment.
func (c core) startWith(t *testing.T, name string, environment ...string) *child {
	e := &child{cmd: exec.Command(name, "--socket", c.socket, "--timeout", "10", "--interval", "3", "--verbose", "--state", filepath.Join(t.TempDir(), "alerts")), log: &safeBuffer{}, done: make(chan error, 1)}
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.Env = append(os.Environ(), append(environment, "CIPHERLENS_CONFIG="+filepath.Join(t.TempDir(), "none.yaml"))...)
	require.NoError(t, e.cmd.Start())
	go func() { e.done <- e.cmd.Wait() }()
	t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		if t.Failed() {
			t.Log(e.log.String())
		}
	})
	require.Eventually(t, func() bool {
		rows, err := c.query("SELECT name FROM osquery_extensions WHERE name = 'cipherlens'")
		return err == nil && len(rows) == 1
	}, 20*time.Second, 50*time.Millisecond)
	return e
}

// ends waits for the extension's end.
func (e *child) ends(t *testing.T, within time.Duration) error {
	select {
	case err := <-e.done:
		return err
	case <-time.After(within):
		require.Fail(t, "the extension did not end", "within %v:\n%s", within, e.log.String())
		return errors.New("unreachable")
	}
}

func TestExtensionAnswers(t *testing.T) {
	t.Parallel()
	cores(t, nil, func(t *testing.T, c core) {
		e := c.start(t, "cipherlens.ext")
		rows, err := c.query("SELECT name, state FROM cipherlens_coverage")
		require.NoError(t, err)
		require.NotEmpty(t, rows)
		self, err := os.Executable()
		require.NoError(t, err)
		rows, err = c.query("SELECT path, provider, error FROM file_crypto_linkage WHERE path = '" + self + "'")
		require.NoError(t, err)
		require.NotEmpty(t, rows)
		require.Equal(t, self, rows[0]["path"])
		for _, table := range []string{"launchd_crypto_linkage", "process_socket_entropy", "socket_tls_conformance", "crypto_egress_allowlist"} {
			_, err = c.query("SELECT * FROM " + table)
			require.NoError(t, err, table)
		}
		require.NotContains(t, e.log.String(), "panic")
	})
}

func TestExtensionSurvivesAPanicInATable(t *testing.T) {
	t.Parallel()
	cores(t, nil, func(t *testing.T, c core) {
		e := c.start(t, "panicking.ext")
		rows, err := c.query("SELECT * FROM panics")
		require.Empty(t, rows)
		if c.host != nil {
			require.ErrorContains(t, err, "as told")
		}
		require.Eventually(t, func() bool { return strings.Contains(e.log.String(), "as told") }, 5*time.Second, 20*time.Millisecond)
		rows, err = c.query("SELECT name FROM cipherlens_coverage")
		require.NoError(t, err)
		require.NotEmpty(t, rows, "the other tables go on")
		require.Contains(t, e.log.String(), "panic in a table")
	})
}

func TestExtensionEndsWhenTold(t *testing.T) {
	t.Parallel()
	cores(t, nil, func(t *testing.T, c core) {
		e := c.start(t, "cipherlens.ext")
		require.NoError(t, e.cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, e.ends(t, 2*time.Second), "SIGTERM is a clean end")
	})
}

func TestExtensionEndsWhenOsqueryIsGone(t *testing.T) {
	t.Parallel()
	cores(t, nil, func(t *testing.T, c core) {
		e := c.start(t, "cipherlens.ext")
		c.end()
		_ = e.ends(t, 10*time.Second) // told to (status 0), or by a failing ping (status 1)
	})
}

func TestExtensionNoticesThatItWasDropped(t *testing.T) {
	t.Parallel()
	c := embedded(t, nil)
	e := c.start(t, "cipherlens.ext")
	require.True(t, c.host.DropSilently(extensionName))
	require.Error(t, e.ends(t, 30*time.Second))
	require.Contains(t, e.log.String(), "the registration is gone")
}

func TestExtensionTakesOsquerysOption(t *testing.T) {
	t.Parallel()
	cores(t, map[string]string{"custom_cipherlens": `{"allowed_crypto_processes": ["team:ABCDE12345"]}`}, func(t *testing.T, c core) {
		c.start(t, "cipherlens.ext")
		require.Eventually(t, func() bool {
			rows, err := c.query("SELECT name, source FROM crypto_egress_allowlist")
			return err == nil && len(rows) == 1 && rows[0]["name"] == "team:ABCDE12345"
		}, 15*time.Second, 200*time.Millisecond)
	})
}

// TestExtensionNeverStartsSQLite: the SQL engine is for run and query alone.
func TestExtensionNeverStartsSQLite(t *testing.T) {
	t.Parallel()
	c := embedded(t, nil)
	e := c.start(t, "initialised.ext")
	_, err := c.query("SELECT * FROM cipherlens_coverage")
	require.NoError(t, err)
	require.NoError(t, e.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, e.ends(t, 5*time.Second))
	require.Contains(t, e.log.String(), "SQLite connections opened: 0\n")
	require.NotZero(t, sqlhost.Opened(), "the counter counts: this process has a host")
}

func TestExtensionSocketIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	c := embedded(t, nil)
	c.start(t, "cipherlens.ext")
	sockets, err := filepath.Glob(c.socket + ".*")
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	info, err := os.Stat(sockets[0])
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "%v", info.Mode())
}
