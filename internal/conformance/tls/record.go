package tls

// Content types (RFC 8446 section 5.1, RFC 6520).
const (
	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeAppData   = 23
	typeHeartbeat = 24
)

const (
	recordHeader = 5
	// maxRecord is the longest ciphertext that any version allows (RFC 5246 section 6.2.3).
	maxRecord = 1<<14 + 2048
	// maxRecord13 is TLS 1.3's (RFC 8446 section 5.2).
	maxRecord13 = 1<<14 + 256
)

// Versions on the wire.
const (
	versionSSL2  = 0x0002
	versionSSL3  = 0x0300
	version10    = 0x0301
	version11    = 0x0302
	version12    = 0x0303
	version13    = 0x0304
	versionTLCP  = 0x0101 // GB/T 38636, TLS 1.1 with two certificates
	draft13Major = 0x7f   // TLS 1.3 drafts: 0x7f00 | draft
)

// record is one TLS record as far as it was captured.
type record struct {
	typ     uint8
	version uint16
	length  int    // of the fragment, by its header
	frag    []byte // shorter than length when the capture ends within
	off     int    // of the header in the direction's bytes
}

func (r *record) whole() bool { return len(r.frag) == r.length }

// readRecord reads the record at off; ok is false when fewer than 5 bytes are there.
func readRecord(data []byte, off int) (r record, next int, ok bool) {
	if len(data)-off < recordHeader {
		return record{}, off, false
	}
	h := data[off:]
	r = record{typ: h[0], version: uint16(h[1])<<8 | uint16(h[2]), length: int(h[3])<<8 | int(h[4]), off: off}
	next = off + recordHeader + r.length
	r.frag = data[off+recordHeader : min(next, len(data))]
	return r, next, true
}

// headerLooks says whether data starts like a TLS record: a content type and major version 3 (or TLCP's 1.1), in as many of the
// first three bytes as there are. Minor versions that never existed pass: the state machine names them.
func headerLooks(data []byte) bool {
	switch {
	case len(data) == 0:
		return false
	case data[0] < typeCCS || data[0] > typeHeartbeat:
		return false
	case len(data) > 1 && data[1] != 3 && data[1] != 1:
		return false
	case len(data) > 2 && data[1] == 1 && data[2] != 1:
		return false
	case len(data) > 2 && data[2] > 9:
		return false
	}
	return true
}

// headerValid says whether the record header is one that a TLS stack writes (RFC 8446 section 5.1: legacy_record_version is
// never above 0x0303).
func headerValid(r *record) bool {
	if r.typ < typeCCS || r.typ > typeHeartbeat || r.length > maxRecord || r.length == 0 {
		return false
	}
	return r.version >= versionSSL3 && r.version <= version12 || r.version == versionTLCP
}
