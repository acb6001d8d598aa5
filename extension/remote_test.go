package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/packs"
)

// configRefresh is --config_refresh of the hosts under the test console.
const configRefresh = 8 * time.Second

// replaying is the extension on the demo's tree and capture instead of this host.
func replaying(args []string) int {
	root := newRootCommand()
	log := newLogger(os.Stderr, slog.LevelInfo, true)
	demo := os.Getenv("DEMO")
	b, err := newBench(benchOptions{root: demo + "/root", captures: []string{demo + "/capture.pcapng"}, settings: config.NewStore(demo + "/config.yaml"), log: log})
	if err != nil {
		log.Error("bench", "error", err)
		return 3
	}
	defer b.Close()
	if err := root.ParseFlags(args); err != nil {
		return 3
	}
	socket, _ := root.Flags().GetString("socket")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, serveOptions{socket: socket}, b, log); err != nil {
		log.Error("serve", "error", err)
		return 1
	}
	return 0
}

// consoleConfig is what the console gives its hosts: the shipped pack, run every second, and our settings.
func consoleConfig(t *testing.T, settings string) string {
	conf, err := packs.Files.ReadFile("an0402.conf")
	require.NoError(t, err)
	var pack struct {
		Queries map[string]map[string]any `json:"queries"`
	}
	require.NoError(t, json.Unmarshal(conf, &pack))
	for name, q := range pack.Queries {
		q["interval"] = 1
		q["platform"] = "darwin,linux"
		if name != "detection" && name != "coverage" {
			delete(pack.Queries, name)
		}
	}
	text, err := json.Marshal(map[string]any{
		"options": map[string]any{"custom_cipherlens": settings},
		"packs":   map[string]any{"an0402": pack},
	})
	require.NoError(t, err)
	return string(text)
}

// underConsole runs a test against a host that a console manages: the embedded one with osquery's TLS plugins, and a real osqueryd where there is one.
func underConsole(t *testing.T, settings string, test func(t *testing.T, c *console)) {
	demo, err := filepath.Abs(demo)
	require.NoError(t, err)
	t.Run("sqlhost", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, consoleConfig(t, settings))
		core := embedded(t, nil)
		startAgent(t, c, core.host, configRefresh)
		core.startWith(t, "replaying.ext", "DEMO="+demo)
		test(t, c)
	})
	t.Run("osqueryd", func(t *testing.T) {
		t.Parallel()
		binary := os.Getenv("OSQUERYD")
		if binary == "" {
			t.Skip("OSQUERYD names no osqueryd")
		}
		c := newConsole(t, consoleConfig(t, settings))
		core := managed(t, binary, c)
		core.startWith(t, "replaying.ext", "DEMO="+demo)
		test(t, c)
	})
}

// managed starts a real osqueryd whose console c is.
func managed(t *testing.T, binary string, c *console) core {
	dir := socketDir(t)
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte(enrollSecret), 0o600))
	socket := filepath.Join(dir, "osquery.em")
	cmd := exec.Command(binary, "--ephemeral", "--disable_database", "--disable_watchdog", "--pidfile="+filepath.Join(dir, "pid"),
		"--database_path="+filepath.Join(dir, "db"), "--logger_path="+dir, "--extensions_socket="+socket, "--host_identifier=specified", "--specified_identifier=made-up-mac",
		"--tls_hostname="+c.address, "--tls_server_certs="+c.certFile, "--enroll_secret_path="+secret, "--enroll_tls_endpoint=/api/osquery/enroll",
		"--config_plugin=tls", "--config_tls_endpoint=/api/osquery/config", fmt.Sprintf("--config_refresh=%d", int(configRefresh.Seconds())),
		"--logger_plugin=tls", "--logger_tls_endpoint=/api/osquery/log", "--logger_tls_period=1",
		"--disable_distributed=false", "--distributed_plugin=tls", "--distributed_interval=1",
		"--distributed_tls_read_endpoint=/api/osquery/distributed/read", "--distributed_tls_write_endpoint=/api/osquery/distributed/write")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return core{socket: socket}
}

