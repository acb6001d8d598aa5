package image

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// seed adds all fixtures below dir.
func seed(f *testing.F, dir string) {
	f.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		f.Add(b)
		return err
	})
	require.NoError(f, err)
}

// FuzzFacts reads a file as whatever it is: Mach-O with its signature, ELF, anything.
func FuzzFacts(f *testing.F) {
	seed(f, "testdata/tree")
	seed(f, "testdata/elf")
	a := &Analyzer{roots: appleRoots()}
	f.Fuzz(func(t *testing.T, data []byte) {
		if facts, err := a.readFacts(t.Context(), bytes.NewReader(data), int64(len(data)), true); err == nil {
			for _, u := range facts.units {
				group(attribute(u, func(int) []string { return nil }), place{arch: u.arch})
			}
			if facts.signature.Proven() && facts.signature.Kind != SignedAdhoc {
				t.Fatalf("nobody signed this: %+v", facts.signature)
			}
		}
	})
}

func FuzzCMS(f *testing.F) {
	root := issue(&testing.T{}, nil, "Root", true, "")
	f.Add(cms(&testing.T{}, signing{leaf: root}, map[uint32][]byte{0: []byte("contents")}))
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		p7, err := parseCMS(data)
		if err != nil {
			return
		}
		_ = p7.Verify()
		for _, s := range p7.Signers {
			for _, a := range s.AuthenticatedAttributes {
				hasDigest(a.Value.Bytes, data)
				hasData(a.Value.Bytes, data)
			}
		}
	})
}

func FuzzLDCache(f *testing.F) {
	f.Add([]byte(ldCacheMagic + "\x01\x00\x00\x00\x20\x00\x00\x00" + "0123456789012345678901234567890123456789" + "libx.so\x00/lib/libx.so\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		paths, err := parseLDCache(data)
		if err == nil && len(paths) > len(data)/24 {
			t.Fatalf("%d names in %d bytes", len(paths), len(data))
		}
	})
}

func FuzzPclntab(f *testing.F) {
	f.Add([]byte("\xf1\xff\xff\xff\x00\x00\x01\x08\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x30\x00\x00\x00\x00\x00\x00\x00\x46\x00\x00\x00\x00\x00\x00\x00crypto/cipher.NewGCM\x00\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		names, err := goNames(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), goOfInterest)
		if err == nil {
			goMarkers(names)
		}
	})
}
