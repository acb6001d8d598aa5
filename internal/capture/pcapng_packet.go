package capture

import "fmt"

// enhanced reads an enhanced packet block.
func (f *pcapngFile) enhanced(p *Packet, body []byte) error {
	if len(body) < 20 {
		return errShort
	}
	ticks := uint64(f.order.u32(body[4:]))<<32 | uint64(f.order.u32(body[8:]))
	return f.packet(p, f.order.u32(body), ticks, f.order.u32(body[12:]), f.order.u32(body[16:]), body[20:])
}

// obsolete reads a packet block, which differs from the enhanced one in a 16-bit interface beside a count of drops.
func (f *pcapngFile) obsolete(p *Packet, body []byte) error {
	if len(body) < 20 {
		return errShort
	}
	ticks := uint64(f.order.u32(body[4:]))<<32 | uint64(f.order.u32(body[8:]))
	return f.packet(p, uint32(f.order.u16(body)), ticks, f.order.u32(body[12:]), f.order.u32(body[16:]), body[20:])
}

// packet puts together what the two packet blocks share; rest holds the data and the options.
func (f *pcapngFile) packet(p *Packet, iface uint32, ticks uint64, captured, length uint32, rest []byte) error {
	if uint64(iface) >= uint64(len(f.ifaces)) {
		return fmt.Errorf("a packet of interface %d, which is not described before it", iface)
	}
	if captured > maxPacket {
		return fmt.Errorf("a packet of %d bytes: more than %d", captured, maxPacket)
	}
	if uint64(captured) > uint64(len(rest)) {
		return errCaptured
	}
	from := &f.ifaces[iface]
	f.last = from.clock.nanoseconds(ticks)
	*p = Packet{
		Time: f.last, LinkType: from.link, Data: rest[:captured:captured], Length: int(length), Interface: from.index,
	}
	f.packetOptions(p, rest[min(len(rest), int(captured+3)&^3):])
	return nil
}

// simple reads a simple packet block: of the first interface, without a time. It gets the time of the packet before it.
func (f *pcapngFile) simple(p *Packet, body []byte) error {
	if len(body) < 4 {
		return errShort
	}
	if len(f.ifaces) == 0 {
		return fmt.Errorf("a packet of interface 0, which is not described before it")
	}
	from := &f.ifaces[0]
	length := f.order.u32(body)
	captured := length
	if from.snap != 0 {
		captured = min(captured, from.snap)
	}
	if captured > maxPacket {
		return fmt.Errorf("a packet of %d bytes: more than %d", captured, maxPacket)
	}
	if uint64(captured) > uint64(len(body)-4) {
		return errCaptured
	}
	*p = Packet{
		Time: f.last, LinkType: from.link, Data: body[4 : 4+captured : 4+captured], Length: int(length), Interface: from.index,
	}
	return nil
}

// packetOptions reads direction and owner. The owner is the effective process (for which another one works) where there is one.
func (f *pcapngFile) packetOptions(p *Packet, rest []byte) {
	effective := false
	for o := (options{rest, f.order}); ; {
		code, value, ok := o.next()
		if !ok {
			return
		}
		switch {
		case code == 2 && len(value) == 4: // epb_flags
			p.Direction = ngDirection(f.order.u32(value))
		case code == 8 && len(value) == 8: // epb_processid_threadid
			if p.Process == nil {
				p.Process = f.processOf(int32(f.order.u32(value)))
			}
		case code == optProcess && len(value) == 4 && !effective:
			if index := f.order.u32(value); uint64(index) < uint64(len(f.owners)) {
				p.Process = f.owners[index]
			}
		case code == optEffective && len(value) == 4:
			if index := f.order.u32(value); uint64(index) < uint64(len(f.owners)) {
				p.Process, effective = f.owners[index], true
			}
		}
	}
}

func ngDirection(flags uint32) Direction {
	switch flags & 3 {
	case 1:
		return In
	case 2:
		return Out
	}
	return Unknown
}
