package macho

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxCommands is how many bytes of load commands are read; the largest seen in real files are 10 KiB.
const maxCommands = 1 << 20

// commandCost is how many bytes of memory a byte of load commands can turn into: 24 bytes of library command are a Library,
// and a slice that grows has been copied.
const commandCost = 7

// errorCost is about the memory of one error, bytes.
const errorCost = 256

// maxErrs is how many errors a slice keeps.
const maxErrs = 32

// protectedSegment is SG_PROTECTED_VERSION_1: all but the segment's first page is encrypted (mach-o/loader.h).
const protectedSegment = 0x8

// Load commands, mach-o/loader.h (cctools-1035.1.102).
const (
	lcSegment          = 0x1
	lcSymtab           = 0x2
	lcDysymtab         = 0xb
	lcLoadDylib        = 0xc
	lcIDDylib          = 0xd
	lcSegment64        = 0x19
	lcUUID             = 0x1b
	lcCodeSignature    = 0x1d
	lcLazyLoadDylib    = 0x20
	lcEncryption       = 0x21
	lcDyldInfo         = 0x22
	lcMinMacOS         = 0x24
	lcMinIOS           = 0x25
	lcDyldEnvironment  = 0x27
	lcEncryption64     = 0x2c
	lcMinTvOS          = 0x2f
	lcMinWatchOS       = 0x30
	lcBuildVersion     = 0x32
	lcLazyLoadInfo     = 0x3a
	lcRequired         = 0x80000000
	lcLoadWeakDylib    = 0x18 | lcRequired
	lcRPath            = 0x1c | lcRequired
	lcReexportDylib    = 0x1f | lcRequired
	lcDyldInfoOnly     = 0x22 | lcRequired
	lcLoadUpwardDylib  = 0x23 | lcRequired
	lcDyldChainedFixup = 0x34 | lcRequired
)

// reader reads one slice into out.
type reader struct {
	src      source
	order    binary.ByteOrder
	wide     bool // 64-bit structures
	count    uint32
	commands []byte
	start    int64 // of the commands in the slice
	out      *Slice

	// The tables that the commands name, read after all commands are known.
	symtab, dysymtab, dyldInfo []byte // the commands
	chained, signature         *table
	lazyInfos                  []table
	references                 []reference
}

// table is a part of __LINKEDIT that a command names: linkedit_data_command.
type table struct {
	name         string
	offset, size int64
}

// readSlice reads the header and load commands of the image that src is, then has read read what it wants of it.
func readSlice(src source, read func(*reader)) (*Slice, error) {
	head := make([]byte, 28)
	if err := src.fill(head, 0); err != nil {
		return nil, fmt.Errorf("header: %w: %w", ErrNotMachO, err)
	}
	r := &reader{src: src, start: 28}
	switch magic := binary.BigEndian.Uint32(head); magic {
	case 0xfeedface:
		r.order = binary.BigEndian
	case 0xfeedfacf:
		r.order, r.wide = binary.BigEndian, true
	case 0xcefaedfe:
		r.order = binary.LittleEndian
	case 0xcffaedfe:
		r.order, r.wide = binary.LittleEndian, true
	default:
		return nil, fmt.Errorf("header: %w: magic %#08x", ErrNotMachO, magic)
	}
	if r.wide {
		r.start = 32
	}
	r.out = &Slice{
		Arch:   archName(r.u32(head[4:]), r.u32(head[8:])),
		Type:   typeName(r.u32(head[12:])),
		Flags:  r.u32(head[24:]),
		Offset: src.base,
		Size:   src.size,
	}
	r.count = r.u32(head[16:])
	r.readCommands(int64(r.u32(head[20:])))
	read(r)
	return r.out, nil
}

func (r *reader) u32(b []byte) uint32 { return r.order.Uint32(b) }

// fail notes what could not be read.
func (r *reader) fail(what string, err error) {
	if n := len(r.out.Errs); n < maxErrs {
		r.out.Errs = append(r.out.Errs, fmt.Errorf("macho: %s: %s: %w", r.out.Arch, what, err))
	} else if n == maxErrs {
		r.out.Errs = append(r.out.Errs, fmt.Errorf("macho: %s: more errors than these %d", r.out.Arch, maxErrs))
	}
}

