package image

import (
	"fmt"
	"slices"
)

// rest reads from an address to the end of its segment, at most limit bytes.
func (e *elfFile) rest(addr, limit uint64) ([]byte, error) {
	const ptLoad = 1
	for _, s := range e.segments {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.size {
			off := addr - s.addr
			return e.bytes(s.offset+off, min(s.size-off, limit))
		}
	}
	return nil, fmt.Errorf("address %#x is in no segment", addr)
}

// readVersions reads DT_VERNEED: which library each symbol version is wanted from.
func (e *elfFile) readVersions(tags map[uint64]uint64) error {
	if tags[dtVerNeed] == 0 {
		return nil
	}
	b, err := e.rest(tags[dtVerNeed], 1<<20)
	if err != nil {
		return fmt.Errorf("versions: %w", err)
	}
	at, budget := uint64(0), maxELFVersions
	for range min(tags[dtVerNeedNum], maxELFNeeded) {
		if at+16 > uint64(len(b)) {
			return fmt.Errorf("versions: entry at %d of %d bytes", at, len(b))
		}
		need := b[at:]
		file := textAt(e.strings, uint64(e.order.Uint32(need[4:])), maxPath)
		index := slices.IndexFunc(e.unit.libraries, func(l library) bool { return l.name == file })
		aux := at + uint64(e.order.Uint32(need[8:]))
		for range e.order.Uint16(need[2:]) {
			if budget--; aux+16 > uint64(len(b)) || budget < 0 {
				return fmt.Errorf("versions: %s: version at %d of %d bytes", file, aux, len(b))
			}
			e.versions[e.order.Uint16(b[aux+6:])&0x7fff] = index
			next := uint64(e.order.Uint32(b[aux+12:]))
			if next == 0 {
				break
			}
			aux += next
		}
		next := uint64(e.order.Uint32(need[12:]))
		if next == 0 {
			break
		}
		at += next
	}
	return nil
}

// readSymbols reads the undefined symbols that the catalogue has.
func (e *elfFile) readSymbols(tags map[uint64]uint64) error {
	count := e.countSymbols(tags)
	entry := uint64(e.pick(24, 16))
	symbols, err := e.rest(tags[dtSymTab], count*entry)
	if err != nil {
		return fmt.Errorf("dynamic symbols: %w", err)
	}
	var versions []byte
	if tags[dtVerSym] != 0 {
		if versions, err = e.rest(tags[dtVerSym], count*2); err != nil {
			return fmt.Errorf("symbol versions: %w", err)
		}
	}
	c := loadCatalogue()
	for i := 0; len(symbols) >= int(entry); i, symbols = i+1, symbols[entry:] {
		if e.order.Uint16(symbols[e.pick(6, 14):]) != 0 || e.order.Uint32(symbols) == 0 {
			continue
		}
		name := textAt(e.strings, uint64(e.order.Uint32(symbols)), 256)
		e.unit.loads = e.unit.loads || loader(name)
		if len(c.imports[name]) == 0 {
			continue
		}
		const weakBinding = 2
		ref := reference{symbol: name, library: unknownLibrary, weak: symbols[e.pick(4, 12)]>>4 == weakBinding}
		if at := 2 * i; at+2 <= len(versions) {
			if index, ok := e.versions[e.order.Uint16(versions[at:])&0x7fff]; ok {
				ref.library = index
			}
		}
		e.unit.references = append(e.unit.references, ref)
	}
	return nil
}

// countSymbols gives the number of dynamic symbols, which no tag states: the most that any table implies.
func (e *elfFile) countSymbols(tags map[uint64]uint64) uint64 {
	count := uint64(0)
	if b, err := e.at(tags[dtHash], 8); tags[dtHash] != 0 && err == nil {
		count = uint64(e.order.Uint32(b[4:]))
	}
	if symbols, texts := tags[dtSymTab], tags[dtStrTab]; texts > symbols {
		count = max(count, (texts-symbols)/uint64(e.pick(24, 16)))
	}
	return min(max(count, e.countGNU(tags[dtGNUHash])), maxELFSymbols)
}

// countGNU gives one more than the highest symbol in a GNU hash table: buckets give the first of each chain, and the
// last chain's end has its lowest bit set.
func (e *elfFile) countGNU(addr uint64) uint64 {
	if addr == 0 {
		return 0
	}
	b, err := e.rest(addr, 16+maxELFSymbols*8)
	if err != nil || len(b) < 16 {
		return 0
	}
	buckets, first, bloom := uint64(e.order.Uint32(b)), uint64(e.order.Uint32(b[4:])), uint64(e.order.Uint32(b[8:]))
	at := 16 + bloom*uint64(e.pick(8, 4))
	if buckets > maxELFSymbols || bloom > maxELFSymbols || at+4*buckets > uint64(len(b)) {
		return first
	}
	last := uint64(0)
	for i := range buckets {
		last = max(last, uint64(e.order.Uint32(b[at+4*i:])))
	}
	if last < first {
		return first
	}
	for chain := at + 4*buckets + 4*(last-first); chain+4 <= uint64(len(b)); chain += 4 {
		last++
		if e.order.Uint32(b[chain:])&1 != 0 {
			break
		}
	}
	return last
}
