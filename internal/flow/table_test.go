package flow

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// wire writes raw IPv4 packets between one client and one server.
type wire struct {
	table *Table
	now   time.Duration
	port  uint16 // the client's; 0 is 40000
	iface int
	proc  *capture.Process
	dir   capture.Direction
}

const epoch = int64(1_700_000_000_000_000_000)

func (w *wire) packet(toServer bool, transport uint8, header []byte, payload string, length int) {
	b := make([]byte, 20, 20+len(header)+len(payload))
	b[0], b[9] = 0x45, transport
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(header)+length))
	client, server := []byte{10, 0, 0, 9}, []byte{10, 0, 0, 1}
	port := w.port
	if port == 0 {
		port = 40000
	}
	src, dst := port, uint16(443)
	if !toServer {
		client, server, src, dst = server, client, dst, src
	}
	copy(b[12:], client)
	copy(b[16:], server)
	binary.BigEndian.PutUint16(header, src)
	binary.BigEndian.PutUint16(header[2:], dst)
	b = append(append(b, header...), payload...)
	w.now += time.Millisecond
	w.table.Add(&capture.Packet{
		Time: epoch + int64(w.now), LinkType: linkRaw, Data: b, Length: 20 + len(header) + length,
		Interface: w.iface, Process: w.proc, Direction: w.dir,
	})
}

// tcp sends a segment of which the capture holds payload, and the wire length bytes.
func (w *wire) tcp(toServer bool, flags uint8, seq, ack uint32, payload string, length int) {
	h := make([]byte, 20)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = 5<<4, flags
	w.packet(toServer, TCP, h, payload, length)
}

func (w *wire) up(seq, ack uint32, payload string) {
	w.tcp(true, ACK|PSH, seq, ack, payload, len(payload))
}

func (w *wire) down(seq, ack uint32, payload string) {
	w.tcp(false, ACK|PSH, seq, ack, payload, len(payload))
}

func (w *wire) handshake(client, server uint32) {
	w.tcp(true, SYN, client, 0, "", 0)
	w.tcp(false, SYN|ACK, server, client+1, "", 0)
	w.tcp(true, ACK, client+1, server+1, "", 0)
}

func (w *wire) udp(toServer bool, payload string, length int) {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h[4:], uint16(8+length))
	w.packet(toServer, UDP, h, payload, length)
}

// seen is what the judge was last shown of a flow, copied.
type seen struct {
	flow   *Flow
	conv   conformance.Conversation
	client string
	server string
	calls  int
}

// recorder is a judge that keeps what it saw, in order of the flows' first packet.
type recorder struct {
	flows []*seen
	by    map[*Flow]*seen
	say   func(c *conformance.Conversation) conformance.Judgement
}

func (r *recorder) judge(f *Flow, c *conformance.Conversation) conformance.Judgement {
	if r.by == nil {
		r.by = map[*Flow]*seen{}
	}
	s := r.by[f]
	if s == nil {
		s = &seen{flow: f}
		r.by[f] = s
		r.flows = append(r.flows, s)
	}
	s.calls++
	s.conv, s.client, s.server = *c, string(c.Client.Data), string(c.Server.Data)
	s.conv.Client.Segments = append([]conformance.Segment(nil), c.Client.Segments...)
	s.conv.Server.Segments = append([]conformance.Segment(nil), c.Server.Segments...)
	if r.say != nil {
		return r.say(c)
	}
	return conformance.Judgement{Verdict: conformance.Undetermined}
}

func newWire(c Config) (*wire, *recorder) {
	r := &recorder{}
	c.Judge = r.judge
	return &wire{table: New(c)}, r
}

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

