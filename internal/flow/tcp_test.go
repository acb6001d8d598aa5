package flow

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// TestTCP plays connections. The client's stream is always meant to be "abcdefghij…", the server's "0123456789…".
func TestTCP(t *testing.T) {
	t.Parallel()
	const c, s = 1000, 5000 // initial sequence numbers; payload starts one after
	for name, test := range map[string]struct {
		play           func(w *wire)
		client, server string
		clientGap      bool
		serverGap      bool
		midstream      bool
		total          uint64 // of the client, when it is not len(client)
		flows          int    // when not 1; the last one is compared
	}{
		"in order": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.down(s+1, c+4, "012")
			w.up(c+4, s+4, "def")
		}, client: "abcdef", server: "012"},
		"SYN lost": {play: func(w *wire) {
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"SYN lost, and the first segment": {play: func(w *wire) {
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+4, s+1, "def")
		}, clientGap: true, total: 0},
		"SYN-ACK lost, server speaks first": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "", 0)
			w.tcp(true, ACK, c+1, s+1, "", 0)
			w.down(s+4, c+1, "345")
			w.down(s+1, c+1, "012")
			w.up(c+1, s+7, "abc")
		}, client: "abc", server: "012345"},
		"SYN after data": {play: func(w *wire) {
			w.up(c+1, s+1, "abc")
			w.tcp(true, SYN, c, 0, "", 0)
		}, client: "abc"},
		"SYN-ACK after the server's data": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "", 0)
			w.down(s+1, c+1, "012")
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+4, "abc")
		}, client: "abc", server: "012"},
		"SYN again, but the server's start was lost": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "", 0)
			w.down(s+4, c+1, "345")
			w.tcp(true, SYN, c, 0, "", 0)
		}, server: "345", midstream: true},
		"the server's ACK and data before everything": {play: func(w *wire) {
			w.down(s+1, c+4, "012")
			w.up(c+1, s+1, "abc")
			w.tcp(true, SYN, c, 0, "", 0)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.down(s+4, c+4, "345")
		}, client: "abc", server: "012345"},
		"the client's ACK before the SYN-ACK": {play: func(w *wire) {
			w.tcp(false, ACK, s+1, c+1, "", 0)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"several answers, the last is taken": {play: func(w *wire) {
			w.tcp(false, SYN|ACK, s+1<<20, c+1, "", 0)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
			w.down(s+1, c+4, "012")
		}, client: "abc", server: "012"},
		"several answers, the first is taken": {play: func(w *wire) {
			w.handshake(c, s)
			w.tcp(false, SYN|ACK, s+1<<20, c+1, "", 0)
			w.up(c+1, s+1, "abc")
			w.down(s+1, c+4, "012")
		}, client: "abc", server: "012"},
		"SYN again": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "", 0)
			w.tcp(true, SYN, c, 0, "", 0)
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"SYN that nobody answered, then another": {play: func(w *wire) {
			w.tcp(true, SYN, c+77, 0, "", 0)
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"forged SYN after the real one's answer is undone": {play: func(w *wire) {
			w.tcp(true, SYN, c+1<<20, 0, "", 0)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"simultaneous open": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "", 0)
			w.tcp(false, SYN, s, 0, "", 0)
			w.tcp(true, SYN|ACK, c, s+1, "", 0)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
			w.down(s+1, c+4, "012")
		}, client: "abc", server: "012"},
		"midstream": {play: func(w *wire) {
			w.up(c+100, s+50, "abc")
			w.down(s+50, c+103, "012")
			w.down(s+40, c+103, "older than what was seen first"[:10])
		}, client: "abc", server: "012", midstream: true},
		"midstream, an ACK first": {play: func(w *wire) {
			w.tcp(true, ACK, c+100, s+50, "", 0)
			w.up(c+100, s+50, "abc")
		}, client: "abc", midstream: true},
		"retransmission": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+1, s+1, "abc")
			w.up(c+1, s+1, "abcdef")
		}, client: "abcdef"},
		"reordering": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+7, s+1, "ghi")
			w.up(c+4, s+1, "def")
			w.up(c+1, s+1, "abc")
		}, client: "abcdefghi"},
		"overlap: the first bytes win": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+4, s+1, "def")
			w.up(c+1, s+1, "abcDEFghi")
			w.up(c+8, s+1, "HIj")
		}, client: "abcdefghij"},
		"overlap on both sides": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+3, s+1, "cd")
			w.up(c+7, s+1, "gh")
			w.up(c+2, s+1, "bCDefGHi")
			w.up(c+1, s+1, "aBC")
		}, client: "abcdefghi"},
		"keep-alive": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+3, s+1, "x")
			w.tcp(true, ACK, c+3, s+1, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"keep-alive before data": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c, s+1, "x")
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"sequence numbers wrap": {play: func(w *wire) {
			c := uint32(0xfffffffd)
			w.handshake(c, 0xffffffff)
			w.up(c+5, 0, "efgh")
			w.up(c+1, 0, "abcd")
			w.down(0, c+9, "0123")
		}, client: "abcdefgh", server: "0123"},
		"payload in the SYN": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "abc", 3)
			w.tcp(false, SYN|ACK, s, c+4, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"payload in the SYN, not accepted": {play: func(w *wire) {
			w.tcp(true, SYN, c, 0, "abc", 3)
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abcdef")
		}, client: "abcdef"},
		"lost segment": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+7, s+1, "ghi")
		}, client: "abc", clientGap: true, total: 6},
		"lost segment, given up": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+7, s+1, "ghi")
			w.now += 4 * time.Second
			w.up(c+10, s+1, "jkl")
			w.up(c+4, s+1, "def")
		}, client: "abc", clientGap: true, total: 9},
		"lost segment, but acknowledged": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+7, s+1, "ghi")
			w.now += 250 * time.Millisecond
			w.tcp(false, ACK, s+1, c+10, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abc", clientGap: true, total: 6},
		"retransmitted late": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.up(c+7, s+1, "ghi")
			w.now += 2 * time.Second
			w.tcp(false, ACK, s+1, c+4, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abcdefghi"},
		"lost at the end, acknowledged": {play: func(w *wire) {
			w.handshake(c, s)
			w.down(s+1, c+4, "012")
		}, server: "012", clientGap: true},
		"lost before the FIN": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(true, FIN|ACK, c+7, s+1, "", 0)
			w.tcp(false, FIN|ACK, s+1, c+8, "", 0)
		}, client: "abc", clientGap: true, total: 3},
		"reordered before the FIN": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(true, FIN|ACK, c+7, s+1, "", 0)
			w.tcp(false, FIN|ACK, s+1, c+8, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"acknowledged FIN is no gap": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(false, ACK, s+1, c+5, "", 0)
		}, client: "abc"},
		"half closed": {play: func(w *wire) {
			w.handshake(c, s)
			w.tcp(true, FIN|ACK|PSH, c+1, s+1, "abc", 3)
			w.down(s+1, c+5, "012")
			w.down(s+4, c+5, "345")
			w.tcp(false, FIN|ACK, s+7, c+5, "", 0)
			w.tcp(true, ACK, c+5, s+8, "", 0)
		}, client: "abc", server: "012345"},
		"data after a reset": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(false, RST, s+1, 0, "", 0)
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"data long after a forged reset": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(false, RST, s+1, 0, "", 0)
			w.now += time.Minute
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"data after a forged reset, the first": {play: func(w *wire) {
			w.handshake(c, s)
			w.tcp(false, RST, s+1, 0, "", 0)
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"cut by the capture": {play: func(w *wire) {
			w.handshake(c, s)
			w.tcp(true, ACK, c+1, s+1, "abc", 6)
			w.up(c+7, s+1, "ghi")
		}, client: "abc", clientGap: true, total: 9},
		"cut by the capture, at the end": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.tcp(true, ACK, c+4, s+1, "", 6)
		}, client: "abc", clientGap: true, total: 9},
		"far ahead of the stream": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1+1<<31-5, s+1, "zzz")
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
		"port used again": {play: func(w *wire) {
			w.handshake(c+5000, s+5000)
			w.up(c+5001, s+5001, "old")
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
		}, client: "abc", flows: 2},
		"port used again, SYN lost": {play: func(w *wire) {
			w.handshake(c+5_000_000, s+5000)
			w.up(c+5_000_001, s+5001, "old")
			w.down(s+5001, c+5_000_004, "old")
			w.tcp(false, SYN|ACK, s, c+1, "", 0)
			w.up(c+1, s+1, "abc")
		}, client: "abc", flows: 2},
		"port used again after both FIN": {play: func(w *wire) {
			w.handshake(c+5000, s+5000)
			w.up(c+5001, s+5001, "old")
			w.tcp(true, FIN|ACK, c+5004, s+5001, "", 0)
			w.tcp(false, FIN|ACK, s+5001, c+5005, "", 0)
			w.tcp(true, ACK, c+5005, s+5002, "", 0)
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
		}, client: "abc", flows: 2},
		"silent for long, then on": {play: func(w *wire) {
			w.handshake(c, s)
			w.up(c+1, s+1, "abc")
			w.now += 6 * time.Minute
			w.up(c+4, s+1, "def")
		}, client: "abcdef"},
		"silent for long after the handshake": {play: func(w *wire) {
			w.handshake(c, s)
			w.now += 6 * time.Minute
			w.up(c+1, s+1, "abc")
		}, client: "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := newWire(Config{})
			test.play(w)
			w.table.Close()
			require.Len(t, r.flows, max(1, test.flows))
			got := r.flows[len(r.flows)-1]
			require.Equal(t, test.client, got.client)
			require.Equal(t, test.server, got.server)
			require.Equal(t, test.clientGap, got.conv.Client.Gap, "client's gap")
			require.Equal(t, test.serverGap, got.conv.Server.Gap, "server's gap")
			require.Equal(t, !test.midstream, got.conv.StartSeen)
			require.True(t, got.conv.Ended)
			if !test.clientGap {
				test.total = uint64(len(test.client))
			}
			if !strings.Contains(name, "SYN lost, and the first") {
				require.Equal(t, test.total, got.conv.Client.Total)
			}
			require.Equal(t, "10.0.0.9:40000", got.flow.Client().String())
			require.Equal(t, "10.0.0.1:443", got.flow.Server().String())
			st := w.table.Stats()
			require.Zero(t, st.Flows)
			require.Zero(t, st.SampleBytes)
		})
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.handshake(10, 20)
	w.up(11, 21, "abc")     // 0
	w.down(21, 14, "0123")  // 1
	w.up(18, 25, "hi")      // 2
	w.up(14, 25, "defgHIj") // 3, and 4 after the bytes that are there
	w.table.Close()
	got := r.flows[0].conv
	ms := int64(time.Millisecond)
	require.Equal(t, []conformance.Segment{
		{Offset: 0, Length: 3, Order: 0, Time: 3 * ms},
		{Offset: 3, Length: 4, Order: 3, Time: 6 * ms},
		{Offset: 7, Length: 2, Order: 2, Time: 5 * ms},
		{Offset: 9, Length: 1, Order: 4, Time: 6 * ms},
	}, got.Client.Segments)
	require.Equal(t, []conformance.Segment{{Offset: 0, Length: 4, Order: 1, Time: 4 * ms}}, got.Server.Segments)
}

