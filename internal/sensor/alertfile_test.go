package sensor

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/state"
)

// host is a made-up one: its clocks go when they are told to, and packets come when they are put.
type host struct {
	*live
	reading clock.Reading
}

// noImages knows no executable.
type noImages struct{}

func (noImages) Analyze(context.Context, string, []string) (*image.Report, error) {
	return &image.Report{}, nil
}

// newHost makes a host whose settings are text.
func newHost(t *testing.T, settings, alerts string) *host {
	t.Helper()
	return newHostAt(t, settings, alerts, clock.Reading{
		Wall: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Awake: 100 * time.Hour, Continuous: 200 * time.Hour, Boot: "first",
	})
}

func newHostAt(t *testing.T, settings, alerts string, at clock.Reading) *host {
	t.Helper()
	root, err := rootfs.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	o := Options{Root: root, Settings: config.NewStore(file), Images: noImages{}, Log: slog.New(slog.DiscardHandler)}
	require.Empty(t, o.Settings.Problems())
	if alerts != "" {
		o.Alerts, err = OpenAlerts(alerts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = o.Alerts.Close() })
	}
	s := New(o)
	h := &host{live: newLive(o, s.index, s.approve), reading: at}
	h.now = func() clock.Reading { return h.reading }
	h.awake = func() time.Duration { return h.reading.Awake }
	h.labelled = true
	h.source = quietSource{}
	h.begin()
	return h
}

// quietSource has no packets.
type quietSource struct{}

func (quietSource) Next(*capture.Packet) error { return io.EOF }
func (quietSource) Stats() capture.Stats       { return capture.Stats{Mode: capture.ModeAFPacket} }
func (quietSource) Close() error               { return nil }

// pass lets time pass, awake.
func (h *host) pass(d time.Duration) {
	h.reading.Wall = h.reading.Wall.Add(d)
	h.reading.Awake += d
	h.reading.Continuous += d
}

// packet puts one packet, of the time that the wall clock shows.
func (h *host) packet(p capture.Packet) {
	p.Time = h.reading.Wall.UnixNano()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table.Advance(int64(h.awake()))
	h.table.Add(&p)
}

// udp is a datagram between a client and a server port.
func udp(from, to netip.AddrPort, out bool, payload []byte) capture.Packet {
	if !out {
		from, to = to, from
	}
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	b = append(b, byte(from.Port()>>8), byte(from.Port()), byte(to.Port()>>8), byte(to.Port()), byte((8+len(payload))>>8), byte(8+len(payload)), 0, 0)
	b = append(b, payload...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	p := capture.Packet{LinkType: capture.LinkRaw, Data: b, Length: len(b), Direction: capture.Out}
	if !out {
		p.Direction = capture.In
	}
	return p
}

// alert makes a flow that is one, of this owner.
func (h *host) alert(owner Owner, local, remote string) {
	was := h.judge
	h.judge = func(*flow.Flow, *conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: conformance.Random, Confidence: 0.9, Reasons: []string{"random_body"}, SNI: "c2.example", Final: true,
			Sample: randomness.Stats{N: 1024, Entropy: 7.8, EntropyRatio: 1, Chi2P: 0.5, Likelihood: 0.5}}
	}
	from, to := netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	for range 3 {
		h.packet(udp(from, to, true, bytes.Repeat([]byte("SECRET"), 100)))
		h.packet(udp(from, to, false, bytes.Repeat([]byte("SECRET"), 100)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.table.Flows() {
		if f.Client() == from && f.Server() == to {
			f.Owner = &owner
		}
	}
	h.fresh = nil
	h.judge = was
}

func (h *host) alerts(t *testing.T) []Flow {
	t.Helper()
	return h.flows(t.Context(), 15*time.Minute, func(f *Flow) bool { return f.Judgement.Verdict.Alert() })
}

// again is the host after a restart of the extension.
func (h *host) again(t *testing.T, settings string) *host {
	t.Helper()
	h.collect(t.Context())
	h.save(t.Context(), true)
	require.NoError(t, h.unsavable)
	require.NoError(t, h.file.Close())
	return newHostAt(t, settings, h.file.Path(), h.reading)
}

const oddPath = "/opt/not \xff utf8/a\"b\\c\n"

func TestAlertsOutliveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts")
	h := newHost(t, "record_sni: alerts", path)
	h.alert(Owner{PID: 77, Path: oddPath, Name: "odd", UUID: "U", Label: "com.example.job", Attribution: BySocket,
		Responsible: &process.Responsible{PID: 70, UID: -1, Path: oddPath}}, "192.0.2.1:5000", "203.0.113.1:443")
	h.pass(time.Minute)
	h.alert(Owner{PID: 78, Path: oddPath, Name: "odd", Label: "com.example.job"}, "192.0.2.1:5001", "203.0.113.1:443")
	h.alert(Owner{PID: -1, Name: "nobody"}, "[2001:db8::1]:5000", "203.0.113.1:443")
	before := h.alerts(t)
	require.Len(t, before, 2, "IPv6 against IPv4 is no packet")
	require.Equal(t, 77, before[0].Owner.PID)

	after := h.again(t, "record_sni: alerts").alerts(t)
	require.Len(t, after, 1, "one of each identity")
	want, got := before[0], after[0]
	require.True(t, got.Kept)
	got.Kept, want.Kept = false, false
	want.Judgement.Final, want.Judgement.Stable = true, true
	require.Equal(t, want, got)

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), "SECRET", "no payload byte is written")
	require.Contains(t, string(data), "c2.example")
}

