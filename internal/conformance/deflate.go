package conformance

import (
	"encoding/binary"
	"errors"
	"io"
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

// isDeflate wants a bare stream that ends where the message ends, or goes on for long. What follows from very few bytes says nothing.
func isDeflate(b []byte) bool {
	const whole, part = 24, 256
	if len(b) < whole {
		return false
	}
	if !blocksBegin(b) {
		return false
	}
	used, _, _, err := inflate(b)
	return err == nil && used == len(b) || errors.Is(err, io.ErrUnexpectedEOF) && len(b) >= part
}

// blocksBegin looks at the stream's first symbols: false where inflate fails in them, or ends before b does. That is so for nearly all
// other bytes, at a fraction of what inflate takes.
func blocksBegin(b []byte) bool {
	const looked = 128 // symbols
	at, produced, final, n := 0, 0, false, 0
	for n < looked && !final && at < 8*len(b) {
		head := bitsAt(b, at)
		final = head&1 != 0
		switch at += 3; head >> 1 & 3 {
		case fixedBlock:
			var ok bool
			if at, produced, n, ok = fixedBegins(b, at, produced, n, looked); !ok {
				return at > 8*len(b) // behind the end there is nothing to judge by
			}
		case dynamicBlock:
			return dynamicBegins(b, at)
		case storedBlock:
			return storedBegins(b, at)
		default:
			return at > 8*len(b)
		}
	}
	return n == looked || at > 8*len(b) || !final || (at+7)/8 == len(b)
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
	head := bitsAt(b, at)
	if head&31 > 29 || head>>5&31 > 29 {
		return false
	}
	at += 14
	next := binary.LittleEndian.Uint64(b[at/8:]) >> (at % 8)
	next &= 1<<(3*(head>>10&15+4)) - 1
	used, room := 0, 0
	for ; next != 0; next >>= 9 {
		three := &threeLengths[next&511]
		used += int(three.used)
		room += int(three.room)
	}
	return room == 1<<7 || used == 1
}

// threeLengths are how many of three codes' lengths, of three bits each, are used, and the room that they take of 1<<7.
var threeLengths = func() (t [512]struct{ used, room uint8 }) {
	for lengths := range t {
		for next := lengths; next != 0; next >>= 3 {
			if n := next & 7; n > 0 {
				t[lengths].used++
				t[lengths].room += 1 << (7 - n)
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
		length, extra := copied(int(symbol.value))
		length += int(bitsAt(b, at) & (1<<extra - 1))
		at += extra
		code := int(bits.Reverse8(uint8(bitsAt(b, at))) >> 3) // codes come highest bit first
		at += 5
		distance, extra := back(code)
		distance += int(bitsAt(b, at) & (1<<extra - 1))
		at += extra
		if code > 29 || distance > produced {
			return at, produced, n, false
		}
		produced += length
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

// A symbol of the fixed codes is a literal (below 256), the end of the block (256), or a length.
type fixedSymbol struct {
	value  uint16
	length uint8 // bits
}

// fixedSymbols are the symbols by the nine bits that they may begin with.
var fixedSymbols = func() (t [512]fixedSymbol) {
	for next := range t {
		code := bits.Reverse16(uint16(next)) >> 7 // highest bit first
		switch {
		case code>>2 < 24:
			t[next] = fixedSymbol{256 + code>>2, 7}
		case code>>1 < 192:
			t[next] = fixedSymbol{code>>1 - 48, 8}
		case code>>1 < 200:
			t[next] = fixedSymbol{280 + code>>1 - 192, 8}
		default:
			t[next] = fixedSymbol{144 + code - 400, 9}
		}
	}
	return t
}()
