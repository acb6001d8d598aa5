package macho

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	gomacho "github.com/blacktop/go-macho"
	"github.com/stretchr/testify/require"
)

// goMachoSlices opens each slice by go-macho, which knows no fat64.
func goMachoSlices(t testing.TB, b []byte, f *File) []*gomacho.File {
	t.Helper()
	var slices []*gomacho.File
	for _, s := range f.Slices {
		m, err := gomacho.NewFile(bytes.NewReader(b[s.Offset : s.Offset+s.Size]))
		require.NoError(t, err)
		slices = append(slices, m)
	}
	return slices
}

func TestReadAgreesWithGoMacho(t *testing.T) {
	t.Parallel()
	for name, b := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := readBytes(t, b)
			for i, m := range goMachoSlices(t, b, f) {
				compareGoMacho(t, m, f.Slices[i])
			}
		})
	}
}

func compareGoMacho(t *testing.T, m *gomacho.File, s *Slice) {
	names := []string(nil)
	for _, l := range s.Libraries {
		names = append(names, l.Name)
	}
	require.Equal(t, m.ImportedLibraries(), names)
	require.Equal(t, uint32(m.Flags), s.Flags)
	require.Equal(t, goMachoImports(t, m), importNames(s))
	require.Len(t, s.Segments, len(m.Segments()))
	for i, seg := range m.Segments() {
		require.Equal(t, seg.Name, s.Segments[i].Name)
		require.Equal(t, int64(seg.Offset), s.Segments[i].FileOffset)
		require.Equal(t, int64(seg.Filesz), s.Segments[i].FileSize)
		require.Equal(t, seg.Addr, s.Segments[i].Address)
		require.Equal(t, uint32(seg.Prot), s.Segments[i].InitProt)
		require.Len(t, s.Segments[i].Sections, int(seg.Nsect))
		for j, section := range s.Segments[i].Sections {
			want := m.Sections[int(seg.Firstsect)+j]
			require.Equal(t, want.Name, section.Name)
			require.Equal(t, want.Addr, section.Address)
			require.Equal(t, int64(want.Offset), section.Offset)
			require.Equal(t, int64(want.Size), section.Size)
			require.Equal(t, want.Flags.IsZerofill(), section.ZeroFill())
		}
	}
	compareSignature(t, m.CodeSignature(), s.Signature)
}

func goMachoImports(t *testing.T, m *gomacho.File) []string {
	names := map[string]bool{}
	if symbols, err := m.ImportedSymbolNames(); err == nil {
		for _, n := range symbols {
			names[n] = true
		}
	}
	if binds, err := m.GetBindInfo(); err == nil {
		for _, b := range binds {
			names[b.Name] = true
		}
	}
	if m.HasDyldChainedFixups() {
		fixups, err := m.DyldChainedFixups()
		require.NoError(t, err)
		for _, i := range fixups.Imports {
			names[i.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func importNames(s *Slice) []string {
	names := map[string]bool{}
	for _, i := range s.Imports {
		names[i.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func compareSignature(t *testing.T, want *gomacho.CodeSignature, got *Signature) {
	if want == nil {
		require.Nil(t, got)
		return
	}
	require.Len(t, got.CodeDirectories, len(want.CodeDirectories))
	for i, w := range want.CodeDirectories {
		d := &got.CodeDirectories[i]
		require.Equal(t, w.ID, d.Identifier)
		require.Equal(t, w.TeamID, d.TeamID)
		require.Equal(t, w.CDHash[:40], d.CDHash())
		require.Equal(t, uint32(w.Header.Flags), d.Flags)
		require.Equal(t, int64(w.Header.CodeLimit), d.CodeLimit)
		require.Equal(t, len(w.CodeSlots), d.Pages())
		require.Len(t, d.SpecialHashes, len(w.SpecialSlots))
		for j, s := range w.CodeSlots {
			require.Equal(t, s.Hash, d.CodeHash(j))
		}
	}
	require.Equal(t, want.Entitlements, string(got.Entitlements))
}

// The linkers (ld64.lld, go-macho, Go's own) have hashed the pages: what we take for a page and its hash is right when all agree.
func TestPageHashes(t *testing.T) {
	t.Parallel()
	all := fixtures(t)
	all["go"] = goProgram(t)
	for _, name := range []string{"binds-arm64", "chained-arm64", "signed.dylib", "go"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := all[name]
			d := readBytes(t, b).Slices[0].Signature.BestDirectory()
			require.Positive(t, d.Pages())
			for i := range d.Pages() {
				end := min(int64(i+1)*int64(d.PageSize), d.CodeLimit)
				h := d.NewHash()
				h.Write(b[int64(i)*int64(d.PageSize) : end])
				require.Equal(t, h.Sum(nil), d.CodeHash(i), "page %d", i)
			}
		})
	}
}

// goProgram builds a program for macOS with Go's linker, which sets no MH_TWOLEVEL.
func goProgram(t testing.TB) []byte {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	b, err := buildGoProgram()
	require.NoError(t, err)
	return b
}

var buildGoProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "cipherlens-macho")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "gohello")
	c := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/gohello")
	c.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return os.ReadFile(out)
})

// In a flat namespace the symbol table knows no library: only the binds do.
func TestGoProgram(t *testing.T) {
	t.Parallel()
	b := goProgram(t)
	f := readBytes(t, b)
	s := f.Slices[0]
	require.Zero(t, s.Flags&twoLevel)
	compareGoMacho(t, goMachoSlices(t, b, f)[0], s)
	m, err := gomacho.NewFile(bytes.NewReader(b))
	require.NoError(t, err)
	binds, err := m.GetBindInfo()
	require.NoError(t, err)
	require.NotEmpty(t, binds)
	for _, bind := range binds {
		require.Equal(t, bind.Dylib, path.Base(importOf(t, s, bind.Name).Library), bind.Name)
	}
	require.Equal(t, "/usr/lib/libSystem.B.dylib", importOf(t, s, "_kqueue").Library)
}
