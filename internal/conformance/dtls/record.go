package dtls

import "encoding/binary"

// Content types (RFC 9147 section 4, RFC 9146).
const (
	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeAppData   = 23
	typeHeartbeat = 24
	typeCID       = 25
	typeACK       = 26
)

// Versions on the wire; DTLS counts downwards.
const (
	version10  = 0xfeff
	version12  = 0xfefd
	version13  = 0xfefc
	versionBad = 0x0100 // before RFC 4347: OpenSSL 0.9.8, Cisco AnyConnect
)

const (
	recordHeader = 13
	// maxRecord is the longest ciphertext (RFC 6347 section 4.1).
	maxRecord = 1<<14 + 2048
	// maxEpoch is the highest epoch that is believed of a connection joined late: each rehandshake adds one.
	maxEpoch = 255
)

// record is one DTLS record with the long header; unified is DTLS 1.3's short one (RFC 9147 section 4).
type record struct {
	typ     uint8
	version uint16
	epoch   uint16
	seq     uint64
	body    []byte
	unified bool
}

// headerLooks says whether b starts like a DTLS record with the long header.
func headerLooks(b []byte) bool {
	if len(b) < recordHeader || b[0] < typeCCS || b[0] > typeACK {
		return false
	}
	switch binary.BigEndian.Uint16(b[1:]) {
	case version10, version12, versionBad:
		return true
	}
	return false
}

// readRecord reads the record at b's start; ok is false where there is none or it goes beyond the datagram.
func readRecord(b []byte) (r record, next []byte, ok bool) {
	if len(b) > 0 && b[0]>>5 == 1 {
		return record{unified: true, typ: typeAppData, body: b}, nil, true // without knowing the connection id, the last of its datagram
	}
	if !headerLooks(b) {
		return record{}, nil, false
	}
	r = record{typ: b[0], version: binary.BigEndian.Uint16(b[1:]), epoch: binary.BigEndian.Uint16(b[3:])}
	r.seq = binary.BigEndian.Uint64(b[3:]) & (1<<48 - 1)
	if r.typ == typeCID {
		r.body = b[recordHeader:]
		return r, nil, true // the connection id's length is not on the wire
	}
	n := int(binary.BigEndian.Uint16(b[11:]))
	if n > maxRecord || n > len(b)-recordHeader {
		return r, nil, false
	}
	r.body = b[recordHeader : recordHeader+n]
	return r, b[recordHeader+n:], true
}
