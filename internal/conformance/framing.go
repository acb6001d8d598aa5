package conformance

import "math"

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
	minEvidence = 10
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

// split cuts what was sent in one go into messages. It fails unless the last one ends where the bytes end, or, where cut is
// allowed, beyond.
func (f framing) split(b []byte, cut bool) ([][]byte, bool) {
	var all [][]byte
	for len(b) > 0 && len(all) < maxMessages {
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

// frame looks for the framing that explains most of both directions' messages, and gives them split by it.
func frame(halves [2][][]byte, open [2]bool) (best framing, split [2][][]byte, ok bool) {
	evidence := float64(minEvidence)
	for width := 1; width <= 4; width++ {
		for position := 0; position <= maxPosition; position++ {
			for _, little := range []bool{false, true} {
				if width == 1 && little {
					continue
				}
				for _, extra := range extras(halves, framing{position: position, width: width, little: little}) {
					f := framing{position, width, little, extra}
					parts, e, fits := f.explains(halves, open)
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
func extras(halves [2][][]byte, f framing) []int {
	e := []int{0, f.position + f.width}
	for _, all := range halves {
		if len(all) == 0 {
			continue
		}
		if v := f.value(all[0]); v >= 0 {
			if x := len(all[0]) - v; x > 0 && x <= maxExtra && x != e[1] {
				e = append(e, x)
			}
		}
	}
	return e
}

// explains splits all messages and says how many bits that explains: each end that the field foretold counts its width,
// less the choice among fields.
func (f framing) explains(halves [2][][]byte, open [2]bool) (split [2][][]byte, evidence float64, ok bool) {
	hits, misses := 0, 0
	seen := map[int]bool{}
	for side, all := range halves {
		for i, m := range all {
			parts, fits := f.split(m, i == len(all)-1 && open[side])
			if !fits {
				misses++
				if misses > 0 {
					return split, 0, false
				}
				continue
			}
			last := parts[len(parts)-1]
			if v := f.value(last); v >= 0 && v+f.extra == len(last) {
				if !seen[len(m)] { // equally long messages foretell nothing new once extra is fitted
					hits++
				}
				seen[len(m)] = true
			}
			split[side] = append(split[side], parts...)
		}
	}
	evidence = float64(8*f.width*hits) - math.Log2(float64(6*(f.position+1)))
	if f.extra != 0 && f.extra != f.position+f.width {
		evidence -= float64(8*f.width) + 1 // one end was used to fit extra
	}
	return split, evidence, hits > 0
}
