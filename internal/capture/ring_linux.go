package capture

import "encoding/binary"

// Offsets of a block of a TPACKET_V3 ring, in the host's byte order (linux/if_packet.h: struct tpacket_block_desc,
// struct tpacket3_hdr and, behind it, struct sockaddr_ll).
const (
	blockStatus  = 8 // bit 0: the block is ours
	blockCount   = 12
	blockFirst   = 16
	frameNext    = 0
	frameSeconds = 4
	frameNanos   = 8
	frameLen     = 12 // of the copied data
	frameWire    = 16
	frameMAC     = 24 // offset of the data
	frameHeader  = 48
	frameIndex   = frameHeader + 4
	frameType    = frameHeader + 8  // ARPHRD_
	framePacket  = frameHeader + 10 // PACKET_HOST and so on
	frameMinimum = frameHeader + 20
)

// ringBlock walks the packets of one block that the kernel has handed over.
type ringBlock struct {
	data []byte
	at   int
	left uint32
}

func newRingBlock(data []byte) ringBlock {
	return ringBlock{
		data: data, at: int(binary.NativeEndian.Uint32(data[blockFirst:])), left: binary.NativeEndian.Uint32(data[blockCount:]),
	}
}

// next gives the next packet of the block, whose data stays the ring's; false at its end.
func (b *ringBlock) next(p *Packet) bool {
	if b.left == 0 || b.at < 0 || b.at > len(b.data)-frameMinimum {
		return false
	}
	frame := b.data[b.at:]
	start := int(binary.NativeEndian.Uint16(frame[frameMAC:]))
	length := int(binary.NativeEndian.Uint32(frame[frameLen:]))
	if start+length > len(frame) {
		return false
	}
	*p = Packet{
		Time:     int64(binary.NativeEndian.Uint32(frame[frameSeconds:]))*1e9 + int64(binary.NativeEndian.Uint32(frame[frameNanos:])),
		LinkType: LinkRaw, Data: frame[start : start+length],
		Length:    int(binary.NativeEndian.Uint32(frame[frameWire:])),
		Interface: int(binary.NativeEndian.Uint32(frame[frameIndex:])),
	}
	// What a host sends to itself has no direction.
	if binary.NativeEndian.Uint16(frame[frameType:]) != hardwareLoopback {
		p.Direction = linuxDirection(frame[framePacket])
	}
	b.left--
	step := binary.NativeEndian.Uint32(frame[frameNext:])
	if step == 0 {
		b.left = 0
	}
	b.at += int(step)
	return true
}