func (r *reader) readCommands(size int64) {
	if room := min(r.src.size-r.start, maxCommands); size > room {
		r.fail("load commands", fmt.Errorf("%d bytes at offset %d: room for %d", size, r.start, max(room, 0)))
		size = max(room, 0)
	}
	b, err := r.src.bytes(r.start, size)
	if err == nil {
		err = r.src.budget.take(size * commandCost)
	}
	if err != nil {
		r.fail("load commands", err)
		return
	}
	r.commands = b
}

// each calls visit for each load command, with the whole command.
func (r *reader) each(visit func(kind uint32, command []byte) error) {
	rest := r.commands
	for i := range r.count {
		at := r.start + int64(len(r.commands)-len(rest))
		if len(rest) < 8 {
			r.fail("load commands", fmt.Errorf("command %d of %d at offset %d: the commands end", i, r.count, at))
			return
		}
		kind, size := r.u32(rest), r.u32(rest[4:])
		if size < 8 || int64(size) > int64(len(rest)) {
			r.fail("load commands", fmt.Errorf("command %d (%#x) at offset %d: %d bytes long, with %d left", i, kind, at, size, len(rest)))
			return
		}
		if err := visit(kind, rest[:size]); err != nil {
			r.fail("load commands", fmt.Errorf("command %d (%#x) at offset %d: %w", i, kind, at, err))
			if r.src.budget.take(errorCost) != nil {
				return
			}
		}
		rest = rest[size:]
	}
}

// uuid reads no more than LC_UUID.
func (r *reader) uuid() {
	r.each(func(kind uint32, c []byte) error {
		if kind == lcUUID {
			return r.readUUID(c)
		}
		return nil
	})
}

// all reads everything.
func (r *reader) all() {
	r.each(r.command)
	r.readImports()
	if r.signature != nil {
		r.readSignature(*r.signature)
	}
}

func (r *reader) command(kind uint32, c []byte) error {
	switch kind {
	case lcSegment, lcSegment64:
		return r.readSegment(c, kind == lcSegment64)
	case lcLoadDylib, lcLoadWeakDylib, lcReexportDylib, lcLazyLoadDylib, lcLoadUpwardDylib:
		return r.readLibrary(kind, c)
	case lcIDDylib:
		return r.readString(c, 24, &r.out.InstallName)
	case lcRPath:
		return r.appendString(c, &r.out.RPaths)
	case lcDyldEnvironment:
		return r.appendString(c, &r.out.Environment)
	case lcUUID:
		return r.readUUID(c)
	case lcBuildVersion, lcMinMacOS, lcMinIOS, lcMinTvOS, lcMinWatchOS:
		return r.readVersion(kind, c)
	case lcEncryption, lcEncryption64:
		return r.readEncryption(c)
	}
	return r.tableCommand(kind, c)
}

// tableCommand notes where a table is.
func (r *reader) tableCommand(kind uint32, c []byte) error {
	switch kind {
	case lcSymtab:
		return keep(&r.symtab, c, 24)
	case lcDysymtab:
		return keep(&r.dysymtab, c, 80)
	case lcDyldInfo, lcDyldInfoOnly:
		return keep(&r.dyldInfo, c, 48)
	case lcDyldChainedFixup:
		return r.keepTable(&r.chained, c, "chained fixups")
	case lcCodeSignature:
		return r.keepTable(&r.signature, c, "code signature")
	case lcLazyLoadInfo:
		var t *table
		if err := r.keepTable(&t, c, "lazily loaded library"); err != nil {
			return err
		}
		r.lazyInfos = append(r.lazyInfos, *t)
	}
	return nil
}

var errTwice = errors.New("there is one already")

// keep notes a command of which an image has one.
func keep(to *[]byte, c []byte, size int) error {
	if len(c) < size {
		return fmt.Errorf("%d bytes long, less than %d", len(c), size)
	}
	if *to != nil {
		return errTwice
	}
	*to = c
	return nil
}

