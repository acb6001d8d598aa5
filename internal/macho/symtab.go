package macho

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// n_type and n_desc, mach-o/nlist.h.
const (
	typeStab      = 0xe0
	typeMask      = 0x0e
	typeExternal  = 0x01
	typeUndefined = 0x0
	typePrebound  = 0xc
	descWeakRef   = 0x40

	ordinalDynamic    = 0xfe
	ordinalExecutable = 0xff
)

// twoLevel is MH_TWOLEVEL: without it the library ordinals of the symbol table mean nothing. Go's linker does not set it.
const twoLevel = 0x80

// chunk is how much of a table is held at a time. It bounds a symbol's name.
const chunk = maxName

// undefined is one undefined symbol whose name is not read yet.
type undefined struct {
	name    uint32 // offset in the string table
	ordinal int16
	weak    bool
}

// undefinedCost is the memory of one undefined in a slice that has grown, bytes.
const undefinedCost = 60

// readUndefined reads the undefined symbols: the range that LC_DYSYMTAB gives, all of LC_SYMTAB without.
func (r *reader) readUndefined() error {
	entry := int64(12)
	if r.wide {
		entry = 16
	}
	first, count := int64(0), int64(r.u32(r.symtab[12:]))
	symbols, err := r.src.window(int64(r.u32(r.symtab[8:])), count*entry)
	if err != nil {
		return fmt.Errorf("%d symbols: %w", count, err)
	}
	texts, err := r.src.window(int64(r.u32(r.symtab[16:])), int64(r.u32(r.symtab[20:])))
	if err != nil {
		return fmt.Errorf("strings: %w", err)
	}
	if r.dysymtab != nil {
		first, count = int64(r.u32(r.dysymtab[24:])), int64(r.u32(r.dysymtab[28:]))
	}
	if count == 0 {
		return nil
	}
	if symbols, err = symbols.window(first*entry, count*entry); err != nil {
		return fmt.Errorf("undefined symbols %d to %d: %w", first, first+count, err)
	}
	found, err := r.undefinedIn(symbols, entry)
	if err != nil {
		return fmt.Errorf("undefined symbols: %w", err)
	}
	return r.nameUndefined(found, texts)
}

func (r *reader) undefinedIn(symbols source, entry int64) ([]undefined, error) {
	var found []undefined
	b := make([]byte, min(symbols.size, chunk/entry*entry))
	for at := int64(0); at < symbols.size; at += int64(len(b)) {
		b = b[:min(int64(len(b)), symbols.size-at)]
		if err := symbols.fill(b, at); err != nil {
			return found, err
		}
		for e := b; len(e) > 0; e = e[entry:] {
			u, ok := r.undefinedSymbol(e[:entry])
			if !ok {
				continue
			}
			if err := r.src.budget.take(undefinedCost); err != nil {
				return found, err
			}
			found = append(found, u)
		}
	}
	return found, nil
}

// undefinedSymbol reads an nlist or nlist_64.
func (r *reader) undefinedSymbol(e []byte) (undefined, bool) {
	kind, desc := e[4], r.order.Uint16(e[6:])
	if kind&typeStab != 0 || kind&typeExternal == 0 || kind&typeMask != typeUndefined && kind&typeMask != typePrebound {
		return undefined{}, false
	}
	if r.out.Type == "object" && kind&typeMask == typeUndefined && slices.Max(e[8:]) != 0 {
		return undefined{}, false // a common symbol: the value is its size
	}
	u := undefined{name: r.u32(e), ordinal: OrdinalFlat, weak: desc&descWeakRef != 0}
	if r.out.Flags&twoLevel != 0 {
		switch u.ordinal = int16(desc >> 8); u.ordinal {
		case ordinalDynamic:
			u.ordinal = OrdinalFlat
		case ordinalExecutable:
			u.ordinal = OrdinalExecutable
		}
	}
	return u, true
}

// nameUndefined reads the names in the order of the string table, a chunk at a time: what lies between is skipped.
func (r *reader) nameUndefined(found []undefined, texts source) error {
	slices.SortFunc(found, func(a, b undefined) int { return cmp.Compare(a.name, b.name) })
	var bad error // the first
	names := nameReader{texts: texts}
	for _, u := range found {
		name, err := names.at(int64(u.name))
		if err == nil {
			err = r.refer(reference{name: name, ordinal: int32(u.ordinal), from: fromSymtab, weak: u.weak})
		}
		if err != nil && bad == nil {
			bad = fmt.Errorf("undefined symbol: name at offset %d of %d bytes: %w", u.name, texts.size, err)
		}
		if errors.Is(err, errCost) {
			break
		}
	}
	return bad
}

// nameReader reads names at rising offsets of a string table.
type nameReader struct {
	texts  source
	buffer []byte // holds data
	data   []byte // the string table's bytes from start
	start  int64
	last   string // the name at lastAt
	lastAt int64
}

var errNameOutside = errors.New("outside the strings")

var errNameEnd = fmt.Errorf("does not end within %d bytes", maxName)

func (n *nameReader) at(offset int64) (string, error) {
	if n.last != "" && offset == n.lastAt {
		return n.last, nil
	}
	if offset >= n.texts.size {
		return "", errNameOutside
	}
	end := -1
	if skip := offset - n.start; skip < int64(len(n.data)) {
		end = bytes.IndexByte(n.data[skip:], 0)
	}
	if end < 0 {
		if err := n.load(offset); err != nil {
			return "", err
		}
		if end = bytes.IndexByte(n.data, 0); end < 0 {
			return "", errNameEnd
		}
	}
	if err := n.texts.budget.take(int64(end)); err != nil {
		return "", err
	}
	n.last, n.lastAt = string(n.data[offset-n.start:][:end]), offset
	return n.last, nil
}

func (n *nameReader) load(offset int64) error {
	if n.buffer == nil {
		n.buffer = make([]byte, min(n.texts.size, chunk))
	}
	n.data, n.start = n.buffer[:min(int64(len(n.buffer)), n.texts.size-offset)], offset
	return n.texts.fill(n.data, offset)
}
