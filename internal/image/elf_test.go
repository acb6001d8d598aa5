package image

import (
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The standard library's reader is the oracle, on this system's own programs and the fixtures.
func TestELFAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"testdata/elf/app/*", "testdata/elf/app/lib/*", "/bin/s*", "/usr/bin/o*", "/usr/lib/x86_64-linux-gnu/lib[c-k]*.so.?"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found[:min(len(found), 60)]...)
	}
	compared := 0
	for _, name := range files {
		want, err := elf.Open(name)
		if err != nil {
			continue
		}
		compared++
		compareELF(t, name, want)
		require.NoError(t, want.Close())
	}
	require.GreaterOrEqual(t, compared, 4)
}

func compareELF(t *testing.T, name string, want *elf.File) {
	t.Helper()
	r, err := os.Open(name)
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	info, err := r.Stat()
	require.NoError(t, err)
	f, err := readELF(t.Context(), r, info.Size())
	require.NoError(t, err)
	require.Empty(t, f.errs, name)
	u := f.units[0]

	var libraries []string
	for _, l := range u.libraries {
		libraries = append(libraries, l.name)
	}
	wantLibraries, err := want.ImportedLibraries()
	require.NoError(t, err)
	require.Equal(t, wantLibraries, libraries, name)

	type symbol struct{ name, library string }
	var got, wanted []symbol
	for _, ref := range u.references {
		s := symbol{name: ref.symbol}
		if ref.library >= 0 {
			s.library = u.libraries[ref.library].name
		}
		got = append(got, s)
	}
	symbols, err := want.DynamicSymbols()
	if err == nil {
		for _, s := range symbols {
			if s.Section == elf.SHN_UNDEF && len(loadCatalogue().imports[s.Name]) > 0 {
				wanted = append(wanted, symbol{s.Name, s.Library})
			}
		}
	}
	require.Equal(t, wanted, got, name)

	if note := want.Section(".note.gnu.build-id"); note != nil {
		data, err := note.Data()
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(data[16:]), u.uuid, name)
	}
	runpath, err := want.DynString(elf.DT_RUNPATH)
	require.NoError(t, err)
	require.True(t, slices.Equal(runpath, u.runpaths) || len(u.runpaths) > len(runpath), name)
}

func TestLDCache(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(ldCachePath)
	if err != nil {
		t.Skip("no ld.so.cache here")
	}
	paths, err := parseLDCache(b)
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for name, at := range paths { // ldconfig writes what is there
		require.Equal(t, name, filepath.Base(at[0]))
	}
	require.NotEmpty(t, paths["libc.so.6"])
	for _, bad := range []string{"", "glibc-ld.so.cache1.1", string(b[:len(b)/3])} {
		_, err := parseLDCache([]byte(bad))
		require.Error(t, err)
	}
}
