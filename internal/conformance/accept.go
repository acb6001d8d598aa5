package conformance

import (
	"math"
	"sync"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// random tries one hypothesis: that the bodies behind headers of the given lengths are ciphertext in both directions.
func (e *examined) random(client, server int) bool {
	return e.accept([2][][]byte{e.sides[0].messages, e.sides[1].messages}, [2]int{client, server}, 1-e.threshold)
}

const (
	// excludedBy is how many of the first bytes tell what is not random at all.
	excludedBy = 128
)

// improbable are samples that nobody need look at further: of uniform bytes, one in a million is. So a payload_entropy_threshold above 0.999999
// acts as that.
var improbable = randomness.NewExcluder(improbableLevel)

const improbableLevel = 1e-6

// accept measures the bodies of messages behind headers, and says whether all of them may be uniform: each direction's bytes, and
// their columns, none less likely than level. The directions are only joined where one is too short by itself: a cipher
// that uses one key both ways repeats its keystream. What it measured counts only where it accepts.
func (e *examined) accept(all [2][][]byte, header [2]int, level float64) bool {
	e.found = false
	headers, bytes, silent := 0, 0, false
	for i := range e.sides {
		s := &e.sides[i]
		rest := bodies(all[i], header[i], s.room.rest[:0])
		headers += header[i] * len(rest)
		n := min(size(rest), randomness.MaxSample)
		bytes += n
		// A side that says much and nothing but headers is not encrypted.
		silent = silent || n < randomness.MinSample && !e.framing && len(s.data) >= minRandom
		s.header, s.rest, s.accepted = header[i], rest, all[i]
	}
	e.n, e.raw = bytes, bytes
	if e.framing {
		headers /= maxFramedHeaders // a length field that holds throughout explains them
	}
	need := max(e.need(all), headers, e.least)
	if silent || e.n < need || e.hopeless() {
		return false
	}
	// Uniform bytes hardly ever repeat: what passes as it is need not be searched for repeats.
	var refused *side
	asTheyAre := !e.mixed && e.unsearched()
	if asTheyAre {
		if e.found, refused = e.likely(level); e.found {
			return true
		}
	}
	if refused != nil && bytes >= enoughSearched && !refused.again(&e.seen) {
		refused.refuse() // whatever repeats in the other one
		return false
	}
	left := 0
	for i := range e.sides {
		s := &e.sides[i]
		if !s.take(&e.seen) {
			s.refuse()
			return false
		}
		left += len(s.body)
	}
	e.n = left
	if e.n < need || 4*e.n < bytes {
		return false
	}
	found := false
	if repeated := e.sides[0].repeats == yes || e.sides[1].repeats == yes; repeated || !asTheyAre {
		found, refused = e.likely(level)
	}
	if refused != nil {
		refused.refuse()
	}
	e.found = found
	return found
}

// refuse notes that what is behind the header is not uniform.
func (s *side) refuse() {
	if s.header < len(s.failed) {
		s.failed[s.header] = true
	}
}

// hopeless says whether the first bytes of either direction's bodies, without what repeats, are surely not uniform. It notes whether they are
// with what repeats.
func (e *examined) hopeless() bool {
	e.mixed = false
	return e.hopelessSide(&e.sides[0]) || e.hopelessSide(&e.sides[1])
}

func (e *examined) hopelessSide(s *side) bool {
	head := join(s.rest, e.head[:0])
	if !improbable.Excludes(head) {
		return false
	}
	if s.repeats != no {
		if left := unrepeated(s.rest, e.head[:0], &e.seen); len(left) < len(head) && !improbable.Excludes(left) {
			e.mixed = true
			return false
		}
	}
	s.refuse()
	return true
}

// unsearched joins the bodies as they are, if no direction was searched for repeats.
func (e *examined) unsearched() bool {
	if e.sides[0].repeats != unknown || e.sides[1].repeats != unknown {
		return false
	}
	for i := range e.sides {
		s := &e.sides[i]
		s.body = join(s.rest, s.bytes[:0])
	}
	return true
}

// tooFew says whether there are fewer bytes than the least that need asks for.
func (e *examined) tooFew() bool {
	n := len(e.sides[0].data) + len(e.sides[1].data)
	return n < minRandom || e.datagrams && n < leastDatagrams
}

// fewestOne and fewestTwo are how many bytes of each kind datagrams have that are accepted, where one or both directions have any: whatever is
// left out of them, leastDatagrams stay, of which improbable excludes none.
var (
	fewestOne = sync.OnceValue(func() *randomness.Fewest { f := improbable.Fewest(leastDatagrams); return &f })
	fewestTwo = sync.OnceValue(func() *randomness.Fewest { f := improbable.FewestOfTwo(leastDatagrams); return &f })
)

// tooUneven says whether datagrams have too few bytes of some kind for any part of them to be accepted.
func (e *examined) tooUneven() bool {
	a, b := e.sides[0].data, e.sides[1].data
	if !e.datagrams || 1-e.threshold < improbableLevel {
		return false
	}
	fewest := fewestTwo()
	if len(a) == 0 || len(b) == 0 {
		fewest = fewestOne()
	}
	return !fewest.In(a, b)
}

// clearDatagrams says whether datagrams are no ciphertext even behind the longest header that they may have.
func (e *examined) clearDatagrams() bool {
	return e.datagrams && e.clearBehind([2][][]byte{e.sides[0].messages, e.sides[1].messages}, maxDatagramHeader)
}

// clearBehind says whether messages are no ciphertext even behind the longest header that they may have.
func (e *examined) clearBehind(all [2][][]byte, longest int) bool {
	for i := range e.sides {
		s := &e.sides[i]
		s.rest = bodies(all[i], longest, s.room.rest[:0])
	}
	return e.hopeless()
}

// take joins the bodies, without what repeats; false where what is left of them is surely not uniform.
func (s *side) take(seen *blocks) bool {
	if !s.again(seen) {
		s.body = join(s.rest, s.bytes[:0])
		return true
	}
	var ok bool
	s.rest, s.body, ok = novel(s.rest, s.rest[:0], s.bytes[:0], seen)
	return ok
}

// again says whether blocks of the messages occur again.
func (s *side) again(seen *blocks) bool {
	if s.repeats == unknown {
		s.repeats = no
		if repeats(s.messages, cap(s.bytes[:0]), seen) {
			s.repeats = yes
		}
	}
	return s.repeats == yes
}

// likely says whether the bodies may be uniform, and keeps their figures; or else which direction's bodies are not, if one alone tells.
func (e *examined) likely(level float64) (ok bool, refused *side) {
	a, b := &e.sides[0], &e.sides[1]
	longer, shorter := a, b
	if len(b.body) > len(a.body) {
		longer, shorter = b, a
	}
	joined := len(longer.body) < randomness.MinSample || len(shorter.body) > 0 && len(shorter.body) < randomness.MinSample
	for i := range e.sides {
		if s := &e.sides[i]; !e.sideLikely(s, level, s == longer && !joined) {
			return false, s
		}
	}
	if joined {
		return e.shownLikely(e.shown(), level), nil
	}
	return true, nil
}

// shownLikely says whether the bytes whose figures are shown may be uniform, and keeps the figures, unless nobody wants them.
func (e *examined) shownLikely(b []byte, level float64) (ok bool) {
	if e.verdict {
		return randomness.Passes(b, level)
	}
	e.sample, ok = randomness.Likely(b, level)
	return ok
}

// sideLikely says whether one direction's bodies may be uniform, or are too few to tell. It keeps their figures if they are to be shown.
func (e *examined) sideLikely(s *side, level float64, shown bool) (ok bool) {
	if len(s.body) < randomness.MinSample {
		return e.framing || len(s.data) < minRandom
	}
	if shown {
		ok = e.shownLikely(s.body, level)
	} else {
		ok = randomness.Passes(s.body, level)
	}
	return ok && randomness.ColumnsAtLeast(s.rest, level)
}

// maxFramedHeaders is how many times longer than the ciphertext behind them all headers of a framing may be: some beacons are nothing
// but a header.
const maxFramedHeaders = 8

const (
	// maxDatagramHeader bounds the clear header of a datagram: what has a longer one is structured.
	maxDatagramHeader = 48
	// leastDatagrams is minRandom for datagrams.
	leastDatagrams = 3 * minRandom
)

// need is how many bytes of ciphertext an alert takes. A longer clear header is likelier to be one of the many datagram protocols
// whose payload merely looks random (media, hashes, keys), and so is a direction that never got an answer.
func (e *examined) need(all [2][][]byte) int {
	header := max(e.sides[0].header, e.sides[1].header)
	if !e.datagrams {
		return minRandom + header
	}
	if header > maxDatagramHeader {
		return math.MaxInt
	}
	need := leastDatagrams + 4*header
	if header > 0 && (len(all[0]) == 0 || len(all[1]) == 0) {
		need += 128
	}
	return need
}

// shown is the longer body, or both where one is too short by itself.
func (e *examined) shown() []byte {
	a, b := e.sides[0].body, e.sides[1].body
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	case len(a) < randomness.MinSample || len(b) < randomness.MinSample:
		return append(append(e.joined[:0], a[:min(len(a), randomness.MaxSample)]...), b...)
	case len(a) >= len(b):
		return a
	}
	return b
}