func TestServerNamesAreWrittenAsRecordSNISays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts")
	h := newHost(t, "record_sni: none\nallowed_crypto_processes: ['path:/opt/allowed']", path)
	h.alert(Owner{PID: 1, Path: "/opt/allowed"}, "192.0.2.1:5000", "203.0.113.1:443")
	h.alert(Owner{PID: 2, Path: "/opt/other"}, "192.0.2.1:5001", "203.0.113.1:443")
	require.Len(t, h.alerts(t), 2)
	after := h.again(t, "record_sni: none")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), "c2.example")
	left := after.alerts(t)
	require.Len(t, left, 1, "what a rule covers would need its name to be covered again")
	require.Equal(t, "/opt/other", left[0].Owner.Path)
}

func TestAlertsAgeOverARestart(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		change func(r *clock.Reading)
		left   int
	}{
		"at once":                        {func(*clock.Reading) {}, 1},
		"a day later":                    {func(r *clock.Reading) { r.Awake += day + time.Second; r.Wall = r.Wall.Add(day + time.Second) }, 0},
		"the clock was set a day ahead":  {func(r *clock.Reading) { r.Wall = r.Wall.Add(2 * day) }, 1},
		"the clock was set a day back":   {func(r *clock.Reading) { r.Wall = r.Wall.Add(-day) }, 1},
		"a weekend asleep":               {func(r *clock.Reading) { r.Wall = r.Wall.Add(2 * day); r.Continuous += 2 * day }, 1},
		"a new boot":                     {func(r *clock.Reading) { r.Boot, r.Awake = "second", time.Second; r.Wall = r.Wall.Add(time.Hour) }, 1},
		"a new boot a day later":         {func(r *clock.Reading) { r.Boot, r.Awake = "second", time.Second; r.Wall = r.Wall.Add(day + time.Hour) }, 0},
		"a new boot with a dead battery": {func(r *clock.Reading) { r.Boot, r.Wall = "second", time.Unix(0, 0) }, 1},
	} {
		h := newHost(t, "", filepath.Join(t.TempDir(), "alerts"))
		h.alert(Owner{PID: 1, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.1:443")
		h.collect(t.Context())
		h.save(t.Context(), true)
		c.change(&h.reading) // nothing is written after it
		next := h.again(t, "")
		require.Equal(t, c.left, next.restored, name)
		require.Len(t, next.alerts(t), c.left, name)
	}
}

func TestFileOfAlertsThatIsNone(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no JSON":     "hello\n",
		"not ours":    `{"wall":1,"awake":1,"boot":""}` + "\n" + `{"verdict":"tls"}` + "\n",
		"unknown key": `{"wall":1,"awake":1,"boot":"","payload":"x"}` + "\n",
		"two values":  `{"wall":1,"awake":1,"boot":""} {}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "alerts")
		f, err := OpenAlerts(path)
		require.NoError(t, err)
		require.NoError(t, f.Save([]byte(body)))
		require.NoError(t, f.Close())
		h := newHost(t, "", path)
		require.Empty(t, h.alerts(t), name)
		row := find(t, h.coverage(), "alerts")
		require.Equal(t, Degraded, row.State, name)
		require.ErrorIs(t, row.Err, state.ErrSetAside, name)
		aside, err := filepath.Glob(path + ".aside-*")
		require.NoError(t, err)
		require.Len(t, aside, 1, name)
	}
}

func find(t *testing.T, rows []Coverage, name string) Coverage {
	t.Helper()
	for _, row := range rows {
		if row.Name == name {
			return row
		}
	}
	require.Fail(t, "no such row", "%s in %+v", name, rows)
	return Coverage{}
}

// TestFileOfAlertsIsBounded: as many alerts as are kept, with texts as long as a path may be, and the last seen ones are written.
func TestFileOfAlertsIsBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", filepath.Join(t.TempDir(), "alerts"))
	for i := range 4 {
		manyAlerts(h.kept, "/"+strings.Repeat(string(rune('a'+i)), maxText-1), maxOfOne, time.Duration(i)*time.Hour)
	}
	all := make([]kept, 0, maxAlerts)
	for e := h.kept.all.Back(); e != nil; e = e.Prev() {
		v := *e.Value.(*kept)
		v.first.Local = netip.MustParseAddrPort("192.0.2.1:1")
		all = append(all, v)
	}
	body, left := h.write(t.Context(), all, h.reading)
	require.LessOrEqual(t, len(body), maxAlertsFile)
	require.Positive(t, left)
	again, err := readAlerts(body, h.reading)
	require.NoError(t, err)
	require.Len(t, again, maxAlerts-left)
	require.Equal(t, all[0].first.Remote, again[0].flow.Remote)
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, s := range []text{"", "a", "\x00", oddPath, "\xff", "é\u2028<&>", "[\"x\"]"} {
		data, err := json.Marshal(s)
		require.NoError(t, err)
		var got text
		require.NoError(t, json.Unmarshal(data, &got))
		require.Equal(t, s, got)
	}
}

func FuzzReadAlerts(f *testing.F) {
	now := clock.Reading{Wall: time.Unix(1_700_000_000, 0), Awake: time.Hour, Boot: "b"}
	const head = `{"wall":1699999999000000000,"awake":3600,"boot":"b"}` + "\n"
	f.Add([]byte(head))
	f.Add([]byte(head + `{"age":5,"since":7,"opened":9,"protocol":6,"local":"192.0.2.1:5","remote":"[2001:db8::1]:443","last_seen":9,"packets":[1,2],"bytes":[3,4],` +
		`"community_id":"1:x","pid":-1,"path":["/w=="],"name":"n","verdict":"random","confidence":0.5,"reasons":["a"],"sample":{"N":3}}` + "\n"))
	f.Add([]byte(head + `{"age":5,"since":7,"opened":9,"contacts":{"age":7,"steps":[[3600,2,1,60,0],[0,3,3,70,9]]},"protocol":6,"local":"192.0.2.1:5","remote":"192.0.2.2:443",` +
		`"last_seen":9,"packets":[1,2],"bytes":[3,4],"community_id":"1:x","pid":1,"path":"/a","name":"n","verdict":"random","confidence":0.5,"sample":{"N":3}}` + "\n"))
	f.Add([]byte(head + `{"age":9223372036854775807,"verdict":"tls_mimic"}` + "\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := readAlerts(body, now)
		if err != nil {
			require.Empty(t, all)
			return
		}
		require.LessOrEqual(t, len(all), maxAlerts)
		kept := newAlerts()
		for i := range all {
			require.True(t, all[i].flow.Judgement.Verdict.Alert())
			require.GreaterOrEqual(t, all[i].age, time.Duration(0))
			require.LessOrEqual(t, len(all[i].flow.Owner.Path), maxText)
			kept.add(all[i].flow, now.Awake-min(all[i].age, keepAlerts))
			calls := all[i].contacts(now.Awake)
			calls.add(now.Awake, false)
			calls.add(now.Awake+time.Hour, true)
			got := calls.contact()
			require.GreaterOrEqual(t, got.Flows, got.Gaps)
			require.False(t, math.IsNaN(got.Gap+got.Jitter) || math.IsInf(got.Gap+got.Jitter, 0), "%+v", got)
		}
		require.LessOrEqual(t, len(kept.by), maxAlerts)
	})
}
