package conformance

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
)

// Kinds of blocks (RFC 1951, 3.2.3), in bits 1 and 2 of a stream's first byte. What follows from one without compression says nothing.
const storedBlock, fixedBlock, dynamicBlock = 0, 1, 2

// deflateFirst are the bytes that a bare stream may begin with.
var deflateFirst = func() string {
	var all []byte
	for b := range 256 {
		if kind := b >> 1 & 3; kind == fixedBlock || kind == dynamicBlock {
			all = append(all, byte(b))
		}
	}
	return string(all)
}()

// minDeflate is how many bytes of a bare stream say something, at least.
const minDeflate = 24

// longDeflate is how many bytes of a bare stream say enough where it does not end with the message.
const longDeflate = 256

// isDeflate wants a bare stream that ends where the message ends, or goes on for long. What follows from very few bytes says nothing.
func isDeflate(b []byte) bool {
	if len(b) < minDeflate || !blocksBegin(b, len(b) < longDeflate) {
		return false
	}
	used, _, _, err := inflate(b)
	return err == nil && used == len(b) || errors.Is(err, io.ErrUnexpectedEOF) && len(b) >= longDeflate
}

// blocksBegin looks at the stream's first symbols: false where inflate fails in them, or ends before b does. That is so for nearly all
// other bytes, at a fraction of what inflate takes. Where the stream must end with b, which is short then, it is false also where b ends first.
func blocksBegin(b []byte, ends bool) bool {
	looked := 128 // symbols
	if ends {
		looked = 8 * len(b) // all there may be
	}
	at, produced, final, n := 0, 0, false, 0
	for n < looked && !final && at < 8*len(b) {
		head := bitsAt(b, at)
		final = head&1 != 0
		switch at += 3; head >> 1 & 3 {
		case fixedBlock:
			var ok bool
			if at, produced, n, ok = fixedBegins(b, at, produced, n, looked); !ok {
				return at > 8*len(b) && !ends // behind the end there is nothing to judge by
			}
		case dynamicBlock:
			return dynamicBegins(b, at)
		case storedBlock:
			return storedBegins(b, at)
		default:
			return at > 8*len(b) && !ends
		}
	}
	if at > 8*len(b) || !final {
		return !ends
	}
	return n >= looked || (at+7)/8 == len(b)
}

// storedBegins checks a block without compression: its length comes twice, the second time inverted (RFC 1951, 3.2.4).
func storedBegins(b []byte, at int) bool {
	b = b[min((at+7)/8, len(b)):]
	return len(b) < 4 || binary.LittleEndian.Uint16(b) == ^binary.LittleEndian.Uint16(b[2:])
}

// dynamicBegins checks the start of a block with codes of its own (RFC 1951, 3.2.7): as many codes as there may be, and a code for
// their lengths that is neither too small nor too large, as nearly all other bytes give one.
func dynamicBegins(b []byte, at int) bool {
	if at/8+10 > len(b) {
		return true
	}
	return codesBegin(wordAt(b, at), wordAt(b, at+14))
}

// codesBegin is dynamicBegins of a block's first bits and those where its codes' lengths begin.
func codesBegin(head, lengths uint64) bool {
	return head&31 <= maxCodes && head>>5&31 <= maxCodes && complete(lengths&(1<<(3*(head>>10&15+4))-1))
}

// maxCodes is the largest number that counts the codes of literals, beyond 257, and of distances, beyond one.
const maxCodes = 29

// complete says whether up to nineteen codes' lengths, of three bits each, make codes that leave no room and take no more than there is. One
// code alone, which inflate lets pass, says that all codes that follow are equally long, and 257 or more never are complete then.
func complete(lengths uint64) bool {
	const room = 1 << 7
	sum := threeLengths[lengths&511] + threeLengths[lengths>>9&511] + threeLengths[lengths>>18&511] + threeLengths[lengths>>27&511] +
		threeLengths[lengths>>36&511] + threeLengths[lengths>>45&511] + threeLengths[lengths>>54&511]
	return sum == room
}

// threeLengths are the room that codes of three lengths take.
var threeLengths = func() (t [512]uint16) {
	for lengths := range t {
		for next := lengths; next != 0; next >>= 3 {
			if n := next & 7; n > 0 {
				t[lengths] += 1 << (7 - n)
			}
		}
	}
	return t
}()

