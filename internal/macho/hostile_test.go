package macho

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// maxAllocated is what one file may allocate in all, bytes.
const maxAllocated = 16 << 20

// allocated runs f and gives how many bytes it allocated in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// patch changes load commands in a copy of a thin image.
func patch(b []byte, change func(kind uint32, command []byte)) []byte {
	b = slices.Clone(b)
	at := 32
	for range le.Uint32(b[16:]) {
		size := int(le.Uint32(b[at+4:]))
		change(le.Uint32(b[at:]), b[at:at+size])
		at += size
	}
	return b
}

// set changes a word of the command of that kind.
func set(kind uint32, at int, value uint32) func(uint32, []byte) {
	return func(k uint32, c []byte) {
		if k == kind {
			le.PutUint32(c[at:], value)
		}
	}
}

// tableAt gives the bytes that a linkedit_data_command names.
func tableAt(b []byte, kind uint32) []byte {
	var found []byte
	patch(b, func(k uint32, c []byte) {
		if k == kind {
			found = b[le.Uint32(c[8:]):]
		}
	})
	return found
}

// Each of these crashes or starves one of the readers named in parser-traps, or lies about a table. Every other part is still there.
func TestHostileTables(t *testing.T) {
	// Not parallel: it measures allocation.
	chained, binds, signed := fixture(t, "chained-arm64"), fixture(t, "binds-arm64"), fixture(t, "signed.dylib")
	inTable := func(b []byte, kind uint32, order binary.ByteOrder, at int, value uint32) []byte {
		b = slices.Clone(b)
		order.PutUint32(tableAt(b, kind)[at:], value)
		return b
	}
	inDirectory := func(b []byte, at int, value uint32) []byte {
		signature := tableAt(b, lcCodeSignature)
		return inTable(b, lcCodeSignature, bigEndian, int(bigEndian.Uint32(signature[16:]))+at, value)
	}
	tests := []struct {
		name      string
		file      []byte
		err       string
		imports   bool // _CCCrypt is still found
		signature bool // a CodeDirectory is still found
	}{
		{"SuperBlob of 2^32-1 blobs", inTable(chained, lcCodeSignature, bigEndian, 8, 0xffffffff), "blobs, room for", true, true},
		{"SuperBlob of 4 GiB", inTable(chained, lcCodeSignature, bigEndian, 4, 0xffffffff), "outside the", true, false},
		{"signature of 4 GiB", patch(chained, set(lcCodeSignature, 12, 0xffffffff)), "code signature: 4294967295 bytes at offset", true, false},
		{"signature behind the end", patch(chained, set(lcCodeSignature, 8, 0xfffffff0)), "outside the", true, false},
		{"signature over the header", patch(chained, set(lcCodeSignature, 8, 0)), "not a SuperBlob's", true, false},
		{"CodeDirectory of 2^32-1 hashes", inDirectory(chained, 28, 0xffffffff), "4294967295 page hashes", true, false},
		{"CodeDirectory over its signature", inDirectory(chained, 32, 0xffff0000), "over the signature", true, true},
		{"chained imports 2^32-1", inTable(chained, lcDyldChainedFixup, le, 16, 0xffffffff), "4294967295 imports", true, true},
		{"chained imports 2^28", inTable(chained, lcDyldChainedFixup, le, 16, 1<<28), "268435456 imports", true, true},
		{"chained symbols outside", inTable(chained, lcDyldChainedFixup, le, 12, 0xffffff), "chained fixups: symbols", true, true},
		{"compressed chained symbols", inTable(chained, lcDyldChainedFixup, le, 24, 1), "format 1, not plain", true, true},
		{"dysymtab behind the table", patch(chained, set(lcDysymtab, 28, 0xffffffff)), "undefined symbols 4 to", true, true},
		{"dysymtab start behind the table", patch(binds, set(lcDysymtab, 24, 0xfffffff0)), "undefined symbols 4294967280 to", true, true},
		{"symbols behind the end", patch(binds, set(lcSymtab, 12, 0xffffffff)), "4294967295 symbols", true, true},
		{"strings behind the end", patch(binds, set(lcSymtab, 20, 0xffffffff)), "strings", true, true},
		{"no strings", patch(binds, set(lcSymtab, 20, 0)), "undefined symbol: name at offset", true, true},
		{"lazy binds behind the end", patch(binds, set(lcDyldInfoOnly, 36, 0xffffffff)), "lazy bind opcodes", true, true},
		{"segment behind the end", patch(binds, set(lcSegment64, 40, 0x7fffffff)), `segment "__TEXT"`, true, true},
		{"2^32-1 sections", patch(binds, set(lcSegment64, 64, 0xffffffff)), "sections, room for", true, true},
		{"2^32-1 commands", func() []byte { b := slices.Clone(signed); le.PutUint32(b[16:], 0xffffffff); return b }(), "the commands end", true, true},
		{"4 GiB of commands", func() []byte { b := slices.Clone(signed); le.PutUint32(b[20:], 0xffffffff); return b }(), "room for", true, true},
		{"command of no length", patch(binds, set(lcUUID, 4, 0)), "0 bytes long", true, false},
		{"two signatures", patch(binds, set(lcUUID, 0, lcCodeSignature)), "there is one already", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s *Slice
			require.Less(t, allocated(func() { s = readBytes(t, tt.file).Slices[0] }), uint64(maxAllocated))
			require.ErrorContains(t, joinErrs(s), tt.err)
			found := slices.ContainsFunc(s.Imports, func(i Import) bool { return i.Name == "_CCCrypt" })
			require.Equal(t, tt.imports, found, "imports")
			require.Equal(t, tt.signature, s.Signature != nil && s.Signature.BestDirectory() != nil, "signature: %v", s.Errs)
		})
	}
}

