package protocol

// maxDatagrams bounds how many datagrams of a direction are looked at.
const maxDatagrams = 64

// sides are both directions.
func (v *view) sides() [2]*side { return [2]*side{&v.client, &v.server} }

// each gives the direction's first datagrams, as far as they were seen whole.
func (s *side) each(yield func(m []byte) bool) {
	for i := range min(s.datagrams(), maxDatagrams) {
		if m, whole := s.datagram(i); whole && !yield(m) {
			return
		}
	}
}

// share is how the datagrams of both directions answer to one protocol's format.
type share struct{ known, other int }

// most says whether at least n datagrams are known, and at most one in eight is not.
func (s share) most(n int) bool { return s.known >= n && s.other*8 <= s.known }

// lost says whether too many of at most so many datagrams are not known for most.
func (s share) lost(datagrams int) bool { return 9*s.other > datagrams }

// count asks is about each datagram of both directions.
func (v *view) count(is func(m []byte) bool) (s share) {
	for _, h := range v.sides() {
		for i := range min(h.datagrams(), maxDatagrams) {
			switch m, whole := h.datagram(i); {
			case !whole:
			case is(m):
				s.known++
			default:
				s.other++
			}
		}
	}
	return s
}

// mostly says whether is knows a datagram of either direction at least, and all but one in eight.
func (v *view) mostly(is func(m []byte) bool) bool {
	s, all := share{}, v.looked()
	for _, h := range v.sides() {
		for i := range min(h.datagrams(), maxDatagrams) {
			switch m, whole := h.datagram(i); {
			case !whole:
			case is(m):
				s.known++
			default:
				if s.other++; s.lost(all) {
					return false
				}
			}
		}
	}
	return s.most(1)
}

// looked is how many datagrams are looked at.
func (v *view) looked() int {
	return min(v.client.datagrams(), maxDatagrams) + min(v.server.datagrams(), maxDatagrams)
}

// all says whether there are at least n datagrams, and is says yes to each.
func (v *view) all(n int, is func(m []byte) bool) bool {
	known := 0
	for _, h := range v.sides() {
		for i := range min(h.datagrams(), maxDatagrams) {
			m, whole := h.datagram(i)
			if !whole {
				continue
			}
			if !is(m) {
				return false
			}
			known++
		}
	}
	return known >= n
}

// datagrams is the match of a protocol of which every datagram tells by itself: at least n, and no other.
func datagrams(n int, is func(m []byte) bool) func(v *view) bool {
	return func(v *view) bool { return v.all(n, is) }
}

// streams is the match of a protocol whose TCP messages carry their length in one way in both directions: at least n whole
// ones, and none that is not one. size gives the length of the message that b starts with, 0 where more bytes are needed to
// know, and less where b is none.
func streams(n int, size func(b []byte) int) func(v *view) bool {
	return func(v *view) bool {
		a, ok := framed(v.client.data, size)
		if !ok {
			return false
		}
		b, ok := framed(v.server.data, size)
		return ok && a+b >= n
	}
}

// framed counts the whole messages of a stream; ok means that nothing contradicted.
func framed(b []byte, size func(b []byte) int) (n int, ok bool) {
	for len(b) > 0 {
		s := size(b)
		if s < 0 {
			return n, false
		}
		if s == 0 || s > len(b) {
			break
		}
		n++
		b = b[s:]
	}
	return n, true
}

// Numbers at the start of b, which must be long enough.
func be16(b []byte) int { return int(b[0])<<8 | int(b[1]) }
func be24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
func le16(b []byte) int { return int(b[1])<<8 | int(b[0]) }
func le32(b []byte) uint32 {
	return uint32(b[3])<<24 | uint32(b[2])<<16 | uint32(b[1])<<8 | uint32(b[0])
}
