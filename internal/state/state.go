// Package state keeps what a program must remember between two runs in one small file, which nobody else can have written: it and its folder
// belong to root or to the user who runs the program, it is replaced whole or not at all, and what does not hold together is set aside, never
// used and never deleted.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// ErrSetAside is wrapped when there was a file that could not be used and now has another name.
var ErrSetAside = errors.New("set aside")

// maxSetAside is how many files that could not be used may lie beside the one in use. With more, the next one stays where it is and nothing
// is written: a person has to look.
const maxSetAside = 16

// File is one file. Its methods are safe for concurrent use.
type File struct {
	path    string
	kind    string
	version int
	limit   int64

	mu     sync.Mutex
	dir    *os.Root
	lock   *os.File // the folder, locked; nil while another process has the lock
	frozen error    // why nothing may be written
}

// Open looks at the folder of path, making it with mode 0700 where it is missing, and takes hold of it. kind and version say what the file
// holds; files of another kind, or of a later version, are not used. limit is how long its body may be, bytes.
func Open(path, kind string, version int, limit int64) (*File, error) {
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := CheckFolder(folder); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	dir, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	f := &File{path: path, kind: kind, version: version, limit: limit, dir: dir}
	f.tryLock()
	return f, nil
}

// CheckFolder says why somebody but root and the user who runs the program can change what is in the folder, or which folder it is; nil when nobody can.
func CheckFolder(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	owner, mode := rootfs.Owner(info), info.Mode()
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s: not a folder", folder)
	case owner != os.Geteuid() && owner != 0:
		return fmt.Errorf("%s: owned by user %d", folder, owner)
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("%s: writable by others (mode %v)", folder, mode.Perm())
	}
	parent := filepath.Dir(folder)
	if err := checkParents(parent); err != nil {
		return err
	}
	behindLinks, err := filepath.EvalSymlinks(parent)
	if err != nil {
		return err
	}
	return checkParents(behindLinks)
}

// checkParents says why somebody else can put another folder in the place of one in folder. What stands there may be a link.
func checkParents(folder string) error {
	for up := folder; ; up = filepath.Dir(up) {
		info, err := os.Lstat(up)
		if err != nil {
			return err
		}
		owner, mode := rootfs.Owner(info), info.Mode()
		sticky, link := mode&fs.ModeSticky != 0, mode&fs.ModeSymlink != 0
		switch {
		case owner != os.Geteuid() && owner != 0:
			return fmt.Errorf("%s: owned by user %d", up, owner)
		case sticky || link: // in a sticky folder only owners rename, and a link's mode means nothing
		case mode.Perm()&0o002 != 0:
			return fmt.Errorf("%s: writable by others (mode %v)", up, mode.Perm())
		case mode.Perm()&0o020 != 0 && !rootsGroup(info):
			return fmt.Errorf("%s: writable by group (mode %v)", up, mode.Perm())
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

// rootsGroup says whether a file's group is one whose members are root anyway: root's own (wheel), on macOS also admin, to which
// "/Library/Application Support" may belong.
func rootsGroup(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Gid == 0 || runtime.GOOS == "darwin" && st.Gid == 80)
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Close lets go of the folder.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock != nil {
		_ = f.lock.Close()
		f.lock = nil
	}
	return f.dir.Close()
}

// tryLock takes the folder's lock, so that of two processes only one writes.
func (f *File) tryLock() bool {
	if f.lock != nil {
		return true
	}
	folder, err := f.dir.Open(".")
	if err != nil {
		return false
	}
	if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = folder.Close()
		return false
	}
	f.lock = folder
	return true
}

func (f *File) name() string { return filepath.Base(f.path) }

// Load gives the body of the file and its version. It is nil without error when there is no file, and the error wraps ErrSetAside when there was one
// that must not be used: foreign, torn, too large, of another kind or of a later version. Where that could not even be set aside, nothing will be written.
func (f *File) Load() (body []byte, version int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, version, err = f.read()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return body, version, nil
	}
	return nil, 0, f.setAside(err)
}

// SetAside gives the file another name, for what its reader found wrong with its body.
func (f *File) SetAside(why error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.setAside(why)
}

