package capture

import (
	"fmt"
	"io"
)

// pcapMagic is what the first four bytes of a pcap file say.
type pcapMagic struct {
	magic  uint32
	tick   int64 // nanoseconds that one unit of a time stamp's second field is worth
	record int   // bytes of a record's header
}

// pcapMagics are the kinds of pcap file: draft-ietf-opsawg-pcap, and A. Kuznetzov's of the first Linux distributions, whose
// records also have an interface index, a protocol and a packet type.
var pcapMagics = []pcapMagic{
	{0xa1b2c3d4, 1000, 16},
	{0xa1b23c4d, 1, 16},
	{0xa1b2cd34, 1000, 24},
}

// pcapFile reads a pcap file.
type pcapFile struct {
	*file
	pcapMagic
	order bigEndian
	minor uint16
	link  uint32
}

// readHeader reads what comes after the magic number.
func (f *pcapFile) readHeader() error {
	head, err := f.in.take(20)
	if err != nil {
		return f.fail(0, "file header", unexpected(err))
	}
	if major := f.order.u16(head); major != 2 {
		return f.fail(4, "file header", fmt.Errorf("pcap version %d is not known", major))
	}
	f.minor = f.order.u16(head[2:])
	// The upper 16 bits hold the length of a frame check sequence, which the IP length tells apart anyway.
	f.link = linkType(f.order.u32(head[16:]) & 0xffff)
	return nil
}

// Next implements Source.
func (f *pcapFile) Next(p *Packet) error {
	for {
		if f.closed.Load() {
			return f.ended(io.EOF)
		}
		if err := f.read(p); err != nil {
			return f.ended(err)
		}
		if f.deliver(p) {
			return nil
		}
	}
}

func (f *pcapFile) read(p *Packet) error {
	rest, err := f.in.ahead(f.record)
	if err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return f.fail(f.in.offset(), "packet header", err)
	}
	head := rest[:f.record]
	seconds, fraction := f.order.u32(head), f.order.u32(head[4:])
	captured, length := f.lengths(f.order.u32(head[8:]), f.order.u32(head[12:]))
	p.Direction = Unknown
	if f.record == 24 && f.order.u32(head[16:]) != 0 { // without an interface index, a converter made it up
		p.Direction = linuxDirection(head[22])
	}
	if captured > maxPacket {
		return f.fail(f.in.offset()+8, "packet header", fmt.Errorf("a packet of %d bytes: more than %d", captured, maxPacket))
	}
	end := f.record + int(captured)
	if len(rest) < end {
		if rest, err = f.in.ahead(end); err != nil {
			return f.fail(f.in.offset(), "packet", unexpected(err))
		}
	}
	p.Data = rest[f.record:end:end]
	f.in.lo += end
	p.Time, p.LinkType = int64(seconds)*1e9+int64(fraction)*f.tick, f.link
	p.Length, p.Interface, p.Process = int(length), 0, nil
	return nil
}

// lengths puts the captured and the original length right: before version 2.3 they were the other way round, and in 2.3
// programs disagreed (libpcap, sf-pcap.c).
func (f *pcapFile) lengths(captured, length uint32) (uint32, uint32) {
	if f.minor < 3 || f.minor == 3 && captured > length {
		return length, captured
	}
	return captured, length
}

// linuxDirection reads a packet type of Linux (linux/if_packet.h, PACKET_HOST and so on).
func linuxDirection(packetType uint8) Direction {
	switch packetType {
	case 0, 1, 2: // to this host, to all, to a group
		return In
	case 4:
		return Out
	}
	return Unknown // 3: to another host
}
