package conformance

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A search looks for the framings that explain most of both directions, and of each alone.
type search struct {
	tries  [3]attempt
	tally  tally
	failed [2]int // with how many spare ends a direction's walk failed; -1: it did not
}

// Indexes of a search's attempts.
const (
	bothSides = iota
	clientAlone
	serverAlone
)

// An attempt is the search for one framing.
type attempt struct {
	sides     [2]*carried // with their first units
	first     [2]int      // lengths of these; 0: the direction is left out
	cut       [2]bool     // whether these may end within a message
	present   uint8       // directions with a first one, a bit each, and of these the ones that are cut
	open      uint8
	known     int // ends
	narrowest int // field that may still do
	lengths   int // different ones that the messages have, as differentLengths counts them
	walked    int
	best      framing
	evidence  float64 // of best, or what is asked for
	found     bool
}

func (t *attempt) start(a, b *carried) {
	*t = attempt{sides: [2]*carried{a, b}, known: len(a.ends) + len(b.ends), evidence: minEvidence, narrowest: 1}
	for i, s := range t.sides {
		if len(s.units) > 0 {
			t.first[i], t.cut[i] = len(s.units[0]), s.open && len(s.units) == 1
		}
		if t.first[i] > 0 {
			t.present |= 1 << i
			if t.cut[i] {
				t.open |= 1 << i
			}
		}
	}
}

// holds says whether f explains both directions at all.
func (s *search) holds(f framing, a, b *carried) bool {
	t := &s.tries[bothSides]
	t.start(a, b)
	at := t.fields(f.position)
	if first := t.begin(&f, [2]int{f.of(at[0]), f.of(at[1])}); !t.begins(&first) {
		return false
	}
	_, ok := s.explains(t, &f, t.known/2)
	return ok
}

// frame looks for the framing that explains most of both directions.
func (s *search) frame(a, b *carried) (best framing, ok bool) {
	s.tries[bothSides].start(a, b)
	s.frames(s.tries[:1])
	return s.tries[bothSides].best, s.tries[bothSides].found
}

// each also looks for framings of either direction alone.
func (s *search) each(a, b *carried) {
	s.tries[bothSides].start(a, b)
	s.tries[clientAlone].start(a, &nothing)
	s.tries[serverAlone].start(&nothing, b)
	s.frames(s.tries[:])
}

// frames makes attempts, of which the first one is about all that the others are about.
func (s *search) frames(tries []attempt) {
	for i := range tries {
		t := &tries[i]
		t.lengths = differentLengths(t.sides[0], t.sides[1])
	}
	all, able := &tries[0], able(tries)
	for position := 0; position <= maxPosition && position < max(all.first[0], all.first[1]); position++ {
		var from [maxWidth + 2]uint8 // attempts, a bit each, by the narrowest field that may do
		for i := range tries {
			from[tries[i].narrow(position)] |= 1 << i
		}
		at, live := all.fields(position), uint8(0)
		for width := 1; width <= maxWidth; width++ {
			if live |= from[width]; live == 0 {
				continue
			}
			f, unused := framing{position: position, width: width}, (32-8*uint(width))&31
			limit := [2]int64{all.limit(0, at[0], width), all.limit(1, at[1], width)}
			a, b := at[0].bytes>>unused, at[1].bytes>>unused
			if now := live & able[within(a, limit[0])|within(b, limit[1])<<1]; now != 0 {
				s.field(tries, now, f, at)
			}
			if width == 1 {
				continue
			}
			a, b = bits.ReverseBytes32(at[0].bytes)<<unused>>unused, bits.ReverseBytes32(at[1].bytes)<<unused>>unused
			if now := live & able[within(a, limit[0])|within(b, limit[1])<<1]; now != 0 {
				f.little = true
				s.field(tries, now, f, at)
			}
		}
	}
}

