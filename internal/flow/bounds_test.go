package flow

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// verdict is a judge that always says the same.
func verdict(v conformance.Verdict, final bool) func(*conformance.Conversation) conformance.Judgement {
	return func(*conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: v, Final: final}
	}
}

// judged is about what a TLS flow is found to be.
func judged(c *conformance.Conversation) conformance.Judgement {
	return conformance.Judgement{
		Verdict: conformance.TLS, Confidence: 1, Final: true,
		Reasons: []string{"client_hello", "server_hello"}, AppProtocol: "http/1.1", TLSVersion: "1.3", ALPN: "h2",
		SNI: fmt.Sprintf("host-%d.example.org", c.ClientPort), JA4: "t13d1516h2_8daaf6152771_02713d6af862",
	}
}

// TestFlowSize measures what a judged flow costs on the heap, its share of the index and its own strings included.
func TestFlowSize(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Flow{}), uintptr(416), "the size class below 512 with room for the index")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const flows = 30000
	w, r := newWire(Config{Memory: 64 << 20})
	r.say = judged
	w.table.config.Judge = func(f *Flow, c *conformance.Conversation) conformance.Judgement { return judged(c) }
	was := heap()
	for i := range flows {
		w.port = uint16(1024 + i)
		w.udp(true, "question", 8)
		w.udp(false, "answer", 6)
	}
	cost := float64(heap()-was) / flows
	require.Equal(t, flows, w.table.Stats().Flows)
	require.Zero(t, w.table.Stats().SampleBytes)
	t.Logf("%.0f bytes a judged flow", cost)
	require.LessOrEqual(t, cost, float64(MaxFlowBytes))
	runtime.KeepAlive(w)
}

// TestPoolFull has more flows wait for an answer than the pool can hold: the oldest are judged early, none is lost.
func TestPoolFull(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{Memory: minMemory})
	const flows = 1000
	for i := range flows {
		w.port = uint16(1024 + i)
		w.udp(true, strings.Repeat("x", 400), 400)
		require.LessOrEqual(t, w.table.Stats().SampleBytes, minMemory/2)
	}
	st := w.table.Stats()
	require.Equal(t, flows, st.Flows)
	require.NotZero(t, st.Early)
	require.Len(t, r.flows, int(st.Early))
	for i, s := range r.flows {
		require.Equal(t, uint16(1024+i), s.conv.ClientPort, "oldest first")
		require.False(t, s.conv.Ended)
	}
	w.table.Close()
	require.Len(t, r.flows, flows)
	require.Equal(t, w.table.Stats().SampleBytesMaxAllowed, w.table.pool.max*chunkSize+w.table.maxMade*int(unsafe.Sizeof(sample{})))
	require.LessOrEqual(t, w.table.Stats().SampleBytesMaxAllowed, minMemory/2)
}

// TestPoolFullOfLongSamples fills the smallest pool with long samples.
func TestPoolFullOfLongSamples(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{Memory: minMemory})
	long := strings.Repeat("x", MaxSample-100)
	for i := range 100 {
		w.port = uint16(1024 + i)
		w.udp(true, long, len(long))
		w.udp(false, long, len(long))
		require.LessOrEqual(t, w.table.Stats().SampleBytes, minMemory/2)
	}
	w.table.Close()
	require.Len(t, r.flows, 100)
	for _, s := range r.flows {
		require.Equal(t, long, s.client)
		require.Equal(t, long, s.server)
	}
}

func TestTableFull(t *testing.T) {
	t.Parallel()
	var gone []*Flow
	w, r := newWire(Config{Memory: minMemory, Removed: func(f *Flow) { gone = append(gone, f) }})
	most := w.table.maxFlows
	send := func(port int, v conformance.Verdict, final bool) {
		r.say = verdict(v, final)
		w.port = uint16(port)
		w.udp(true, "question", 8)
		w.udp(false, "answer", 6)
	}
	// An alert first, then one that may become one, then benign ones to the brim.
	send(1, conformance.Random, true)
	send(2, conformance.Undetermined, false)
	for i := range most - 2 {
		send(1000+i, conformance.KnownProtocol, true)
	}
	require.Equal(t, most, w.table.Stats().Flows)
	require.Empty(t, gone)
	for i := range 100 {
		send(20000+i, conformance.KnownProtocol, true)
	}
	require.Len(t, gone, 100)
	for i, f := range gone {
		require.Equal(t, uint16(1000+i), f.Client().Port(), "the longest judged benign goes first")
		require.True(t, f.Ended)
	}
	// Then alerts only: what is undecided goes when nothing benign is left, alerts at the very last.
	r.say = func(c *conformance.Conversation) conformance.Judgement {
		if c.ClientPort == 2 {
			return conformance.Judgement{Verdict: conformance.Undetermined}
		}
		return conformance.Judgement{Verdict: conformance.Random, Final: true}
	}
	for i := range most {
		w.port = uint16(30000 + i)
		w.udp(true, "question", 8)
		w.udp(false, "answer", 6)
	}
	st := w.table.Stats()
	require.Equal(t, most, st.Flows)
	require.Equal(t, uint64(1), st.Alerts)
	require.Equal(t, uint64(1), st.Unjudged)
	require.Equal(t, uint16(1), gone[len(gone)-1].Client().Port())
	require.Equal(t, uint64(100+most), st.Evicted)
}

