package conformance

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// A message of the gh0st family: a tag of five bytes, which variants change, then as little-endian numbers of 32 bits its whole length
// and the length of what it holds, then that, compressed by zlib and, in many variants, XORed with one byte or encrypted by RC4 with one
// keystream for every message.
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
		for b := e.sides[i].data; proven < provenGh0st; proven++ {
			body, holds := gh0stBody(b)
			if body == nil || !unmasksZlib(body, holds) {
				break
			}
			b = b[gh0stHeader+len(body):]
		}
	}
	return gh0stHeader, proven == provenGh0st
}

// isSealedGh0st says whether all messages of both sides are ciphertext of zlib: one tag throughout, lengths that zlib can give, and a
// longest message of either side that is uniform by itself. Together they need not be, where the keystream is the same in each.
func isSealedGh0st(e *examined, c *Conversation) (int, bool) {
	const least = 2 // messages
	a, b := &e.sides[0], &e.sides[1]
	if c.Transport != TCP || !a.gh0st() || !b.gh0st() {
		return 0, false
	}
	if len(a.rest)+len(b.rest) < least || len(a.rest) > 0 && len(b.rest) > 0 && string(a.data[:gh0stTag]) != string(b.data[:gh0stTag]) {
		return 0, false
	}
	judged := 0
	for i := range e.sides {
		n, ok := e.sides[i].longestSealed()
		if !ok {
			return 0, false
		}
		judged += n
	}
	return gh0stHeader, judged >= 2*minRandom && !e.allBeginBrotli(a.rest, b.rest)
}

// gh0st splits all that a direction carried into messages, whose bodies it puts into rest; the last may be cut.
func (s *side) gh0st() bool {
	s.rest = s.room.rest[:0]
	for b := s.data; len(b) > 0 && len(s.rest) < cap(s.rest); {
		body, holds := gh0stBody(b)
		if body == nil {
			return len(s.rest) > 0 && len(b) < gh0stLength(b)
		}
		if !zlibLengths(len(body), holds) || string(b[:gh0stTag]) != string(s.data[:gh0stTag]) {
			return false
		}
		s.rest, b = append(s.rest, body), b[gh0stHeader+len(body):]
	}
	return true
}

// longestSealed says whether the longest body is uniform, or too short to tell, and how long it is; none may be compressed.
func (s *side) longestSealed() (n int, ok bool) {
	var longest []byte
	for _, body := range s.rest {
		if compressedBehind(body) != nil {
			return 0, false
		}
		if len(body) > len(longest) {
			longest = body
		}
	}
	if len(longest) < randomness.MinSample {
		return 0, true
	}
	_, ok = randomness.Likely(longest, strict)
	return len(longest), ok
}

// gh0stBody is the body of the message that b starts with and what it holds, or nil where that is none or not whole.
func gh0stBody(b []byte) (body []byte, holds int) {
	if len(b) <= gh0stHeader {
		return nil, 0
	}
	total, length := binary.LittleEndian.Uint32(b[gh0stTag:]), binary.LittleEndian.Uint32(b[gh0stTag+4:])
	if total <= gh0stHeader || uint64(total) > uint64(len(b)) || length > maxGh0st {
		return nil, 0
	}
	return b[gh0stHeader:total], int(length)
}

// gh0stLength is how long the message that b starts with says to be; its header where that is cut.
func gh0stLength(b []byte) int {
	if len(b) < gh0stHeader {
		return gh0stHeader
	}
	return int(min(binary.LittleEndian.Uint32(b[gh0stTag:]), maxGh0st))
}

// zlibLengths says whether zlib (RFC 1950, RFC 1951) can make n bytes of what has length holds, and is likely to have been used: it saves
// at most a thousandth, and adds at most its header, checksum and empty blocks.
func zlibLengths(n, holds int) bool {
	const most, frame, block = 1032, 2 + 4 + 10, 16 << 10
	return holds > 0 && n >= 2+4+1+holds/most && n <= holds+frame+5*(1+holds/block)
}

// unmasksZlib says whether b, XORed with the byte that makes its first one zlib's, inflates to n bytes. A key of 0 is no mask.
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