// able are the attempts, a bit each, in which the first messages may begin, by the directions, a bit each, whose first unit is at least as long as a
// field says: that must be one, and all that are not cut.
func able(tries []attempt) (able [4]uint8) {
	for whole := range uint8(4) {
		for i := range tries {
			if t := &tries[i]; whole&t.present != 0 && t.present&^(whole|t.open) == 0 {
				able[whole] |= 1 << i
			}
		}
	}
	return able
}

// within is 1 where a number is within a limit.
func within(n uint32, limit int64) uint8 { return uint8((int64(n)-limit-1)>>63) & 1 }

// limit is the most that a field of the first unit may hold: that unit's length, or -1 where it is cut off or there is none.
func (t *attempt) limit(side int, at field, width int) int64 {
	if t.first[side] == 0 || at.left < width {
		return -1
	}
	return int64(t.first[side])
}

// field tries f, at which the first units have certain numbers, in some attempts. What may be left out of the number there is nothing, all up to
// itself, or what the first message of either side shows.
func (s *search) field(tries []attempt, live uint8, f framing, at [2]field) {
	values := [2]int{f.of(at[0]), f.of(at[1])}
	base := f.position + f.width
	s.try(tries, live, f, values, asItIs)
	f.extra = base
	s.try(tries, live, f, values, asItIs)
	if leastFitted[f.position][f.width] > tries[0].known {
		return
	}
	for i, v := range values {
		if tries[0].first[i] == 0 || v < 0 {
			continue
		}
		if f.extra = tries[0].sides[i].ends[0] - v; f.extra > 0 && f.extra <= maxExtra && f.extra != base {
			s.try(tries, live, f, values, i)
		}
	}
}

// fields are what the first units have at a position.
func (t *attempt) fields(position int) (at [2]field) {
	for i, s := range t.sides {
		if t.first[i] > 0 {
			at[i] = fieldAt(s.units[0], position)
		}
	}
	return at
}

// asItIs says that no direction was used to find what a field leaves out.
const asItIs = -1

// try keeps f where it is the best so far of an attempt. What it leaves out may be fitted to a direction, which the attempt must be about.
func (s *search) try(tries []attempt, live uint8, f framing, values [2]int, fitted int) {
	first := tries[0].begin(&f, values)
	if first.whole == 0 {
		return
	}
	s.failed = [2]int{-1, -1}
	for ; live != 0; live &= live - 1 {
		t := &tries[bits.TrailingZeros8(live)]
		if fitted != asItIs && t.present>>fitted&1 == 0 {
			continue
		}
		need := t.needed(&f)
		spare := min(t.known/2, t.known-need)
		if spare < 0 || t.walked >= maxWalked || t.present&1 != 0 && s.failed[0] >= spare || t.present&2 != 0 && s.failed[1] >= spare {
			continue
		}
		if !t.begins(&first) || need > t.lengths && t.present&^first.known == 0 {
			continue
		}
		if told, fits := s.explains(t, &f, spare); fits && told >= need {
			t.best, t.evidence, t.found = f, f.evidence(told), true
		}
	}
}

// narrow is the width of the narrowest field that may still be the best, from a position on: a narrower one needs more lengths than ends are known.
func (t *attempt) narrow(position int) int {
	for t.narrowest <= maxWidth && t.evidence+fieldChoice[position] >= float64(8*t.narrowest*t.known) {
		t.narrowest++
	}
	return t.narrowest
}

// needed is how many different lengths f must foretell to be the best so far.
func (t *attempt) needed(f *framing) int {
	switch {
	case t.found:
		return f.needed(t.evidence)
	case f.fitted():
		return leastFitted[f.position][f.width]
	}
	return leastTold[f.position][f.width]
}

// A beginning is what a framing says of the first message of either direction, a bit each.
type beginning struct {
	fails uint8 // there is none
	whole uint8 // it is all there
	known uint8 // it ends where one is known to end
}

