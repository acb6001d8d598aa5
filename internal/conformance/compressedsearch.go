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
			for left := compressedAt(m); left != 0; left &= left - 1 {
				if f := compressedFormat(m[bits.TrailingZeros64(left):]); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// compressedAt are the places in a message, a bit each, where a compressed format may begin: hardly any where bytes are random. All
// places are looked at alike, as a branch that depends on random bytes costs more than the look.
func compressedAt(m []byte) uint64 {
	var found, fixed, dynamic uint64
	last := min(maxSearched, len(m)-minCompressed)
	for h := last; h >= 0; h-- {
		b := m[h : h+5 : h+5]
		here := uint64(0)
		if firstBytes[b[0]]&secondBytes[b[1]]&fifthBytes[b[4]] != 0 {
			here = 1
		}
		found = found<<1 | here
		block := firstBlock[b[0]]
		fixed, dynamic = fixed<<1|uint64(block&1), dynamic<<1|uint64(block>>1)
	}
	if places := len(m) - minDeflate + 1; places <= last {
		begun := uint64(1)<<max(places, 0) - 1
		fixed, dynamic = fixed&begun, dynamic&begun
	}
	for ; fixed != 0; fixed &= fixed - 1 {
		h := bits.TrailingZeros64(fixed)
		if !fixedFails(binary.LittleEndian.Uint64(m[h:])) {
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

// firstBytes, secondBytes and fifthBytes are the formats that a byte at these places allows, a bit each, but for bare streams.
var firstBytes, secondBytes, fifthBytes = func() (first, second, fifth [256]uint32) {
	for i, f := range formats {
		if f.first == deflateFirst {
			continue
		}
		for b := range 256 {
			is := string([]byte{byte(b)})
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
	}
	return first, second, fifth
}()

// firstBlock is which block a bare stream may begin with whose first byte this is: 1 for one with the fixed codes, of which the first
// symbol must not be a copy, 2 for one with codes of its own, of which there must not be too many.
var firstBlock = func() (t [256]uint8) {
	for b := range t {
		switch b >> 1 & 3 {
		case fixedBlock:
			for more := range 16 {
				if fixedSymbols[b>>3|more<<5].value <= 256 {
					t[b] = 1
				}
			}
		case dynamicBlock:
			if b>>3 <= maxCodes {
				t[b] = 2
			}
		}
	}
	return t
}()

// fixedFails says of the first bits of a block with the fixed codes that a copy surely reaches back beyond the stream's start.
func fixedFails(first uint64) bool {
	const most = 4 // literals before a copy whose distance's code is seen for sure
	next := first >> 3
	for produced := range uint16(most + 1) {
		symbol := fixedSymbols[next&511]
		next >>= symbol.length & 63
		if symbol.value >= 256 {
			return symbol.value > 256 && distances[next>>symbol.extra&31].least > produced
		}
	}
	return false
}