func TestUDP(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<6)
	for name, test := range map[string]struct {
		play           func(w *wire)
		client, server string
		gap            bool
		total          uint64
		segments       int
		flows          int
	}{
		"datagrams": {play: func(w *wire) {
			w.udp(true, "abc", 3)
			w.udp(false, "012", 3)
			w.udp(true, "", 0)
			w.udp(true, "abc", 3)
		}, client: "abcabc", server: "012", total: 6, segments: 2},
		"cut by the capture": {play: func(w *wire) {
			w.udp(true, "abc", 3)
			w.udp(true, "de", 3)
			w.udp(true, "xyz", 3)
		}, client: "abcde", gap: true, total: 9, segments: 2},
		"more than is kept": {play: func(w *wire) {
			for range 17 {
				w.udp(true, big, len(big))
			}
		}, client: strings.Repeat(big, 16), total: 17 << 10, segments: 16},
		"seen on two interfaces": {play: func(w *wire) {
			for _, s := range []string{"abc", "def"} {
				w.iface = 1
				w.udp(true, s, 3)
				w.iface = 2
				w.udp(true, s, 3)
			}
			w.udp(false, "012", 3)
		}, client: "abcdef", server: "012", total: 6, segments: 2},
		"moved to another interface": {play: func(w *wire) {
			w.iface = 1
			w.udp(true, "abc", 3)
			w.now += 2 * time.Second
			w.iface = 2
			w.udp(true, "def", 3)
		}, client: "abcdef", total: 6, segments: 2},
		"silent for long": {play: func(w *wire) {
			w.udp(true, "old", 3)
			w.now += 3*time.Minute + time.Second
			w.udp(true, "abc", 3)
		}, client: "abc", total: 3, segments: 1, flows: 2},
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
			require.Equal(t, test.gap, got.conv.Client.Gap)
			require.Equal(t, test.total, got.conv.Client.Total)
			require.Len(t, got.conv.Client.Segments, test.segments)
			require.True(t, got.conv.StartSeen)
		})
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.handshake(0, 0)
	w.up(1, 1, "abc")
	w.up(1, 1, "abc")
	w.down(1, 4, "0123")
	w.tcp(false, FIN|ACK, 5, 4, "", 0)
	w.table.Close()
	f := r.flows[0].flow
	require.Equal(t, [2]uint64{4, 3}, f.Packets)
	require.Equal(t, [2]uint64{6, 4}, f.Bytes)
	require.Equal(t, [2]uint8{SYN | ACK | PSH, SYN | ACK | PSH | FIN}, f.TCPFlags)
	require.Equal(t, epoch+int64(time.Millisecond), f.FirstSeen)
	require.Equal(t, epoch+7*int64(time.Millisecond), f.LastSeen)
}

func TestProcess(t *testing.T) {
	t.Parallel()
	unknown, in, out, other := &capture.Process{PID: -1}, &capture.Process{PID: 1}, &capture.Process{PID: 2}, &capture.Process{PID: 3}
	w, _ := newWire(Config{})
	var f *Flow
	step := func(p *capture.Process, d capture.Direction, toServer bool) *capture.Process {
		w.proc, w.dir = p, d
		w.udp(toServer, "x", 1)
		for f = range w.table.Flows() {
		}
		return f.Process
	}
	require.Nil(t, step(nil, capture.Unknown, true))
	require.Equal(t, LocalUnknown, f.Local)
	require.Same(t, unknown, step(unknown, capture.In, false))
	require.Equal(t, LocalClient, f.Local)
	require.Same(t, in, step(in, capture.In, false))
	require.Same(t, in, step(unknown, capture.Out, true))
	require.Same(t, out, step(out, capture.Out, true))
	require.Same(t, out, step(other, capture.Out, true))
	require.Equal(t, LocalClient, f.Local)
}

// TestJudgeIsAmortised counts what a judge that never makes up its mind is shown: not much more than there is.
func TestJudgeIsAmortised(t *testing.T) {
	t.Parallel()
	shown := 0
	w, r := newWire(Config{})
	r.say = func(c *conformance.Conversation) conformance.Judgement {
		shown += len(c.Client.Data) + len(c.Server.Data)
		return conformance.Judgement{Verdict: conformance.Undetermined}
	}
	w.handshake(0, 0)
	for i := range uint32(MaxSample) {
		w.now = 0
		w.up(1+i, 1+i, "x")
		w.down(1+i, 2+i, "y")
	}
	require.Less(t, shown, 3*2*MaxSample)
	require.Equal(t, 8, r.flows[0].calls) // the first exchange, 512, 1 Ki, … 32 Ki
	require.Equal(t, MaxSample, len(r.flows[0].client))
	require.Zero(t, w.table.Stats().SampleBytes)
	w.table.Close()
	require.Equal(t, 8, r.flows[0].calls)
}

func TestFinalFreesBuffers(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	r.say = func(c *conformance.Conversation) conformance.Judgement {
		return conformance.Judgement{Verdict: conformance.TLS, Final: len(c.Server.Data) > 0}
	}
	w.handshake(0, 0)
	w.up(1, 1, "abc")
	require.NotZero(t, w.table.Stats().SampleBytes)
	w.down(1, 4, "012")
	require.Zero(t, w.table.Stats().SampleBytes)
	w.up(4, 4, "more")
	w.table.Close()
	require.Equal(t, 1, r.flows[0].calls)
	require.Equal(t, "abc", r.flows[0].client)
	require.Equal(t, uint64(7), r.flows[0].flow.Bytes[ToServer])
}

func TestIdleIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]conformance.Verdict{"benign": conformance.TLS, "alert": conformance.Random} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := newWire(Config{})
			r.say = verdict(v, true)
			w.handshake(0, 0)
			w.up(1, 1, "abc")
			w.down(1, 4, "abc")
			f := r.flows[0].flow
			w.table.Advance(0)
			w.table.Advance(int64(6 * time.Minute))
			require.True(t, f.Ended)
			w.up(4, 4, "def")
			require.False(t, f.Ended)
			w.table.Advance(int64(10 * time.Minute))
			require.False(t, f.Ended)
			w.table.Advance(int64(12 * time.Minute))
			require.True(t, f.Ended)
			require.Equal(t, 1, w.table.Stats().Flows)
			w.table.Advance(int64(40 * time.Minute))
			require.Zero(t, w.table.Stats().Flows)
			require.Equal(t, uint64(1), w.table.Stats().Opened)
		})
	}
}

// TestQuietBytesAreJudged has one message lie, with the clock that a live source gives.
func TestQuietBytesAreJudged(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	w.udp(true, "a beacon", 8)
	w.table.Advance(0)
	w.table.Advance(int64(9 * time.Second))
	require.Empty(t, r.flows)
	w.table.Advance(int64(11 * time.Second))
	require.Len(t, r.flows, 1)
	require.False(t, r.flows[0].conv.Ended)
	w.table.Advance(int64(4 * time.Minute))
	require.True(t, r.flows[0].conv.Ended)
	require.True(t, r.flows[0].flow.Ended)
	require.Equal(t, 1, w.table.Stats().Flows)
	w.table.Advance(int64(25 * time.Minute))
	require.Zero(t, w.table.Stats().Flows)
}

func TestClock(t *testing.T) {
	t.Parallel()
	const h, s = int64(time.Hour), int64(time.Second)
	for name, c := range map[string]struct {
		packets []int64
		want    int64
	}{
		"steady":                 {[]int64{100 * h, 100*h + s, 100*h + 3*s}, 3 * s},
		"a little back":          {[]int64{100 * h, 100*h + 3*s, 100*h + s, 100*h + 4*s}, 4 * s},
		"one wild packet":        {[]int64{100 * h, 900 * h, 100*h + s}, s},
		"a wild packet first":    {[]int64{900 * h, 100 * h, 100 * h, 100*h + s}, s},
		"set back":               {[]int64{100 * h, 50 * h, 50*h + s, 50*h + 3*s}, 2 * s},
		"a pause of ten hours":   {[]int64{100 * h, 110 * h, 110*h + s}, 10*h + s},
		"a pause of a century":   {[]int64{100 * h, 900000 * h, 900000*h + s, 900000*h + 2*s}, 1000*h + s},
		"pauses of two hours":    {[]int64{100 * h, 102 * h, 104 * h, 106 * h}, 4 * h},
		"as far as numbers go":   {[]int64{-1 << 63, 1<<63 - 1, -1 << 63, 1<<63 - 1}, 0},
		"wild packets, each new": {[]int64{100 * h, 900 * h, 200 * h, 100*h + s}, s},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k clock
			for _, p := range c.packets {
				was := k.now
				k.packet(p)
				require.GreaterOrEqual(t, k.now, was)
			}
			require.Equal(t, c.want, k.now)
		})
	}
	var k clock
	k.packet(5)
	k.advance(1000)
	k.advance(1500)
	require.Equal(t, int64(500), k.now)
	k.packet(105)
	require.Equal(t, int64(600), k.now)
	k.advance(1550)
	require.Equal(t, int64(600), k.now)
}

// TestRandomOrder sends one stream in pieces that are shuffled, repeated and cut anew: it must come out whole.
func TestRandomOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		stream := make([]byte, 1+rnd.IntN(MaxSample))
		for i := range stream {
			stream[i] = byte(rnd.Uint32())
		}
		w, r := newWire(Config{})
		isn := rnd.Uint32()
		w.handshake(isn, 0)
		const window = 3000 // within this, order is at random, and everything is sent twice
		for at := 0; at < len(stream); at += window {
			end := min(at+window, len(stream))
			var cuts []int
			for range 2 {
				for c := at; c < end; c += 500 {
					cuts = append(cuts, c)
				}
			}
			rnd.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
			for _, c := range cuts {
				from := max(0, c-rnd.IntN(100))
				to := min(c+500+rnd.IntN(50), len(stream))
				w.up(isn+1+uint32(from), 1, string(stream[from:to]))
			}
		}
		w.table.Close()
		require.Equal(t, string(stream), r.flows[0].client, "seed %d", seed)
		require.False(t, r.flows[0].conv.Client.Gap)
		require.Equal(t, uint64(len(stream)), r.flows[0].conv.Client.Total)
	}
}
