package sensor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// benign makes a flow that is judged and none of anybody's business.
func (h *host) benign(local string) {
	h.judge = func(*flow.Flow, *conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: conformance.KnownProtocol, Final: true}
	}
	from, to := netip.MustParseAddrPort(local), netip.MustParseAddrPort("203.0.113.53:53")
	h.packet(udp(from, to, true, make([]byte, 600)))
	h.packet(udp(from, to, false, make([]byte, 600)))
}

func (h *host) count(t *testing.T, keep func(*Flow) bool) int {
	t.Helper()
	return len(h.flows(t.Context(), 15*time.Minute, keep))
}

func isAlert(f *Flow) bool  { return f.Judgement.Verdict.Alert() }
func isBenign(f *Flow) bool { return !isAlert(f) }

// TestClocksThatJump: neither a clock that is set nor a night asleep makes flows or alerts old, and time that passes does.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, jump := range map[string]func(h *host){
		"nothing":   func(*host) {},
		"a day on":  func(h *host) { h.reading.Wall = h.reading.Wall.Add(day) },
		"a day off": func(h *host) { h.reading.Wall = h.reading.Wall.Add(-day) },
		"to 1970":   func(h *host) { h.reading.Wall = time.Unix(0, 0) },
		"a night asleep": func(h *host) {
			h.reading.Wall = h.reading.Wall.Add(8 * time.Hour)
			h.reading.Continuous += 8 * time.Hour
		},
		"on and off": func(h *host) {
			h.reading.Wall = h.reading.Wall.Add(day)
			h.benign("192.0.2.9:1")
			h.benign("192.0.2.9:2")
			h.reading.Wall = h.reading.Wall.Add(-2 * day)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "", "")
			h.alert(Owner{PID: 1, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.1:443")
			h.benign("192.0.2.1:5001")
			jump(h)
			for i := range 10 { // packets go on, with the clock as it is now
				h.benign(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), uint16(6000+i)).String())
				h.pass(time.Second)
			}
			require.Equal(t, 1, h.count(t, isAlert))
			require.GreaterOrEqual(t, h.count(t, isBenign), 11)
			first := h.alerts(t)[0]
			require.Equal(t, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Unix(), first.FirstSeen, "what was seen then stays seen then")

			for range 40 { // the host is awake for 40 minutes
				h.pass(time.Minute)
				h.benign("192.0.2.3:7000")
			}
			require.Equal(t, 1, h.count(t, isBenign), "old flows leave")
			require.Equal(t, 1, h.count(t, isAlert))
			require.True(t, h.alerts(t)[0].Kept)
			h.pass(23 * time.Hour)
			require.Equal(t, 1, h.count(t, isAlert))
			h.pass(time.Hour)
			require.Zero(t, h.count(t, isAlert), "a day awake after its last packet")
		})
	}
}

// TestJumpsShow: the keeper says what the clocks did.
func TestJumpsShow(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	for range 5 {
		h.pass(time.Second)
		h.watch(h.reading)
	}
	require.Equal(t, OK, find(t, h.coverage(), "clock").State)
	h.reading.Continuous += time.Hour
	h.reading.Wall = h.reading.Wall.Add(time.Hour)
	h.pass(time.Second)
	h.watch(h.reading)
	h.reading.Wall = h.reading.Wall.Add(-24 * time.Hour)
	h.pass(time.Second)
	h.watch(h.reading)
	row := find(t, h.coverage(), "clock")
	require.Equal(t, Degraded, row.State)
	require.EqualValues(t, 2, row.Count)
	require.Contains(t, row.Detail, "slept 1 times, the clock was set 1 times, last by -24h0m0s")
	h.pass(lateStart)
	require.Equal(t, OK, find(t, h.coverage(), "clock").State)
}

// TestAlertIsShownOnceItsOwnerWasLookedFor: owner and job are part of its identity.
func TestAlertIsShownOnceItsOwnerWasLookedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.alert(Owner{PID: 1, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.1:443")
	for f := range h.table.Flows() {
		f.Owner = nil
	}
	require.Empty(t, h.alerts(t))
	too := h.flows(t.Context(), time.Minute, isBenign)
	require.Len(t, too, 1)
	require.Equal(t, []string{"too_early"}, too[0].Judgement.Reasons)
	for f := range h.table.Flows() {
		f.Owner = nobody
	}
	h.labelled = false
	require.Empty(t, h.alerts(t), "its job is not known yet")
	h.labelled = true
	require.Len(t, h.alerts(t), 1)
}

// TestAlertThatIsTakenBack: more bytes explain what looked random at first; then it is no alert any more, unless others were.
func TestAlertThatIsTakenBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	verdict := conformance.Random
	h.judge = func(*flow.Flow, *conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: verdict, Final: verdict != conformance.Random}
	}
	from, to := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("203.0.113.1:443")
	h.packet(udp(from, to, true, make([]byte, 600)))
	h.packet(udp(from, to, false, make([]byte, 600)))
	for f := range h.table.Flows() {
		f.Owner = nobody
	}
	require.Empty(t, h.alerts(t), "it may still be something else")
	h.pass(rest)
	require.Len(t, h.alerts(t), 1)
	verdict = conformance.Compressed
	for range 5 {
		h.packet(udp(from, to, true, make([]byte, 1400)))
		h.packet(udp(from, to, false, make([]byte, 1400)))
	}
	require.Empty(t, h.alerts(t))
	require.Empty(t, h.kept.by)
	require.Empty(t, h.alerted)
}
