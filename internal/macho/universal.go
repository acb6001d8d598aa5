package macho

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	magicFat32 = 0xcafebabe
	magicFat64 = 0xcafebabf
)

// maxSlices is how many fat_arch fit in the first page, which is all that the kernel looks at (xnu bsd/kern/mach_fat.c).
const maxSlices = (4096 - 8) / 20

// readFile finds the slices and has each read by read.
func readFile(file source, read func(*reader)) (*File, error) {
	head := make([]byte, 8)
	if err := file.fill(head, 0); err != nil {
		return nil, fmt.Errorf("macho: header: %w: %w", ErrNotMachO, err)
	}
	switch magic := binary.BigEndian.Uint32(head); magic {
	case magicFat32, magicFat64:
		return readUniversal(file, magic == magicFat64, binary.BigEndian.Uint32(head[4:]), read)
	}
	s, err := readSlice(file, read)
	if err != nil {
		return nil, fmt.Errorf("macho: %w", err)
	}
	return &File{Slices: []*Slice{s}}, nil
}

// fatArch is one fat_arch or fat_arch_64.
type fatArch struct {
	cpu, subtype uint32
	offset, size int64
}

func readUniversal(file source, wide bool, count uint32, read func(*reader)) (*File, error) {
	f := &File{Universal: true}
	if count > maxSlices {
		f.Errs = append(f.Errs, fmt.Errorf("macho: universal header: %d slices, of which the kernel looks at %d", count, maxSlices))
		count = maxSlices
	}
	table, err := readFatTable(file, wide, int(count))
	if err != nil {
		f.Errs = append(f.Errs, fmt.Errorf("macho: universal header: %w", err))
	}
	found := false
	for i, a := range table {
		s, err := readFatSlice(file, a, read)
		if err != nil {
			s = &Slice{Arch: archName(a.cpu, a.subtype), Offset: a.offset, Size: a.size}
			s.Errs = append(s.Errs, fmt.Errorf("macho: slice %d (%s): %w", i, s.Arch, err))
		} else {
			found = true
		}
		// xnu and dyld refuse such a file (fatfile_validate_fatarches); older ones did not, so that it is read all the same.
		if err := overlap(table[:i], a); err != nil {
			s.Errs = append(s.Errs, fmt.Errorf("macho: slice %d (%s): %w", i, s.Arch, err))
		}
		f.Slices = append(f.Slices, s)
	}
	// A Java class file starts with the same four bytes: it has "slices" that are nowhere.
	if !found {
		return nil, fmt.Errorf("macho: universal header: %w: none of its %d slices is one: %w", ErrNotMachO, count, firstError(f))
	}
	return f, nil
}

func firstError(f *File) error {
	errs := slices.Clone(f.Errs)
	for _, s := range f.Slices {
		errs = append(errs, s.Errs...)
	}
	if len(errs) == 0 {
		return errors.New("there are none")
	}
	return errs[0]
}

// readFatTable reads as many of the count entries as there are.
func readFatTable(file source, wide bool, count int) ([]fatArch, error) {
	entry := 20
	if wide {
		entry = 32
	}
	var short error
	if fits := int(max(file.size-8, 0) / int64(entry)); count > fits {
		short = fmt.Errorf("%d slices, but room for %d", count, fits)
		count = fits
	}
	b, err := file.bytes(8, int64(count*entry))
	if err != nil {
		return nil, err
	}
	table := make([]fatArch, 0, count)
	for ; len(b) >= entry; b = b[entry:] {
		a := fatArch{cpu: binary.BigEndian.Uint32(b), subtype: binary.BigEndian.Uint32(b[4:])}
		if wide {
			a.offset, a.size = int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))
		} else {
			a.offset, a.size = int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
		}
		table = append(table, a)
	}
	return table, short
}

func overlap(before []fatArch, a fatArch) error {
	for i, b := range before {
		if a.offset < b.offset+b.size && b.offset < a.offset+a.size {
			return fmt.Errorf("%d bytes at offset %d: overlaps slice %d", a.size, a.offset, i)
		}
	}
	return nil
}

func readFatSlice(file source, a fatArch, read func(*reader)) (*Slice, error) {
	w, err := file.window(a.offset, a.size)
	if err != nil {
		return nil, err
	}
	s, err := readSlice(w, read)
	if err != nil {
		return nil, err
	}
	if want := archName(a.cpu, a.subtype); want != s.Arch {
		s.Errs = append(s.Errs, fmt.Errorf("macho: universal header says %s, the slice at offset %d is %s", want, a.offset, s.Arch))
	}
	return s, nil
}