// TestSegmentsSwapped finds out only by the SYN that the server was seen first.
func TestSegmentsSwapped(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.down(21, 11, "0123")
	w.up(11, 25, "abc")
	w.tcp(true, SYN, 10, 0, "", 0)
	w.down(25, 14, "45")
	w.table.Close()
	got := r.flows[0].conv
	ms := int64(time.Millisecond)
	require.Equal(t, []conformance.Segment{{Offset: 0, Length: 3, Order: 1, Time: ms}}, got.Client.Segments)
	require.Equal(t, []conformance.Segment{{Offset: 0, Length: 4, Order: 0}, {Offset: 4, Length: 2, Order: 2, Time: 3 * ms}}, got.Server.Segments)
	require.Equal(t, [2]uint64{2, 2}, r.flows[0].flow.Packets)
	require.False(t, got.StartSeen)
}

func TestSegmentsAreBounded(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.handshake(0, 0)
	for i := range uint32(400) {
		w.up(1+i, 1, "x")
	}
	w.table.Close()
	require.Equal(t, strings.Repeat("x", 400), r.flows[0].client)
	require.Len(t, r.flows[0].conv.Client.Segments, maxMarks)
	require.Equal(t, maxMarks-1, r.flows[0].conv.Client.Segments[maxMarks-1].Offset)
}
