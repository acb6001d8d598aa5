package capture

import "encoding/binary"

// struct bpf_hdr of macOS (bsd/net/bpf.h), before every packet of a buffer that BPF gives; little-endian.
const (
	recordSeconds  = 0
	recordMicros   = 4
	recordCaptured = 8
	recordLength   = 12
	recordHeader   = 16 // the length of this header, with its padding
	recordMinimum  = 18
	recordAlign    = 4 // BPF_ALIGNMENT is sizeof(int32_t) there, while other BSDs have sizeof(long)
)

// bpfRecords walks the packets of one buffer.
type bpfRecords struct{ rest []byte }

// next gives the next packet; false at the end, or where a record does not hold together, behind which nothing can be found.
func (b *bpfRecords) next(p *Packet) bool {
	if len(b.rest) < recordMinimum {
		return false
	}
	header := int(binary.LittleEndian.Uint16(b.rest[recordHeader:]))
	captured := binary.LittleEndian.Uint32(b.rest[recordCaptured:])
	if header < recordMinimum || header > len(b.rest) || uint64(captured) > uint64(len(b.rest)-header) {
		b.rest = nil
		return false
	}
	end := header + int(captured)
	seconds := int64(int32(binary.LittleEndian.Uint32(b.rest[recordSeconds:])))
	micros := int64(int32(binary.LittleEndian.Uint32(b.rest[recordMicros:])))
	*p = Packet{
		Time: seconds*1e9 + micros*1e3, Data: b.rest[header:end:end],
		Length: max(int(captured), int(binary.LittleEndian.Uint32(b.rest[recordLength:]))),
	}
	b.rest = b.rest[min(len(b.rest), (end+recordAlign-1)&^(recordAlign-1)):]
	return true
}
