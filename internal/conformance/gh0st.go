package conformance

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
)

// A message of the gh0st family: a tag of five bytes, which variants change, then as little-endian numbers of 32 bits its whole length
// and the length of what it holds, then that, compressed by zlib and, in many variants, XORed with one byte.
const (
	gh0stTag    = 5
	gh0stHeader = gh0stTag + 4 + 4
	maxGh0st    = 64 << 10 // of what one message holds
	// provenGh0st is how many messages must unmask; each proves itself by a checksum and a length of 32 bits.
	provenGh0st = 2
)

// isGh0st undoes the mask. Its key follows from zlib's first byte, and a key of 0 is no mask.
func isGh0st(e *examined, c *Conversation) (int, bool) {
	if c.Transport != TCP {
		return 0, false
	}
	proven := 0
	for i := range e.sides {
		for b := e.sides[i].data; len(b) > gh0stHeader && proven < provenGh0st; proven++ {
			total, holds := binary.LittleEndian.Uint32(b[gh0stTag:]), binary.LittleEndian.Uint32(b[gh0stTag+4:])
			if total <= gh0stHeader || uint64(total) > uint64(len(b)) || holds > maxGh0st || !unmasksZlib(b[gh0stHeader:total], int(holds)) {
				break
			}
			b = b[total:]
		}
	}
	return gh0stHeader, proven == provenGh0st
}

// unmasksZlib says whether b, XORed with the byte that makes its first one zlib's, inflates to n bytes.
func unmasksZlib(b []byte, n int) bool {
	const deflate32K = 0x78 // RFC 1950 section 2.2
	key := b[0] ^ deflate32K
	if key == 0 || len(b) < 2 || (uint(deflate32K)<<8|uint(b[1]^key))%31 != 0 {
		return false
	}
	plain := make([]byte, len(b))
	for i := range b {
		plain[i] = b[i] ^ key
	}
	z, err := zlib.NewReader(bytes.NewReader(plain))
	if err != nil {
		return false
	}
	got, err := io.Copy(io.Discard, io.LimitReader(z, int64(n)+1))
	return err == nil && got == int64(n)
}
