package capture

import (
	"errors"
	"fmt"
	"io"
)

// Block types (draft-ietf-opsawg-pcapng; the process block is Apple's, libpcap pcap/pcap-ng.h).
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6
	blockCustom     = 0xbad
	blockCustomKept = 0x40000bad // not to be copied to other files
	blockProcess    = 0x80000001

	byteOrderMagic = 0x1a2b3c4d
)

// pcapngFile reads a pcapng file, of one or many sections.
type pcapngFile struct {
	*file
	order  bigEndian
	ifaces []ngInterface      // of this section
	owners []*Process         // of this section, in the order of its process blocks
	byPID  map[int32]*Process // of this section, from Wireshark's process blocks
	last   int64              // time of the last packet that has one: simple packets have none
}

// ngInterface is what an interface description block says.
type ngInterface struct {
	index int // within the source
	link  uint32
	snap  uint32 // 0: unlimited
	clock clock
	drops uint64 // as its last statistics block says
}

// Next implements Source.
func (f *pcapngFile) Next(p *Packet) error {
	for {
		if f.closed.Load() {
			return f.ended(io.EOF)
		}
		found, err := f.readBlock(p)
		if err != nil {
			return f.ended(err)
		}
		if found && f.deliver(p) {
			return nil
		}
	}
}

// readBlock reads one block; true when it is a packet.
func (f *pcapngFile) readBlock(p *Packet) (bool, error) {
	at := f.in.offset()
	head, err := f.in.take(4)
	if err == io.EOF {
		return false, io.EOF
	}
	if err != nil {
		return false, f.fail(at, "block header", err)
	}
	kind := f.order.u32(head)
	if kind == blockSection {
		return false, f.readSection(at)
	}
	if head, err = f.in.take(4); err != nil {
		return false, f.fail(at, "block header", unexpected(err))
	}
	total := f.order.u32(head)
	if total < 12 || total%4 != 0 {
		return false, f.fail(at+4, "block header", fmt.Errorf("a block of %d bytes", total))
	}
	if !known(kind) {
		return false, f.skipBlock(at, total)
	}
	if total > maxBlock {
		return false, f.fail(at+4, "block header", fmt.Errorf("a block of %d bytes: more than %d", total, maxBlock))
	}
	body, err := f.in.take(int(total) - 8)
	if err != nil {
		return false, f.fail(at, "block", unexpected(err))
	}
	if err := f.checkTrailer(at, total, body[total-12:]); err != nil {
		return false, err
	}
	found, err := f.parse(p, kind, body[:total-12])
	if err != nil {
		return false, f.fail(at, "block", err)
	}
	return found, nil
}

// known says whether a block is looked at. Name resolution, decryption secrets, events and other people's blocks are not.
func known(kind uint32) bool {
	switch kind {
	case blockInterface, blockPacket, blockSimple, blockStatistics, blockEnhanced, blockCustom, blockCustomKept, blockProcess:
		return true
	}
	return false
}

func (f *pcapngFile) skipBlock(at int64, total uint32) error {
	err := f.in.skip(int64(total) - 12)
	if err != nil {
		return f.fail(at, "block", err)
	}
	trailer, err := f.in.take(4)
	if err != nil {
		return f.fail(at, "block", unexpected(err))
	}
	return f.checkTrailer(at, total, trailer)
}

// checkTrailer compares the two lengths of a block: where they differ, the file was damaged or put together wrongly.
func (f *pcapngFile) checkTrailer(at int64, total uint32, trailer []byte) error {
	if again := f.order.u32(trailer); again != total {
		return f.fail(at, "block", fmt.Errorf("is %d bytes long at its start and %d at its end", total, again))
	}
	return nil
}

// readSection reads a section header block from behind its type, which is the same in both byte orders.
func (f *pcapngFile) readSection(at int64) error {
	head, err := f.in.take(16)
	if err != nil {
		return f.fail(at, "section header", unexpected(err))
	}
	switch uint32(byteOrderMagic) {
	case bigEndian(false).u32(head[4:]):
		f.order = false
	case bigEndian(true).u32(head[4:]):
		f.order = true
	default:
		return f.fail(at+8, "section header", fmt.Errorf("byte order % x is not known", head[4:8]))
	}
	total := f.order.u32(head)
	if total < 28 || total%4 != 0 {
		return f.fail(at+4, "section header", fmt.Errorf("a block of %d bytes", total))
	}
	if major := f.order.u16(head[8:]); major != 1 {
		return f.fail(at+12, "section header", fmt.Errorf("pcapng version %d is not known", major))
	}
	f.ifaces, f.owners, f.byPID = f.ifaces[:0], f.owners[:0], nil
	if err := f.in.skip(int64(total) - 24); err != nil {
		return f.fail(at, "section header", err)
	}
	trailer, err := f.in.take(4)
	if err != nil {
		return f.fail(at, "section header", unexpected(err))
	}
	return f.checkTrailer(at, total, trailer)
}

// parse reads a block's body; true when it is a packet.
func (f *pcapngFile) parse(p *Packet, kind uint32, body []byte) (bool, error) {
	switch kind {
	case blockEnhanced:
		return true, f.enhanced(p, body)
	case blockSimple:
		return true, f.simple(p, body)
	case blockPacket:
		return true, f.obsolete(p, body)
	case blockInterface:
		return false, f.addInterface(body)
	case blockProcess:
		return false, f.addProcess(body)
	case blockStatistics:
		f.statistics(body)
	default:
		f.custom(body)
	}
	return false, nil
}

var (
	errShort      = errors.New("too short for its type")
	errCaptured   = errors.New("the packet is longer than its block")
	errInterfaces = fmt.Errorf("more than %d interfaces", maxInterfaces)
)

// addInterface reads an interface description block.
func (f *pcapngFile) addInterface(body []byte) error {
	if len(body) < 8 {
		return errShort
	}
	iface := ngInterface{link: linkType(uint32(f.order.u16(body))), snap: f.order.u32(body[4:])}
	resolution, offset, name := uint8(6), int64(0), ""
	for o := (options{body[8:], f.order}); ; {
		code, value, ok := o.next()
		if !ok {
			break
		}
		switch {
		case code == 2: // if_name
			name = text(value, maxName)
		case code == 9 && len(value) == 1: // if_tsresol
			resolution = value[0]
		case code == 14 && len(value) == 8: // if_tsoffset
			offset = int64(f.order.u64(value))
		}
	}
	iface.clock = newClock(resolution, offset)
	var ok bool
	if iface.index, ok = f.tap.ifaces.add(name); !ok {
		return errInterfaces
	}
	f.ifaces = append(f.ifaces, iface)
	return nil
}

// statistics reads how many packets were lost (isb_ifdrop, isb_osdrop): counts since the start of the capture.
func (f *pcapngFile) statistics(body []byte) {
	if len(body) < 12 || uint64(f.order.u32(body)) >= uint64(len(f.ifaces)) {
		return
	}
	var drops uint64
	for o := (options{body[12:], f.order}); ; {
		code, value, ok := o.next()
		if !ok {
			break
		}
		if (code == 5 || code == 7) && len(value) == 8 {
			drops += f.order.u64(value)
		}
	}
	iface := &f.ifaces[f.order.u32(body)]
	if drops > iface.drops {
		f.dropped.Add(drops - iface.drops)
		iface.drops = drops
	}
}
