package conformance

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A framing says where each message of a stream carries its own length: width bytes at position, and how many bytes the message
// has beyond the number there.
type framing struct {
	position, width int
	little          bool
	extra           int
}

// Bounds of the search. A length field lies near the start of a message; what it leaves out is at most a header and a trailer.
const (
	maxPosition = 24
	maxWidth    = 4
	maxExtra    = 128
	// minEvidence is what a framing must explain, in bits, beyond what trying so many of them explains by chance.
	minEvidence = 16
	// maxFramed bounds the messages of one stream that are looked at, and maxWalked those of a whole search: real ones take a tenth.
	maxFramed = 256
	maxWalked = 8192
)

// value reads the length field of a message, or -1 where it is cut.
func (f *framing) value(b []byte) int { return f.of(fieldAt(b, f.position)) }

// A field is what is at the position of a length field: four bytes, the first one highest, and how many of them there are.
type field struct {
	bytes uint32
	left  int
}

func fieldAt(b []byte, position int) field {
	if len(b) >= position+4 {
		return field{binary.BigEndian.Uint32(b[position:]), 4}
	}
	var last [4]byte
	n := copy(last[:], b[min(position, len(b)):])
	return field{binary.BigEndian.Uint32(last[:]), n}
}

// of is the number that a field holds, -1 where it is cut.
func (f *framing) of(at field) int {
	if at.left < f.width {
		return -1
	}
	unused := (32 - 8*uint(f.width)) & 31
	if f.little {
		return int(bits.ReverseBytes32(at.bytes) << unused >> unused)
	}
	return int(at.bytes >> unused)
}

// carried is what one direction carried: units that start with a message (datagrams, or the whole of a stream), and where in
// each, in rising order, a message is known to end: the other side spoke next, or never speaks and a segment was not full.
type carried struct {
	units  [][]byte
	ends   []int // a stream's; of datagrams, one each
	stream bool  // there is one unit at most, and all ends are its
	open   bool  // the last unit's last message may be cut
}

// nothing is what a direction carried that is left out.
var nothing carried

// endsOf are the known ends in unit i.
func (s *carried) endsOf(i int) []int {
	if s.stream {
		return s.ends
	}
	return s.ends[i : i+1]
}

// carry gives one direction's messages as datagrams, or as one stream.
func (s *side) carry(c *Conversation, h *Half) {
	if c.Transport == UDP {
		s.carried = s.datagrams(s.whole)
		return
	}
	u := carried{stream: true, open: h.Total > uint64(len(h.Data)) || h.Gap || !c.Ended}
	if len(h.Data) > 0 {
		s.stream[0] = h.Data
		u.units, u.ends = s.stream[:], s.ends[:0]
		end := 0
		for _, m := range s.whole {
			end += len(m)
			u.ends = append(u.ends, end)
		}
		if len(s.whole) == 1 && len(c.Client.Data) == len(h.Data)+len(c.Server.Data) {
			u.ends = writes(h, s.ends[:0])
		}
	}
	s.carried = u
}

// writes are the ends of what an application that gets no answer wrote at once: of segments that are not full, which is the size that the
// largest of them share.
func writes(h *Half, ends []int) []int {
	full, largest := math.MaxInt, 0
	for _, s := range h.Segments {
		switch {
		case s.Length > largest:
			full, largest = math.MaxInt, s.Length
		case s.Length == largest:
			full = largest
		}
	}
	for _, s := range h.Segments {
		if end := s.Offset + s.Length; s.Length < full && end < len(h.Data) && len(ends) < maxMessages-1 && (len(ends) == 0 || end > ends[len(ends)-1]) {
			ends = append(ends, end)
		}
	}
	return append(ends, len(h.Data))
}

// datagrams are messages or runs of them that end where they end.
func (s *side) datagrams(all [][]byte) carried {
	u := carried{units: all, ends: s.ends[:0]}
	for _, m := range all {
		u.ends = append(u.ends, len(m))
	}
	return u
}

// next is the length of the message that b starts with: all of b where it is cut and may be, and 0 where the field cannot be one. exact
// says that the field gives that length.
func (f *framing) next(b []byte, cut bool) (n int, exact bool) {
	v := f.value(b)
	switch total := v + f.extra; {
	case v >= 0 && total < f.position+f.width:
		return 0, false
	case v >= 0 && total <= len(b):
		return total, true
	case cut:
		return len(b), false
	}
	return 0, false
}

// split cuts all units of one direction into messages, those that there is room for in to.
func (f *framing) split(s *carried, to [][]byte) [][]byte {
	for i, b := range s.units {
		cut := s.open && i == len(s.units)-1
		for len(b) > 0 && len(to) < cap(to) {
			n, _ := f.next(b, cut)
			if n == 0 {
				break
			}
			to, b = append(to, b[:n]), b[n:]
		}
	}
	return to
}

// evidence is what it is worth, in bits, to foretell messages of so many different lengths, less the choice among fields.
func (f *framing) evidence(lengths int) float64 { return float64(8*f.width*lengths) - f.price() }

// needed is how many different lengths must be foretold to be worth more than so many bits.
func (f *framing) needed(evidence float64) int {
	return int((evidence+f.price())/float64(8*f.width)) + 1
}

// fitted says whether one end was used to find extra.
func (f *framing) fitted() bool { return f.extra != 0 && f.extra != f.position+f.width }

// price is what the choice of the field is worth, in bits.
func (f *framing) price() float64 {
	if f.fitted() {
		return fieldChoice[f.position] + float64(8*f.width) + 1
	}
	return fieldChoice[f.position]
}

// fieldChoice is how many bits the choice of a field is worth, by its position.
var fieldChoice = func() (choice [maxPosition + 1]float64) {
	for position := range choice {
		choice[position] = math.Log2(float64(6 * (position + 1)))
	}
	return choice
}()

// leastTold is how many different lengths must be foretold by a field of a position and width, leastFitted where extra is fitted.
var leastTold, leastFitted = least(0), least(maxExtra)

func least(extra int) (least [maxPosition + 1][5]int) {
	for position := range least {
		for width := 1; width <= 4; width++ {
			f := framing{position: position, width: width, extra: extra}
			least[position][width] = f.needed(minEvidence)
		}
	}
	return least
}
