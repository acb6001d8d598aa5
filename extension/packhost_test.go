package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	osquery "github.com/osquery/osquery-go"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/tables"
)

// A madeHost is a host whose every fact is made up: the real tables over it, and osquery's own tables with rows of osquery's columns.
type madeHost struct {
	platform  string
	flows     []sensor.Flow
	jobs      []launchd.Job
	processes []sensor.Process
	images    map[string]*image.Report
	coverage  []sensor.Coverage
	core      map[string][]map[string]string
	trusted   []string // trusted_crypto_libs
}

// Flows is the sensor's part.
func (m *madeHost) Flows(ctx context.Context, keep func(*sensor.Flow) bool) ([]sensor.Flow, error) {
	return (&made{m.flows}).Flows(ctx, keep)
}

// Jobs is the sensor's part.
func (m *madeHost) Jobs(context.Context) ([]launchd.Job, []error) { return m.jobs, nil }

// Running is the sensor's part.
func (m *madeHost) Running(context.Context, []launchd.Job) (func(*launchd.Job) (int, bool), error) {
	return func(j *launchd.Job) (int, bool) {
		for _, p := range m.processes {
			if p.Path == j.Executable && p.PPID == 1 {
				return p.PID, true
			}
		}
		return 0, false
	}, nil
}

// Processes is the sensor's part.
func (m *madeHost) Processes(context.Context) ([]sensor.Process, error) { return m.processes, nil }

// Rules is the sensor's part.
func (m *madeHost) Rules() ([]*allowlist.Rule, []error) { return nil, nil }

// Analyze is the image analyser's part.
func (m *madeHost) Analyze(_ context.Context, path string, _ []string) (*image.Report, error) {
	if r := m.images[path]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("image: %s: no such file", path)
}

// Glob lists the images of one folder.
func (m *madeHost) Glob(_ context.Context, pattern string, _ int) ([]string, error) {
	var found []string
	for path := range m.images {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(pattern, "%")); ok && !strings.Contains(rest, "/") {
			found = append(found, path)
		}
	}
	return found, nil
}

// calls counts how often each table was asked for rows.
type calls struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *calls) add(table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[table]++
}

// take gives the counts since it was last asked.
func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := maps.Clone(c.count)
	clear(c.count)
	return count
}

// host is an embedded osqueryd on m. What osquery's own tables lack is served as empty.
func (m *madeHost) host(tb testing.TB) (*sqlhost.Host, *calls) {
	tb.Helper()
	host, counted := m.coreOnly(tb)
	require.NoError(tb, host.Attach(extensionName, m.plugins()...))
	return host, counted
}

// served is host, with our tables in an extension behind osquery's socket.
func (m *madeHost) served(tb testing.TB) *sqlhost.Host {
	tb.Helper()
	host, _ := m.coreOnly(tb)
	dir, err := os.MkdirTemp("", "packs") // a socket's path is short
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(tb, host.Serve(dir+"/em"))
	server, err := osquery.NewExtensionManagerServer(extensionName, dir+"/em", osquery.WithTransportFactory(thrift.NewTBufferedTransportFactory(16<<10)))
	require.NoError(tb, err)
	server.RegisterPlugin(m.plugins()...)
	ended := make(chan error, 1)
	go func() { ended <- server.Run() }()
	tb.Cleanup(func() {
		_ = host.Close()
		<-ended
	})
	require.NoError(tb, host.WaitForExtension(tb.Context(), extensionName))
	return host
}

// coreOnly is an embedded osqueryd with osquery's own tables only.
func (m *madeHost) coreOnly(tb testing.TB) (*sqlhost.Host, *calls) {
	tb.Helper()
	counted := &calls{count: map[string]int{}}
	host, err := sqlhost.New(tb.Context(), sqlhost.Options{Platform: m.platform, Offline: true, CoreRows: m.core, Called: counted.add})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = host.Close() })
	return host, counted
}

// plugins are our tables over m.
func (m *madeHost) plugins() []osquery.OsqueryPlugin {
	settings := config.Default
	evidence := tables.Trusting(m, func() []string { return m.trusted })
	var plugins []osquery.OsqueryPlugin
	for _, p := range tables.Plugins(slog.New(slog.DiscardHandler),
		tables.FileCryptoLinkage(evidence, m), tables.LaunchdCryptoLinkage(m, evidence), tables.ProcessCryptoLinkage(m, evidence),
		tables.ProcessSocketEntropy(m, settings), tables.SocketTLSConformance(m, settings), tables.CryptoEgressAllowlist(m),
		tables.CipherlensCoverage(func(context.Context) []sensor.Coverage { return m.coverage })) {
		plugins = append(plugins, p)
	}
	return plugins
}

