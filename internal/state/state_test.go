package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const limit = 1 << 10

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, "test", 2, limit)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestWhatWasSavedIsLoaded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "state")
	f := open(t, path)
	body, _, err := f.Load()
	require.NoError(t, err)
	require.Nil(t, body)
	for _, want := range [][]byte{[]byte("one\ntwo"), {}, bytes.Repeat([]byte{0}, limit)} {
		require.NoError(t, f.Save(want))
		got, version, err := f.Load()
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, 2, version)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	info, err = os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.ErrorContains(t, f.Save(make([]byte, limit+1)), "more than 1024")
}

// TestChecksumIsSHA256: sha256sum of coreutils says the same of the body.
func TestChecksumIsSHA256(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, open(t, path).Save([]byte("hello\n")))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	// printf 'hello\n' | sha256sum
	require.Equal(t, "test 2 6 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\nhello\n", string(data))
}

func TestWhatMustNotBeUsedIsSetAside(t *testing.T) {
	t.Parallel()
	whole := append(header("test", 2, []byte("the body")), "the body"...)
	for name, c := range map[string]struct {
		make func(path string) error
		want string
		root bool
	}{
		"torn":        {func(p string) error { return os.WriteFile(p, whole[:len(whole)-3], 0o600) }, "torn: 5 bytes of 8", false},
		"torn header": {func(p string) error { return os.WriteFile(p, whole[:20], 0o600) }, "no header", false},
		"empty":       {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "no header", false},
		"longer":      {func(p string) error { return os.WriteFile(p, append(bytes.Clone(whole), 'x'), 0o600) }, "torn: 9 bytes of 8", false},
		"one bit": {func(p string) error {
			return os.WriteFile(p, bytes.Replace(whole, []byte("the body"), []byte("the bodx"), 1), 0o600)
		}, "checksum", false},
		"another kind":     {func(p string) error { return os.WriteFile(p, []byte("#!/bin/sh\necho\n"), 0o600) }, "not a test file", false},
		"newer":            {func(p string) error { return os.WriteFile(p, append(header("test", 3, nil), nil...), 0o600) }, "version 3", false},
		"oversize":         {func(p string) error { return os.WriteFile(p, make([]byte, limit+maxHeader+1), 0o600) }, "more than", false},
		"oversize, sparse": {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 1<<40)) }, "more than", false},
		"open to others":   {func(p string) error { return errors.Join(os.WriteFile(p, whole, 0o600), os.Chmod(p, 0o644)) }, "owner alone", false},
		"another's":        {func(p string) error { return errors.Join(os.WriteFile(p, whole, 0o600), os.Chown(p, 65534, 65534)) }, "owned by user 65534", true},
		"link":             {func(p string) error { return errors.Join(os.WriteFile(p+".1", whole, 0o600), os.Symlink(p+".1", p)) }, "not a regular file", false},
		"FIFO":             {func(p string) error { return unix.Mkfifo(p, 0o600) }, "not a regular file", false},
		"folder":           {func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file", false},
	} {
		if c.root && os.Geteuid() != 0 {
			continue
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		f := open(t, path)
		require.NoError(t, c.make(path), name)
		body, _, err := f.Load()
		require.Nil(t, body, name)
		require.ErrorIs(t, err, ErrSetAside, name)
		require.ErrorContains(t, err, c.want, name)
		aside, err := filepath.Glob(path + ".aside-*")
		require.NoError(t, err)
		require.Len(t, aside, 1, name)
		require.NoFileExists(t, path, name)
		require.NoError(t, f.Save([]byte("new")), name)
		body, _, err = f.Load()
		require.NoError(t, err, name)
		require.Equal(t, "new", string(body), name)
	}
}

func TestOlderVersionIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(path, append(header("test", 1, []byte("x")), 'x'), 0o600))
	body, version, err := open(t, path).Load()
	require.NoError(t, err)
	require.Equal(t, "x", string(body))
	require.Equal(t, 1, version)
}

func TestNothingIsDeleted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	for i := range maxSetAside {
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "foreign %d", i), 0o600))
		_, _, err := f.Load()
		require.ErrorIs(t, err, ErrSetAside)
	}
	require.NoError(t, os.WriteFile(path, []byte("one more"), 0o600))
	_, _, err := f.Load()
	require.ErrorContains(t, err, "16 files are set aside already")
	require.ErrorContains(t, f.Save([]byte("new")), "16 files are set aside already")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one more", string(data))
	aside, err := filepath.Glob(path + ".aside-*")
	require.NoError(t, err)
	require.Len(t, aside, maxSetAside)
}

