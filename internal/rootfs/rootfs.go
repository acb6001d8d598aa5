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
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRegular says that a path names something other than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge says that a file is larger than the caller's limit.
var ErrTooLarge = errors.New("file too large")

// maxLinks is how many symbolic links one path may go through: Linux's MAXSYMLINKS; macOS allows 32.
const maxLinks = 40

// Root is the file system of one host. Its methods may be called at the same time.
type Root struct {
	root *os.Root
	dir  string
}

// Open opens the host whose "/" is at dir.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return &Root{root: root, dir: dir}, nil
}

// Close releases the Root; files opened through it stay open.
func (r *Root) Close() error { return r.root.Close() }

// Dir is the folder that Open was given.
func (r *Root) Dir() string { return r.dir }

// Live says whether this is the running system's own root.
func (r *Root) Live() bool { return path.Clean(r.dir) == "/" }

// Resolve gives the absolute path, free of links, that name leads to on that host. A name that is not absolute is taken
// from "/". The last component must exist.
func (r *Root) Resolve(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", &fs.PathError{Op: "resolve", Path: name, Err: fs.ErrInvalid}
	}
	todo := split(name)
	done := make([]string, 0, len(todo))
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			done = done[:max(0, len(done)-1)]
			continue
		}
		at := strings.Join(append(done, part), "/")
		info, err := r.root.Lstat(at)
		if err != nil {
			return "", &fs.PathError{Op: "open", Path: name, Err: cause(err)}
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = append(done, part)
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		target, err := r.root.Readlink(at)
		if err != nil {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: cause(err)}
		}
		if path.IsAbs(target) {
			done = done[:0]
		}
		todo = append(split(target), todo...)
	}
	return "/" + strings.Join(done, "/"), nil
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

// Open opens a regular file for reading, through links. Anything else is ErrNotRegular, and never blocks.
func (r *Root) Open(name string) (*os.File, error) {
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	// O_NONBLOCK keeps a FIFO from blocking; O_NOFOLLOW closes the gap between Resolve and here.
	f, err := r.root.OpenFile(rel(real), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: cause(err)}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: %s", ErrNotRegular, kind(info.Mode()))}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
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
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := r.root.Lstat(rel(real))
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: cause(err)}
	}
	return info, nil
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