// TestConsole is a detection's life under a console: asked live, forwarded by the logger, configured from afar, and found again by a console that forgot its hosts.
func TestConsole(t *testing.T) {
	t.Parallel()
	underConsole(t, `{"record_sni": "alerts"}`, func(t *testing.T, c *console) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		require.Eventually(t, func() bool {
			a := c.ask(ctx, "SELECT launchd_label, remote_address, remote_port, verdict FROM socket_tls_conformance WHERE verdict = 'random' AND allowlist_rule = '' AND remote_scope = 'public' ORDER BY launchd_label")
			return a.status == 0 && len(a.rows) == 2 && a.rows[0]["launchd_label"] == "com.apple.metadata.mdsync" && a.rows[0]["remote_address"] == "203.0.113.7" &&
				a.rows[1]["launchd_label"] == "com.northwind.telemetryd" && a.rows[1]["remote_port"] == "443"
		}, 30*time.Second, 200*time.Millisecond, "a live query gives our tables' rows")
		bad := c.ask(ctx, "SELECT nothing FROM socket_tls_conformance")
		require.NotZero(t, bad.status)
		require.Contains(t, bad.message, "nothing")

		found := func() []string {
			var labels []string
			for _, line := range c.resultLines() {
				if line.Name == "pack_an0402_detection" && line.Action == "added" {
					require.Equal(t, "high", line.Columns["severity"])
					labels = append(labels, line.Columns["launchd_label"])
				}
			}
			slices.Sort(labels)
			return labels
		}
		want := []string{"com.apple.metadata.mdsync", "com.northwind.telemetryd"}
		require.Eventually(t, func() bool { return slices.Equal(want, found()) }, 30*time.Second, 100*time.Millisecond, "a scheduled finding is in the console's log")
		require.Eventually(t, func() bool {
			return slices.ContainsFunc(c.resultLines(), func(l resultLine) bool {
				return l.Name == "pack_an0402_coverage" && l.Action == "snapshot" && len(l.Snapshot) > 0
			})
		}, 10*time.Second, 100*time.Millisecond, "a snapshot too")

		// Settings from the console: in force within two refreshes, without a restart of either process.
		approved := func() bool {
			a := c.ask(ctx, "SELECT name, source FROM crypto_egress_allowlist WHERE name = 'path:/opt/vendor/agent'")
			return a.status == 0 && len(a.rows) == 1 && a.rows[0]["source"] == "allowed_crypto_processes"
		}
		pid := c.ask(ctx, "SELECT pid FROM osquery_info").rows[0]["pid"]
		uuid := c.ask(ctx, "SELECT uuid FROM osquery_extensions WHERE name = 'cipherlens'").rows[0]["uuid"]
		require.False(t, approved())
		c.configure(consoleConfig(t, `{"record_sni": "alerts", "allowed_crypto_processes": ["path:/opt/vendor/agent"]}`))
		changed := time.Now()
		require.Eventually(t, approved, 2*configRefresh, 100*time.Millisecond, "a changed custom_cipherlens is in force within two config refreshes")
		t.Logf("custom_cipherlens: in force after %v (config refresh %v)", time.Since(changed).Round(100*time.Millisecond), configRefresh)
		require.Equal(t, pid, c.ask(ctx, "SELECT pid FROM osquery_info").rows[0]["pid"])
		require.Equal(t, uuid, c.ask(ctx, "SELECT uuid FROM osquery_extensions WHERE name = 'cipherlens'").rows[0]["uuid"], "still the same registration")
		require.Equal(t, want, found(), "one finding stays one line")

		c.forget()
		require.Eventually(t, func() bool { return c.ask(ctx, "SELECT 1 AS one").status == 0 }, 30*time.Second, 200*time.Millisecond, "a host that the console does not know enrols anew")
	})
}