// made flows, programs and jobs.

func flowTo(remote string, owner sensor.Owner, verdict conformance.Verdict, at int64) sensor.Flow {
	f := sensor.Flow{
		Protocol: 6, Local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), uint16(40000+at%20000)), Remote: netip.MustParseAddrPort(remote),
		Direction: sensor.Outbound, FirstSeen: 1_790_000_000 + at, LastSeen: 1_790_000_000 + at + 5, PacketsIn: 8, PacketsOut: 9, BytesIn: 900, BytesOut: 800,
		CommunityID: fmt.Sprintf("1:%s/%d", remote, at), Owner: owner,
		Judgement: conformance.Judgement{Verdict: verdict, Confidence: 0.99, Sample: sampleOf(verdict)},
	}
	if verdict.Alert() {
		f.Contact.Flows = 1
	}
	return f
}

// sampleOf is what the statistics of a kilobyte of ciphertext are, for verdicts that come with statistics.
func sampleOf(v conformance.Verdict) randomness.Stats {
	switch v {
	case conformance.Random, conformance.RandomMidstream, conformance.TLSMimic:
		return randomness.Stats{N: 1024, Entropy: 7.8, EntropyRatio: 0.999, Chi2P: 0.4, PrintableRatio: 0.37}
	}
	return randomness.Stats{}
}

func program(path string, signature image.Signature, evidence ...image.Evidence) *image.Report {
	return &image.Report{Path: path, Format: "mach-o", Arch: []string{"arm64"}, UUIDs: []string{"0A1B"}, Signature: signature, Evidence: evidence}
}

func signedBy(team, id string) image.Signature {
	return image.Signature{Kind: image.SignedDeveloperID, SigningID: id, TeamID: team, ClaimedTeamID: team, CDHash: strings.Repeat("d", 40), HardenedRuntime: true, Checked: "pages"}
}

func adHoc(id, cdhash string) image.Signature {
	return image.Signature{Kind: image.SignedAdhoc, SigningID: id, CDHash: strings.Repeat(cdhash, 40)[:40], Checked: "pages"}
}

func byApple(id string) image.Signature {
	return image.Signature{Kind: image.SignedApple, SigningID: id, CDHash: strings.Repeat("a", 40), Checked: "pages"}
}

func symmetric(provider, library string, symbols ...string) image.Evidence {
	return image.Evidence{Provider: provider, Class: image.ClassSymmetric, Strength: "strong", Linkage: "direct", Library: library, Symbols: symbols, Arch: []string{"arm64"}}
}

func daemon(label, executable string) launchd.Job {
	return launchd.Job{Label: label, PlistPath: "/Library/LaunchDaemons/" + label + ".plist", Domain: launchd.DomainSystem, Program: executable, Executable: executable,
		RunAtLoad: true, KeepAlive: true, Enabled: true}
}

func processOf(pid, parent int, path, label string) sensor.Process {
	p := sensor.Process{Process: process.Process{PID: pid, PPID: parent, UID: 501, StartTime: 1_789_000_000, Path: path, Name: path[strings.LastIndexByte(path, '/')+1:], Label: label}}
	if label != "" {
		p.Proof = sensor.ProofParent
	}
	return p
}

// coreProcess is a row of osquery's processes.
func coreProcess(pid, parent int, path string) map[string]string {
	return map[string]string{"pid": fmt.Sprint(pid), "parent": fmt.Sprint(parent), "path": path, "name": path[strings.LastIndexByte(path, '/')+1:], "cmdline": path,
		"uid": "501", "euid": "501", "start_time": "1789000000", "on_disk": "1", "state": "S", "cwd": "/"}
}

// coreSocket is a row of osquery's process_open_sockets.
func coreSocket(pid int, localPort uint16, remote, state string) map[string]string {
	r := netip.MustParseAddrPort(remote)
	return map[string]string{"pid": fmt.Sprint(pid), "fd": "7", "socket": "1", "family": "2", "protocol": "6", "local_address": "192.0.2.10", "local_port": fmt.Sprint(localPort),
		"remote_address": r.Addr().String(), "remote_port": fmt.Sprint(r.Port()), "path": "", "state": state}
}
