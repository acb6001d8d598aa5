package protocol

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// checkIndex asks all entries about c, those too that the index rules out: none of these may match, and the first of all that matches is what
// Recognize names.
func checkIndex(t testing.TB, c *conformance.Conversation) {
	t.Helper()
	r := &udp
	if c.Transport == conformance.TCP {
		r = &tcp
	}
	var v views
	v.look(c, false)
	v.turn()
	may := r.index.candidates(&v.straight)
	matches := make([]bool, len(r.all))
	for i, e := range r.all {
		if !c.StartSeen && e.when&midstream == 0 {
			continue
		}
		straight, exchanged := e.match(&v.straight), e.when&turned != 0 && e.match(&v.turned)
		if straight && !may.straight.has(i) || exchanged && !may.turned.has(i) {
			t.Fatalf("%s says yes where the index rules it out: client %x server %x", e.name, c.Client.Data, c.Server.Data)
		}
		if (straight || exchanged) && e.when&onPort != 0 && !e.usual(c.ServerPort) && !e.usual(c.ClientPort) {
			t.Fatalf("%s says yes on ports %d and %d", e.name, c.ClientPort, c.ServerPort)
		}
		matches[i] = straight || exchanged
	}
	name := ""
	for _, ports := range [...][]uint16{{c.ServerPort}, {c.ClientPort}, nil} {
		for i, e := range r.all {
			if name == "" && matches[i] && (ports == nil || e.usual(ports[0])) {
				name = e.name
			}
		}
	}
	j, ok := Recognize(c, conformance.Options{})
	if name != j.AppProtocol || ok != (name != "") {
		t.Fatalf("%q is called %q: client %x server %x", name, j.AppProtocol, c.Client.Data, c.Server.Data)
	}
}

func (e *entry) usual(port uint16) bool { return slices.Contains(e.ports, port) }

// TestIndex begins every conversation that is known with every byte, in both directions, cut short and padded.
func TestIndex(t *testing.T) {
	t.Parallel()
	for n, e := range append(specified, examples...) {
		whole := e.talk(t, nil)
		checkIndex(t, whole)
		if testing.Short() && n%8 > 0 {
			continue
		}
		for x := range 256 {
			for side := range 2 {
				for _, more := range [...]int{-1, 0, leastStream} {
					c := *whole
					begin([...]*conformance.Half{&c.Client, &c.Server}[side], byte(x), more)
					c.StartSeen, c.Ended = x&1 != 0, x&2 != 0
					checkIndex(t, &c)
					c.StartSeen, c.Ended = !c.StartSeen, !c.Ended
					checkIndex(t, &c)
				}
			}
		}
	}
}

// begin has h begin with x, and its last message be so much longer.
func begin(h *conformance.Half, x byte, more int) {
	if len(h.Data) == 0 {
		return
	}
	h.Data, h.Segments = bytes.Clone(h.Data), slices.Clone(h.Segments)
	h.Data[0] = x
	last := &h.Segments[len(h.Segments)-1]
	last.Length += more
	h.Data = append(h.Data, make([]byte, leastStream)...)[:last.Offset+last.Length]
	h.Total = uint64(len(h.Data))
}

// TestSets compares what sets hold with what they were made of.
func TestSets(t *testing.T) {
	t.Parallel()
	s := of("ab").or(span(0xf0, 0xff)).orNothing()
	for x := range openings {
		require.Equal(t, x == 'a' || x == 'b' || x >= 0xf0 && x <= 0xff || x == nothing, x != unknown && s.has(x), x)
		require.Equal(t, x == 'Q' || x == 'q' || x == '-', fold("Q-").has(x), x)
	}
	for _, r := range [...]*registry{&tcp, &udp} {
		require.Less(t, len(r.all), 128, "a mask has no more bits")
		require.Less(t, len(r.ports.lists), 256, "ports count in bytes")
		for port := range 1 << 16 {
			hinted := r.ports.entries(uint16(port))
			for i := range r.all {
				if hinted.has(i) != r.all[i].usual(uint16(port)) {
					t.Fatalf("%s on port %d", r.all[i].name, port)
				}
			}
		}
	}
}

// BenchmarkRecognizeKnown names every example once.
func BenchmarkRecognizeKnown(b *testing.B) {
	var all []*conformance.Conversation
	for _, e := range append(specified, examples...) {
		all = append(all, e.talk(b, nil))
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range all {
			Recognize(c, conformance.Options{})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/conversation")
}

// FuzzIndex compares the index with asking everybody.
func FuzzIndex(f *testing.F) {
	for i, e := range append(specified, examples...) {
		c := e.talk(f, nil)
		f.Add(c.Transport == conformance.UDP, c.ServerPort, uint8(i), c.Client.Data, c.Server.Data)
	}
	f.Fuzz(func(t *testing.T, datagrams bool, port uint16, cut uint8, client, server []byte) {
		c := conformance.Conversation{Transport: conformance.TCP, ClientPort: 40001, ServerPort: port, StartSeen: cut&1 == 0, Ended: cut&2 == 0}
		if datagrams {
			c.Transport = conformance.UDP
		}
		c.Client, c.Server = messagesOf(client, int(cut)), messagesOf(server, int(cut))
		checkIndex(t, &c)
	})
}
