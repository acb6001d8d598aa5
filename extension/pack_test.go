package main

import (
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	osquery "github.com/osquery/osquery-go"
	gen "github.com/osquery/osquery-go/gen/osquery"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/packs"
	"github.com/cipherlens/cipherlens/tables"
)

const demo = "../testdata/demo"

func demoBench(t *testing.T) *bench {
	t.Helper()
	settings := config.NewStore(demo + "/config.yaml")
	require.Empty(t, settings.Problems())
	b, err := newBench(benchOptions{root: demo + "/root", captures: []string{demo + "/capture.pcapng"}, settings: settings, log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.NoError(t, b.sensor.Run(t.Context()))
	return b
}

func readPack(t *testing.T, name string) *sqlhost.Pack {
	t.Helper()
	data, err := packs.Files.ReadFile(name + ".conf")
	require.NoError(t, err)
	pack, err := sqlhost.ParsePack(name, data)
	require.NoError(t, err)
	return pack
}

// counted counts a table's calls.
type counted struct {
	osquery.OsqueryPlugin
	mu    *sync.Mutex
	calls map[string]int
}

func (c counted) Call(ctx context.Context, request gen.ExtensionPluginRequest) gen.ExtensionResponse {
	if request["action"] == "generate" {
		c.mu.Lock()
		c.calls[c.Name()]++
		c.mu.Unlock()
	}
	return c.OsqueryPlugin.Call(ctx, request)
}

func TestEveryQueryOfThePackMakesOneCallATable(t *testing.T) {
	t.Parallel()
	b := demoBench(t)
	host, err := sqlhost.New(t.Context(), sqlhost.Options{Platform: "darwin"})
	require.NoError(t, err)
	defer func() { _ = host.Close() }()
	count := counted{mu: &sync.Mutex{}, calls: map[string]int{}}
	var plugins []osquery.OsqueryPlugin
	for _, p := range b.plugins {
		plugins = append(plugins, counted{p, count.mu, count.calls})
	}
	require.NoError(t, host.Attach("cipherlens", plugins...))
	for _, q := range readPack(t, "an0402").Queries {
		clear(count.calls)
		result, err := host.Query(t.Context(), q.Query)
		require.NoError(t, err, q.Name)
		require.NotEmpty(t, result.Rows, "%s finds something in the demo", q.Name)
		require.NotEmpty(t, count.calls, q.Name)
		for table, n := range count.calls {
			require.Equal(t, 1, n, "%s calls %s", q.Name, table)
		}
	}
}

// made is a source of made-up flows.
type made struct{ flows []sensor.Flow }

func (m *made) Flows(_ context.Context, keep func(*sensor.Flow) bool) ([]sensor.Flow, error) {
	var found []sensor.Flow
	for i := range m.flows {
		if keep(&m.flows[i]) {
			found = append(found, m.flows[i])
		}
	}
	return found, nil
}

// lines collects what a pack logs.
type lines struct{ added, removed []sqlhost.Row }

func (l *lines) Results(item *sqlhost.LogItem) error {
	l.added, l.removed = append(l.added, item.Added...), append(l.removed, item.Removed...)
	return nil
}
func (l *lines) Snapshot(*sqlhost.LogItem) error { return nil }
func (l *lines) Status(sqlhost.Status) error     { return nil }

// detect runs the detection over made-up flows as often as step changes them, and gives all that it logs.
func detect(t *testing.T, flows *made, steps ...func()) *lines {
	t.Helper()
	b := demoBench(t)
	host, err := sqlhost.New(t.Context(), sqlhost.Options{Platform: "darwin"})
	require.NoError(t, err)
	defer func() { _ = host.Close() }()
	plugins := b.plugins[:0:0]
	for _, p := range b.plugins {
		if p.Name() != "socket_tls_conformance" {
			plugins = append(plugins, p)
		}
	}
	plugins = append(plugins, tables.Plugins(slog.New(slog.DiscardHandler), tables.SocketTLSConformance(flows, config.Default))[0])
	require.NoError(t, host.Attach("cipherlens", plugins...))
	pack := readPack(t, "an0402")
	got := &lines{}
	for _, step := range append([]func(){func() {}}, steps...) {
		step()
		_, err := host.RunPack(t.Context(), pack, sqlhost.RunOptions{Once: true}, onlyDetection{got})
		require.NoError(t, err)
	}
	return got
}

// onlyDetection passes on the detection's lines.
type onlyDetection struct{ *lines }

func (o onlyDetection) Results(item *sqlhost.LogItem) error {
	if item.Name != "pack_an0402_detection" {
		return nil
	}
	return o.lines.Results(item)
}

func suspicious(at int64, remote string) sensor.Flow {
	return sensor.Flow{
		Protocol: 6, Local: netip.MustParseAddrPort("192.0.2.10:50000"), Remote: netip.MustParseAddrPort(remote), Direction: sensor.Outbound,
		FirstSeen: at, LastSeen: at + 5, Judgement: conformance.Judgement{Verdict: conformance.Random, HeaderBytes: 4},
		Owner: sensor.Owner{PID: 400, Path: "/usr/local/libexec/telemetryd", Name: "telemetryd", Label: "com.northwind.telemetryd"},
	}
}

func TestOneFindingIsOneLine(t *testing.T) {
	t.Parallel()
	start := time.Now().Unix()
	flows := &made{[]sensor.Flow{suspicious(start, "198.51.100.23:443")}}
	got := detect(t, flows, func() {}, func() {
		// An hour later the beacon is back, from another process; its first flow is kept as the alert.
		again := suspicious(start+3600, "198.51.100.23:443")
		again.Owner.PID, again.Local = 999, netip.MustParseAddrPort("192.0.2.10:50999")
		flows.flows = append(flows.flows, again)
	})
	require.Len(t, got.added, 1)
	require.Empty(t, got.removed)
	require.Equal(t, "400", got.added[0]["pid"].Text)
	require.Equal(t, "high", got.added[0]["severity"].Text)
	require.Equal(t, "random after 4 clear bytes", got.added[0]["why"].Text)
}

func TestWhatIsNoFinding(t *testing.T) {
	t.Parallel()
	change := func(do func(*sensor.Flow)) sensor.Flow {
		f := suspicious(1, "198.51.100.23:443")
		do(&f)
		return f
	}
	flows := &made{[]sensor.Flow{
		suspicious(1, "127.0.0.1:443"), suspicious(1, "[::1]:443"), suspicious(1, "169.254.1.1:443"), suspicious(1, "[fe80::1]:443"),
		suspicious(1, "224.0.0.251:5353"), suspicious(1, "[ff02::fb]:5353"), suspicious(1, "[::ffff:127.0.0.1]:1"),
		change(func(f *sensor.Flow) { f.Direction = sensor.Inbound }),
		change(func(f *sensor.Flow) { f.AllowlistRule = "known" }),
		change(func(f *sensor.Flow) { f.Judgement.Verdict = conformance.RandomMidstream }),
		change(func(f *sensor.Flow) { f.Judgement.Verdict = conformance.TLS }),
		change(func(f *sensor.Flow) { f.Owner = sensor.Owner{PID: -1} }), // low: for the hunt
		change(func(f *sensor.Flow) {
			f.Owner.Path, f.Owner.Label = "/usr/local/libexec/indexer", "com.example.indexer"
		}),
	}}
	require.Empty(t, detect(t, flows).added)

	flows = &made{[]sensor.Flow{
		suspicious(1, "10.1.2.3:443"), // private networks count
		change(func(f *sensor.Flow) { f.Owner, f.Judgement.Verdict = sensor.Owner{PID: -1}, conformance.TLSMimic }),
	}}
	got := detect(t, flows)
	require.Len(t, got.added, 2)
	var severities []string
	for _, row := range got.added {
		severities = append(severities, row["severity"].Text)
	}
	require.ElementsMatch(t, []string{"high", "medium"}, severities)
}

func TestDemoFilesStaySmall(t *testing.T) {
	t.Parallel()
	var total int64
	require.NoError(t, filepath.Walk(demo, func(_ string, info fs.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	}))
	require.Less(t, total, int64(2<<20))
}
