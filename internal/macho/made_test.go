package macho

import (
	"bytes"
	"encoding/binary"
	"testing"

	gomacho "github.com/blacktop/go-macho"
	"github.com/stretchr/testify/require"
)

var le = binary.LittleEndian

// words joins values of 32 bits.
func words(order binary.ByteOrder, values ...uint32) []byte {
	b := make([]byte, 4*len(values))
	for i, v := range values {
		order.PutUint32(b[4*i:], v)
	}
	return b
}

// command makes a load command: what follows its kind and size, then text, filled up to 8 bytes.
func command(order binary.ByteOrder, kind uint32, text string, values ...uint32) []byte {
	b := append(words(order, append([]uint32{kind, 0}, values...)...), text...)
	b = append(b, make([]byte, 8-len(b)%8)...)
	order.PutUint32(b[4:], uint32(len(b)))
	return b
}

// image makes an arm64 executable of nothing but commands and what follows them.
func image(commands [][]byte, rest ...byte) []byte {
	c := bytes.Join(commands, nil)
	b := words(le, 0xfeedfacf, cpuARM|cpu64, 0, 2, uint32(len(commands)), uint32(len(c)), twoLevel, 0)
	return append(append(b, c...), rest...)
}

const path24, use28 = 24, 28

func TestLibraryCommands(t *testing.T) {
	t.Parallel()
	dylib := func(kind uint32, name string) []byte { return command(le, kind, name, path24, 2, 0x10203, 0x10000) }
	use := func(name string, flags uint32) []byte {
		return command(le, lcLoadDylib, name, use28, useMarker, 0, 0, flags)
	}
	b := image([][]byte{
		dylib(lcLoadDylib, "direct"), dylib(lcLoadWeakDylib, "weak"), dylib(lcReexportDylib, "reexport"),
		dylib(lcLazyLoadDylib, "lazy"), dylib(lcLoadUpwardDylib, "upward"),
		use("use", 0), use("use weak", useWeak), use("use reexport", useReexport), use("use upward", useUpward), use("use delayed", useDelayedInit),
		command(le, lcRPath, "@loader_path", 12), command(le, lcRPath, "/opt/lib", 12),
		command(le, lcDyldEnvironment, "DYLD_LIBRARY_PATH=/tmp", 12),
	})
	f := readBytes(t, b)
	require.Empty(t, f.Slices[0].Errs)
	require.Equal(t, []Library{
		{Name: "direct", CurrentVersion: 0x10203, CompatVersion: 0x10000},
		{Name: "weak", Kind: Weak, CurrentVersion: 0x10203, CompatVersion: 0x10000},
		{Name: "reexport", Kind: Reexport, CurrentVersion: 0x10203, CompatVersion: 0x10000},
		{Name: "lazy", Kind: Lazy, CurrentVersion: 0x10203, CompatVersion: 0x10000},
		{Name: "upward", Kind: Upward, CurrentVersion: 0x10203, CompatVersion: 0x10000},
		{Name: "use"},
		{Name: "use weak", Kind: Weak},
		{Name: "use reexport", Kind: Reexport},
		{Name: "use upward", Kind: Upward},
		{Name: "use delayed", DelayedInit: true},
	}, f.Slices[0].Libraries)
	require.Equal(t, []string{"@loader_path", "/opt/lib"}, f.Slices[0].RPaths)
	require.Equal(t, []string{"DYLD_LIBRARY_PATH=/tmp"}, f.Slices[0].Environment)

	m, err := gomacho.NewFile(bytes.NewReader(b))
	require.NoError(t, err)
	var names []string
	for _, l := range f.Slices[0].Libraries {
		names = append(names, l.Name)
	}
	require.Equal(t, m.ImportedLibraries(), names)
}

func TestVersionsAndEncryption(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                 string
		commands             [][]byte
		platform, minos, sdk string
		encrypted            bool
	}{
		{"build version", [][]byte{command(le, lcBuildVersion, "", 1, 0xe0201, 0xf0000, 0)}, "macos", "14.2.1", "15.0", false},
		{"version min", [][]byte{command(le, lcMinIOS, "", 0xc0000, 0)}, "ios", "12.0", "", false},
		{"zippered", [][]byte{
			command(le, lcBuildVersion, "", 6, 0xd0000, 0xe0000, 0), command(le, lcBuildVersion, "", 1, 0xa0f00, 0xb0000, 0),
		}, "macos", "10.15", "11.0", false},
		{"unknown platform", [][]byte{command(le, lcBuildVersion, "", 999, 0x10000, 0x10000, 0)}, "", "1.0", "1.0", false},
		{"encrypted", [][]byte{command(le, lcEncryption64, "", 0x4000, 0x4000, 1, 0)}, "", "", "", true},
		{"decrypted", [][]byte{command(le, lcEncryption, "", 0x4000, 0x4000, 0)}, "", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := readBytes(t, image(tt.commands)).Slices[0]
			require.Empty(t, s.Errs)
			require.Equal(t, []string{tt.platform, tt.minos, tt.sdk}, []string{s.Platform, s.MinOS, s.SDK})
			require.Equal(t, tt.encrypted, s.Encrypted)
		})
	}
}

