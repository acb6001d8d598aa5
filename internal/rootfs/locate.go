package rootfs

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Locate gives the absolute path, free of links, that name leads to on that host, and describes what is there; its FileInfo's Sys is a
// *unix.Stat_t. A name that is not absolute is taken from "/". The last component must exist.
func (r *Root) Locate(name string) (real string, info fs.FileInfo, err error) {
	w := r.Walker()
	defer w.Close()
	return w.Locate(name)
}

// Walker locates many files at one moment. It keeps the folders above the last one open, so that the next one beside it costs one look.
// It is for one goroutine, and must be closed before its Root.
type Walker struct{ walk }

// Walker starts a Walker.
func (r *Root) Walker() *Walker { return &Walker{walk{root: r}} }

// Close lets go of the open folders.
func (w *Walker) Close() { w.leave(0) }

// Locate is Root.Locate.
func (w *Walker) Locate(name string) (real string, info fs.FileInfo, err error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", nil, &fs.PathError{Op: "resolve", Path: name, Err: fs.ErrInvalid}
	}
	top, err := w.root.top.SyscallConn()
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	failed := top.Control(func(fd uintptr) { // keeps Close from taking the descriptor away
		w.top = int(fd)
		w.begin(split(name))
		if err = w.run(); err == nil {
			real, info = "/"+strings.Join(w.done, "/"), w.last
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return real, info, nil
}

// walk goes down a path, one open folder a component, so that each is looked up once.
type walk struct {
	root  *Root
	top   int // descriptor of the root
	todo  []string
	done  []string  // components that are no links
	open  []int     // folders of done, as far as they were needed
	last  *fileInfo // what the last of done is; nil after a step up
	links int
}

// begin starts a path in the folders that are still open: they were not links a moment ago.
func (w *walk) begin(todo []string) {
	n := 0
	for n < len(w.open) && n < len(todo)-1 && todo[n] == w.done[n] {
		n++
	}
	w.leave(n)
	w.todo, w.links = todo[n:], 0
}

func (w *walk) run() error {
	for steps := 0; len(w.todo) > 0; steps++ {
		if steps > maxSteps || len(w.done) > maxDepth {
			return unix.ENAMETOOLONG
		}
		if len(w.root.automounts) > 0 && slices.Contains(w.root.automounts, "/"+strings.Join(w.done, "/")) {
			return ErrAutomount
		}
		part := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(part); err != nil {
			return err
		}
	}
	if w.last != nil {
		return nil
	}
	fd, err := w.folder(len(w.done))
	if err != nil {
		return err
	}
	w.last = &fileInfo{name: path.Base("/" + strings.Join(w.done, "/"))}
	return unix.Fstat(fd, &w.last.stat)
}

func (w *walk) step(part string) error {
	if part == ".." {
		if w.last != nil && !w.last.IsDir() {
			return unix.ENOTDIR
		}
		w.leave(max(0, len(w.done)-1))
		return nil
	}
	fd, err := w.folder(len(w.done))
	if err != nil {
		return err
	}
	at := &fileInfo{name: part}
	if err := retry(func() error { return unix.Fstatat(fd, part, &at.stat, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return err
	}
	if at.Mode()&fs.ModeSymlink == 0 {
		w.done, w.last = append(w.done, part), at
		return nil
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	target, err := readlink(fd, part)
	if err != nil {
		return err
	}
	if path.IsAbs(target) {
		w.leave(0)
	}
	// A link's target is a path of its own: the folder that it begins in is one, whatever was found last.
	w.last = nil
	w.todo = append(split(target), w.todo...)
	return nil
}

// folder gives the descriptor of the folder that the first n of done name; 0 is the top.
func (w *walk) folder(n int) (int, error) {
	for len(w.open) < n {
		from, part := w.top, w.done[len(w.open)]
		if len(w.open) > 0 {
			from = w.open[len(w.open)-1]
		}
		fd := -1
		err := retry(func() (err error) {
			fd, err = unix.Openat(from, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return -1, err
		}
		w.open = append(w.open, fd)
	}
	if n == 0 {
		return w.top, nil
	}
	return w.open[n-1], nil
}

// leave goes up until n components are left.
func (w *walk) leave(n int) {
	for i := n; i < len(w.open); i++ {
		_ = unix.Close(w.open[i])
	}
	w.done, w.open, w.last = w.done[:min(n, len(w.done))], w.open[:min(n, len(w.open))], nil
}

func readlink(fd int, name string) (string, error) {
	b := make([]byte, maxPath)
	n := 0
	err := retry(func() (err error) {
		n, err = unix.Readlinkat(fd, name, b)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}

// fileInfo describes a file as the kernel does.
type fileInfo struct {
	name string
	stat unix.Stat_t
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.stat.Size }
func (i *fileInfo) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }
func (i *fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i *fileInfo) Sys() any           { return &i.stat }

func (i *fileInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.stat.Mode & 0o777)
	switch i.stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFREG:
	default:
		mode |= fs.ModeIrregular
	}
	if i.stat.Mode&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if i.stat.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if i.stat.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
