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

	proofs proofs
}

// handshake is where a random was seen first.
type handshake struct {
	flow   uint64 // of its ends
	opened int64  // nanoseconds since 1970
}

type ends struct{ client, server netip.AddrPort }

func newHandshakes() *handshakes {
	h := &handshakes{seed: maphash.MakeSeed(), first: map[uint64]handshake{}}
	h.proofs.seed = h.seed
	return h
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

// proofs remember what servers proved, the last ones by hash. Nothing is remembered of this host's own: on loopback anybody may take a port
// that somebody else has left.
type proofs struct {
	seed   maphash.Seed
	server netip.AddrPort // who is meant
	slots  [1 << 11]uint64
}

// of are the proofs of a server, until it is asked for those of another.
func (p *proofs) of(server netip.AddrPort) conformance.Proofs {
	if server.Addr().IsLoopback() {
		return nil
	}
	p.server = server
	return p
}

// Has implements conformance.Proofs.
func (p *proofs) Has(certificate uint64) bool {
	key := p.key(certificate)
	return p.slots[key>>32%uint64(len(p.slots))] == key
}

// Add implements conformance.Proofs.
func (p *proofs) Add(certificate uint64) {
	key := p.key(certificate)
	p.slots[key>>32%uint64(len(p.slots))] = key
}

func (p *proofs) key(certificate uint64) uint64 {
	return maphash.Comparable(p.seed, proof{p.server, certificate}) | 1
}

// proof is that a server holds a certificate's key.
type proof struct {
	server      netip.AddrPort
	certificate uint64
}