// lazyInfo makes the payload of LC_LAZY_LOAD_DYLIB_INFO.
func lazyInfo() []byte {
	const header = 24
	texts := "/usr/lib/liblazy.dylib\x00_one\x00_two\x00"
	array := uint32(header + 36) // behind the texts, at a multiple of 4
	b := words(le, header, 0x8000, 1|6<<16, 0, 2, array)
	b = append(b, texts...)
	b = append(b, make([]byte, int(array)-len(b))...)
	return append(b, words(le, header+23, header+28)...)
}

func TestLazyLoadedLibrary(t *testing.T) {
	t.Parallel()
	payload := lazyInfo()
	const at = 32 + 16 + 8
	b := image([][]byte{command(le, lcLazyLoadInfo, "", at, uint32(len(payload)))}, payload...)
	s := readBytes(t, b).Slices[0]
	require.Empty(t, s.Errs)
	want, err := gomacho.ParseLazyLoadDylibInfo(payload, le)
	require.NoError(t, err)
	require.Equal(t, []Library{{Name: want.LoadPath, Kind: Lazy}}, s.Libraries)
	var got []string
	for _, i := range s.Imports {
		require.Equal(t, Import{Name: i.Name, Ordinal: 1, Library: want.LoadPath, Weak: want.Weak, Lazy: true}, i)
		got = append(got, i.Name)
	}
	require.Equal(t, want.Symbols, got)
	require.Equal(t, []string{"_one", "_two"}, got)
}

// The three formats, with ordinals that are negative and a library past the 240th.
func TestChainedFormats(t *testing.T) {
	t.Parallel()
	names := "_a\x00_b\x00"
	tests := []struct {
		name    string
		format  uint32
		entries []byte
		want    []Import
	}{
		{"32", 1, words(le, 1|1<<8, 0xfe|3<<9), []Import{{Name: "_a", Ordinal: 1, Library: "one", Weak: true}, {Name: "_b", Ordinal: OrdinalFlat}}},
		{"32 addend", 2, words(le, 2, 7, 0xff|3<<9, 7), []Import{{Name: "_a", Ordinal: 2, Library: "two"}, {Name: "_b", Ordinal: OrdinalExecutable}}},
		{"64 addend", 3, words(le, 0xfffd, 0, 7, 0, 1|1<<16, 3, 7, 0), []Import{{Name: "_a", Ordinal: OrdinalWeak}, {Name: "_b", Ordinal: 1, Library: "one", Weak: true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			payload := append(words(le, 0, 28, 28, 28+uint32(len(tt.entries)), 2, tt.format, 0), tt.entries...)
			payload = append(payload, names...)
			one, two := command(le, lcLoadDylib, "one", 24, 2, 0, 0), command(le, lcLoadDylib, "two", 24, 2, 0, 0)
			at := uint32(32 + len(one) + len(two) + 24)
			b := image([][]byte{one, two, command(le, lcDyldChainedFixup, "", at, uint32(len(payload)))}, payload...)
			s := readBytes(t, b).Slices[0]
			require.Empty(t, s.Errs)
			require.Equal(t, tt.want, s.Imports)
		})
	}
}

// A PowerPC image is big-endian, and its structures are those of 32 bits.
func TestBigEndian(t *testing.T) {
	t.Parallel()
	be := binary.BigEndian
	commands := [][]byte{command(be, lcLoadDylib, "/usr/lib/libSystem.B.dylib", path24, 2, 0x10000, 0x10000)}
	symtabAt := uint32(28 + len(commands[0]) + 32)
	commands = append(commands, command(be, lcSymtab, "", symtabAt, 1, symtabAt+12, 10))
	c := bytes.Join(commands, nil)
	b := words(be, 0xfeedface, cpuPPC, 10, 2, 2, uint32(len(c)), twoLevel)
	b = append(b, c...)
	b = append(b, words(be, 1, 0x01_00_0100, 0)...) // _CCCrypt, undefined and external, library 1
	b = append(b, "\x00_CCCrypt\x00"...)
	s := readBytes(t, b).Slices[0]
	require.Empty(t, s.Errs)
	require.Equal(t, "ppc", s.Arch)
	require.Equal(t, []Import{{Name: "_CCCrypt", Ordinal: 1, Library: "/usr/lib/libSystem.B.dylib"}}, s.Imports)
}

func TestUUIDs(t *testing.T) {
	t.Parallel()
	for name, b := range fixtures(t) {
		ids, err := UUIDs(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err, name)
		var want []string
		for _, v := range readGolden(t, name) {
			if v.uuid != "" {
				want = append(want, v.uuid)
			}
		}
		require.ElementsMatch(t, want, ids, name)
	}
}

func TestEntitlementKeys(t *testing.T) {
	t.Parallel()
	s := readBytes(t, fixture(t, "signed.dylib")).Slices[0].Signature
	keys, err := s.EntitlementKeys()
	require.NoError(t, err)
	require.Equal(t, []string{"com.apple.security.cs.allow-jit", "com.apple.security.network.client"}, keys)
	d := s.BestDirectory()
	require.Equal(t, "ABCDE12345", d.TeamID)
	require.Equal(t, uint32(0x10002), d.Flags)
	require.Empty(t, s.CMS)
	keys, err = (&Signature{Entitlements: []byte("<plist><dict><key>one</key><true/></xml>")}).EntitlementKeys()
	require.ErrorContains(t, err, "</xml>")
	require.Equal(t, []string{"one"}, keys)
	for _, text := range []string{"<plist><dict><key>a", "<a></b>", "\x00"} {
		_, err := (&Signature{Entitlements: []byte(text)}).EntitlementKeys()
		require.Error(t, err, text)
	}
}
