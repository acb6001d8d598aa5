package conformance

import (
	"math/bits"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// Ciphertext with bytes of one value strewn in, so that more bits are set than detectors of ciphertext allow, is uniform without these. That
// fewer are set is no sign: numbers that are shorter than their fields have zeros strewn in, too.
const (
	leastStuffed  = 4 * minRandom // bytes of both directions that must be left
	stuffedSample = 1024          // of a longer sample that one value is missing shows
)

// mostBits is how many of ten bytes' bits may be set: ciphertext has 40, and the best known rule asks for 46 (Wu et al., USENIX Security 2023),
// which a sample of what goes beyond may fall short of.
const mostBits = 44

// behindStuffing looks for such ciphertext in both directions of a stream, behind a length field that holds in both: without one, what is
// compressed and padded looks the same.
func (e *examined) behindStuffing(c *Conversation) bool {
	a, b, t := &e.sides[0], &e.sides[1], &e.search.tries[bothSides]
	if e.datagrams || !t.found || min(len(a.data), len(b.data)) < minRandom+minRandom/4 || c.Client.Gap || c.Server.Gap || !c.StartSeen {
		return false
	}
	field := t.best // of the first messages
	if !e.search.holds(field, &a.carried, &b.carried) {
		return false
	}
	header := field.position + field.width
	left := 0
	var value [2]byte
	for i := range e.sides {
		s := &e.sides[i]
		s.rest = bodies(field.split(&s.carried, s.room.split[:0]), header, s.room.rest[:0])
		var ok bool
		if value[i], ok = s.unstuff(); !ok {
			return false
		}
		left += len(s.body)
	}
	if value[0] != value[1] || left < leastStuffed {
		return false
	}
	sample, ok := randomness.Likely(a.body, strict)
	if !ok || !randomness.Passes(b.body, strict) {
		return false
	}
	a.header, b.header = header, header
	e.n, e.found, e.framed, e.sample = left, true, true, sample
	return true
}

// unstuff joins the bodies without the most frequent byte, where too many bits are set.
func (s *side) unstuff() (value byte, ok bool) {
	body := join(s.rest, s.bytes[:0])
	body = body[:min(len(body), stuffedSample)]
	var counts [256]int
	set := 0
	for _, c := range body {
		counts[c]++
		set += bits.OnesCount8(c)
	}
	for v, n := range counts {
		if n > counts[value] {
			value = byte(v)
		}
	}
	n := counts[value]
	if 10*set <= mostBits*len(body) || 3*n > 2*len(body) || len(body)-n < minRandom {
		return 0, false
	}
	if inColumns(s.rest, value) {
		return 0, false
	}
	s.body = body[:0]
	for _, c := range body {
		if c != value {
			s.body = append(s.body, c)
		}
	}
	return value, true
}

// inColumns says whether a value stands at nearly all places of the same remainder by the size of a number or pixel: the upper bytes of
// negative numbers, or what fills them up.
func inColumns(messages [][]byte, value byte) bool {
	const word = 8
	var here, all [word]int
	for _, m := range messages {
		for i, c := range m[:min(len(m), stuffedSample)] {
			all[i%word]++
			if c == value {
				here[i%word]++
			}
		}
	}
	for i := range here {
		if 4*here[i] > 3*all[i] {
			return true
		}
	}
	return false
}
