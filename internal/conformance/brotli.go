package conformance

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Brotli (RFC 7932) has no magic, so a stream of it is known by its first meta-block's header: its prefix codes must be complete, which
// those of random bytes hardly ever are.

// Messages of uniform bytes begin like Brotli, with a prefix code of more than four symbols that is complete, once in 8,000,
// and with two once in 80,000. So minBrotli messages must, at the same place, and complete minBrotliCodes.
const (
	minBrotli      = 2
	minBrotliCodes = 3
	mostBrotli     = 4 // messages of each side are looked at
)

var brotliFormat = &format{name: "brotli", reasons: []string{"compressed_brotli"}}

// packedByBrotli says whether what was found to be random are messages of Brotli behind a header, as they came or as a length field splits
// them.
func (e *examined) packedByBrotli() bool {
	a, b := &e.sides[0], &e.sides[1]
	if e.allBeginBrotli(a.messages, b.messages) {
		return true
	}
	alike := sameBrotli(a.messages, a.accepted) && sameBrotli(b.messages, b.accepted)
	return e.framed && !alike && e.allBeginBrotli(a.accepted, b.accepted)
}

// sameBrotli says whether of two lists the messages that are looked at are the same bytes.
func sameBrotli(a, b [][]byte) bool {
	a, b = a[:min(len(a), mostBrotli)], b[:min(len(b), mostBrotli)]
	return slices.EqualFunc(a, b, func(x, y []byte) bool { return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0]) })
}

func (e *examined) allBeginBrotli(halves ...[][]byte) bool {
	const beyond = 8 // the header that was found may be shorter than it is
	for at := range min(maxSearched, max(e.sides[0].header, e.sides[1].header)+beyond) + 1 {
		if e.beginBrotliAt(at, halves) {
			return true
		}
	}
	return false
}

// beginBrotliAt says whether most messages begin as Brotli behind a header of at bytes; it gives up after as many as a few that do not, and
// where too few are left.
func (e *examined) beginBrotliAt(at int, halves [][][]byte) bool {
	const few = 2
	most := 0
	for _, all := range halves {
		most += min(len(all), mostBrotli)
	}
	number, other := 0, 0
	for _, all := range halves {
		for _, m := range all[:min(len(all), mostBrotli)] {
			if len(m) < at+minCompressed {
				continue
			}
			number++
			if brotliBlock(binary.LittleEndian.Uint64(m[at:])) > 0 {
				continue
			}
			if other++; 2*other > most-other {
				return false
			}
		}
	}
	if number < minBrotli || 2*other > number-other {
		return false
	}
	begin, codes := 0, 0
	other = 0
	for _, all := range halves {
		for _, m := range all[:min(len(all), mostBrotli)] {
			if len(m) < at+minCompressed {
				continue
			}
			if n := beginsBrotli(m[at:], &e.codes); n > 0 {
				begin++
				codes += n
			} else if other++; other == few && begin < minBrotli || 2*other > number-other {
				return false // parts of messages
			}
		}
	}
	return begin >= minBrotli && codes >= minBrotliCodes
}

// beginsBrotli is how many prefix codes the header of the Brotli stream that b starts with completes, 0 where it is none.
func beginsBrotli(b []byte, room *[2]prefixCode) int {
	h := brotliHeader{bitReader: bitReader{b: b}, code: &room[0], lengths: &room[1]}
	if !h.begin() || !h.parse() {
		return 0
	}
	return h.complete
}

// A bitReader takes bits, the lowest first.
type bitReader struct {
	b    []byte
	at   int  // bits
	over bool // more was asked for than there is
}

// peek are at least 57 bits; behind the end there are zeros.
func (r *bitReader) peek() uint64 { return wordAt(r.b, r.at) }

func (r *bitReader) take(n int) uint {
	v := uint(r.peek() & (1<<n - 1))
	r.skip(n)
	return v
}

func (r *bitReader) skip(n int) {
	r.at += n
	r.over = r.over || r.at > 8*len(r.b)
}

// A brotliHeader is what is read of a meta-block's header (RFC 7932 section 9.2).
type brotliHeader struct {
	bitReader
	complete int // prefix codes
	code     *prefixCode
	lengths  *prefixCode // that of a code's lengths
}

// begin reads a header up to its codes; false where it has none.
func (h *brotliHeader) begin() bool {
	n := brotliBlock(h.peek())
	h.skip(n)
	return n > 0
}

// brotliBlock is how many of a stream's first bits come before the first meta-block's codes: 0 where it has no length, or no codes to tell by.
func brotliBlock(first uint64) int {
	begin := brotliBegins[first%uint64(len(brotliBegins))]
	size := 4 * int(begin.nibbles)
	n := first >> begin.bits & (1<<size - 1)
	if size == 0 || n == 0 || size > 16 && n>>(size-4) == 0 {
		return 0
	}
	end := int(begin.bits) + size
	switch {
	case begin.last:
		return end
	case first>>end&1 == 0:
		return end + 1
	}
	return 0 // stored
}