func joinErrs(s *Slice) error {
	var texts []string
	for _, err := range s.Errs {
		texts = append(texts, err.Error())
	}
	if len(texts) == 0 {
		return nil
	}
	return errorText(strings.Join(texts, "\n"))
}

type errorText string

func (e errorText) Error() string { return string(e) }

func TestNotMachO(t *testing.T) {
	t.Parallel()
	java := append(words(binary.BigEndian, magicFat32, 61), make([]byte, 4000)...) // a class file of Java 17
	for name, b := range map[string][]byte{
		"empty": {}, "short": {0xcf, 0xfa}, "header only": {0xcf, 0xfa, 0xed, 0xfe, 0, 0, 0, 0}, "script": []byte("#!/bin/sh\nexit 0\nexit 0\nexit 0\n"),
		"java": java, "fat of nothing": words(binary.BigEndian, magicFat32, 0), "elf": append([]byte("\x7fELF"), make([]byte, 100)...),
	} {
		_, err := Read(bytes.NewReader(b), int64(len(b)))
		require.ErrorIs(t, err, ErrNotMachO, name)
		_, err = UUIDs(bytes.NewReader(b), int64(len(b)))
		require.ErrorIs(t, err, ErrNotMachO, name)
	}
}

// fat makes a universal file of count slices, the first of them at offset.
func fat(count int, offset, size uint32) []byte {
	b := words(binary.BigEndian, magicFat32, uint32(count))
	for i := range count {
		b = append(b, words(binary.BigEndian, cpuARM|cpu64, uint32(i), offset, size, 0)...)
	}
	return b
}

func TestHostileUniversal(t *testing.T) {
	// Not parallel: it measures allocation.
	thin := fixture(t, "chained-arm64")
	const count = 100_000
	b := fat(count, 8+20*count, uint32(len(thin)))
	b = append(b, thin...)
	var f *File
	require.Less(t, allocated(func() { f = readBytes(t, b) }), uint64(maxAllocated))
	require.ErrorContains(t, f.Errs[0], "100000 slices")
	require.Len(t, f.Slices, maxSlices)
	require.Equal(t, "/usr/lib/libSystem.B.dylib", importOf(t, f.Slices[0], "_CCCrypt").Library)
	require.ErrorContains(t, joinErrs(f.Slices[1]), "overlaps slice 0")
	require.Equal(t, f.Slices[0].Imports, f.Slices[1].Imports, "a slice cannot hide behind another")

	cut := readBytes(t, append(fat(2, 8+40, uint32(len(thin))), thin...)[:8+40+len(thin)])
	require.ErrorContains(t, joinErrs(cut.Slices[1]), "overlaps")
	_, err := Read(bytes.NewReader(b[:2000]), 2000)
	require.ErrorIs(t, err, ErrNotMachO)
}

// A file whose size shrinks under the reader gives errors.
func TestShorterThanSaid(t *testing.T) {
	t.Parallel()
	b := fixture(t, "chained-arm64")
	f, err := Read(bytes.NewReader(b[:len(b)/2]), int64(len(b)))
	require.NoError(t, err)
	require.ErrorContains(t, joinErrs(f.Slices[0]), "unexpected EOF")
}

