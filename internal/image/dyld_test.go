package image

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules are dyld's (dyld-1378 dyld/Loader.cpp; reference: macho-linkage.md, "Path resolution").
func TestWhereMachO(t *testing.T) {
	t.Parallel()
	main := &node{path: "/A.app/Contents/MacOS/A", unit: &unit{rpaths: []string{"@executable_path/../Frameworks", "relative", "@nonsense/x"}}}
	mid := &node{
		path: "/A.app/Contents/Frameworks/F.framework/Versions/A/F", loader: main,
		unit: &unit{rpaths: []string{"@loader_path/Libraries", "/opt/lib"}},
	}
	w := &walk{queue: []*node{main, mid}, unit: main.unit}
	for _, c := range []struct {
		image *node
		name  string
		want  []string
	}{
		{main, "@rpath/x.dylib", []string{"/A.app/Contents/Frameworks/x.dylib"}},
		{mid, "@rpath/x.dylib", []string{
			"/A.app/Contents/Frameworks/F.framework/Versions/A/Libraries/x.dylib", "/opt/lib/x.dylib", "/A.app/Contents/Frameworks/x.dylib",
		}},
		{mid, "@executable_path/x.dylib", []string{"/A.app/Contents/MacOS/x.dylib"}},
		{mid, "@loader_path/x.dylib", []string{
			"/A.app/Contents/Frameworks/F.framework/Versions/A/x.dylib", "/A.app/Contents/Frameworks/F.framework/x.dylib",
		}},
		{mid, "/usr/local/lib/x.dylib", []string{"/usr/local/lib/x.dylib"}},
		{mid, "@executable_pathetic/x.dylib", nil},
		{mid, "x.dylib", nil},
	} {
		require.Equal(t, c.want, w.whereMachO(c.image, c.name), c.name)
	}
	main.unit.environment = []string{"DYLD_LIBRARY_PATH=@executable_path/lib:relative:/opt", "DYLD_INSERT_LIBRARIES=/x"}
	require.Equal(t, []string{"/A.app/Contents/MacOS/lib", "/opt"}, w.environment("DYLD_LIBRARY_PATH"))
	require.Equal(t, []string{"/opt/F.framework/Versions/A/F"}, inFolders([]string{"/opt"}, "/nowhere/F.framework/Versions/A/F"))
	require.Equal(t, []string{"/opt/x.dylib"}, inFolders([]string{"/opt"}, "@rpath/x.dylib"))
}

// ld.so(8).
func TestWhereELF(t *testing.T) {
	t.Parallel()
	main := &node{path: "/opt/app/program", unit: &unit{arch: "arm64", rpaths: []string{"$ORIGIN/lib", "relative"}}}
	lib := &node{path: "/opt/app/lib/libx.so", loader: main, unit: &unit{arch: "arm64"}}
	run := &node{path: "/opt/app/lib/liby.so", loader: main, unit: &unit{arch: "arm64", rpaths: []string{"/never"}, runpaths: []string{"${ORIGIN}/.."}}}
	w := &walk{analyzer: analyzer(t, t.TempDir())}
	require.Equal(t, "/opt/app/lib/z.so", w.whereELF(lib, "z.so")[0], "DT_RPATH of the loader")
	require.Equal(t, "/opt/app/z.so", w.whereELF(run, "z.so")[0], "DT_RUNPATH instead of any DT_RPATH")
	require.NotContains(t, w.whereELF(run, "z.so"), "/never/z.so")
	require.NotContains(t, w.whereELF(run, "z.so"), "/opt/app/lib/z.so")
	require.Contains(t, w.whereELF(run, "z.so"), "/usr/lib/aarch64-linux-gnu/z.so")
	require.Equal(t, []string{"/opt/app/z.so"}, w.whereELF(main, "$ORIGIN/z.so"))
	require.Nil(t, w.whereELF(main, "dir/z.so"))
}
