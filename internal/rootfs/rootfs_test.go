package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tree is a folder with a Root in it and, beside the Root, files that must never be reached.
type tree struct {
	t    testing.TB
	dir  string // the Root's
	root *Root
}

func newTree(t testing.TB) *tree {
	t.Helper()
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600))
	tr := &tree{t: t, dir: filepath.Join(outside, "root")}
	require.NoError(t, os.Mkdir(tr.dir, 0o750))
	root, err := Open(tr.dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	tr.root = root
	return tr
}

func (tr *tree) path(name string) string { return filepath.Join(tr.dir, filepath.FromSlash(name)) }

func (tr *tree) file(name string) {
	tr.t.Helper()
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(tr.path(name)), 0o750))
	require.NoError(tr.t, os.WriteFile(tr.path(name), []byte(name), 0o600))
}

func (tr *tree) link(target, name string) {
	tr.t.Helper()
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(tr.path(name)), 0o750))
	require.NoError(tr.t, os.Symlink(target, tr.path(name)))
}

// links is a tree with every kind of link.
func links(t testing.TB) *tree {
	tr := newTree(t)
	tr.file("/a/b/file")
	tr.file("/file")
	tr.link("/a/b/file", "/absolute")
	tr.link("b/file", "/a/relative")
	tr.link("../../../../../../a/b/file", "/a/above")
	tr.link("../secret", "/outside")
	tr.link("/../../secret", "/a/outside")
	tr.link("/a", "/x/folder")
	tr.link("folder/b", "/x/chain")
	tr.link("/", "/top")
	tr.link(".", "/a/self")
	tr.link("b/..", "/a/up")
	tr.link("loop2", "/loop1")
	tr.link("loop1", "/loop2")
	tr.link("gone", "/dangling")
	tr.link("file/../a", "/through-file")
	tr.link("/proc/self/root", "/magic")
	return tr
}

func TestResolve(t *testing.T) {
	t.Parallel()
	tr := links(t)
	tests := []struct {
		name, want string
		err        error
	}{
		{name: "/a/b/file", want: "/a/b/file"},
		{name: "a//./b/file", want: "/a/b/file"},
		{name: "/", want: "/"},
		{name: "", want: "/"},
		{name: "/../../a", want: "/a"},
		{name: "/a/b/../../file", want: "/file"},
		{name: "/absolute", want: "/a/b/file"},
		{name: "/a/relative", want: "/a/b/file"},
		{name: "/a/above", want: "/a/b/file"},
		{name: "/x/folder/b/file", want: "/a/b/file"},
		{name: "/x/chain/file", want: "/a/b/file"},
		{name: "/x/folder/../file", want: "/file"}, // ".." is the target's parent, as for the kernel
		{name: "/top/top/x/chain", want: "/a/b"},
		{name: "/a/self/self/b", want: "/a/b"},
		{name: "/a/up/b", want: "/a/b"},
		{name: "/outside", err: fs.ErrNotExist},
		{name: "/a/outside", err: fs.ErrNotExist},
		{name: "/magic", err: fs.ErrNotExist},
		{name: "/loop1", err: unix.ELOOP},
		{name: "/dangling", err: fs.ErrNotExist},
		{name: "/file/below", err: unix.ENOTDIR},
		{name: "/file/..", err: unix.ENOTDIR},
		{name: "/through-file", err: unix.ENOTDIR},
		{name: "/absolute/..", err: unix.ENOTDIR},
		{name: "/nul\x00", err: fs.ErrInvalid},
		{name: "/" + strings.Repeat("x", 300), err: unix.ENAMETOOLONG},
	}
	for _, tt := range tests {
		got, err := tr.root.Resolve(tt.name)
		require.Equal(t, tt.want, got, tt.name)
		require.ErrorIs(t, err, tt.err, tt.name)
		if tt.err != nil {
			require.ErrorContains(t, err, tt.name)
			continue
		}
		_, err = tr.root.Stat(tt.name)
		require.NoError(t, err, tt.name)
	}
}

// TestWalkerAgreesWithRoot: what a Walker keeps open changes no answer, whatever it was asked before.
func TestWalkerAgreesWithRoot(t *testing.T) {
	t.Parallel()
	tr := links(t)
	names := []string{"/a/b/file", "/a/b", "/a/b/file/x", "/a/b/none", "/absolute", "/a/relative", "/x/folder/b/file", "/x/folder/../file", "/top/top/x/chain/file",
		"/loop1", "/a/self/self/b/file", "/a", "/", "/file/..", "/through-file", "/outside", "/a/up/b/file", "a/b/../b/file"}
	w := tr.root.Walker()
	defer w.Close()
	for _, before := range names {
		for _, name := range names {
			_, _, _ = w.Locate(before)
			got, info, err := w.Locate(name)
			want, wantInfo, wantErr := tr.root.Locate(name)
			require.Equal(t, want, got, "%s after %s", name, before)
			require.Equal(t, wantErr, err, "%s after %s", name, before)
			require.Equal(t, wantInfo, info, "%s after %s", name, before)
		}
	}
	direct, err := os.Lstat(tr.path("/a/b/file"))
	require.NoError(t, err)
	_, info, err := w.Locate("/absolute")
	require.NoError(t, err)
	require.Equal(t, []any{direct.Size(), direct.Mode(), direct.ModTime(), direct.Name()}, []any{info.Size(), info.Mode(), info.ModTime(), info.Name()})
	want, _ := IDOf(direct)
	got, ok := IDOf(info)
	require.True(t, ok)
	require.Equal(t, want, got)
}

