package sensor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// complete says that a row tells what is so, and what to do when it is not ok.
func complete(t *testing.T, row Coverage) {
	t.Helper()
	require.NotEmpty(t, row.Name)
	require.NotEmpty(t, row.Detail)
	require.Contains(t, []string{OK, Degraded, Blind}, row.State)
	if row.State != OK {
		require.NotEmpty(t, row.Advice, "%+v", row)
	}
}

func TestRootCoverage(t *testing.T) {
	t.Parallel()
	require.Equal(t, OK, rootCoverage(0).State)
	row := rootCoverage(501)
	require.Equal(t, Blind, row.State)
	require.Contains(t, row.Detail, "501")
	complete(t, row)
}

func TestDiskCoverage(t *testing.T) {
	t.Parallel()
	denied := &fs.PathError{Op: "open", Path: "/x", Err: syscall.EPERM}
	for name, c := range map[string]struct {
		opened map[string]error
		state  string
		count  int64
	}{
		"all open":         {map[string]error{"a": nil, "b": nil}, OK, 0},
		"TCC says no":      {map[string]error{"a": denied, "b": denied}, Degraded, 2},
		"TCC says half no": {map[string]error{"a": nil, "b": denied}, Degraded, 1},
		"not root":         {map[string]error{"a": fmt.Errorf("x: %w", syscall.EACCES)}, Degraded, 1},
		"one is missing":   {map[string]error{"a": nil, "b": fs.ErrNotExist}, OK, 0},
		"nothing is there": {map[string]error{"a": fs.ErrNotExist}, Degraded, 0},
		"nothing asked":    {nil, Degraded, 0},
	} {
		row := diskCoverage(c.opened)
		require.Equal(t, c.state, row.State, name)
		require.Equal(t, c.count, row.Count, name)
		complete(t, row)
	}
}

func TestResponsibleCoverage(t *testing.T) {
	t.Parallel()
	missing := errors.New("libSystem has no such function")
	for name, c := range map[string]struct {
		stats  process.ResponsibleStats
		state  string
		detail string
	}{
		"nobody has asked yet":     {process.ResponsibleStats{}, OK, "0 of 0"},
		"most are known":           {process.ResponsibleStats{Asked: 400, Found: 390, None: 3, Doubtful: 7}, OK, "390 of 400"},
		"few questions, no answer": {process.ResponsibleStats{Asked: 99, None: 99}, OK, "0 of 99"},
		"no answer at all":         {process.ResponsibleStats{Asked: 100, None: 100}, Degraded, "coalition"},
		"it cannot be asked":       {process.ResponsibleStats{Err: missing}, Degraded, "coalition"},
	} {
		row := responsibleCoverage(c.stats)
		require.Equal(t, "responsible_process", row.Name)
		require.Equal(t, c.state, row.State, name)
		require.Contains(t, row.Detail, c.detail, name)
		require.EqualValues(t, c.stats.Doubtful, row.Count, name)
		require.Equal(t, c.stats.Err, row.Err, name)
		complete(t, row)
	}
}