// otherGroup is no group of root's.
const otherGroup = 4242

func TestFoldersOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"writable":  {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o770)) }, "writable by others"},
		"link":      {func(p string) error { return errors.Join(os.Mkdir(p+"1", 0o700), os.Symlink(p+"1", p)) }, "not a folder"},
		"file":      {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "not a folder"},
		"no parent": {func(string) error { return nil }, "no such file"},
		"open parent": {func(p string) error {
			return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777), os.Mkdir(p+"/in", 0o700))
		}, "writable by others"},
		"shared parent": {func(p string) error {
			return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, -1, otherGroup), os.Chmod(p, 0o770), os.Mkdir(p+"/in", 0o700))
		}, "writable by group"},
		"linked parent": {func(p string) error {
			return errors.Join(os.MkdirAll(p+"1/open/in", 0o700), os.Chmod(p+"1/open", 0o777), os.Symlink(p+"1/open", p))
		}, "writable by others"},
		"their parent": {func(p string) error {
			return errors.Join(os.MkdirAll(p+"/in", 0o700), os.Chmod(p, 0o755), os.Chown(p, 65534, 65534))
		}, "owned by user 65534"},
		"their link as parent": {func(p string) error {
			return errors.Join(os.MkdirAll(p+"1/in", 0o700), os.Symlink(p+"1", p), os.Lchown(p, 65534, 65534))
		}, "owned by user 65534"},
	} {
		if os.Geteuid() != 0 && (strings.HasPrefix(name, "their") || strings.HasPrefix(name, "shared")) {
			continue // takes root to make
		}
		folder := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		require.NoError(t, c.make(folder), name)
		if strings.HasSuffix(name, "parent") {
			folder = filepath.Join(folder, "in")
		}
		_, err := Open(filepath.Join(folder, "state"), "test", 1, limit)
		require.ErrorContains(t, err, c.want, name)
	}
	shared := filepath.Join(dir, "sticky")
	require.NoError(t, errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|os.ModeSticky), os.Mkdir(shared+"/in", 0o700)))
	require.NoError(t, CheckFolder(shared+"/in"), "as below /tmp")
	if os.Geteuid() == 0 {
		theirs := filepath.Join(dir, "theirs")
		require.NoError(t, errors.Join(os.Mkdir(theirs, 0o700), os.Chown(theirs, 65534, 65534)))
		_, err := Open(filepath.Join(theirs, "state"), "test", 1, limit)
		require.ErrorContains(t, err, "owned by user 65534")
	}
}

func TestOfTwoProcessesOneWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	first := open(t, path)
	second := open(t, path)
	require.NoError(t, first.Save([]byte("first")))
	require.ErrorContains(t, second.Save([]byte("second")), "another process uses it")
	body, _, err := second.Load()
	require.NoError(t, err)
	require.Equal(t, "first", string(body))
	require.NoError(t, first.Close())
	require.NoError(t, second.Save([]byte("second")))
}

// TestFullDisk: what was there before stays, and nothing half-written beside it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv("STATE_SMALL_FILES") == "" { // a file size limit holds for a process
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$")
		cmd.Env = append(os.Environ(), "STATE_SMALL_FILES=1", "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	require.NoError(t, f.Save([]byte("old")))
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	small := before
	small.Cur = 100
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	err := f.Save(make([]byte, limit))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	require.ErrorIs(t, err, syscall.EFBIG)
	body, _, err := f.Load()
	require.NoError(t, err)
	require.Equal(t, "old", string(body))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func FuzzDecode(f *testing.F) {
	f.Add(append(header("test", 2, []byte("body")), "body"...))
	f.Add([]byte("test 1 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"))
	f.Add([]byte("test 99999999999999999999 -1 x\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		body, version, err := decode(data, "test", 2, limit)
		if err != nil {
			require.Nil(t, body)
			return
		}
		require.LessOrEqual(t, len(body), limit)
		require.Contains(t, []int{1, 2}, version)
		again, _, err := decode(append(header("test", version, body), body...), "test", 2, limit)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, again))
	})
}
