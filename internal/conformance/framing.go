package conformance

import (
	"math"
	"slices"
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
	maxExtra    = 128
	// minEvidence is what a framing must explain, in bits, beyond what trying so many of them explains by chance.
	minEvidence = 16
	// maxFramed bounds the messages of one stream that are looked at.
	maxFramed = 256
)

// value reads the length field of a message, or -1 where it is cut.
func (f framing) value(b []byte) int {
	if len(b) < f.position+f.width {
		return -1
	}
	v := 0
	for i := range f.width {
		k := f.position + i
		if f.little {
			k = f.position + f.width - 1 - i
		}
		v = v<<8 | int(b[k])
	}
	return v
}

// carried is what one direction carried: units that start with a message (datagrams, or the whole of a stream), and where in
// each, in rising order, a message is known to end, because the other side spoke next.
type carried struct {
	units [][]byte
	ends  [][]int
	open  bool // the last unit's last message may be cut
}

// carry gives one direction's messages as datagrams, or as one stream.
func carry(c *Conversation, h *Half, all [][]byte) carried {
	if c.Transport == UDP {
		return datagrams(all)
	}
	u := carried{open: h.Total > uint64(len(h.Data)) || h.Gap || !c.Ended}
	if len(h.Data) == 0 {
		return u
	}
	u.units = [][]byte{h.Data}
	end, ends := 0, make([]int, 0, len(all))
	for _, m := range all {
		end += len(m)
		ends = append(ends, end)
	}
	u.ends = [][]int{ends}
	return u
}

// datagrams are messages or runs of them that end where they end.
func datagrams(all [][]byte) carried {
	u := carried{units: all}
	for _, m := range all {
		u.ends = append(u.ends, []int{len(m)})
	}
	return u
}

// split cuts a unit into messages. It fails unless the last one ends where the bytes end, or, where cut is allowed, beyond.
func (f framing) split(b []byte, cut bool) ([][]byte, bool) {
	if total := f.value(b) + f.extra; len(b) >= f.position+f.width && (total < f.position+f.width || total > len(b) && !cut) {
		return nil, false
	}
	var all [][]byte
	for len(b) > 0 && len(all) < maxFramed {
		v := f.value(b)
		total := v + f.extra
		switch {
		case v < 0 || total > len(b):
			if !cut {
				return nil, false
			}
			return append(all, b), true
		case total < f.position+f.width || total <= 0:
			return nil, false
		}
		all = append(all, b[:total])
		b = b[total:]
	}
	return all, true
}

// frame looks for the framing that explains most of both directions, and gives their messages split by it.
func frame(sides [2]carried) (best framing, split [2][][]byte, ok bool) {
	evidence := float64(minEvidence)
	for width := 1; width <= 4; width++ {
		for position := 0; position <= maxPosition; position++ {
			for _, little := range []bool{false, true} {
				if width == 1 && little {
					continue
				}
				f := framing{position: position, width: width, little: little}
				extras, n := f.extras(sides)
				for _, f.extra = range extras[:n] {
					parts, e, fits := f.explains(sides)
					if fits && e > evidence {
						best, split, evidence, ok = f, parts, e, true
					}
				}
			}
		}
	}
	return best, split, ok
}

// extras are what the number at f may leave out: nothing, all up to itself, or what the first message of either side shows.
func (f framing) extras(sides [2]carried) (e [4]int, n int) {
	e[1], n = f.position+f.width, 2
	for _, s := range sides {
		if len(s.units) == 0 || len(s.ends[0]) == 0 {
			continue
		}
		if v := f.value(s.units[0]); v >= 0 {
			if x := s.ends[0][0] - v; x > 0 && x <= maxExtra && x != e[1] {
				e[n] = x
				n++
			}
		}
	}
	return e, n
}

// explains splits all units and says how many bits that explains: each known end that the field foretold counts its width,
// less the choice among fields. Equally long messages foretell nothing new. Most known ends must be foretold; where both sides
// speak at once, some ends are none.
func (f framing) explains(sides [2]carried) (split [2][][]byte, evidence float64, ok bool) {
	hits, misses, told := 0, 0, 0
	var lengths [maxMessages]int
	for side, s := range sides {
		for i, unit := range s.units {
			parts, fits := f.split(unit, s.open && i == len(s.units)-1)
			if !fits {
				return split, 0, false
			}
			split[side] = append(split[side], parts...)
			at, ends := 0, s.ends[i]
			for _, part := range parts {
				at += len(part)
				for ; len(ends) > 0 && ends[0] < at; ends = ends[1:] {
					misses++
				}
				if len(ends) == 0 || ends[0] != at || !f.foretells(part) {
					continue
				}
				hits, ends = hits+1, ends[1:]
				if told < maxMessages && !slices.Contains(lengths[:told], len(part)) {
					lengths[told] = len(part)
					told++
				}
			}
		}
	}
	evidence = float64(8*f.width*told) - math.Log2(float64(6*(f.position+1)))
	if f.extra != 0 && f.extra != f.position+f.width {
		evidence -= float64(8*f.width) + 1 // one end was used to fit extra
	}
	return split, evidence, hits > 0 && misses <= hits
}

// foretells says whether b is exactly as long as its length field says.
func (f framing) foretells(b []byte) bool {
	v := f.value(b)
	return v >= 0 && v+f.extra == len(b)
}