// TestOpenPrivate looks at a made-up volume: the background items' database goes by any version.
func TestOpenPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{privacyDatabase, backgroundFolder + "/BackgroundItems-v16.btm", backgroundFolder + "/other"} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	root, err := rootfs.Open(dir)
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	require.Equal(t, map[string]error{privacyDatabase: nil, backgroundFolder + "/BackgroundItems-v16.btm": nil}, openPrivate(root))
	require.NoError(t, os.RemoveAll(dir))
	for _, err := range openPrivate(root) {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// extensionsDatabase has the keys that osquery's system_extensions.mm reads.
const extensionsDatabase = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>version</key><integer>1</integer><key>extensions</key><array>
<dict><key>identifier</key><string>com.example.gateway</string><key>teamID</key><string>ABCDE12345</string><key>state</key><string>activated_enabled</string>
 <key>originPath</key><string>/Applications/Gateway.app</string><key>categories</key><array><string>com.apple.system_extension.network_extension</string></array></dict>
<dict><key>identifier</key><string>com.example.off</string><key>state</key><string>terminated_waiting_to_uninstall_on_reboot</string>
 <key>categories</key><array><string>com.apple.system_extension.network_extension</string></array></dict>
<dict><key>identifier</key><string>com.example.edr</string><key>state</key><string>activated_enabled</string>
 <key>categories</key><array><string>com.apple.system_extension.endpoint_security</string></array></dict>
<string>not one</string><dict/></array></dict></plist>`

const gateway = "/Library/SystemExtensions/0F1E2D3C-0000-4000-8000-000000000000/com.example.gateway.systemextension/Contents/MacOS/com.example.gateway"

func TestNetworkExtensions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := rootfs.Open(dir)
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	found, err := readExtensions(root)
	require.NoError(t, err)
	require.Empty(t, found)
	file := filepath.Join(dir, "Library/SystemExtensions/db.plist")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(extensionsDatabase), 0o644))
	found, err = readExtensions(root)
	require.NoError(t, err)
	require.Equal(t, []networkExtension{{"com.example.gateway", "ABCDE12345", "/Applications/Gateway.app"}}, found)
	require.True(t, found[0].owns(gateway))
	require.False(t, found[0].owns("/tmp/com.example.gateway.systemextension/Contents/MacOS/x"), "anybody can make such a path elsewhere")
	require.NoError(t, os.WriteFile(file, []byte("bplist00 and then nothing"), 0o644))
	_, err = readExtensions(root)
	require.Error(t, err)
	for _, hostile := range []any{nil, "x", map[string]any{"extensions": "x"}, map[string]any{"extensions": []any{map[string]any{"categories": []any{1}}}}} {
		require.Empty(t, networkExtensions(hostile))
	}
}

func talk(counts map[string]int) *talkers {
	var all talkers
	for path, n := range counts {
		for range n {
			all.add(path)
		}
	}
	return &all
}

func TestProxyCoverage(t *testing.T) {
	t.Parallel()
	extensions := []networkExtension{{identifier: "com.example.gateway"}}
	for name, c := range map[string]struct {
		talkers    *talkers
		extensions []networkExtension
		state      string
		detail     string
	}{
		"nobody talked":                   {talk(nil), nil, OK, "belong to the programs"},
		"many talk":                       {talk(map[string]int{"/a": 60, "/b": 60, "/c": 60}), nil, OK, "belong to the programs"},
		"an extension that only looks on": {talk(map[string]int{"/a": 60, "/b": 60}), extensions, OK, "active network extensions: com.example.gateway"},
		"an extension owns everything":    {talk(map[string]int{"/a": 2, gateway: 198}), extensions, Degraded, "own 198 of 200 outbound flows"},
		"an extension owns some":          {talk(map[string]int{"/a": 150, gateway: 50}), extensions, Degraded, "own 50 of 200"},
		"too few to tell":                 {talk(map[string]int{gateway: 50}), extensions, OK, ""},
		"one program owns everything":     {talk(map[string]int{"/usr/bin/crawler": 199, "/b": 1}), nil, OK, "/usr/bin/crawler owns 199 of 200 outbound flows: if it is a proxy"},
		"and there are extensions":        {talk(map[string]int{"/opt/agent": 199, "/b": 1}), extensions, Degraded, "/opt/agent owns 199"},
	} {
		row := proxyCoverage(c.talkers, c.extensions)
		require.Equal(t, c.state, row.State, name)
		require.Contains(t, row.Detail, c.detail, name)
		complete(t, row)
	}
}

func TestTalkersAreBoundedAndFade(t *testing.T) {
	t.Parallel()
	var all talkers
	for i := range 10 * maxTalkers {
		all.add(fmt.Sprint("/opt/", i))
	}
	require.LessOrEqual(t, len(all.by), maxTalkers+1)
	require.EqualValues(t, 10*maxTalkers, all.total)
	for range 20 {
		all.fade()
	}
	require.Empty(t, all.by)
	require.Zero(t, all.total)
}

func TestRelay(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"mask.icloud.com": true, "mask-h2.icloud.com": true, "MASK.iCloud.com.": true, "mask.icloud.com.example": false, "www.icloud.com": false, "": false,
	} {
		require.Equal(t, want, relay(name), name)
	}
	require.Equal(t, OK, relayCoverage(0).State)
	complete(t, relayCoverage(3))
	h := newHost(t, "", "")
	h.judge = func(*flow.Flow, *conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: conformance.QUIC, SNI: "mask.icloud.com"}
	}
	from, to := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("203.0.113.1:443")
	for range 20 { // judged several times
		h.packet(udp(from, to, true, make([]byte, 1000)))
		h.packet(udp(from, to, false, make([]byte, 1000)))
	}
	row := find(t, h.coverage(), "private_relay")
	require.Equal(t, Degraded, row.State)
	require.EqualValues(t, 1, row.Count)
}

func TestClockCoverage(t *testing.T) {
	t.Parallel()
	require.Equal(t, OK, clockCoverage(jumps{}, time.Hour).State)
	row := clockCoverage(jumps{sleeps: 2, sets: 1, by: -24 * time.Hour}, time.Minute)
	require.Equal(t, Degraded, row.State)
	require.Contains(t, row.Detail, "slept 2 times, the clock was set 1 times, last by -24h0m0s")
	require.EqualValues(t, 3, row.Count)
	complete(t, row)
	require.Equal(t, OK, clockCoverage(jumps{sleeps: 2}, time.Hour).State)
}

func TestInterfacesComeAndGo(t *testing.T) {
	t.Parallel()
	en0 := link{"en0", true, []netip.Addr{netip.MustParseAddr("192.168.1.5")}}
	own := link{"utun0", true, []netip.Addr{netip.MustParseAddr("fe80::1")}} // macOS's own services'
	vpn := link{"utun4", true, []netip.Addr{netip.MustParseAddr("fe80::2"), netip.MustParseAddr("10.8.0.2")}}
	var s links
	added, removed := s.look([]link{en0, own})
	require.Empty(t, added, "what is there at the start did not come")
	require.Empty(t, removed)
	require.Empty(t, s.tunnels)
	added, _ = s.look([]link{en0, own, vpn})
	require.Equal(t, []string{"utun4"}, added)
	require.Equal(t, []tunnel{{"utun4", []netip.Addr{netip.MustParseAddr("10.8.0.2")}}}, s.tunnels)
	_, removed = s.look([]link{en0, own})
	require.Equal(t, []string{"utun4"}, removed)
	require.Empty(t, s.tunnels)
	row := s.coverage()
	require.EqualValues(t, 2, row.Count)
	complete(t, row)

	for name, want := range map[string]bool{"utun4": true, "tun0": true, "tap1": true, "wg0": true, "wg-work": true, "ipsec0": true, "ppp0": true, "tailscale0": true,
		"en0": false, "eth0": false, "tunnelbear": false, "lo": false, "tuna0": false} {
		l := link{name, true, []netip.Addr{netip.MustParseAddr("10.8.0.2")}}
		require.Equal(t, want, len(l.carries()) == 1, name)
		l.up = false
		require.Empty(t, l.carries(), name)
	}
}

// lostSource is a capture that fails.
type lostSource struct{ quietSource }

func (lostSource) Next(*capture.Packet) error {
	return fmt.Errorf("capture: live: %w", syscall.EACCES)
}

func TestCaptureThatIsLost(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.source = nil
	row := find(t, h.coverage(), "capture")
	require.Equal(t, Blind, row.State)
	require.Contains(t, row.Detail, "just starting")
	complete(t, row)

	h.open = func() (capture.Source, error) { return nil, fmt.Errorf("open: %w", syscall.EPERM) }
	h.once(t)
	row = find(t, h.coverage(), "capture")
	require.Equal(t, Blind, row.State)
	require.Equal(t, "no permission to capture", row.Detail)
	require.ErrorIs(t, row.Err, syscall.EPERM)
	complete(t, row)

	h.open = func() (capture.Source, error) { return lostSource{}, nil }
	h.once(t)
	row = find(t, h.coverage(), "capture")
	require.Equal(t, Blind, row.State)
	require.Equal(t, "the permission to capture was lost at run time", row.Detail)
	require.EqualValues(t, 1, row.Count)
	complete(t, row)

	h.source = quietSource{} // it came back
	row = find(t, h.coverage(), "capture")
	require.Equal(t, OK, row.State)
	require.Contains(t, row.Detail, "lost and opened again 1 times")
}

// once tries to capture once.
func (h *host) once(t *testing.T) {
	t.Helper()
	err := h.capture(t.Context())
	require.Error(t, err)
	h.ended(err)
}

// droppingSource lost packets.
type droppingSource struct {
	quietSource
	dropped uint64
}

func (s droppingSource) Stats() capture.Stats {
	return capture.Stats{Mode: capture.ModePKTAP, Packets: 1000, Dropped: s.dropped}
}

func TestDropsShow(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	for dropped, state := range map[uint64]string{0: OK, 1: OK, 2: Degraded} { // one in a thousand is tolerated
		h.source = droppingSource{dropped: dropped}
		row := find(t, h.coverage(), "capture")
		require.Equal(t, state, row.State)
		require.EqualValues(t, dropped, row.Count)
		complete(t, row)
	}
	h.owners.failed = errors.New("no sockets")
	require.NotEqual(t, Blind, find(t, h.coverage(), "attribution").State, "PKTAP names owners by itself")
	h.source = quietSource{}
	require.Equal(t, Blind, find(t, h.coverage(), "attribution").State)
}

func TestLateStartPasses(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	const syn, ack, psh = 0x02, 0x10, 0x08
	h.packet(tcp("192.0.2.1:1", "203.0.113.1:443", syn, nil))
	h.packet(tcp("192.0.2.1:2", "203.0.113.1:443", ack|psh, []byte("in the middle of something")))
	row := find(t, h.coverage(), "late_start")
	require.Equal(t, Degraded, row.State)
	require.EqualValues(t, 1, row.Count)
	complete(t, row)
	h.pass(lateStart)
	h.mu.Lock()
	h.table.Close()
	h.mu.Unlock()
	row = find(t, h.coverage(), "late_start")
	require.Equal(t, OK, row.State)
	require.EqualValues(t, 1, row.Count, "counted also when they have left")
}

// tcp is a segment from one end to the other.
func tcp(from, to string, flags byte, payload []byte) capture.Packet {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	d := []byte{0x45, 0, 0, byte(40 + len(payload)), 0, 0, 0, 0, 64, 6, 0, 0}
	d = append(append(d, a.Addr().AsSlice()...), b.Addr().AsSlice()...)
	d = append(d, byte(a.Port()>>8), byte(a.Port()), byte(b.Port()>>8), byte(b.Port()), 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	d = append(d, payload...)
	return capture.Packet{LinkType: capture.LinkRaw, Data: d, Length: len(d), Direction: capture.Out}
}

func TestAlertsThatCannotBeWrittenShow(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	require.Equal(t, OK, find(t, h.coverage(), "alerts").State, "nothing was asked for")
	h.fileless = errors.New("state: /var/lib: read-only")
	row := find(t, h.coverage(), "alerts")
	require.Equal(t, Degraded, row.State)
	complete(t, row)

	h = newHost(t, "", filepath.Join(t.TempDir(), "alerts"))
	h.alert(Owner{PID: 1, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.1:443")
	h.collect(t.Context())
	other, err := OpenAlerts(h.file.Path())
	require.NoError(t, err)
	require.NoError(t, h.file.Close())
	h.file = other
	require.NoError(t, other.Close())
	h.save(t.Context(), true)
	row = find(t, h.coverage(), "alerts")
	require.Equal(t, Degraded, row.State)
	require.Error(t, row.Err)
	complete(t, row)
}

// TestCaptureSaysSinceWhen: which way packets come, since when, and what was before.
func TestCaptureSaysSinceWhen(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		stats         capture.Stats
		state, detail string
	}{
		{capture.Stats{Mode: capture.ModeAFPacket, Packets: 5}, OK, "af_packet, 5 packets"},
		{capture.Stats{Mode: capture.ModePKTAP, Since: since, Packets: 5}, OK, "pktap since 2026-11-23 12:00:00 UTC, 5 packets"},
		{capture.Stats{Mode: capture.ModeBPF, Since: since, Packets: 5, Degraded: "no PKTAP (x)"}, Degraded, "bpf since 2026-11-23 12:00:00 UTC, 5 packets: no PKTAP (x)"},
		{capture.Stats{Mode: capture.ModePKTAP, Since: since, Packets: 5, Before: "bpf until then: no PKTAP (x)"}, OK,
			"pktap since 2026-11-23 12:00:00 UTC (bpf until then: no PKTAP (x)), 5 packets"},
	} {
		row := packetCoverage(c.stats)
		require.Equal(t, []string{c.state, c.detail}, []string{row.State, row.Detail})
	}
}

// wishful is a source that would like to have more.
type wishful struct {
	quietSource
	told int
	mode capture.Mode
}

func (w *wishful) Retry()               { w.told++ }
func (w *wishful) Stats() capture.Stats { return capture.Stats{Mode: w.mode} }

// TestCaptureIsToldOfChanges: a wake from sleep and an interface that comes or goes are reasons to try again.
func TestCaptureIsToldOfChanges(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	source := &wishful{mode: capture.ModeBPF}
	h.source, h.mode = source, capture.ModeBPF
	links := []link{{name: "en0", up: true}}
	h.list = func() ([]link, error) { return links, nil }
	h.lookAround(0)
	h.lookAround(lookLinks)
	require.Zero(t, source.told, "those that were there from the start, and nothing new")
	links = append(links, link{name: "utun4", up: true})
	h.lookAround(1)
	require.Zero(t, source.told, "interfaces are not listed each time")
	h.lookAround(lookLinks)
	require.Equal(t, 1, source.told)
	links = links[:1]
	h.lookAround(lookLinks)
	require.Equal(t, 2, source.told)
	h.pass(time.Second)
	h.watch(h.reading)
	require.Equal(t, 2, source.told, "awake all the time")
	h.reading.Continuous += time.Hour
	h.reading.Wall = h.reading.Wall.Add(time.Hour)
	h.pass(time.Second)
	h.watch(h.reading)
	require.Equal(t, 3, source.told)
	source.mode = capture.ModePKTAP
	h.lookAround(lookLinks)
	require.Equal(t, capture.ModePKTAP, h.mode, "what took over is noticed, and logged")
	h.source = nil
	h.lookAround(lookLinks)
	h.retryCapture()
}
