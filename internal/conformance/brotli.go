package conformance

import (
	"encoding/binary"
	"math/bits"
)

// Brotli (RFC 7932) has no magic, so a stream of it is known by its first meta-block's header: its prefix codes must be complete, which
// those of random bytes hardly ever are.

// Messages of uniform bytes begin like Brotli, with a prefix code of more than four symbols that is complete, once in 8,000,
// and with two once in 80,000. So minBrotli messages must, at the same place, and complete minBrotliCodes.
const (
	minBrotli      = 2
	minBrotliCodes = 3
)

var brotliFormat = &format{name: "brotli", reasons: []string{"compressed_brotli"}}

// packedByBrotli says whether what was found to be random are messages of Brotli behind a header, as they came or as a length field splits
// them.
func (e *examined) packedByBrotli() bool {
	a, b := &e.sides[0], &e.sides[1]
	return e.allBeginBrotli(a.messages, b.messages) || e.framed && e.allBeginBrotli(a.accepted, b.accepted)
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

// beginBrotliAt says whether most messages begin as Brotli behind a header of at bytes; it gives up after as many as a few that do not.
func (e *examined) beginBrotliAt(at int, halves [][][]byte) bool {
	const most, few = 4, 2 // messages of each side
	begin, other, codes := 0, 0, 0
	for _, all := range halves {
		for _, m := range all[:min(len(all), most)] {
			if len(m) < at+minCompressed {
				continue
			}
			if n := beginsBrotli(m[at:], &e.codes); n > 0 {
				begin++
				codes += n
			} else if other++; other == few && begin < minBrotli {
				return false // parts of messages
			}
		}
	}
	return begin >= minBrotli && codes >= minBrotliCodes && 2*other <= begin
}

// beginsBrotli is how many prefix codes the header of the Brotli stream that b starts with completes, 0 where it is none.
func beginsBrotli(b []byte, room *[2]prefixCode) int {
	r := bitReader{b: b}
	switch { // WBITS, section 9.1
	case r.take(1) == 0:
	case r.take(3) != 0:
	case r.take(3) == 1:
		return 0
	}
	h := brotliHeader{bitReader: r, code: &room[0], lengths: &room[1]}
	if !h.parse() {
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

func (r *bitReader) peek() uint {
	var last [8]byte
	i := r.at / 8
	if i+8 <= len(r.b) {
		return uint(binary.LittleEndian.Uint64(r.b[i:]) >> (r.at % 8))
	}
	copy(last[:], r.b[min(i, len(r.b)):])
	return uint(binary.LittleEndian.Uint64(last[:]) >> (r.at % 8))
}

func (r *bitReader) take(n int) uint {
	v := r.peek() & (1<<n - 1)
	r.at += n
	r.over = r.over || r.at > 8*len(r.b)
	return v
}

// A brotliHeader is what is read of a meta-block's header (RFC 7932 section 9.2).
type brotliHeader struct {
	bitReader
	complete int // prefix codes
	code     *prefixCode
	lengths  *prefixCode // that of a code's lengths
}

// parse reads the header up to its end or that of the bytes; false where it breaks a rule.
func (h *brotliHeader) parse() bool {
	last := h.take(1) == 1
	if last && h.take(1) == 1 {
		return false // empty
	}
	nibbles := 4 + int(h.take(2))
	if nibbles == 7 {
		return false // metadata
	}
	if n := h.take(4 * nibbles); nibbles > 4 && n>>(4*(nibbles-1)) == 0 || n == 0 {
		return false
	}
	if !last && h.take(1) == 1 {
		return false // stored: nothing to tell by
	}
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

// prefixCode reads one (section 3.4 and 3.5).
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
	if !ok || h.over {
		return false
	}
	c.build()
	return true
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

// lengthOrder is the order of the code lengths' own code; lengthBits and lengthValue decode its lengths by the next four bits.
var (
	lengthOrder = [18]int{1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	lengthBits  = [16]int{2, 2, 2, 3, 2, 2, 2, 4, 2, 2, 2, 3, 2, 2, 2, 4}
	lengthValue = [16]uint8{0, 4, 3, 2, 0, 4, 3, 1, 0, 4, 3, 2, 0, 4, 3, 5}
)

func (h *brotliHeader) complexCode(symbols, skip int) bool {
	of := h.lengths
	of.n, of.only = len(lengthOrder), -1
	clear(of.lengths[:len(lengthOrder)])
	used, space, only := 0, 32, 0
	bits, taken := h.peek(), 0
	for i := skip; i < len(lengthOrder) && space > 0; i++ {
		if taken > 32 {
			h.take(taken)
			bits, taken = h.peek(), 0
		}
		next := bits >> taken & 15
		taken += lengthBits[next]
		if l := lengthValue[next]; l > 0 {
			of.lengths[lengthOrder[i]] = l
			space -= 32 >> l
			used++
			only = lengthOrder[i]
		}
	}
	if h.take(taken); space != 0 && used != 1 || h.over {
		return false
	}
	if used == 1 {
		of.only = only
	}
	of.build()
	clear(h.code.lengths[:h.code.n])
	return h.codeLengths(of, symbols)
}

// codeLengths reads the lengths of a code, which must be complete.
func (h *brotliHeader) codeLengths(of *prefixCode, symbols int) bool {
	const (
		again, zeros = 16, 17
		whole        = 1 << 15
	)
	space, last, repeat, repeated := whole, uint8(8), 0, -1
	for s := 0; s < symbols && space > 0; {
		if h.over {
			return false
		}
		v := of.symbol(&h.bitReader)
		if v < again {
			if repeat, repeated = 0, -1; v > 0 {
				last = uint8(v)
				space -= whole >> v
				if s < maxBrotliSymbols {
					h.code.lengths[s] = last
				}
			}
			s++
			continue
		}
		extra := v - 14 // 2 bits for again, 3 for zeros
		if repeated != v {
			repeat, repeated = 0, v
		}
		old := repeat
		if repeat > 0 {
			repeat = (repeat - 2) << extra
		}
		repeat += int(h.take(extra)) + 3
		for range repeat - old {
			if s >= symbols {
				return false
			}
			if v == again {
				space -= whole >> last
				if s < maxBrotliSymbols {
					h.code.lengths[s] = last
				}
			}
			s++
		}
	}
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