// TestResolveAgreesWithTheKernel: openat2's RESOLVE_IN_ROOT says what the kernel finds with a folder as the root.
func TestResolveAgreesWithTheKernel(t *testing.T) {
	t.Parallel()
	tr := links(t)
	for _, name := range []string{"/a/b/file", "/absolute", "/a/relative", "/a/above", "/outside", "/a/outside", "/x/folder/b/file", "/x/chain/file",
		"/x/folder/../file", "/top/top/x/chain/file", "/a/self/self/b/file", "/a/up/b/file", "/loop1", "/dangling", "/file/..", "/through-file",
		"/magic/etc/hosts", "/absolute/../file", "/../../../secret"} {
		want, wantErr, ok := kernelReads(t, tr.dir, name)
		if !ok {
			t.Skip("the kernel has no openat2")
		}
		got, err := tr.root.ReadFile(name, 1<<10)
		require.Equal(t, want, string(got), name)
		require.Equal(t, wantErr == nil, err == nil, "%s: %v, the kernel: %v", name, err, wantErr)
	}
}

func TestOpenTakesRegularFilesOnly(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.file("/folder/file")
	require.NoError(t, unix.Mkfifo(tr.path("/fifo"), 0o600))
	tr.link("fifo", "/to-fifo")
	want := map[string]string{
		"/folder": "a folder", "/": "a folder", "/fifo": "a FIFO", "/to-fifo": "a FIFO", "/folder/..": "a folder",
	}
	if unix.Mknod(tr.path("/device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) == nil {
		want["/device"] = "a device"
	}
	for name, kind := range want {
		start := time.Now()
		_, err := tr.root.Open(name)
		require.ErrorIs(t, err, ErrNotRegular)
		require.EqualError(t, err, "open "+name+": not a regular file: "+kind)
		require.Less(t, time.Since(start), time.Second)
	}
	f, err := tr.root.Open("/folder/file")
	require.NoError(t, err)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "/folder/file", string(data))
}

func TestReadFileStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.file("/ten-bytes")
	data, err := tr.root.ReadFile("/ten-bytes", 10)
	require.NoError(t, err)
	require.Equal(t, "/ten-bytes", string(data))
	_, err = tr.root.ReadFile("/ten-bytes", 9)
	require.ErrorIs(t, err, ErrTooLarge)
	require.NoError(t, os.Truncate(tr.path("/ten-bytes"), 1<<40)) // sparse
	start := time.Now()
	_, err = tr.root.ReadFile("/ten-bytes", 1<<20)
	require.EqualError(t, err, "read /ten-bytes: file too large: more than 1048576 bytes")
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestReadDir(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	for i := range 200 {
		tr.file(fmt.Sprintf("/dir/%03d", i))
	}
	tr.link("/dir", "/x/to-dir")
	for _, name := range []string{"/dir", "/x/to-dir", "/x/../dir"} {
		entries, err := tr.root.ReadDir(name, 200)
		require.NoError(t, err)
		require.Len(t, entries, 200)
		for i, e := range entries {
			require.Equal(t, fmt.Sprintf("%03d", i), e.Name())
		}
	}
	entries, err := tr.root.ReadDir("/dir", 50)
	require.ErrorIs(t, err, ErrTooLarge)
	require.EqualError(t, err, "readdir /dir: file too large: more than 50 entries")
	require.Len(t, entries, 50)
	_, err = tr.root.ReadDir("/dir/000", 50)
	require.ErrorIs(t, err, unix.ENOTDIR)
	_, err = tr.root.ReadDir("/none", 50)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestGlob has osquery's rules: % within a component, %% for all below at the end.
func TestGlob(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	for _, name := range []string{"/Users/ada/x.plist", "/Users/ada/y.txt", "/Users/bob/x.plist", "/Users/bob/deep/er/z.plist", "/Users/top", "/a%b/c"} {
		tr.file(name)
	}
	require.NoError(t, unix.Mkfifo(tr.path("/Users/ada/f.plist"), 0o600))
	tr.link("/Users", "/Users/bob/deep/loop")
	tr.link("../bob/x.plist", "/Users/ada/link.plist")
	tests := []struct {
		pattern string
		want    []string
	}{
		{"/Users/ada/x.plist", []string{"/Users/ada/x.plist"}},
		{"/Users/%/x.plist", []string{"/Users/ada/x.plist", "/Users/bob/x.plist"}},
		{"/Users/%/%.plist", []string{"/Users/ada/link.plist", "/Users/ada/x.plist", "/Users/bob/x.plist"}},
		{"/Users/a%a/%", []string{"/Users/ada/link.plist", "/Users/ada/x.plist", "/Users/ada/y.txt"}},
		{"/Users/bob/%%", []string{"/Users/bob/deep/er/z.plist", "/Users/bob/x.plist"}},
		{"/Users/%", []string{"/Users/top"}},
		{"/%/%/x%plist", []string{"/Users/ada/x.plist", "/Users/bob/x.plist"}},
		{"/none/%", nil},
		{"/Users", nil},
		{"", nil},
	}
	for _, tt := range tests {
		got, err := tr.root.Glob(context.Background(), tt.pattern, 100)
		require.NoError(t, err, tt.pattern)
		require.Equal(t, tt.want, got, tt.pattern)
	}
	got, err := tr.root.Glob(context.Background(), "/Users/%/%.plist", 2)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Equal(t, []string{"/Users/ada/link.plist", "/Users/ada/x.plist"}, got)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = tr.root.Glob(ctx, "/%%", 2)
	require.ErrorIs(t, err, context.Canceled)
}

func TestMatchPercent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"%", "", true}, {"%", "x", true}, {"a%", "a", true}, {"%a", "ba", true}, {"a%a", "a", false}, {"a%a", "aa", true}, {"a%b%c", "a-b-b-c", true},
		{"a%b%c", "acb", false}, {"ab", "ab", true}, {"ab", "abc", false}, {"%.plist", ".plist", true}, {"%%", "x", true},
	} {
		require.Equal(t, tt.want, matchPercent(tt.pattern, tt.name), "%s %s", tt.pattern, tt.name)
	}
}

