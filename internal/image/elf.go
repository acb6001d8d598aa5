package image

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const elfMagic = "\x7fELF"

// Limits for ELF files. The largest real dynamic symbol tables have some 100,000 entries.
const (
	maxELFHeaders  = 4096
	maxELFTable    = 16 << 20 // bytes of one table
	maxELFSymbols  = 400_000
	maxELFNeeded   = 1024
	maxELFVersions = 32 << 10 // versions are numbers of 15 bits
)

// elfFile is an ELF file whose loader's tables are read (System V gABI, "Dynamic Linking"). Only what the program headers
// and the dynamic section say counts, as for the loader: section headers may be stripped or lie.
type elfFile struct {
	r        io.ReaderAt
	size     int64
	order    binary.ByteOrder
	wide     bool // ELFCLASS64
	machine  uint16
	segments []elfSegment
	sections []elfSection
	unit     *unit
	versions map[uint16]int // symbol version -> index of the library, by DT_VERNEED; unknownLibrary for none
	strings  []byte
}

type elfSegment struct {
	kind, flags                uint32
	offset, addr, size, memory uint64
}

type elfSection struct {
	name         string
	kind         uint32
	flags        uint64
	offset, size uint64
}

// readELF reads what an ELF file asks the loader for.
func readELF(ctx context.Context, r io.ReaderAt, size int64) (*facts, error) {
	e := &elfFile{r: r, size: size, unit: &unit{}, versions: map[uint16]int{}}
	f := &facts{format: "elf", units: []*unit{e.unit}}
	if err := e.readHeaders(); err != nil {
		f.errs = append(f.errs, fmt.Errorf("elf: %w", err))
		return f, nil
	}
	e.unit.arch = elfArch(e.machine, e.wide)
	e.readNotes()
	if err := e.readDynamic(); err != nil {
		f.errs = append(f.errs, fmt.Errorf("elf: %w", err))
	}
	f.look(ctx, e.unit, e.contents(), newBudget())
	return f, ctx.Err()
}

// bytes reads n bytes at off, or fails.
func (e *elfFile) bytes(off, n uint64) ([]byte, error) {
	if n > maxELFTable {
		return nil, fmt.Errorf("%d bytes at offset %d: more than %d", n, off, maxELFTable)
	}
	if off > uint64(e.size) || n > uint64(e.size)-off {
		return nil, fmt.Errorf("%d bytes at offset %d: outside the %d there are", n, off, e.size)
	}
	b := make([]byte, n)
	if got, err := e.r.ReadAt(b, int64(off)); got < len(b) {
		return nil, fmt.Errorf("%d bytes at offset %d: %w: %w", n, off, io.ErrUnexpectedEOF, err)
	}
	return b, nil
}

// word reads a field of 8 bytes in 64-bit files and 4 in others; each takes its place in both layouts.
func (e *elfFile) word(b []byte, at64, at32 int) uint64 {
	if e.wide {
		return e.order.Uint64(b[at64:])
	}
	return uint64(e.order.Uint32(b[at32:]))
}

func (e *elfFile) pick(wide, narrow int) int {
	if e.wide {
		return wide
	}
	return narrow
}

func (e *elfFile) readHeaders() error {
	head := make([]byte, 64)
	if n, err := e.r.ReadAt(head, 0); n < 52 {
		return fmt.Errorf("header: %w: %w", io.ErrUnexpectedEOF, err)
	}
	switch {
	case head[4] == 2:
		e.wide = true
	case head[4] != 1:
		return fmt.Errorf("header: class %d", head[4])
	}
	switch head[5] {
	case 1:
		e.order = binary.LittleEndian
	case 2:
		e.order = binary.BigEndian
	default:
		return fmt.Errorf("header: byte order %d", head[5])
	}
	e.machine = e.order.Uint16(head[18:])
	tail := head[e.pick(52, 40):]
	if err := e.readSegments(e.word(head, 32, 28), e.order.Uint16(tail[2:]), e.order.Uint16(tail[4:])); err != nil {
		return fmt.Errorf("program headers: %w", err)
	}
	e.readSections(e.word(head, 40, 32), e.order.Uint16(tail[6:]), e.order.Uint16(tail[8:]), e.order.Uint16(tail[10:]))
	return nil
}

func (e *elfFile) readSegments(off uint64, entry, count uint16) error {
	if count == 0 {
		return nil
	}
	if int(entry) < e.pick(56, 32) || count > maxELFHeaders {
		return fmt.Errorf("%d of %d bytes", count, entry)
	}
	b, err := e.bytes(off, uint64(entry)*uint64(count))
	if err != nil {
		return err
	}
	for ; len(b) >= int(entry); b = b[entry:] {
		e.segments = append(e.segments, elfSegment{
			kind: e.order.Uint32(b), flags: e.order.Uint32(b[e.pick(4, 24):]),
			offset: e.word(b, 8, 4), addr: e.word(b, 16, 8), size: e.word(b, 32, 16), memory: e.word(b, 40, 20),
		})
	}
	return nil
}

