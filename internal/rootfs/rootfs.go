// Package rootfs reads files of an analysed host by the paths that this host itself would use.
//
// A Root is "/" for the running system, or the folder where another system's volume is mounted. It is never left: a
// symbolic link with an absolute target continues at the Root, as in a chroot, and ".." does not climb out of it. The files
// behind it may be hostile: opening never blocks (FIFO), never reaches a device, and links are followed at most 40 deep.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRegular says that a path names something other than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge says that a file is larger than the caller's limit.
var ErrTooLarge = errors.New("file too large")

// maxLinks is how many symbolic links one path may go through: Linux's MAXSYMLINKS; macOS allows 32.
const maxLinks = 40

// Links can make a path very long: each step costs a look, and each look costs an open for each folder above it. macOS and Linux
// know no path of more than 512 and 2,048 components, and real ones have 20.
const (
	maxSteps = 1_024
	maxDepth = 256
)

// ErrAutomount says that a path leads to where the automounter would ask another host, which may never answer.
var ErrAutomount = errors.New("an automounter's folder is not looked into")

// Root is the file system of one host. Its methods may be called at the same time.
type Root struct {
	root       *os.Root
	top        *os.File // the same folder, where Locate begins
	dir        string
	automounts []string // folders that are not looked into
}

// Open opens the host whose "/" is at dir.
func Open(dir string) (*Root, error) {
	info, err := os.Stat(dir) // first: opening a FIFO would wait for a writer
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	top, err := root.OpenFile(".", os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("root: %w", err)
	}
	r := &Root{root: root, top: top, dir: dir}
	if r.Live() {
		r.automounts = automounts
	}
	return r, nil
}

// Close releases the Root; files opened through it stay open.
func (r *Root) Close() error { return errors.Join(r.top.Close(), r.root.Close()) }

// Dir is the folder that Open was given.
func (r *Root) Dir() string { return r.dir }

// Live says whether this is the running system's own root.
func (r *Root) Live() bool { return path.Clean(r.dir) == "/" }

// Resolve gives the absolute path, free of links, that name leads to on that host. A name that is not absolute is taken
// from "/". The last component must exist.
func (r *Root) Resolve(name string) (string, error) {
	real, _, err := r.Locate(name)
	return real, err
}

// split cuts a path into its components without "" and ".".
func split(name string) []string {
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, p := range parts {
		if p != "" && p != "." {
			kept = append(kept, p)
		}
	}
	return kept
}

// cause strips the inner path of an error, which is relative to the Root and would only confuse beside the full one.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Open opens a regular file for reading, through links. Anything else is ErrNotRegular, and is not even opened: it could block (FIFO),
// or do something (device).
func (r *Root) Open(name string) (*os.File, error) {
	if f := r.openPlain(name); f != nil {
		return f, nil
	}
	real, info, err := r.Locate(name)
	if err != nil {
		return nil, err
	}
	if err := regular(name, info); err != nil {
		return nil, err
	}
	return r.open(name, real)
}

// openPlain is the short way for a path that ends in a regular file and has no ".." and no links that need a second look; nil for others. Where
// there is an automounter, each step is looked at.
func (r *Root) openPlain(name string) *os.File {
	parts := split(name)
	if len(r.automounts) > 0 || len(parts) == 0 || len(parts) > maxDepth || strings.IndexByte(name, 0) >= 0 || slices.Contains(parts, "..") {
		return nil
	}
	plain := "/" + strings.Join(parts, "/")
	if info, err := r.root.Lstat(rel(plain)); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := r.open(name, plain)
	if err != nil {
		return nil
	}
	return f
}

// open opens what was found to be a regular file, and looks again: it may have been replaced in between.
func (r *Root) open(name, real string) (*os.File, error) {
	f, err := r.root.OpenFile(rel(real), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: cause(err)}
	}
	info, err := f.Stat()
	if err == nil {
		err = regular(name, info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func regular(name string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: %s", ErrNotRegular, kind(info.Mode()))}
}

// kind names what a file is, for error messages.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.Type().String()
}

// ReadFile reads a regular file of at most limit bytes.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
	}
	return data, nil
}

// Stat describes what name leads to, through links.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	_, info, err := r.Locate(name)
	return info, err
}

// ReadDir lists a folder, sorted by name. Beyond limit entries it gives those it has and ErrTooLarge.
func (r *Root) ReadDir(name string, limit int) ([]fs.DirEntry, error) {
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	d, err := r.root.OpenFile(rel(real), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: cause(err)}
	}
	defer func() { _ = d.Close() }()
	entries, err := d.ReadDir(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: cause(err)}
	}
	err = nil
	if len(entries) > limit {
		entries = entries[:limit]
		err = &fs.PathError{Op: "readdir", Path: name, Err: fmt.Errorf("%w: more than %d entries", ErrTooLarge, limit)}
	}
	sortEntries(entries)
	return entries, err
}

// rel is an absolute path as os.Root wants it.
func rel(abs string) string {
	if abs == "/" {
		return "."
	}
	return abs[1:]
}