// TestLinksCannotCostMuch: 30 links that each go through 200 folders and back.
func TestLinksCannotCostMuch(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.file("/d/end")
	long := strings.Repeat("d/../", 200)
	for i := range 30 {
		tr.link(fmt.Sprintf("%sl%d/../%sl%d", long, i+1, long, i+1), fmt.Sprintf("/l%d", i))
	}
	tr.link("d", "/l30")
	start := time.Now()
	_, err := tr.root.Resolve("/l0")
	require.Error(t, err)
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestAutomounterIsNotAsked(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.root.automounts = []string{"/net", "/Network/Servers"}
	tr.file("/net/host/file")
	tr.file("/Network/x")
	tr.link("../net/host", "/a/link")
	for _, name := range []string{"/net/host/file", "/a/link/file", "/a/../net/host", "/Network/Servers/../x"} {
		_, err := tr.root.ReadFile(name, 100)
		require.Error(t, err, name)
	}
	_, err := tr.root.ReadFile("/a/link/file", 100)
	require.ErrorIs(t, err, ErrAutomount)
	_, err = tr.root.ReadFile("/Network/x", 100)
	require.NoError(t, err)
	_, err = tr.root.Stat("/net")
	require.NoError(t, err)
}

// TestOpenWhileReplaced: a file that turns into a FIFO and into a link out of the root at any moment is never followed and never blocks.
func TestOpenWhileReplaced(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Remove(tr.path("/x"))
			switch i % 3 {
			case 0:
				_ = os.WriteFile(tr.path("/x"), []byte("inside"), 0o600)
			case 1:
				_ = unix.Mkfifo(tr.path("/x"), 0o600)
			case 2:
				_ = os.Symlink("../secret", tr.path("/x"))
			}
		}
	})
	for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline); {
		data, err := tr.root.ReadFile("/x", 100)
		require.True(t, err != nil || string(data) == "inside" || len(data) == 0, "%q", data)
	}
	close(stop)
	wg.Wait()
}

func TestIDTellsFilesApart(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	id := func(name string) ID {
		info, err := tr.root.Stat(name)
		require.NoError(t, err)
		id, ok := IDOf(info)
		require.True(t, ok)
		require.Equal(t, os.Geteuid(), Owner(info))
		return id
	}
	tr.file("/a")
	tr.file("/b")
	a := id("/a")
	require.Equal(t, a, id("/a"))
	require.NotEqual(t, a, id("/b"))
	// The same size and modification time do not hide a change: the time of change cannot be set back.
	info, err := os.Stat(tr.path("/a"))
	require.NoError(t, err)
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, os.WriteFile(tr.path("/a"), []byte("xy"), 0o600))
	require.NoError(t, os.Chtimes(tr.path("/a"), info.ModTime(), info.ModTime()))
	changed := id("/a")
	require.Equal(t, a.Size, changed.Size)
	require.Equal(t, a.MTime, changed.MTime)
	require.NotEqual(t, a, changed)
}

func TestOpenOfNothing(t *testing.T) {
	t.Parallel()
	_, err := Open(filepath.Join(t.TempDir(), "none"))
	require.True(t, errors.Is(err, fs.ErrNotExist))
}