// Many small things that share one long string, or lie far apart, cost no more than their own size.
func TestHostileAmplification(t *testing.T) {
	// Not parallel: it measures allocation and time.
	long := strings.Repeat("A", 12<<10) + "\x00"
	const n = 400_000
	entries := make([]byte, 4*n)
	for i := range n {
		le.PutUint32(entries[4*i:], 1|uint32(i%len(long))<<9)
	}
	payload := append(words(le, 0, 28, 28, 28+4*n, n, 1, 0), entries...)
	payload = append(payload, long...)
	library := command(le, lcLoadDylib, "one", 24, 2, 0, 0)
	at := uint32(32 + len(library) + 24)
	chained := image([][]byte{library, command(le, lcDyldChainedFixup, "", at, uint32(len(payload)))}, payload...)

	symbols := make([]byte, 16*n)
	for i := range n {
		le.PutUint32(symbols[16*i:], uint32(i%len(long)))
		symbols[16*i+4] = typeExternal
	}
	symtab := image([][]byte{command(le, lcSymtab, "", 64, n, 64+16*n, uint32(len(long)))}, append(symbols, long...)...)

	// 70,000 binds of one name, each from another library.
	opcodes := []byte{opSymbol, '_', 'x', 0}
	for i := range 70_000 {
		opcodes = binary.AppendUvarint(append(opcodes, opOrdinalULEB), uint64(i))
		opcodes = append(opcodes, opBind)
	}
	binds := image([][]byte{command(le, lcDyldInfoOnly, "", 0, 0, 32+56, uint32(len(opcodes)), 0, 0, 0, 0, 0, 0)}, opcodes...)

	var commands [][]byte
	for range 40_000 {
		commands = append(commands, words(le, lcLoadDylib, 24, 24, 0, 0, 0))
	}
	for name, b := range map[string][]byte{"chained": chained, "symbols": symtab, "binds": binds, "commands": image(commands)} {
		start := time.Now()
		require.Less(t, allocated(func() { readBytes(t, b) }), uint64(maxAllocated), name)
		require.Less(t, time.Since(start), 5*time.Second, name)
	}
}

// mutations is how many mutated files TestMutations reads: $CIPHERLENS_MUTATIONS, or few enough for every day.
func mutations(t *testing.T) int {
	text := os.Getenv("CIPHERLENS_MUTATIONS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// mutationSeeds are the fixtures and, for a long run, the smaller real programs where they are there.
func mutationSeeds(t *testing.T) [][]byte {
	var seeds [][]byte
	for _, b := range fixtures(t) {
		seeds = append(seeds, b)
	}
	if os.Getenv("CIPHERLENS_MUTATIONS") != "" {
		err := filepath.WalkDir(samplesFolder(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // nothing is fetched, or a folder
			}
			if info, err := d.Info(); err != nil || info.Size() < 4<<10 || info.Size() > 512<<10 {
				return err
			}
			b, err := os.ReadFile(path)
			seeds = append(seeds, b)
			return err
		})
		require.NoError(t, err)
	}
	slices.SortFunc(seeds, bytes.Compare)
	t.Logf("%d seeds", len(seeds))
	return seeds
}

// Bits flipped in headers, load commands and link-edit tables of real structure, and files cut short.
func TestMutations(t *testing.T) {
	// Not parallel: it measures allocation.
	seeds := mutationSeeds(t)
	random := rand.New(rand.NewPCG(1, 2))
	const batch = 50
	for done := 0; done < mutations(t); done += batch {
		files := make([][]byte, batch)
		for i := range files {
			files[i] = mutate(random, seeds[random.IntN(len(seeds))])
		}
		start := time.Now()
		n := allocated(func() {
			for _, b := range files {
				if f, err := Read(bytes.NewReader(b), int64(len(b))); err == nil {
					require.NotEmpty(t, f.Slices)
				}
			}
		})
		require.Less(t, n, uint64(maxAllocated), "all of a batch together")
		require.Less(t, time.Since(start), 5*time.Second)
	}
}

// mutate changes some words of the first 4 KiB (header and commands) or the last 32 (link-edit tables), or cuts the file short.
func mutate(random *rand.Rand, seed []byte) []byte {
	b := slices.Clone(seed)
	for range 1 + random.IntN(8) {
		at := random.IntN(min(len(b), 4<<10))
		if random.IntN(2) == 0 {
			at = len(b) - 1 - random.IntN(min(len(b), 32<<10))
		}
		switch at = min(at&^3, len(b)-4); random.IntN(4) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			le.PutUint32(b[at:], random.Uint32())
		case 2:
			le.PutUint32(b[at:], uint32(random.IntN(len(b))))
		case 3:
			le.PutUint32(b[at:], 0xffffffff)
		}
	}
	if random.IntN(20) == 0 {
		b = b[:random.IntN(len(b))]
	}
	return b
}

func FuzzRead(f *testing.F) {
	for _, b := range fixtures(f) {
		if len(b) < 20<<10 { // the larger ones are padding, and slow
			f.Add(b)
		}
	}
	f.Add(fat(3, 68, 100))
	f.Add(image([][]byte{command(le, lcLazyLoadInfo, "", 56, 96)}, lazyInfo()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, s := range file.Slices {
			if s.Signature == nil {
				continue
			}
			if d := s.Signature.BestDirectory(); d != nil {
				require.Len(t, d.CDHash(), 40)
				for i := range d.Pages() {
					require.Len(t, d.CodeHash(i), int(d.HashSize))
				}
			}
			_, _ = s.Signature.EntitlementKeys()
		}
	})
}