func (r *reader) keepTable(to **table, c []byte, name string) error {
	if len(c) < 16 {
		return fmt.Errorf("%d bytes long, less than 16", len(c))
	}
	if *to != nil {
		return errTwice
	}
	*to = &table{name: name, offset: int64(r.u32(c[8:])), size: int64(r.u32(c[12:]))}
	return nil
}

// readString reads the lc_str whose offset is the command's third word. The string lies behind the command's fixed part of
// min bytes and ends with a NUL, as dyld demands.
func (r *reader) readString(c []byte, min uint32, to *string) error {
	if len(c) < int(min) {
		return fmt.Errorf("%d bytes long, less than %d", len(c), min)
	}
	at := r.u32(c[8:])
	if at < min || at >= uint32(len(c)) {
		return fmt.Errorf("name at offset %d of a command of %d bytes", at, len(c))
	}
	end := bytes.IndexByte(c[at:], 0)
	if end < 0 {
		return errors.New("name does not end")
	}
	*to = string(c[at : int(at)+end])
	return nil
}

func (r *reader) appendString(c []byte, to *[]string) error {
	var s string
	if err := r.readString(c, 12, &s); err != nil {
		return err
	}
	*to = append(*to, s)
	return nil
}

// dylib_use_command, loader.h:713-732: told from a dylib_command by its name offset and what was the time stamp.
const (
	useNameOffset  = 28
	useMarker      = 0x1a741800
	useWeak        = 0x1
	useReexport    = 0x2
	useUpward      = 0x4
	useDelayedInit = 0x8
)

var libraryKinds = map[uint32]LibraryKind{
	lcLoadDylib: Direct, lcLoadWeakDylib: Weak, lcReexportDylib: Reexport, lcLazyLoadDylib: Lazy, lcLoadUpwardDylib: Upward,
}

// readLibrary appends a library also when its name cannot be read, so that ordinals stay right.
func (r *reader) readLibrary(kind uint32, c []byte) error {
	l := Library{Kind: libraryKinds[kind]}
	err := r.readString(c, 24, &l.Name)
	if err == nil {
		l.CurrentVersion, l.CompatVersion = r.u32(c[16:]), r.u32(c[20:])
		if len(c) >= useNameOffset && r.u32(c[8:]) == useNameOffset && r.u32(c[12:]) == useMarker {
			flags := r.u32(c[24:])
			l.DelayedInit = flags&useDelayedInit != 0
			switch {
			case flags&useReexport != 0:
				l.Kind = Reexport
			case flags&useUpward != 0:
				l.Kind = Upward
			case flags&useWeak != 0:
				l.Kind = Weak
			}
		}
	}
	r.out.Libraries = append(r.out.Libraries, l)
	return err
}

func (r *reader) readUUID(c []byte) error {
	if len(c) < 24 {
		return fmt.Errorf("%d bytes long, less than 24", len(c))
	}
	if r.out.UUID != "" {
		return errTwice
	}
	u := c[8:24]
	r.out.UUID = fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	return nil
}

var minPlatforms = map[uint32]string{lcMinMacOS: "macos", lcMinIOS: "ios", lcMinTvOS: "tvos", lcMinWatchOS: "watchos"}

// readVersion takes the first platform. Of an image for macOS and Mac Catalyst, macOS is that.
func (r *reader) readVersion(kind uint32, c []byte) error {
	if len(c) < 16 {
		return fmt.Errorf("%d bytes long, less than 16", len(c))
	}
	platform, versions := minPlatforms[kind], c[8:]
	if kind == lcBuildVersion {
		if len(c) < 24 {
			return fmt.Errorf("%d bytes long, less than 24", len(c))
		}
		platform, versions = platforms[r.u32(c[8:])], c[12:]
	}
	if r.out.MinOS == "" || platform == "macos" && r.out.Platform != "macos" {
		r.out.Platform, r.out.MinOS, r.out.SDK = platform, version(r.u32(versions)), version(r.u32(versions[4:]))
	}
	return nil
}

func (r *reader) readEncryption(c []byte) error {
	if len(c) < 20 {
		return fmt.Errorf("%d bytes long, less than 20", len(c))
	}
	r.out.Encrypted = r.out.Encrypted || r.u32(c[16:]) != 0
	return nil
}
