package macho

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixtures gives the images that testdata/build.sh made, by name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/images/*")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	all := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		all[filepath.Base(p)] = b
	}
	return all
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, ok := fixtures(t)[name]
	require.True(t, ok, "testdata/images/%s", name)
	return b
}

func readBytes(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return f
}

// importOf gives the one import of that name.
func importOf(t *testing.T, s *Slice, name string) Import {
	t.Helper()
	var found []Import
	for _, i := range s.Imports {
		if i.Name == name {
			found = append(found, i)
		}
	}
	require.Len(t, found, 1, name)
	return found[0]
}