func (f *File) read() ([]byte, int, error) {
	// A link or a FIFO must not be followed or waited for.
	file, err := f.dir.OpenFile(f.name(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if info, lerr := f.dir.Lstat(f.name()); lerr == nil && !info.Mode().IsRegular() {
			return nil, 0, errors.New("not a regular file")
		}
		return nil, 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if err := trusted(info); err != nil {
		return nil, 0, err
	}
	most := f.limit + maxHeader
	if info.Size() > most {
		return nil, 0, fmt.Errorf("%d bytes, more than %d", info.Size(), most)
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, 0, err
	}
	return decode(data, f.kind, f.version, f.limit)
}

func trusted(info fs.FileInfo) error {
	owner := rootfs.Owner(info)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case owner != os.Geteuid():
		return fmt.Errorf("owned by user %d", owner)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("not for its owner alone (mode %v)", info.Mode().Perm())
	}
	return nil
}

// setAside renames the file. The lock is held by the caller.
func (f *File) setAside(why error) error {
	prefix := f.name() + ".aside-"
	entries, err := fs.ReadDir(f.dir.FS(), ".")
	if err == nil {
		there := 0
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) {
				there++
			}
		}
		if there >= maxSetAside {
			err = fmt.Errorf("%d files are set aside already", there)
		}
	}
	name := prefix + time.Now().UTC().Format("20060102T150405.000000000")
	if err == nil && !f.tryLock() {
		err = errors.New("another process uses the folder")
	}
	if err == nil {
		err = f.dir.Rename(f.name(), name)
	}
	if err != nil {
		f.frozen = fmt.Errorf("state: %s: %w; and it could not be set aside: %w", f.path, why, err)
		return f.frozen
	}
	return fmt.Errorf("state: %s: %w: %w as %s", f.path, why, ErrSetAside, name)
}

// Save replaces the file. When it returns nil, the new file is on the disk; else the old one is as it was.
func (f *File) Save(body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.frozen != nil:
		return f.frozen
	case int64(len(body)) > f.limit:
		return fmt.Errorf("state: %s: %d bytes, more than %d", f.path, len(body), f.limit)
	case !f.tryLock():
		return fmt.Errorf("state: %s: another process uses it", f.path)
	}
	if err := f.replace(append(header(f.kind, f.version, body), body...)); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func (f *File) replace(data []byte) error {
	temporary := f.name() + ".new"
	if err := f.dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = f.dir.Rename(temporary, f.name())
	}
	if err != nil {
		_ = f.dir.Remove(temporary) // a full disk is not to stay full for our sake
		return err
	}
	return f.lock.Sync()
}

// maxHeader is how long the first line may be.
const maxHeader = 256

// header is the first line: what follows, how long it is, and its SHA-256.
func header(kind string, version int, body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s %d %d %s\n", kind, version, len(body), hex.EncodeToString(sum[:]))
}

// decode gives the body of a file of up to limit bytes and its version.
func decode(data []byte, kind string, version int, limit int64) ([]byte, int, error) {
	line, _, found := strings.Cut(string(data[:min(len(data), maxHeader)]), "\n")
	if !found {
		return nil, 0, errors.New("no header")
	}
	var gotKind, sum string
	var gotVersion int
	var length int64
	if n, err := fmt.Sscanf(line, "%s %d %d %s", &gotKind, &gotVersion, &length, &sum); n != 4 || err != nil || gotKind != kind {
		return nil, 0, fmt.Errorf("not a %s file", kind)
	}
	if gotVersion < 1 || gotVersion > version {
		return nil, 0, fmt.Errorf("version %d, and this program knows up to %d", gotVersion, version)
	}
	rest := data[len(line)+1:]
	if length != int64(len(rest)) || length > limit {
		return nil, 0, fmt.Errorf("torn: %d bytes of %d", len(rest), length)
	}
	if got := sha256.Sum256(rest); hex.EncodeToString(got[:]) != sum {
		return nil, 0, errors.New("torn: the checksum does not fit")
	}
	return rest, gotVersion, nil
}
