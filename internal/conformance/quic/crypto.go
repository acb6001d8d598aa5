package quic

import "encoding/binary"

// Frame types of Initial packets (RFC 9000 section 12.4, 19).
const (
	framePadding = 0x00
	framePing    = 0x01
	frameACK     = 0x02
	frameACKECN  = 0x03
	frameCrypto  = 0x06
	frameClose   = 0x1c
)

// maxCrypto bounds the reassembled handshake bytes; ClientHellos with post-quantum keys stay below 4 KiB.
const maxCrypto = 16 << 10

// span is a received range of the crypto stream.
type span struct{ from, to int }

// cryptoStream puts CRYPTO frames together, in any order and over several packets.
type cryptoStream struct {
	buf   []byte
	spans []span
}

// maxSpans bounds the fragments of one stream; Chrome cuts its ClientHello into about ten.
const maxSpans = 64

func (c *cryptoStream) add(off uint64, data []byte) {
	if len(data) == 0 || off > maxCrypto || off+uint64(len(data)) > maxCrypto || len(c.spans) >= maxSpans {
		return
	}
	end := int(off) + len(data)
	if end > len(c.buf) {
		c.buf = append(c.buf, make([]byte, end-len(c.buf))...)
	}
	copy(c.buf[off:], data)
	c.spans = append(c.spans, span{int(off), end})
}

// contiguous is what is there from offset 0 on.
func (c *cryptoStream) contiguous() []byte {
	end := 0
	for range c.spans {
		before := end
		for _, s := range c.spans {
			if s.from <= end && s.to > end {
				end = s.to
			}
		}
		if end == before {
			break
		}
	}
	return c.buf[:end]
}

// message returns the handshake message at the start of the stream when all of it is there.
func (c *cryptoStream) message() (typ uint8, body []byte, ok bool) {
	b := c.contiguous()
	if len(b) < 4 {
		return 0, nil, false
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if n > len(b)-4 {
		return b[0], nil, false
	}
	return b[0], b[4 : 4+n], true
}

// readFrames takes the CRYPTO frames of an Initial packet's payload; ok is false where a frame is not one that an Initial may
// carry (RFC 9000 section 17.2.2) or does not add up.
func (c *cryptoStream) readFrames(p []byte) bool {
	for off := 0; off < len(p); {
		typ, next, ok := readVarint(p, off)
		if !ok {
			return false
		}
		off = next
		switch typ {
		case framePadding:
			off = endOfPadding(p, off)
		case framePing:
		case frameACK, frameACKECN:
			if off, ok = skipACK(p, off, typ == frameACKECN); !ok {
				return false
			}
		case frameCrypto:
			at, next, ok := readVarint(p, off)
			if !ok {
				return false
			}
			n, next, ok := readVarint(p, next)
			if !ok || n > uint64(len(p)-next) {
				return false
			}
			c.add(at, p[next:next+int(n)])
			off = next + int(n)
		case frameClose:
			return true
		default:
			return false
		}
	}
	return true
}

// endOfPadding is where the zeros from off on end: a client's Initial packet is mostly padding.
func endOfPadding(p []byte, off int) int {
	for len(p)-off >= 8 && binary.LittleEndian.Uint64(p[off:]) == 0 {
		off += 8
	}
	for off < len(p) && p[off] == framePadding {
		off++
	}
	return off
}

// skipACK returns the end of an ACK frame's body (RFC 9000 section 19.3).
func skipACK(p []byte, off int, ecn bool) (int, bool) {
	var count uint64
	for i := range 4 { // largest, delay, count, first range
		v, next, ok := readVarint(p, off)
		if !ok {
			return off, false
		}
		if off = next; i == 2 {
			count = v
		}
	}
	if count > uint64(len(p)) {
		return off, false
	}
	n := 2 * count
	if ecn {
		n += 3
	}
	for ; n > 0; n-- {
		_, next, ok := readVarint(p, off)
		if !ok {
			return off, false
		}
		off = next
	}
	return off, true
}
