package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// The UUIDs are those that llvm-dwarfdump-19 --uuid prints for these fixtures.
var fixtureUUIDs = map[string]string{
	"direct x86_64": "4C4C44B7-5555-3144-A1EA-0528E10B1DEA",
	"direct arm64":  "4C4C44E4-5555-3144-A18A-E8448DEF4CC2",
	"weak":          "4C4C44F4-5555-3144-A1FD-A2CBAF2245C0",
	"constant":      "4C4C44C9-5555-3144-A145-C0714D387034",
	"flat":          "4C4C449D-5555-3144-A18A-869543CEFFF9",
}

func TestIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, fixture, extra string) {
		b, err := os.ReadFile("testdata/tree" + fixture)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), append(b, extra...), 0o600))
	}
	put("/usr/local/bin/one", "/usr/local/bin/direct", "")
	put("/Applications/A.app/Contents/MacOS/A", "/usr/local/bin/weak", "")
	put("/Applications/A copy.app/Contents/MacOS/A", "/usr/local/bin/weak", "")
	put("/tmp/first", "/usr/local/bin/constant", "")
	put("/tmp/second", "/usr/local/bin/constant", "another file of the same UUID")
	put("/tmp/third", "/usr/local/bin/flat", "12")
	put("/tmp/fourth", "/usr/local/bin/flat", "21")
	root, err := rootfs.Open(dir)
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	apps, err := Applications(t.Context(), root, 100)
	require.NoError(t, err)
	require.Equal(t, []string{"/Applications/A copy.app/Contents/MacOS/A", "/Applications/A.app/Contents/MacOS/A", "/usr/local/bin/one"}, apps)
	paths := append(apps, "/tmp/second", "/tmp/first", "/tmp/third", "/tmp/fourth", "/missing", "/tmp")
	x := BuildIndex(t.Context(), root, paths)
	require.Equal(t, 5, x.Len(), "two slices of one, and three others")

	for _, c := range []struct {
		fixture, want string
		all           int
	}{
		{"direct arm64", "/usr/local/bin/one", 1},
		{"direct x86_64", "/usr/local/bin/one", 1},
		{"weak", "/Applications/A copy.app/Contents/MacOS/A", 2},
		{"constant", "", 2},
		{"flat", "", 2},
	} {
		uuid := fixtureUUIDs[c.fixture]
		for _, spelled := range []string{uuid, strings.ToLower(uuid), strings.ReplaceAll(uuid, "-", "")} {
			path, ok := x.Path(spelled)
			require.Equal(t, c.want, path, c.fixture)
			require.Equal(t, c.want != "", ok)
		}
		require.Len(t, x.Paths(uuid), c.all, c.fixture)
	}
	_, ok := x.Path("00000000-0000-0000-0000-000000000000")
	require.False(t, ok)
	_, ok = x.Path("")
	require.False(t, ok)
}