// brotliBegins are what the first eleven bits of a stream say: how many of them come before the first meta-block's length, how many
// times four bits it has, none where there is no length, and whether that block is the last one (RFC 7932 section 9.1 and 9.2).
var brotliBegins = func() (t [1 << 11]struct {
	bits, nibbles uint8
	last          bool
}) {
	for first := range t {
		at := 0
		take := func(n int) int {
			at += n
			return first >> (at - n) & (1<<n - 1)
		}
		if take(1) == 1 && take(3) == 0 && take(3) == 1 { // WBITS
			continue
		}
		last := take(1) == 1
		if last && take(1) == 1 {
			continue // empty
		}
		nibbles := 4 + take(2)
		if nibbles == 7 {
			continue // metadata
		}
		t[first].bits, t[first].nibbles, t[first].last = uint8(at), uint8(nibbles), last
	}
	return t
}()

// parse reads the rest of the header up to its end or that of the bytes; false where it breaks a rule.
func (h *brotliHeader) parse() bool {
	var types [3]int
	for i := range types {
		if types[i] = h.count(); types[i] >= 2 && !h.blocks(types[i]) {
			return h.over
		}
	}
	postfix := h.take(2)
	direct := h.take(4) << postfix
	for range types[0] {
		h.take(2)
	}
	var trees [2]int
	for i, size := range [...]int{64 * types[0], 4 * types[2]} {
		if trees[i] = h.count(); trees[i] >= 2 && !h.contextMap(trees[i], size) {
			return h.over
		}
	}
	for _, codes := range [...]struct{ n, symbols int }{{trees[0], 256}, {types[1], 704}, {trees[1], 16 + int(direct) + 48<<postfix}} {
		for range codes.n {
			if !h.prefixCode(codes.symbols) {
				return h.over
			}
		}
	}
	return true
}

// count reads a number of block types or trees, 1 to 256.
func (h *brotliHeader) count() int {
	if h.take(1) == 0 {
		return 1
	}
	n := int(h.take(3))
	return 1<<n + 1 + int(h.take(n))
}

// blockExtra is how many more bits the symbols of a block count take (section 6).
var blockExtra = [26]int{2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 24}

func (h *brotliHeader) blocks(types int) bool {
	const counts = 26
	if !h.prefixCode(types+2) || !h.prefixCode(counts) {
		return false
	}
	h.code.build()
	h.take(blockExtra[h.code.symbol(&h.bitReader)])
	return !h.over
}

// contextMap reads one (section 7.3).
func (h *brotliHeader) contextMap(trees, size int) bool {
	runs := 0
	if h.take(1) == 1 {
		runs = int(h.take(4)) + 1
	}
	if !h.prefixCode(trees + runs) {
		return false
	}
	h.code.build()
	for n := 0; n < size && !h.over; n++ {
		if s := h.code.symbol(&h.bitReader); s > 0 && s <= runs {
			if n += 1<<s + int(h.take(s)) - 1; n >= size {
				return false
			}
		}
	}
	h.take(1)
	return !h.over
}

// maxBrotliSymbols is the largest alphabet: that of insert and copy lengths, but for distances with many direct codes.
const maxBrotliSymbols = 704

// A prefixCode is one code's lengths, in the order of its symbols.
type prefixCode struct {
	lengths [maxBrotliSymbols]uint8
	counts  [16]uint16               // of symbols by length
	sorted  [maxBrotliSymbols]uint16 // symbols by length
	n       int
	only    int // the symbol that takes no bits, or -1
}

// prefixCode reads one (section 3.4 and 3.5); whoever decodes with it builds it.
func (h *brotliHeader) prefixCode(symbols int) bool {
	c := h.code
	c.n, c.only = min(symbols, maxBrotliSymbols), -1
	skip := int(h.take(2))
	ok := false
	if skip == 1 {
		ok = h.simpleCode(symbols)
	} else {
		ok = h.complexCode(symbols, skip)
	}
	return ok && !h.over
}

func (h *brotliHeader) simpleCode(symbols int) bool {
	n := int(h.take(2)) + 1
	var all [4]int
	for i := range n {
		all[i] = int(h.take(bits.Len(uint(symbols - 1))))
		if all[i] >= symbols {
			return false
		}
		for _, other := range all[:i] {
			if other == all[i] {
				return false
			}
		}
	}
	clear(h.code.lengths[:h.code.n])
	lengths := [...][]uint8{{0}, {1, 1}, {1, 2, 2}, {2, 2, 2, 2}}[n-1]
	if n == 4 && h.take(1) == 1 {
		lengths = []uint8{1, 2, 3, 3}
	}
	for i, s := range all[:n] {
		if s < maxBrotliSymbols {
			h.code.lengths[s] = lengths[i]
		}
	}
	if n == 1 {
		h.code.only = all[0]
	}
	return true
}

