package sqlhost

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	osquery "github.com/osquery/osquery-go"
	gen "github.com/osquery/osquery-go/gen/osquery"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

func TestRecordingOverThrift(t *testing.T) {
	t.Parallel()
	var stderr []string
	host := newHost(t, Options{Warn: func(line string) { stderr = append(stderr, line) }})
	socket := serve(t, host)
	r := &recorder{}
	startExtension(t, host, socket, "rec", r.tables()...)
	replay(t, host, r, &stderr)
}

// serve starts the host's extension manager on a socket of the test's own.
func serve(t *testing.T, host *Host) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "em") // t.TempDir is too long for a socket on macOS
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "s")
	require.NoError(t, host.Serve(socket))
	return socket
}

// startExtension runs an extension with osquery-go, as an extension's process does, and waits until it is registered.
// The channel gets what its server ended with.
func startExtension(t *testing.T, host *Host, socket, name string, plugins ...osquery.OsqueryPlugin) (*osquery.ExtensionManagerServer, <-chan error) {
	t.Helper()
	server, err := osquery.NewExtensionManagerServer(name, socket, osquery.ServerTimeout(3*time.Second))
	require.NoError(t, err)
	server.RegisterPlugin(plugins...)
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- server.Start()
	}()
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		<-done
	})
	require.NoError(t, host.WaitForExtension(t.Context(), name))
	return server, ended
}

// newClient is an extension's second connection to the manager.
func newClient(t *testing.T, socket string) *osquery.ExtensionManagerClient {
	t.Helper()
	client, err := osquery.NewClient(socket, 5*time.Second, osquery.DefaultWaitTime(5*time.Second))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// registryOf is what an extension with one table of one column registers.
func registryOf(name, column string) gen.ExtensionRegistry {
	return gen.ExtensionRegistry{"table": gen.ExtensionRouteTable{name: {{"id": "column", "name": column, "type": "TEXT", "op": "0"}}}}
}

func TestSocketIsPrivate(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(socket))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.ErrorContains(t, host.Serve(socket), "already serving")
	require.NoError(t, host.Close())
	_, err = os.Lstat(socket)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestServeReplacesOnlySockets(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	file := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	require.ErrorContains(t, host.Serve(file), "not a socket")

	first := newHost(t, Options{})
	socket := serve(t, first)
	stale, err := net.Listen("unix", socket+".77")
	require.NoError(t, err)
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	require.NoError(t, host.Serve(socket))
	_, err = os.Lstat(socket + ".77")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestManagerAnswersAsTheCore(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{Flags: map[string]string{"custom_cipherlens": `{"time_window":"1h"}`}})
	socket := serve(t, host)
	startExtension(t, host, socket, "cipherlens", rowsTable("x", columnsOf("a TEXT, b INTEGER"), map[string]string{"a": "1", "b": "2"}))
	client := newClient(t, socket)

	extensions, err := client.Extensions()
	require.NoError(t, err)
	require.Len(t, extensions, 1)
	for _, info := range extensions {
		require.Equal(t, "cipherlens", info.Name)
	}
	options, err := client.Options()
	require.NoError(t, err)
	require.Equal(t, `{"time_window":"1h"}`, options["custom_cipherlens"].Value)
	require.Equal(t, socket, options["extensions_socket"].Value)
	rows, err := client.QueryRows("select a, value from x, osquery_flags where name = 'custom_cipherlens'")
	require.NoError(t, err)
	require.Equal(t, []map[string]string{{"a": "1", "value": `{"time_window":"1h"}`}}, rows)
	host.SetFlags(map[string]string{"custom_cipherlens": `{"time_window":"2h"}`})
	options, err = client.Options()
	require.NoError(t, err)
	require.Equal(t, `{"time_window":"2h"}`, options["custom_cipherlens"].Value)
	host.SetFlags(nil)
	options, err = client.Options()
	require.NoError(t, err)
	require.NotContains(t, options, "custom_cipherlens")
	_, err = client.QueryRows("select * from nope")
	require.ErrorContains(t, err, "no such table: nope")
	columns, err := client.GetQueryColumns("select a, b, 1+1 as c from x")
	require.NoError(t, err)
	require.Equal(t, gen.ExtensionPluginResponse{{"a": "TEXT"}, {"b": "INTEGER"}, {"c": "UNKNOWN"}}, columns.Response)
	response, err := client.Call("table", "x", gen.ExtensionPluginRequest{"action": "columns"})
	require.NoError(t, err)
	require.Len(t, response.Response, 2)
	response, err = client.Call("logger", "x", nil)
	require.NoError(t, err)
	require.Equal(t, int32(1), response.Status.Code)
	rows, err = client.QueryRows("select path from osquery_extensions where name = 'cipherlens'")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(rows[0]["path"], socket+"."))
}

func TestRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	startExtension(t, host, socket, "cipherlens", rowsTable("x", columnsOf("a TEXT")))
	client := newClient(t, socket)
	for _, tt := range []struct {
		name     string
		registry gen.ExtensionRegistry
		message  string
	}{
		{"cipherlens", registryOf("y", "a"), "Duplicate extension registered"},
		{"other", registryOf("x", "a"), "Failed adding registry broadcast"},
		{"other", registryOf("time", "a"), "Failed adding registry broadcast"},
		{"other", registryOf("y", ""), "Failed adding registry broadcast"},
		{"", registryOf("y", "a"), "Failed adding registry broadcast"},
	} {
		status, err := client.RegisterExtension(&gen.InternalExtensionInfo{Name: tt.name}, tt.registry)
		require.NoError(t, err)
		require.Equal(t, int32(1), status.Code)
		require.Equal(t, tt.message, status.Message)
		require.Zero(t, status.UUID)
	}
	status, err := client.DeregisterExtension(0)
	require.NoError(t, err)
	require.Equal(t, "No extension UUID registered", status.Message)
}

// An extension whose socket is dead goes, and its name and tables can be had by another, with other columns.
func TestDeadExtensionIsDropped(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var warnings []string
	host := newHost(t, Options{ExtensionsInterval: 20 * time.Millisecond, ExtensionsTimeout: 100 * time.Millisecond, Warn: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, line)
	}})
	socket := serve(t, host)
	client := newClient(t, socket)
	status, err := client.RegisterExtension(&gen.InternalExtensionInfo{Name: "e"}, registryOf("x", "old"))
	require.NoError(t, err)
	require.Zero(t, status.Code)
	_, err = host.Query(t.Context(), "select old from x")
	require.ErrorContains(t, err, "Extension call failed")
	require.Eventually(t, func() bool { return len(host.registered()) == 0 }, 5*time.Second, 10*time.Millisecond)
	_, err = host.Query(t.Context(), "select old from x")
	require.EqualError(t, err, "no such table: x")

	startExtension(t, host, socket, "e", rowsTable("x", columnsOf("new TEXT"), map[string]string{"new": "1"}))
	result, err := host.Query(t.Context(), "select * from x")
	require.NoError(t, err)
	require.Equal(t, []string{"new"}, result.Columns)
	time.Sleep(100 * time.Millisecond) // several rounds of the watcher
	require.Len(t, host.registered(), 1)
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, warnings, "Extension UUID "+strconv.Itoa(int(status.UUID))+" has gone away")
}

func TestSilentDrop(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	server, _ := startExtension(t, host, socket, "cipherlens", rowsTable("x", columnsOf("a TEXT")))
	require.False(t, host.DropSilently("other"))
	require.True(t, host.DropSilently("cipherlens"))
	client := newClient(t, socket)
	status, err := client.Ping()
	require.NoError(t, err)
	require.Zero(t, status.Code)
	extensions, err := client.Extensions()
	require.NoError(t, err)
	require.Empty(t, extensions)
	_, err = host.Query(t.Context(), "select * from x")
	require.EqualError(t, err, "no such table: x")
	require.ErrorContains(t, server.Shutdown(t.Context()), "No extension UUID registered")
}

func TestCloseShutsExtensionsDown(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	server, err := osquery.NewExtensionManagerServer("cipherlens", socket, osquery.ServerTimeout(3*time.Second))
	require.NoError(t, err)
	server.RegisterPlugin(rowsTable("x", columnsOf("a TEXT")))
	ended := make(chan error, 1)
	go func() { ended <- server.Run() }()
	require.NoError(t, host.WaitForExtension(t.Context(), "cipherlens"))
	require.NoError(t, host.Close())
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(2 * time.Second):
		t.Fatal("the extension is still running")
	}
}

