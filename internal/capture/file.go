package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"sync/atomic"
	"syscall"
)

// What one record of a file may claim. Larger claims are errors: they are never read into memory.
const (
	maxPacket = 256 << 10 // bytes; MAXIMUM_SNAPLEN of libpcap and Wireshark
	maxBlock  = 512 << 10 // a pcapng block that is looked at: a packet with its options
)

// countEvery is how many packets Stats may lag behind while a file is read.
const countEvery = 1 << 10

// OpenFile opens a pcap or pcapng file of any byte order and resolution. A file that is no capture, or no regular file, is an error that
// says what it is instead; nothing is waited for. "-" is the standard input, which may be a pipe: there Next waits as long as
// the writer does, and Close does not wake it.
//
// PKTAP headers (link types 149 and 258) are taken off, so that packets carry their inner link type, direction and
// process. A file that ends within a record, or claims impossible sizes, gives all packets before that and then an error
// with the offset.
func OpenFile(name string) (Source, error) {
	if name == "-" {
		return newFile("standard input", os.Stdin, os.Stdin)
	}
	// O_NONBLOCK keeps a FIFO without a writer from blocking here.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	src, err := openRegular(name, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return src, nil
}

func openRegular(name string, f *os.File) (Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("capture: %s: not a capture file: %s", name, kind(info.Mode()))
	}
	return newFile(name, f, f)
}

// kind names what a file is, for error messages.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// file is what pcap and pcapng have in common.
type file struct {
	name    string
	closer  io.Closer
	in      window
	tap     unwrapper
	given   uint64        // packets
	packets atomic.Uint64 // the same, as Stats may know it: brought up now and then, since that costs more than to read a packet
	dropped atomic.Uint64
	skipped atomic.Uint64
	closed  atomic.Bool
}

// newFile reads the magic number and hands over to the reader of that format.
func newFile(name string, r io.Reader, c io.Closer) (Source, error) {
	f := &file{name: name, closer: c, in: newWindow(r), tap: newUnwrapper()}
	magic, err := f.in.take(4)
	if err != nil {
		return nil, f.badMagic(err)
	}
	le := binary.LittleEndian.Uint32(magic)
	if le == blockSection {
		src := &pcapngFile{file: f}
		if err := src.readSection(0); err != nil {
			return nil, err
		}
		return src, nil
	}
	for _, m := range pcapMagics {
		if le == m.magic || le == bits.ReverseBytes32(m.magic) {
			src := &pcapFile{file: f, pcapMagic: m, order: le != m.magic}
			if err := src.readHeader(); err != nil {
				return nil, err
			}
			return src, nil
		}
	}
	return nil, f.badMagic(nil)
}

// badMagic says what a file is that is no capture.
func (f *file) badMagic(err error) error {
	start := f.in.buf[:min(f.in.hi, 8)]
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return f.fail(0, "read", err)
	}
	if len(start) == 0 {
		return f.fail(0, "magic number", errors.New("the file is empty"))
	}
	for _, c := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"\xfd7zXZ", "xz"}, {"BZh", "bzip2"}, {"\x04\x22\x4d\x18", "lz4"},
	} {
		if len(start) >= len(c.magic) && string(start[:len(c.magic)]) == c.magic {
			return f.fail(0, "magic number", fmt.Errorf("compressed with %s: decompress it first", c.name))
		}
	}
	return f.fail(0, "magic number", fmt.Errorf("neither pcap nor pcapng: starts with % x", start))
}

// fail makes the error of a file: where, what, why.
func (f *file) fail(offset int64, what string, why error) error {
	if errors.Is(why, io.ErrUnexpectedEOF) {
		why = fmt.Errorf("the file ends within it: %w", why)
	}
	return fmt.Errorf("capture: %s: offset %d: %s: %w", f.name, offset, what, why)
}

// deliver counts a packet and takes its PKTAP header off, where it has one. False means that there is no packet in it.
func (f *file) deliver(p *Packet) bool {
	if p.Length < len(p.Data) {
		p.Length = len(p.Data)
	}
	if isPKTAP(p.LinkType) && !f.tap.unwrap(p) {
		f.skipped.Add(1)
		return false
	}
	if f.given++; f.given%countEvery == 0 {
		f.packets.Store(f.given)
	}
	return true
}

// ended gives the error that ends a file, with all packets counted.
func (f *file) ended(err error) error {
	f.packets.Store(f.given)
	return err
}

// InterfaceName implements InterfaceNamer.
func (f *file) InterfaceName(index int) string { return f.tap.ifaces.name(index) }

// Stats implements Source.
func (f *file) Stats() Stats {
	return Stats{Packets: f.packets.Load(), Dropped: f.dropped.Load(), Skipped: f.skipped.Load(), Mode: ModeFile}
}

// Close implements Source.
func (f *file) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	return f.closer.Close()
}

// linkType brings the values that some systems write for raw IP (their own DLT_RAW: 12, on OpenBSD 14) to LINKTYPE_RAW.
func linkType(v uint32) uint32 {
	if v == 12 || v == 14 {
		return LinkRaw
	}
	return v
}

// bigEndian is a file's byte order.
type bigEndian bool

func (big bigEndian) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if big {
		return bits.ReverseBytes16(v)
	}
	return v
}

func (big bigEndian) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if big {
		return bits.ReverseBytes32(v)
	}
	return v
}

func (big bigEndian) u64(b []byte) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if big {
		return bits.ReverseBytes64(v)
	}
	return v
}
