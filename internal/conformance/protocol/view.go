package protocol

import (
	"crypto/aes"
	"sync"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// view is a conversation as recognizers read it. None changes it.
type view struct {
	c              *conformance.Conversation
	client, server side
	clientPort     uint16
	serverPort     uint16
	inside         bool // it is what a tunnel carries
	payload        *payload
	block          [aes.BlockSize]byte // room for a cipher
}

// views are a conversation as it is, and with its directions exchanged.
type views struct {
	straight, turned view
	payload          payload
	carried          [2]carried
}

// kept are views that are not in use, so that asking costs no allocation.
var kept = sync.Pool{New: func() any { return new(views) }}

// look makes v the view of c as it is.
func (v *views) look(c *conformance.Conversation, inside bool) {
	s := &v.straight
	s.c, s.clientPort, s.serverPort, s.inside, s.payload = c, c.ClientPort, c.ServerPort, inside, &v.payload
	s.client.of(c, &c.Client)
	s.server.of(c, &c.Server)
}

// turn makes v the view with the directions exchanged, too.
func (v *views) turn() {
	s := &v.straight
	v.turned = view{c: s.c, client: s.server, server: s.client, clientPort: s.serverPort, serverPort: s.clientPort, inside: s.inside, payload: s.payload}
}

// port says whether one of the two ports is p.
func (v *view) port(p uint16) bool { return v.clientPort == p || v.serverPort == p }

// side is one direction.
type side struct {
	data     []byte // in order, without gaps, from the first byte seen
	open     bool   // data may go on: more was sent, was lost, or may come. UDP: the last datagram may be cut
	segments []conformance.Segment
	head     []byte // UDP: the first datagram, when all of it was seen
}

// of makes s a direction of c.
func (s *side) of(c *conformance.Conversation, h *conformance.Half) {
	s.data, s.open, s.segments, s.head = h.Data, h.Gap || h.Total > uint64(len(h.Data)), h.Segments, nil
	if c.Transport == conformance.TCP {
		s.open = s.open || !c.Ended
	} else if b, whole := s.datagram(0); whole {
		s.head = b
	}
}

// datagrams is how many UDP datagrams (or TCP segments) datagram gives.
func (s *side) datagrams() int { return len(s.segments) }

// datagram is the payload of the i-th UDP datagram, and whether all of it was seen; empty where there is none.
func (s *side) datagram(i int) (b []byte, whole bool) {
	if i < 0 || i >= len(s.segments) {
		return nil, false
	}
	g := s.segments[i]
	if g.Offset < 0 || g.Length < 0 || g.Offset > len(s.data) || g.Length > len(s.data)-g.Offset {
		return nil, false
	}
	return s.data[g.Offset : g.Offset+g.Length], !s.open || g.Offset+g.Length < len(s.data)
}

// first is the first UDP datagram when all of it was seen, else empty.
func (s *side) first() []byte { return s.head }

// every says whether ok accepts all of the direction's first n whole datagrams; also when there are none.
func (s *side) every(n int, ok func(b []byte) bool) bool {
	for i := range min(n, len(s.segments)) {
		if b, whole := s.datagram(i); whole && !ok(b) {
			return false
		}
	}
	return true
}

// behind is the direction from its n-th byte on.
func (s side) behind(n int) conformance.Half {
	n = min(max(n, 0), len(s.data))
	h := conformance.Half{Data: s.data[n:], Total: uint64(len(s.data) - n), Gap: s.open}
	for _, g := range s.segments {
		if g.Offset >= n {
			g.Offset -= n
			h.Segments = append(h.Segments, g)
		}
	}
	return h
}
