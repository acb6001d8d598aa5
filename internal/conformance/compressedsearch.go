package conformance

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// findCompressed is the compressed format that one of the first messages carries, behind at most maxSearched bytes of header.
func (e *examined) findCompressed() *format {
	for i := range e.sides {
		all := e.sides[i].messages
		for _, m := range all[:min(len(all), 3)] {
			if f := compressedBehind(m); f != nil {
				return f
			}
		}
	}
	return nil
}

// compressedBehind is the compressed format that begins first at one of the first places of b, or nil.
func compressedBehind(b []byte) *format {
	for left := compressedAt(b); left != 0; left &= left - 1 {
		if f := compressedFormat(b[bits.TrailingZeros64(left):]); f != nil {
			return f
		}
	}
	return nil
}

// compressedAt are the places in a message, a bit each, where a compressed format may begin: hardly any where bytes are random. All
// places are looked at alike, as a branch that depends on random bytes costs more than the look.
func compressedAt(m []byte) uint64 {
	var found, fixed, single, dynamic uint64
	last := min(maxSearched, len(m)-minCompressed)
	for h := last; h >= 0; h-- {
		b := m[h : h+5 : h+5]
		here, first := uint64(0), firstBytes[b[0]]
		if first&secondBytes[b[1]]&fifthBytes[b[4]] != 0 {
			here = 1
		}
		found = found<<1 | here
		fixed, single = fixed<<1|uint64(first>>fixedFirst&1), single<<1|uint64(first>>singleFirst&1)
		dynamic = dynamic<<1 | uint64(first>>dynamicFirst)
	}
	if len(m) >= longDeflate || endsFixed(m) {
		fixed |= single
	}
	if places := len(m) - minDeflate + 1; places <= last {
		begun := uint64(1)<<max(places, 0) - 1
		fixed, dynamic = fixed&begun, dynamic&begun
	}
	for ; fixed != 0; fixed &= fixed - 1 {
		h := bits.TrailingZeros64(fixed)
		if !fixedFails(m[h:]) {
			found |= 1 << h
		}
	}
	for ; dynamic != 0; dynamic &= dynamic - 1 {
		h := bits.TrailingZeros64(dynamic)
		if codesBegin(binary.LittleEndian.Uint64(m[h:])>>3, binary.LittleEndian.Uint64(m[h+2:])>>1) {
			found |= 1 << h
		}
	}
	return found
}

// firstBytes, secondBytes and fifthBytes are the formats that a byte at these places allows, a bit each, but for bare streams. Of firstBytes,
// three more bits tell which block such a stream begins with: one with the fixed codes, of which the first symbol must not be a copy, the same as
// the only block, or one with codes of its own, of which there must not be too many.
var firstBytes, secondBytes, fifthBytes = func() (first, second, fifth [256]uint32) {
	for b := range 256 {
		is := string([]byte{byte(b)})
		for i, f := range formats {
			if f.first == deflateFirst {
				continue
			}
			if strings.Contains(f.first, is) {
				first[b] |= 1 << i
			}
			if f.second == "" || strings.Contains(f.second, is) {
				second[b] |= 1 << i
			}
			if f.fifth == "" || strings.Contains(f.fifth, is) {
				fifth[b] |= 1 << i
			}
		}
		switch b >> 1 & 3 {
		case fixedBlock:
			for more := range 16 {
				if fixedSymbols[b>>3|more<<5].value <= 256 {
					first[b] |= 1 << (fixedFirst - b&1)
				}
			}
		case dynamicBlock:
			if b>>3 <= maxCodes {
				first[b] |= 1 << dynamicFirst
			}
		}
	}
	return first, second, fifth
}()

// Bits of firstBytes.
const singleFirst, fixedFirst, dynamicFirst = 29, 30, 31

// endsFixed says whether a message may end with a block with the fixed codes: its last symbol is seven zeros, of which the last is in the last byte.
func endsFixed(m []byte) bool {
	if len(m) < 2 {
		return false
	}
	zeros := ^binary.LittleEndian.Uint16(m[len(m)-2:]) >> 2
	zeros &= zeros >> 1
	zeros &= zeros >> 2
	return zeros&(zeros>>3) != 0
}

// fixedFails says of the first bytes of a stream that begins with a block with the fixed codes, minDeflate or more, that it surely ends before
// they do, or is none: its first copy reaches back beyond its start.
func fixedFails(b []byte) bool {
	b = b[:minDeflate]
	at, produced := 3, uint16(0)
	for range 4 { // words of which 57 bits are left, of four literals each and a copy's code, length and distance: up to 4*9 + 9+5+5 bits
		next := binary.LittleEndian.Uint64(b[at/8:]) >> (at % 8)
		for range 4 {
			symbol := fixedSymbols[next&511]
			next >>= symbol.length & 63
			switch {
			case symbol.value > 256:
				return symbol.value > 285 || distances[next>>symbol.extra&31].least > produced
			case symbol.value == 256:
				return b[0]&1 != 0 // the last block
			}
			at += int(symbol.length)
			produced++
		}
	}
	return false
}
