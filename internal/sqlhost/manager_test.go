package sqlhost

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	osquery "github.com/osquery/osquery-go"
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
func startExtension(t *testing.T, host *Host, socket, name string, plugins ...osquery.OsqueryPlugin) *osquery.ExtensionManagerServer {
	t.Helper()
	server, err := osquery.NewExtensionManagerServer(name, socket, osquery.ServerTimeout(3*time.Second))
	require.NoError(t, err)
	server.RegisterPlugin(plugins...)
	done := make(chan error, 1)
	go func() { done <- server.Start() }()
	t.Cleanup(func() {
		_ = server.Shutdown(t.Context())
		<-done
	})
	require.NoError(t, host.WaitForExtension(t.Context(), name))
	return server
}