// An extension of a killed osqueryd is not told; it finds out by its next ping.
func TestVanish(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	server, err := osquery.NewExtensionManagerServer("cipherlens", socket, osquery.ServerPingInterval(50*time.Millisecond))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Run() }()
	require.NoError(t, host.WaitForExtension(t.Context(), "cipherlens"))
	require.NoError(t, host.Vanish())
	_, err = os.Lstat(socket)
	require.NoError(t, err)
	require.ErrorContains(t, <-ended, "extension ping failed")
}

func TestWaitForExtensionGivesUp(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	serve(t, host)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, host.WaitForExtension(ctx, "cipherlens"), context.DeadlineExceeded)
}

// A table's own process may ask the core on a second connection, while the core waits for the table.
func TestExtensionQueriesWhileAsked(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{Version: "5.9.1"})
	socket := serve(t, host)
	client := newClient(t, socket)
	ask := func(context.Context, table.QueryContext) ([]map[string]string, error) {
		return client.QueryRows("select version from osquery_info")
	}
	startExtension(t, host, socket, "e", table.NewPlugin("asks", columnsOf("version TEXT"), ask))
	result, err := host.Query(t.Context(), "select version from asks")
	require.NoError(t, err)
	require.Equal(t, "5.9.1", result.Rows[0][0].Text)
}

// fakeExtension registers x(a) and handles connections to its socket itself.
func fakeExtension(t *testing.T, host *Host, socket string, handle func(net.Conn)) {
	t.Helper()
	status, err := newClient(t, socket).RegisterExtension(&gen.InternalExtensionInfo{Name: "fake"}, registryOf("x", "a"))
	require.NoError(t, err)
	require.Zero(t, status.Code)
	listener, err := net.Listen("unix", socket+"."+strconv.Itoa(int(status.UUID)))
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				handle(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, host.Close())
		_ = listener.Close()
		wg.Wait()
	})
}

func TestExtensionThatSaysNothing(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{ExtensionsTimeout: time.Second})
	socket := serve(t, host)
	fakeExtension(t, host, socket, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := host.Query(ctx, "select * from x")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestExtensionThatAnswersGarbage(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	fakeExtension(t, host, socket, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.CopyN(conn, rand.Reader, 4096)
	})
	_, err := host.Query(t.Context(), "select * from x")
	require.ErrorContains(t, err, "Extension call failed")
	_, err = host.Query(t.Context(), "select 1")
	require.NoError(t, err)
}

func TestGarbageAndSlowPeersOnTheSocket(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	socket := serve(t, host)
	const strictCall = "\x80\x01\x00\x01"
	for _, bytes := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"\xff\xff\xff\xff",
		strictCall + "\x7f\xff\xff\xffx",
		strictCall + "\x00\x00\x00\x04nope\x00\x00\x00\x01\x00",
		// registerExtension whose registry claims 2^24 tables of 2^24 tables.
		strictCall + "\x00\x00\x00\x11registerExtension\x00\x00\x00\x01\x0d\x00\x02\x0b\x0d\x01\x00\x00\x00\x00\x00\x00\x01a\x0b\x0f\x01\x00\x00\x00",
		strings.Repeat("\x00", 1<<16),
	} {
		conn, err := net.Dial("unix", socket)
		require.NoError(t, err)
		_, _ = io.WriteString(conn, bytes) // the manager may hang up before the end
		_ = conn.(*net.UnixConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the manager did not end the connection after %q", bytes)
		require.NoError(t, conn.Close())
	}
	slow, err := net.Dial("unix", socket)
	require.NoError(t, err)
	_, err = io.WriteString(slow, strictCall+"\x00\x00")
	require.NoError(t, err)
	status, err := newClient(t, socket).Ping()
	require.NoError(t, err)
	require.Equal(t, "pong", status.Message)
	require.NoError(t, host.Close()) // does not wait for the slow one
	_ = slow.Close()
}
