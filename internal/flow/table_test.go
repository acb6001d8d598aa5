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
	require.Equal(t, 5, r.flows[0].calls) // the first exchange, 512, 2 Ki, 8 Ki, 32 Ki
	require.Equal(t, MaxSample, len(r.flows[0].client))
	require.Zero(t, w.table.Stats().SampleBytes)
	w.table.Close()
	require.Equal(t, 5, r.flows[0].calls)
}

// TestLeast has a judge that need not answer early: what ends before it showed enough is judged once, the rest as it grows.
func TestLeast(t *testing.T) {
	t.Parallel()
	var shown []int
	w, r := newWire(Config{Least: 2000})
	r.say = func(c *conformance.Conversation) conformance.Judgement {
		shown = append(shown, len(c.Client.Data)+len(c.Server.Data))
		return conformance.Judgement{Verdict: conformance.Undetermined}
	}
	long := strings.Repeat("x", 750)
	for range 20 {
		w.udp(true, long, len(long))
		w.udp(false, long, len(long))
		w.now += 12 * time.Second // what lies is not looked at again
	}
	require.Equal(t, []int{6000, 24000}, shown)
	shown = nil
	w.port = 50000
	w.udp(true, long, len(long))
	w.udp(false, long, len(long))
	w.table.Close()
	require.ElementsMatch(t, []int{30000, 1500}, shown)
}

// TestPutOff: a look of which no final answer is expected is taken when the flow ends, at what there was, and not at all where there is
// twice as much by then.
func TestPutOff(t *testing.T) {
	t.Parallel()
	const least = 4000
	type look struct {
		client, server int
		total          uint64
		ended          bool
	}
	for _, c := range []struct {
		name   string
		begins string
		down   int // bytes of the server, 500 at a time
		stable bool
		want   []look
	}{
		{"grown", "x", 9000, false, []look{{600, 9000, 9000, true}}},
		{"as it was", "x", 8000, true, []look{{600, 4000, 4000, false}}},
		{"as it was, and what came then", "x", 8000, false, []look{{600, 4000, 4000, false}, {600, 8000, 8000, true}}},
		{"a handshake waits for three times as much", "\x16\x03", 8000, false, []look{{600, 8000, 8000, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var looks []look
			w, r := newWire(Config{Least: least})
			r.say = func(v *conformance.Conversation) conformance.Judgement {
				looks = append(looks, look{len(v.Client.Data), len(v.Server.Data), v.Server.Total, v.Ended})
				return conformance.Judgement{Verdict: conformance.Structured, Stable: c.stable}
			}
			w.handshake(0, 0)
			up := c.begins + strings.Repeat("x", 600-len(c.begins))
			w.up(1, 1, up)
			for at := 0; at < c.down; at += 500 {
				w.down(uint32(1+at), 601, strings.Repeat("y", 500))
			}
			w.table.Close()
			require.Equal(t, c.want, looks)
		})
	}
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

// TestPendingIsHurried has a judgement ask for a few more bytes: those that come are judged two seconds later, but only so often.
func TestPendingIsHurried(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"live": 1 + hurries, "offline": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			least := 0
			if name == "offline" {
				least = 4096
			}
			w, r := newWire(Config{Least: least})
			pending := conformance.Judgement{Verdict: conformance.TLS, Pending: true}
			r.say = func(*conformance.Conversation) conformance.Judgement { return pending }
			w.handshake(0, 0)
			w.up(1, 1, strings.Repeat("a", 400))
			w.down(1, 401, strings.Repeat("b", 400))
			w.table.Advance(0)
			for i := range 2 * hurries {
				w.up(uint32(401+10*i), 401, "0123456789")
				w.table.Advance(int64(time.Duration(4*i+1) * time.Second))
				w.table.Advance(int64(time.Duration(4*i+4) * time.Second))
				if i == 0 && least == 0 {
					require.Equal(t, 2, r.flows[0].calls)
				}
			}
			calls := 0
			if len(r.flows) > 0 {
				calls = r.flows[0].calls
			}
			require.Equal(t, want, calls)
		})
	}
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
	for _, wall := range []int64{105, 100 * h, 100*h + s, 50 * h, 50*h + s} {
		k.packet(wall)
		require.Equal(t, int64(500), k.now, "a clock that is set does not move a host's own time")
	}
	k.advance(1550)
	require.Equal(t, int64(550), k.now)
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
