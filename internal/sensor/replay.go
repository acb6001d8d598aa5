package sensor

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/tls"
	"github.com/cipherlens/cipherlens/internal/flow"
)

const (
	// maxHandshakes bounds how many handshakes are remembered, 24 bytes each.
	maxHandshakes = 1 << 15
	// replayAfter is how much later a connection must begin to be a replay: a redirection or a NAT on the host shows one connection twice within moments. (Where a
	// proxy is asked for a tunnel first, the stream does not begin with a ServerHello.)
	replayAfter = int64(10 * time.Second)
)

// replayed is the violation of a handshake that was seen before, in another connection.
const replayed = "handshake_replayed"

// handshakes remembers the randoms of servers. Genuine ones are fresh for each connection, so that a server which says again what it said before plays a recording; nothing
// within one flow can tell. The first connection of a recording is not told either. It is for one goroutine.
type handshakes struct {
	seed  maphash.Seed
	first map[uint64]handshake
	order []uint64 // a ring of the keys in first, the oldest at next once it is full
	next  int
}

// handshake is where a random was seen first.
type handshake struct {
	flow   uint64 // of its ends
	opened int64  // nanoseconds since 1970
}

type ends struct{ client, server netip.AddrPort }

func newHandshakes() *handshakes {
	return &handshakes{seed: maphash.MakeSeed(), first: map[uint64]handshake{}}
}

// check makes a mimic of a flow that is TLS but for a handshake which another flow had before.
func (h *handshakes) check(f *flow.Flow, c *conformance.Conversation, j *conformance.Judgement) {
	if j.Verdict != conformance.TLS {
		return
	}
	random := tls.ServerRandom(c)
	if random == nil {
		return
	}
	key := maphash.Bytes(h.seed, random)
	now := handshake{maphash.Comparable(h.seed, ends{f.Client(), f.Server()}), f.FirstSeen}
	before, known := h.first[key]
	switch {
	case !known:
		h.remember(key, now)
	case before.flow != now.flow && now.opened-before.opened >= replayAfter:
		j.Verdict = conformance.TLSMimic
		j.Violations = append(slices.Clone(j.Violations), replayed)
	}
}

func (h *handshakes) remember(key uint64, first handshake) {
	h.first[key] = first
	if len(h.order) < maxHandshakes {
		h.order = append(h.order, key)
		return
	}
	delete(h.first, h.order[h.next])
	h.order[h.next] = key
	h.next = (h.next + 1) % maxHandshakes
}
