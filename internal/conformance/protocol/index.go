package protocol

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// What a direction begins with, beside the values of its first byte.
const (
	nothing = 256 + iota // nothing was sent
	unknown              // too little to say: a recognizer may accept what is shorter than its header, whatever it is
	openings
)

// Directions shorter than this are unknown. A TCP message's length is found behind at most 38 bytes (AMS/TCP); of a datagram, what is shorter
// than every header may be passed over.
const (
	leastStream   = 40
	leastDatagram = 8
)

// opening is what s begins with.
func (s *side) opening(transport uint8) int {
	switch {
	case len(s.data) == 0 && len(s.segments) == 0:
		return nothing
	case transport == conformance.TCP && len(s.data) >= leastStream:
		return int(s.data[0])
	case transport == conformance.UDP && len(s.head) >= leastDatagram:
		return int(s.head[0])
	}
	return unknown
}

// set is of openings: a bit for each byte and one for nothing.
type set [5]uint64

func (s *set) add(x int)     { s[x>>6] |= 1 << (x & 63) }
func (s set) has(x int) bool { return s[x>>6]>>(x&63)&1 != 0 }

// those are the bytes that is accepts.
func those(is func(x byte) bool) (s set) {
	for x := range 256 {
		if is(byte(x)) {
			s.add(x)
		}
	}
	return s
}

// of are the bytes of a string.
func of(list string) (s set) {
	for i := range len(list) {
		s.add(int(list[i]))
	}
	return s
}

// fold are letters in either case, given in upper case.
func fold(list string) set {
	return of(list).or(those(func(x byte) bool { return of(list).has(int(x&^0x20)) && letter(x) }))
}

// span are the bytes from first to last.
func span(first, last byte) set { return those(func(x byte) bool { return first <= x && x <= last }) }

func (s set) or(t set) set {
	for i := range s {
		s[i] |= t[i]
	}
	return s
}

func (s set) orNothing() set {
	s.add(nothing)
	return s
}

// Sets that many texts begin with.
var (
	plain  = those(func(x byte) bool { return printable([]byte{x}) })
	method = those(ofMethod)
	some   = span(0, 255)

	hexadecimal = those(func(x byte) bool { return hexNumber([]byte{x}) >= 0 })
)

// starts is what the directions of a protocol may begin with; where it says nothing of one (the zero set), with anything. A set holds for
// directions that are not unknown.
type starts struct{ client, server set }

// anything is what no first byte tells of.
var anything starts

// asked is a protocol whose client's first message tells.
func asked(client set) starts { return starts{client: client} }

// spoken is a protocol whose client sends first, in the same manner as the server where that answers.
func spoken(s set) starts { return starts{s, s.orNothing()} }

// either is a protocol whose directions begin in the same manner, where there is anything.
func either(s set) starts { return starts{s.orNothing(), s.orNothing()} }

// mask is entries of a registry, by their index.
type mask [2]uint64

func (m *mask) add(i int)      { m[i>>6] |= 1 << (i & 63) }
func (m *mask) has(i int) bool { return m[i>>6]>>(i&63)&1 != 0 }

func (m mask) and(n *mask) mask { return mask{m[0] & n[0], m[1] & n[1]} }
func (m mask) not(n *mask) mask { return mask{m[0] &^ n[0], m[1] &^ n[1]} }

// ports tell which entries a port hints at.
type ports struct {
	known  [1 << 16 / 64]uint64 // a bit for each port that has any
	before [1 << 16 / 64]uint8  // how many of these are in the words before
	lists  []mask               // by port, in order
}

func newPorts(byPort map[uint16]mask) (p ports) {
	for _, port := range slices.Sorted(maps.Keys(byPort)) {
		p.known[port>>6] |= 1 << (port & 63)
		p.lists = append(p.lists, byPort[port])
	}
	before := 0
	for word, known := range p.known {
		p.before[word] = uint8(before)
		before += bits.OnesCount64(known)
	}
	return p
}

func (p *ports) entries(port uint16) mask {
	word, bit := p.known[port>>6], uint64(1)<<(port&63)
	if word&bit == 0 {
		return mask{}
	}
	return p.lists[int(p.before[port>>6])+bits.OnesCount64(word&(bit-1))]
}

// index is what rules entries of a registry out unasked.
type index struct {
	client, server    [openings]mask // whose directions may begin so
	midstream, turned mask
	anyPort           mask // not only on their own ports
}

func (x *index) add(i int, e *entry) {
	client, server := e.from.client == set{}, e.from.server == set{}
	for at := range openings {
		if client || at == unknown || e.from.client.has(at) {
			x.client[at].add(i)
		}
		if server || at == unknown || e.from.server.has(at) {
			x.server[at].add(i)
		}
	}
	if e.when&midstream != 0 {
		x.midstream.add(i)
	}
	if e.when&turned != 0 {
		x.turned.add(i)
	}
	if e.when&onPort == 0 {
		x.anyPort.add(i)
	}
}

// candidates are the entries that may match a conversation as it is, and with its directions exchanged.
type candidates struct{ straight, turned mask }

func (x *index) candidates(v *view) candidates {
	client, server := v.client.opening(v.c.Transport), v.server.opening(v.c.Transport)
	m := candidates{
		straight: x.client[client].and(&x.server[server]),
		turned:   x.client[server].and(&x.server[client]).and(&x.turned),
	}
	if !v.c.StartSeen {
		m.straight, m.turned = m.straight.and(&x.midstream), m.turned.and(&x.midstream)
	}
	return m
}