// readSections reads section headers where there are any: only .gopclntab and the like are looked up by them.
func (e *elfFile) readSections(off uint64, entry, count, names uint16) {
	if int(entry) < e.pick(64, 40) || count == 0 || count > maxELFHeaders {
		return
	}
	b, err := e.bytes(off, uint64(entry)*uint64(count))
	if err != nil {
		return
	}
	var nameAt []uint32
	for ; len(b) >= int(entry); b = b[entry:] {
		nameAt = append(nameAt, e.order.Uint32(b))
		e.sections = append(e.sections, elfSection{
			kind: e.order.Uint32(b[4:]), flags: e.word(b, 8, 8), offset: e.word(b, 24, 16), size: e.word(b, 32, 20),
		})
	}
	if int(names) >= len(e.sections) {
		return
	}
	table, err := e.bytes(e.sections[names].offset, e.sections[names].size)
	if err != nil {
		return
	}
	for i := range e.sections {
		e.sections[i].name = textAt(table, uint64(nameAt[i]), 64)
	}
}

// textAt gives the NUL-terminated text at off of a string table, cut to limit; empty where there is none.
func textAt(table []byte, off uint64, limit int) string {
	if off >= uint64(len(table)) {
		return ""
	}
	b := table[off:]
	b = b[:min(len(b), limit)]
	if i := slices.Index(b, 0); i >= 0 {
		return string(b[:i])
	}
	return ""
}

// Machines, System V gABI e_machine, in Go's and uname's words.
func elfArch(machine uint16, wide bool) string {
	switch {
	case machine == 62 && wide:
		return "x86_64"
	case machine == 183:
		return "arm64"
	case machine == 3:
		return "i386"
	case machine == 40:
		return "arm"
	case machine == 243:
		return "riscv"
	case machine == 21:
		return "ppc64"
	case machine == 22:
		return "s390x"
	}
	return fmt.Sprintf("machine-%d", machine)
}

// readNotes looks for the GNU build id (note type 3, owner "GNU").
func (e *elfFile) readNotes() {
	const ptNote = 4
	for _, s := range e.segments {
		if s.kind != ptNote || s.size > 1<<16 {
			continue
		}
		b, err := e.bytes(s.offset, s.size)
		if err != nil {
			continue
		}
		for len(b) >= 12 {
			owner, desc, kind := uint64(e.order.Uint32(b)), uint64(e.order.Uint32(b[4:])), e.order.Uint32(b[8:])
			b = b[12:]
			at := (owner + 3) &^ 3
			if at > uint64(len(b)) || desc > uint64(len(b))-at {
				break
			}
			if kind == 3 && owner == 4 && string(b[:4]) == "GNU\x00" && desc <= 64 {
				e.unit.uuid = hex.EncodeToString(b[at : at+desc])
				return
			}
			b = b[min(at+(desc+3)&^3, uint64(len(b))):]
		}
	}
}

// offsetOf turns an address into an offset in the file.
func (e *elfFile) offsetOf(addr uint64) (uint64, bool) {
	const ptLoad = 1
	for _, s := range e.segments {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.size {
			return s.offset + (addr - s.addr), true
		}
	}
	return 0, false
}

// Tags of the dynamic section, System V gABI and the GNU extensions.
const (
	dtNeeded     = 1
	dtHash       = 4
	dtStrTab     = 5
	dtSymTab     = 6
	dtStrSize    = 10
	dtSoname     = 14
	dtRPath      = 15
	dtRunPath    = 29
	dtGNUHash    = 0x6ffffef5
	dtVerSym     = 0x6ffffff0
	dtVerNeed    = 0x6ffffffe
	dtVerNeedNum = 0x6fffffff
)

// readDynamic reads libraries, search paths and undefined symbols.
func (e *elfFile) readDynamic() error {
	const ptDynamic = 2
	i := slices.IndexFunc(e.segments, func(s elfSegment) bool { return s.kind == ptDynamic })
	if i < 0 {
		return nil // statically linked
	}
	b, err := e.bytes(e.segments[i].offset, min(e.segments[i].size, 1<<16))
	if err != nil {
		return fmt.Errorf("dynamic section: %w", err)
	}
	single, texts := map[uint64]uint64{}, map[uint64][]uint64{}
	for entry := e.pick(16, 8); len(b) >= entry; b = b[entry:] {
		tag, value := e.word(b, 0, 0), e.word(b, 8, 4)
		if tag == 0 {
			break
		}
		single[tag] = value
		if (tag == dtNeeded || tag == dtRPath || tag == dtRunPath || tag == dtSoname) && len(texts[tag]) < maxELFNeeded {
			texts[tag] = append(texts[tag], value)
		}
	}
	if e.strings, err = e.at(single[dtStrTab], single[dtStrSize]); err != nil {
		return fmt.Errorf("dynamic strings: %w", err)
	}
	e.readNames(texts)
	return errors.Join(e.readVersions(single), e.readSymbols(single))
}

// at reads n bytes at an address.
func (e *elfFile) at(addr, n uint64) ([]byte, error) {
	off, ok := e.offsetOf(addr)
	if !ok {
		return nil, fmt.Errorf("address %#x is in no segment", addr)
	}
	return e.bytes(off, n)
}

func (e *elfFile) readNames(texts map[uint64][]uint64) {
	for _, off := range texts[dtNeeded] {
		e.unit.libraries = append(e.unit.libraries, library{name: textAt(e.strings, off, maxPath), linkage: linkDirect})
	}
	for _, off := range texts[dtSoname] {
		e.unit.name = textAt(e.strings, off, maxPath)
	}
	folders := func(tag uint64) (dirs []string) {
		for _, off := range texts[tag] {
			for dir := range strings.SplitSeq(textAt(e.strings, off, maxPath), ":") {
				if len(dirs) < maxCandidates {
					dirs = append(dirs, dir)
				}
			}
		}
		return dirs
	}
	e.unit.rpaths, e.unit.runpaths = folders(dtRPath), folders(dtRunPath)
}
