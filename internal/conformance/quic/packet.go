package quic

import "encoding/binary"

// packetType is what a long header says, the same for all versions.
type packetType uint8

const (
	typeInitial packetType = iota
	typeZeroRTT
	typeHandshake
	typeRetry
	typeNegotiation
)

// maxCID is the longest connection id of the versions that are read (RFC 9000 section 17.2).
const maxCID = 20

// packet is one long header packet (RFC 9000 section 17.2, RFC 9369 section 3.2).
type packet struct {
	typ        packetType
	version    uint32
	dcid, scid []byte
	token      []byte
	raw        []byte // from the first byte to the end of the payload
	pnOff      int    // of the packet number in raw; 0 for types without
	rest       []byte // Retry: token and integrity tag; Version Negotiation: the list
	cut        bool   // the length field goes beyond the datagram
}

// readLong reads the long header packet at b's start; next is what follows in the same datagram.
func readLong(b []byte) (p packet, next []byte, ok bool) {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return packet{}, nil, false
	}
	p.version = binary.BigEndian.Uint32(b[1:])
	off := 5
	if p.dcid, off, ok = readCID(b, off); !ok {
		return packet{}, nil, false
	}
	if p.scid, off, ok = readCID(b, off); !ok {
		return packet{}, nil, false
	}
	if p.version == negotiation {
		p.typ, p.raw, p.rest = typeNegotiation, b, b[off:]
		return p, nil, true
	}
	p.typ = longType(b[0]>>4&3, p.version)
	if p.typ == typeRetry {
		p.raw, p.rest = b, b[off:]
		return p, nil, true
	}
	return p.readLength(b, off)
}

// readLength reads an Initial's token and the length field, and splits off the packet.
func (p *packet) readLength(b []byte, off int) (packet, []byte, bool) {
	if p.typ == typeInitial {
		n, after, ok := readVarint(b, off)
		if !ok || n > uint64(len(b)-after) {
			return packet{}, nil, false
		}
		p.token, off = b[after:after+int(n)], after+int(n)
	}
	n, after, ok := readVarint(b, off)
	if !ok || n < 4 {
		return packet{}, nil, false
	}
	p.pnOff = after
	end := len(b)
	if n <= uint64(len(b)-after) {
		end = after + int(n)
	} else {
		p.cut = true
	}
	p.raw = b[:end]
	return *p, b[end:], true
}

// longType undoes version 2's other numbering (RFC 9369 section 3.2).
func longType(bits byte, version uint32) packetType {
	if version == version2 {
		bits = (bits + 3) & 3
	}
	return packetType(bits)
}

func readCID(b []byte, off int) (cid []byte, next int, ok bool) {
	if off >= len(b) || int(b[off]) > maxCID || off+1+int(b[off]) > len(b) {
		return nil, off, false
	}
	next = off + 1 + int(b[off])
	return b[off+1 : next], next, true
}

// readVarint reads a variable-length integer (RFC 9000 section 16).
func readVarint(b []byte, off int) (v uint64, next int, ok bool) {
	if off >= len(b) {
		return 0, off, false
	}
	n := 1 << (b[off] >> 6)
	if off+n > len(b) {
		return 0, off, false
	}
	v = uint64(b[off] & 0x3f)
	for _, c := range b[off+1 : off+n] {
		v = v<<8 | uint64(c)
	}
	return v, off + n, true
}

// known says whether v is a version whose Initial packets can be opened.
func known(v uint32) bool {
	_, ok := salt(v)
	return ok
}

// isGREASE says whether v is reserved to force version negotiation (RFC 9000 section 15).
func isGREASE(v uint32) bool { return v&0x0f0f0f0f == 0x0a0a0a0a }
