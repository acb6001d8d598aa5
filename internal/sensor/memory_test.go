package sensor

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// beside is what the sensor may hold beside memory_budget: kept alerts, owners, what is on its way between them.
const beside = 8 << 20

// heap is what is in use, bytes, after what is not was collected.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flood puts flows of one packet each way, each of its own address, judged as said, and looks at the sensor every thousand.
func flood(t *testing.T, h *host, flows int, judge func(n int) conformance.Judgement, owner func(n int) *Owner) {
	t.Helper()
	n := 0
	h.judge = func(*flow.Flow, *conformance.Conversation) conformance.Judgement { return judge(n) }
	to := netip.MustParseAddrPort("203.0.113.1:443")
	payload := make([]byte, 600)
	for ; n < flows; n++ {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), uint16(1024+n%60000))
		h.packet(udp(from, to, true, payload))
		h.packet(udp(from, to, false, payload))
		for _, f := range h.fresh {
			f.Owner = owner(n)
		}
		h.fresh = h.fresh[:0]
		if n%1000 == 999 {
			h.pass(time.Second)
			h.collect(t.Context())
		}
	}
}

// TestMemoryStaysInTheBudget sends four times as many flows as fit, of each kind that costs most.
func TestMemoryStaysInTheBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("a flood")
	}
	const budget = 8 << 20
	const flows = 10 * budget / 2 / flow.MaxFlowBytes
	name := strings.Repeat("a", 200)
	shared := &Owner{PID: 1, Path: "/opt/shared"}
	one := func(int) *Owner { return shared }
	for what, c := range map[string]struct {
		settings string
		judge    func(n int) conformance.Judgement
		owner    func(n int) *Owner
	}{
		"conformant, each with a name of its own": {"", func(n int) conformance.Judgement {
			return conformance.Judgement{Verdict: conformance.TLS, Final: true, SNI: fmt.Sprint(n, name)}
		}, one},
		"undetermined, with full samples": {"", func(int) conformance.Judgement {
			return conformance.Judgement{Verdict: conformance.Undetermined}
		}, one},
		"alerts of one program": {"", func(int) conformance.Judgement {
			return conformance.Judgement{Verdict: conformance.Random, Final: true}
		}, one},
		"alerts of one program, each with a path of its own": {"", func(int) conformance.Judgement {
			return conformance.Judgement{Verdict: conformance.Random, Final: true}
		}, func(n int) *Owner { return &Owner{PID: n, Path: fmt.Sprint("/opt/", n)} }},
	} {
		before := heap()
		h := newHost(t, fmt.Sprintf("memory_budget: %d\n%s", budget, c.settings), "")
		flood(t, h, flows, c.judge, c.owner)
		after := heap()
		stats := h.table.Stats()
		t.Logf("%s: %d KiB for %d flows of %d, %d alerts kept", what, (after-before)>>10, stats.Flows, flows, len(h.kept.by))
		require.LessOrEqual(t, after-before, uint64(budget+beside), what)
		require.Greater(t, stats.Evicted+stats.Early, uint64(flows/2), what)
		row := find(t, h.coverage(), "flow_memory")
		require.NotEmpty(t, row.Detail)
		runtime.KeepAlive(h)
	}
}

// TestAlertIsNotEvictedBeforeBenignFlows: a flood of flows that are nobody's business does not cost an alert, and says what it cost.
func TestAlertIsNotEvictedBeforeBenignFlows(t *testing.T) {
	t.Parallel()
	h := newHost(t, "memory_budget: 1048576", "")
	h.alert(Owner{PID: 7, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.9:443")
	flood(t, h, 10*1024, func(int) conformance.Judgement { return conformance.Judgement{Verdict: conformance.TLS, Final: true} },
		func(int) *Owner { return nobody })
	found := h.alerts(t)
	require.Len(t, found, 1)
	require.Equal(t, 7, found[0].Owner.PID)
	require.False(t, found[0].Kept, "its flow is still in the table")
	row := find(t, h.coverage(), "flow_memory")
	require.Equal(t, OK, row.State, "what was judged may go")
	require.Contains(t, row.Detail, "flows left early")
}

// TestAlertsOutliveAFloodOfAlerts: those whose flow had to go are kept by identity.
func TestAlertsOutliveAFloodOfAlerts(t *testing.T) {
	t.Parallel()
	h := newHost(t, "memory_budget: 1048576", "")
	h.alert(Owner{PID: 7, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.9:443")
	flood(t, h, 10*1024, func(int) conformance.Judgement {
		return conformance.Judgement{Verdict: conformance.Random, Final: true}
	},
		func(int) *Owner { return nobody })
	require.Len(t, h.flows(t.Context(), time.Hour, func(f *Flow) bool { return f.Owner.PID == 7 }), 1)
	for _, f := range h.alerts(t) {
		require.Positive(t, f.Contact.Flows, "every alert has one contact at least")
	}
}

// TestNamesOfOthersAreForgotten: server names of conformant flows are not even kept, unless a site wants to see them.
func TestNamesOfOthersAreForgotten(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{"record_sni: all": "www.example", "record_sni: alerts": "", "record_sni: none": ""} {
		h := newHost(t, settings, "")
		flood(t, h, 1, func(int) conformance.Judgement {
			return conformance.Judgement{Verdict: conformance.TLS, Final: true, SNI: "www.example"}
		}, func(int) *Owner { return nobody })
		for f := range h.table.Flows() {
			require.Equal(t, want, f.Judgement.SNI, settings)
		}
	}
}
