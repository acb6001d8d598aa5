package macho

import (
	"bytes"
	"fmt"
)

// readSegment reads a segment_command and the sections behind it.
func (r *reader) readSegment(c []byte, wide bool) error {
	fixed, each := 56, 68
	if wide {
		fixed, each = 72, 80
	}
	if len(c) < fixed {
		return fmt.Errorf("%d bytes long, less than %d", len(c), fixed)
	}
	s := Segment{Name: fixedName(c[8:24])}
	var address, memory, offset, size uint64
	rest := c[40:]
	if wide {
		address, memory, offset, size = r.order.Uint64(c[24:]), r.order.Uint64(c[32:]), r.order.Uint64(c[40:]), r.order.Uint64(c[48:])
		rest = c[56:]
	} else {
		address, memory, offset, size = uint64(r.u32(c[24:])), uint64(r.u32(c[28:])), uint64(r.u32(c[32:])), uint64(r.u32(c[36:]))
	}
	s.Address, s.MemorySize, s.FileOffset, s.FileSize = address, memory, int64(offset), int64(size)
	s.InitProt, s.Flags = r.u32(rest[4:]), r.u32(rest[12:])
	r.out.Encrypted = r.out.Encrypted || s.Flags&protectedSegment != 0

	count, room := r.u32(rest[8:]), (len(c)-fixed)/each
	var err error
	if int64(count) > int64(room) {
		err = fmt.Errorf("segment %q: %d sections, room for %d", s.Name, count, room)
		count = uint32(room)
	}
	if err == nil && r.out.Type != "dsym" {
		if _, outside := r.src.window(s.FileOffset, s.FileSize); outside != nil {
			err = fmt.Errorf("segment %q: %w", s.Name, outside)
		}
	}
	if count > 0 {
		s.Sections = make([]Section, count)
	}
	for i := range s.Sections {
		s.Sections[i] = r.readSection(c[fixed+i*each:], wide)
	}
	r.out.Segments = append(r.out.Segments, s)
	return err
}

// readSection reads a section or section_64.
func (r *reader) readSection(b []byte, wide bool) Section {
	s := Section{Name: fixedName(b[:16])}
	if wide {
		s.Address, s.Size = r.order.Uint64(b[32:]), int64(r.order.Uint64(b[40:]))
		b = b[48:]
	} else {
		s.Address, s.Size = uint64(r.u32(b[32:])), int64(r.u32(b[36:]))
		b = b[40:]
	}
	s.Offset, s.Type = int64(r.u32(b)), uint8(r.u32(b[16:]))
	return s
}

// fixedName is a name in a field of 16 bytes, which a NUL ends only where there is room.
func fixedName(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(b)
}
