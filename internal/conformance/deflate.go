package conformance

import (
	"encoding/binary"
	"errors"
	"io"
)

// isDeflate wants a bare stream that ends where the message ends, or goes on for long. What follows from blocks without
// compression, or from very few bytes, says nothing.
func isDeflate(b []byte) bool {
	const whole, part = 24, 256
	if len(b) < whole {
		return false
	}
	const fixed, dynamic = 1, 2
	switch b[0] >> 1 & 3 {
	case fixed:
		if !fixedBegins(b) {
			return false
		}
	case dynamic:
		if !dynamicBegins(b) {
			return false
		}
	default:
		return false
	}
	used, _, _, err := inflate(b)
	return err == nil && used == len(b) || errors.Is(err, io.ErrUnexpectedEOF) && len(b) >= part
}

// dynamicBegins checks the start of a block with codes of its own (RFC 1951, 3.2.7): as many codes as there may be, and a code for
// their lengths that is neither too small nor too large, as nearly all other bytes give one.
func dynamicBegins(b []byte) bool {
	if b[0]>>3 > 29 || b[1]&31 > 29 {
		return false
	}
	lengths := int(b[1]>>5|b[2]<<3&8) + 4
	at, used, room := 17, 0, 0
	for range lengths {
		n := binary.LittleEndian.Uint16(b[at/8:]) >> (at % 8) & 7
		if n > 0 {
			used++
			room += 1 << (7 - n)
		}
		at += 3
	}
	return room == 1<<7 || used == 1
}

// fixedBegins decodes the start of a block with the fixed codes (RFC 1951, 3.2.6) up to its first copy of earlier bytes, which
// must not lie before the stream's start, as it mostly does where there is no such stream.
func fixedBegins(b []byte) bool {
	r := bitReader{b: b, at: 3}
	const looked = 32 // symbols
	for produced := range looked {
		symbol := r.fixedSymbol()
		switch {
		case symbol == 256: // the block ends
			return true
		case symbol > 285:
			return false
		case symbol > 256:
			if symbol > 264 && symbol < 285 {
				r.at += (symbol - 261) / 4
			}
			code := r.huffman(5)
			return code < 4 && code < produced || code >= 4 && code < 30 && (2+code&1)<<(code/2-1) < produced
		}
	}
	return true
}

// bitReader reads bits from the lowest of each byte on; behind the end there are zeros.
type bitReader struct {
	b  []byte
	at int // bits
}

func (r *bitReader) bit() int {
	if r.at >= 8*len(r.b) {
		return 0
	}
	v := int(r.b[r.at/8] >> (r.at % 8) & 1)
	r.at++
	return v
}

// huffman reads bits of a code, which come highest first.
func (r *bitReader) huffman(n int) int {
	v := 0
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

// fixedSymbol is a literal (below 256), the end of the block (256), or a length.
func (r *bitReader) fixedSymbol() int {
	code := r.huffman(7)
	if code < 24 {
		return 256 + code
	}
	code = code<<1 | r.bit()
	switch {
	case code < 192:
		return code - 48
	case code < 200:
		return 280 + code - 192
	}
	return 144 + (code<<1 | r.bit()) - 400
}