func (t *attempt) begin(f *framing, values [2]int) (first beginning) {
	for i, v := range values {
		bit, n := uint8(1)<<i, v+f.extra
		switch {
		case t.present&bit == 0:
			continue
		case v >= 0 && n < f.position+f.width:
			first.fails |= bit
		case v >= 0 && n <= t.first[i]:
			first.whole |= bit
		case t.cut[i]:
			n = t.first[i]
		default:
			first.fails |= bit
		}
		if n == t.sides[i].ends[0] {
			first.known |= bit
		}
	}
	return first
}

// begins says whether the first message of neither side fails, and one is whole. Where those of all end where messages are known to end, there is
// hardly more to foretell than the lengths of these.
func (t *attempt) begins(first *beginning) bool {
	return t.present&first.fails == 0 && t.present&first.whole != 0
}

// differentLengths is how many different lengths the messages have that the known ends show, counted up to what any framing needs.
func differentLengths(sides ...*carried) int {
	const enough = 8
	var seen [enough]int
	n := 0
	for _, s := range sides {
		last := 0
		for _, end := range s.ends {
			length := end - last
			if s.stream {
				last = end
			}
			if slices.Contains(seen[:n], length) {
				continue
			}
			seen[n] = length
			if n++; n == enough {
				return maxMessages
			}
		}
	}
	return n
}

// A tally is how well a framing foretells the known ends.
type tally struct {
	hits, misses, parts int
	spare               int              // ends that may be missed
	lengths             [maxMessages]int // different ones that were foretold
	told                int
}

// explains walks through all units and says how many different lengths the field foretold, each of which counts its width. Equally long
// messages foretell nothing new. Most known ends must be foretold; where both sides speak at once, some ends are none. The messages that it
// took are added to walked; it gives up where more than spare ends are not foretold.
func (s *search) explains(of *attempt, f *framing, spare int) (told int, ok bool) {
	t := &s.tally
	t.hits, t.misses, t.told, t.spare = 0, 0, 0, spare
	for k, side := range of.sides {
		t.parts = 0
		left := spare - t.misses
		for i, unit := range side.units {
			before := t.parts
			fits := t.unit(f, unit, side.endsOf(i), side.open && i == len(side.units)-1)
			of.walked += t.parts - before + 1
			if !fits {
				s.failed[k] = left
				return 0, false
			}
		}
	}
	return t.told, t.hits > 0 && t.misses <= t.hits
}

// unit walks through one unit; it fails unless the last message ends where the bytes end, or, where cut is allowed, beyond.
func (t *tally) unit(f *framing, b []byte, ends []int, cut bool) bool {
	known, least := 0, f.position+f.width
	shift := 32 - 8*uint(f.width)
	mask := ^uint32(0) >> shift
	for at := 0; at < len(b) && t.parts < maxFramed; t.parts++ {
		v := -1
		if from := at + f.position; from+4 > len(b) {
			v = f.value(b[at:])
		} else if x := b[from : from+4]; f.little {
			v = int(binary.LittleEndian.Uint32(x) & mask)
		} else {
			v = int(binary.BigEndian.Uint32(x) >> shift)
		}
		n := v + f.extra
		foretold := v >= 0 && n <= len(b)-at
		switch {
		case v >= 0 && n < least:
			return false
		case foretold:
		case cut:
			n = len(b) - at
		default:
			return false
		}
		at += n
		if last := known + t.spare - t.misses; last < len(ends) && ends[last] < at {
			return false // too few are left to be foretold
		}
		for known < len(ends) && ends[known] <= at {
			if ends[known] < at {
				t.misses++
			} else if foretold {
				t.hit(n)
			} else {
				break
			}
			known++
		}
	}
	return true
}

func (t *tally) hit(length int) {
	t.hits++
	if t.told < maxMessages && !slices.Contains(t.lengths[:t.told], length) {
		t.lengths[t.told] = length
		t.told++
	}
}