// lengthOrder is the order of the code lengths' own code; lengthCodes decode its lengths by the next four bits.
var (
	lengthOrder = [18]uint8{1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	lengthCodes = [16]struct{ bits, length, room uint8 }{
		{2, 0, 0}, {2, 4, 2}, {2, 3, 4}, {3, 2, 8}, {2, 0, 0}, {2, 4, 2}, {2, 3, 4}, {4, 1, 16},
		{2, 0, 0}, {2, 4, 2}, {2, 3, 4}, {3, 2, 8}, {2, 0, 0}, {2, 4, 2}, {2, 3, 4}, {4, 5, 1},
	}
)

func (h *brotliHeader) complexCode(symbols, skip int) bool {
	lengths, used, space := uint64(0), 0, 32 // three bits for each length, by symbol
	next, taken := h.peek(), 0
	for i := skip; i < len(lengthOrder) && space > 0; i++ {
		if taken > 48 {
			h.skip(taken)
			next, taken = h.peek(), 0
		}
		code := &lengthCodes[next&15]
		next >>= code.bits & 63
		taken += int(code.bits)
		space -= int(code.room)
		lengths |= uint64(code.length) << (3 * lengthOrder[i] & 63)
		if code.length > 0 {
			used++
		}
	}
	if h.skip(taken); space != 0 && used != 1 || h.over {
		return false
	}
	var codes lengthCode
	if used == 1 {
		codes.only(bits.TrailingZeros64(lengths) / 3)
	} else {
		codes.build(lengths)
	}
	return h.codeLengths(&codes, symbols)
}

// A lengthCode is the symbols of the code lengths' own code and their lengths, by the five bits that they may begin with.
type lengthCode [32]struct{ symbol, length uint8 }

// only makes a code of one symbol, which takes no bits.
func (c *lengthCode) only(symbol int) {
	for i := range c {
		c[i].symbol = uint8(symbol)
	}
}

// build makes a complete code of lengths of three bits each.
func (c *lengthCode) build(lengths uint64) {
	code := uint8(0) // highest bit first, of five bits
	for length := uint8(1); length <= 5; length++ {
		for symbol, left := uint8(0), lengths; left != 0; symbol, left = symbol+1, left>>3 {
			if uint8(left&7) != length {
				continue
			}
			for i := int(bits.Reverse8(code) >> 3); i < len(c); i += 1 << length {
				c[i].symbol, c[i].length = symbol, length
			}
			code += 32 >> length
		}
	}
}

// codeLengths reads the lengths of a code, which must be complete.
func (h *brotliHeader) codeLengths(of *lengthCode, symbols int) bool {
	const (
		again, zeros = 16, 17
		whole        = 1 << 15
	)
	space, last, repeat, repeated := whole, uint8(8), 0, -1
	lengths := &h.code.lengths
	s := 0
	for s < symbols && space > 0 {
		if h.over {
			return false
		}
		next := h.peek()
		code := &of[next&31]
		v, taken := int(code.symbol), int(code.length)
		if v < again {
			h.skip(taken)
			if repeat, repeated = 0, -1; v > 0 {
				last = uint8(v)
				space -= whole >> v
			}
			if s < maxBrotliSymbols {
				lengths[s] = uint8(v)
			}
			s++
			continue
		}
		extra := v - 14 // 2 bits for again, 3 for zeros
		h.skip(taken + extra)
		if repeated != v {
			repeat, repeated = 0, v
		}
		old := repeat
		if repeat > 0 {
			repeat = (repeat - 2) << extra
		}
		repeat += int(next>>taken&(1<<extra-1)) + 3
		length := uint8(0)
		if v == again {
			length = last
			space -= (repeat - old) * (whole >> last)
		}
		if repeat-old > symbols-s {
			return false
		}
		for range repeat - old {
			if s < maxBrotliSymbols {
				lengths[s] = length
			}
			s++
		}
	}
	clear(lengths[min(s, h.code.n):h.code.n])
	h.complete++
	return space == 0
}

// build sorts the symbols by length, as decoding needs them.
func (c *prefixCode) build() {
	c.counts = [16]uint16{}
	for _, l := range c.lengths[:c.n] {
		c.counts[l]++
	}
	c.counts[0] = 0
	var next [16]uint16
	for l := 1; l < len(next); l++ {
		next[l] = next[l-1] + c.counts[l-1]
	}
	for s, l := range c.lengths[:c.n] {
		if l > 0 {
			c.sorted[next[l]] = uint16(s)
			next[l]++
		}
	}
}

// symbol decodes the next one; the code is canonical, and its bits come from its highest.
func (c *prefixCode) symbol(r *bitReader) int {
	if c.only >= 0 {
		return c.only
	}
	code, first, from := 0, 0, 0
	for _, n := range c.counts[1:] {
		code |= int(r.take(1))
		if code-first < int(n) {
			return int(c.sorted[from+code-first])
		}
		from += int(n)
		first = (first + int(n)) << 1
		code <<= 1
	}
	r.over = true
	return 0
}
