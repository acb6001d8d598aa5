package macho

import (
	"errors"
	"fmt"
	"strings"
)

// The formats of imports, mach-o/fixup-chains.h.
const (
	chainedImport         = 1 // u32: ordinal 8, weak 1, name 23
	chainedImportAddend   = 2 // the same and an i32
	chainedImportAddend64 = 3 // u64: ordinal 16, weak 1, reserved 15, name 32; and a u64
)

var chainedEntrySizes = map[uint32]int64{chainedImport: 4, chainedImportAddend: 8, chainedImportAddend64: 16}

// readChained reads the imports of LC_DYLD_CHAINED_FIXUPS: the header, the table and its strings.
func (r *reader) readChained(t table) error {
	data, err := r.src.window(t.offset, t.size)
	if err != nil {
		return err
	}
	head := make([]byte, 28)
	if err := data.fill(head, 0); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	importsAt, symbolsAt := int64(r.u32(head[8:])), int64(r.u32(head[12:]))
	count, format := int64(r.u32(head[16:])), r.u32(head[20:])
	if count == 0 {
		return nil
	}
	if v := r.u32(head); v != 0 {
		return fmt.Errorf("version %d is unknown", v)
	}
	if f := r.u32(head[24:]); f != 0 {
		return fmt.Errorf("symbols are in format %d, not plain", f) // dyld knows no other either
	}
	size, ok := chainedEntrySizes[format]
	if !ok {
		return fmt.Errorf("imports are in format %d, not 1 to 3", format)
	}
	imports, err := data.bytes(importsAt, count*size)
	if err != nil {
		return fmt.Errorf("%d imports: %w", count, err)
	}
	pool, err := readPool(data, symbolsAt, data.size-symbolsAt)
	if err != nil {
		return fmt.Errorf("symbols: %w", err)
	}
	var bad error // the first of the names that cannot be read
	for ; len(imports) > 0; imports = imports[size:] {
		ref, at := r.chainedReference(imports, format)
		if ref.name, err = pool.name(at); err != nil {
			if bad == nil {
				bad = fmt.Errorf("symbols: name at offset %d of %d bytes: %w", at, len(pool.text), err)
			}
			if errors.Is(err, errCost) {
				return bad
			}
			continue
		}
		if err := r.refer(ref); err != nil {
			return err
		}
	}
	return bad
}

// chainedReference reads one entry: all but its name, which is at a place of the symbols. Ordinals above 0xf0 (0xfff0) are
// negative, dyld-1378 common/MachOLoaded.cpp.
func (r *reader) chainedReference(b []byte, format uint32) (ref reference, name int64) {
	ref.from = fromBind
	if format == chainedImportAddend64 {
		v := r.order.Uint64(b)
		ref.ordinal, ref.weak = int32(v&0xffff), v>>16&1 != 0
		if ref.ordinal > 0xfff0 {
			ref.ordinal -= 1 << 16
		}
		return ref, int64(v >> 32)
	}
	v := r.u32(b)
	ref.ordinal, ref.weak = int32(v&0xff), v>>8&1 != 0
	if ref.ordinal > 0xf0 {
		ref.ordinal -= 1 << 8
	}
	return ref, int64(v >> 9)
}

// pool is text that names are parts of.
type pool struct {
	text   string
	budget *budget
}

func readPool(data source, offset, size int64) (pool, error) {
	b, err := data.bytes(offset, size)
	if err == nil {
		err = data.budget.take(size) // for the copy
	}
	return pool{text: string(b), budget: data.budget}, err
}

// name gives the string at offset. What it looks at is counted: a table may name one long string a million times. Its errors
// say no more than what is wrong, because there may be as many.
func (p pool) name(offset int64) (string, error) {
	if offset < 0 || offset >= int64(len(p.text)) {
		return "", errNameOutside
	}
	rest := p.text[offset:]
	rest = rest[:min(len(rest), maxName+1)]
	end := strings.IndexByte(rest, 0)
	if end < 0 {
		return "", errNameEnd
	}
	return rest[:end], p.budget.look(int64(end))
}

// readLazyInfo reads the library and symbols of one LC_LAZY_LOAD_DYLIB_INFO: LazyLoadDylibLinkEdit in dyld-1378
// mach_o/LazyLoadDylib.h, with offsets in this table.
func (r *reader) readLazyInfo(t table) error {
	data, err := r.src.window(t.offset, t.size)
	if err != nil {
		return err
	}
	p, err := readPool(data, 0, data.size)
	if err != nil {
		return err
	}
	if len(p.text) < 24 {
		return fmt.Errorf("%d bytes long, less than 24", len(p.text))
	}
	head := []byte(p.text[:24])
	path, err := p.name(int64(r.u32(head)))
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	r.out.Libraries = append(r.out.Libraries, Library{Name: path, Kind: Lazy})
	ref := reference{ordinal: int32(len(r.out.Libraries)), from: fromLazy, weak: r.order.Uint16(head[8:])&1 != 0}
	count, at := int64(r.u32(head[16:])), int64(r.u32(head[20:]))
	names, err := data.bytes(at, count*4)
	if err != nil {
		return fmt.Errorf("%d symbols: %w", count, err)
	}
	for ; len(names) > 0; names = names[4:] {
		if ref.name, err = p.name(int64(r.u32(names))); err != nil {
			return fmt.Errorf("symbol: %w", err)
		}
		if err := r.refer(ref); err != nil {
			return err
		}
	}
	return nil
}