// fixedBegins decodes symbols of a block with the fixed codes (RFC 1951, 3.2.6), from bit at on and up to the limit in all, of which there
// were n: no copy of earlier bytes may reach back beyond the stream's start, as one soon does where there is no such stream.
func fixedBegins(b []byte, at, produced, n, limit int) (int, int, int, bool) {
	next, left := uint64(0), 0
	for ; n < limit; n++ {
		if left < 9 {
			next, left = wordAt(b, at), 57
		}
		symbol := fixedSymbols[next&511]
		next, left, at = next>>symbol.length, left-int(symbol.length), at+int(symbol.length)
		switch {
		case symbol.value < 256:
			produced++
			continue
		case symbol.value == 256: // the block ends
			return at, produced, n + 1, true
		case symbol.value > 285:
			return at, produced, n, false
		}
		left = 0
		word := wordAt(b, at)
		next = word >> symbol.extra
		from := &distances[next&31]
		distance := int(from.least) + int(next>>5&(1<<from.extra-1))
		at += int(symbol.extra) + 5 + int(from.extra)
		if distance > produced {
			return at, produced, n, false
		}
		length, _ := copied(int(symbol.value))
		produced += length + int(word&(1<<symbol.extra-1))
	}
	return at, produced, n, true
}

// copied is the shortest length that a symbol above 256 stands for, and how many bits add to it (RFC 1951, 3.2.5).
func copied(symbol int) (length, extra int) {
	switch {
	case symbol < 265:
		return symbol - 254, 0
	case symbol < 285:
		extra = (symbol - 261) / 4
		return 3 + (4+(symbol-265)&3)<<extra, extra
	}
	return 258, 0
}

// back is the shortest distance that a code stands for, and how many bits add to it (RFC 1951, 3.2.5).
func back(code int) (distance, extra int) {
	if code < 4 {
		return code + 1, 0
	}
	extra = code/2 - 1
	return 1 + (2+code&1)<<extra, extra
}

// bitsAt are at least 24 bits of b, the lowest of each byte first; behind the end there are zeros.
func bitsAt(b []byte, at int) uint32 {
	b = b[min(at/8, len(b)):]
	if len(b) >= 4 {
		return binary.LittleEndian.Uint32(b) >> (at % 8)
	}
	var last [4]byte
	copy(last[:], b)
	return binary.LittleEndian.Uint32(last[:]) >> (at % 8)
}

// wordAt is bitsAt for at least 57 bits.
func wordAt(b []byte, at int) uint64 {
	b = b[min(at/8, len(b)):]
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b) >> (at % 8)
	}
	var last [8]byte
	copy(last[:], b)
	return binary.LittleEndian.Uint64(last[:]) >> (at % 8)
}

// distances are the shortest ones and how many bits add to them, by the five bits of a fixed code. Two codes are none.
var distances = func() (t [32]struct {
	least uint16
	extra uint8
}) {
	for next := range t {
		code := int(bits.Reverse8(uint8(next)) >> 3) // codes come highest bit first
		least, extra := back(code)
		if code > 29 {
			least = math.MaxUint16 // more than the symbols that are looked at put out
		}
		t[next].least, t[next].extra = uint16(least), uint8(extra)
	}
	return t
}()

// A symbol of the fixed codes is a literal (below 256), the end of the block (256), or a length.
type fixedSymbol struct {
	value  uint16
	length uint8 // bits
	extra  uint8 // bits that add to a length
}

// fixedSymbols are the symbols by the nine bits that they may begin with.
var fixedSymbols = func() (t [512]fixedSymbol) {
	for next := range t {
		code := bits.Reverse16(uint16(next)) >> 7 // highest bit first
		switch {
		case code>>2 < 24:
			t[next] = fixedSymbol{value: 256 + code>>2, length: 7}
		case code>>1 < 192:
			t[next] = fixedSymbol{value: code>>1 - 48, length: 8}
		case code>>1 < 200:
			t[next] = fixedSymbol{value: 280 + code>>1 - 192, length: 8}
		default:
			t[next] = fixedSymbol{value: 144 + code - 400, length: 9}
		}
		if t[next].value > 256 {
			_, extra := copied(int(t[next].value))
			t[next].extra = uint8(extra)
		}
	}
	return t
}()