// TestUndecidedAlertIsKept evicts a flow that turns out to be an alert when it is judged for that.
func TestUndecidedAlertIsKept(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{Memory: minMemory})
	most := w.table.maxFlows
	r.say = verdict(conformance.Random, false)
	for i := range most + 1 {
		w.port = uint16(1000 + i)
		w.udp(true, "only a question", 15)
	}
	st := w.table.Stats()
	require.Equal(t, most, st.Flows)
	require.Equal(t, uint64(1), st.Alerts)
	alerts := 0
	for f := range w.table.Flows() {
		if f.Alert() {
			alerts++
		}
	}
	require.GreaterOrEqual(t, alerts, most-1)
}

func TestFlushKeepsFlows(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.handshake(0, 0)
	w.up(1, 1, "abc")
	w.port = 5
	w.udp(true, "x", 1)
	w.table.Flush()
	require.Len(t, r.flows, 2)
	n := 0
	for f := range w.table.Flows() {
		require.True(t, f.Ended)
		require.True(t, f.Judged)
		n++
	}
	require.Equal(t, 2, n)
	for range w.table.Flows() {
		break
	}
	w.table.Close()
	require.Zero(t, w.table.Stats().Flows)
}

func TestOpenedAndSkipped(t *testing.T) {
	t.Parallel()
	var opened []*Flow
	w, _ := newWire(Config{Opened: func(f *Flow) {
		require.Equal(t, uint64(1), f.Packets[ToServer])
		opened = append(opened, f)
	}})
	w.udp(true, "x", 1)
	w.udp(true, "x", 1)
	require.Len(t, opened, 1)
	for link, data := range map[uint32][]byte{
		105: {1}, 101: {0x45}, 1: append(make([]byte, 12), 8, 6),
	} {
		w.table.Add(&capture.Packet{LinkType: link, Data: data, Time: epoch})
	}
	st := w.table.Stats()
	require.Equal(t, []uint64{1, 1, 1}, []uint64{st.UnknownLink, st.Truncated, st.NotIP})
	require.Equal(t, uint64(2), st.Packets)
}

// TestNoAllocation plays a long connection: nothing is allocated a packet, and one thing a flow.
func TestNoAllocation(t *testing.T) {
	final := verdict(conformance.TLS, true)
	table := New(Config{Judge: func(f *Flow, c *conformance.Conversation) conformance.Judgement { return final(c) }})
	packets := mix(t, 1, 200)
	at := epoch
	one := testing.AllocsPerRun(100, func() {
		at += int64(time.Second)
		for i := range packets[3:] {
			p := packets[3+i]
			p.Time = at
			table.Add(&p)
		}
	})
	require.Zero(t, one)
	flows := mix(t, 5000, 4)
	for i := range flows { // grows the index and the pool
		table.Add(&flows[i])
	}
	table.Close()
	again := testing.AllocsPerRun(1, func() {
		for i := range flows {
			table.Add(&flows[i])
		}
		table.Close()
	})
	require.LessOrEqual(t, again/5000, 1.01)
}

// TestRecycle plays more flows than fit into a table, with and without using their memory again: what leaves it is the same.
func TestRecycle(t *testing.T) {
	packets := mix(t, 5000, 5)
	play := func(recycle bool) (gone []Flow, table *Table) {
		table = New(Config{Memory: minMemory, Recycle: recycle, Judge: decided, Removed: func(f *Flow) {
			f.prev, f.next = nil, nil
			gone = append(gone, *f)
		}})
		for i := range packets {
			table.Add(&packets[i])
		}
		table.Close()
		return gone, table
	}
	kept, _ := play(false)
	used, table := play(true)
	require.Greater(t, len(kept), 5000)
	require.Equal(t, kept, used)
	table.config.Removed = nil
	require.Zero(t, testing.AllocsPerRun(1, func() {
		for i := range packets {
			table.Add(&packets[i])
		}
		table.Close()
	}))
}
