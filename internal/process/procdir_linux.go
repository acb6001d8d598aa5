package process

import (
	"errors"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// procDir is an open /proc/<pid>: what is read through it is of one process, also when that ends and its pid is given to another.
type procDir int

func openProc(pid int) (procDir, error) { return openFolder("/proc/" + strconv.Itoa(pid)) }

func openFolder(name string) (procDir, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return procDir(fd), err
}

func (d procDir) close() { _ = unix.Close(int(d)) }

// room is what reading a folder needs, kept for the next time.
type room struct {
	entries [8 << 10]byte
	link    [64]byte
	file    [4 << 10]byte
	names   []string
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// read gives a short file, which one call reads whole. b is room for it.
func (d procDir) read(name string, b []byte) ([]byte, error) {
	fd, err := unix.Openat(int(d), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return b[:max(n, 0)], err
	}
}

// executable gives the path of the program; empty for a process that is ending.
func (d procDir) executable() string {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	n, err := unix.Readlinkat(int(d), "exe", r.file[:]) // PATH_MAX: /proc gives no longer one
	if err != nil || n == len(r.file) {
		return ""
	}
	return unmarked(string(r.file[:n]))
}

// openSocket is a socket that a process has open.
type openSocket struct{ inode, fd uint32 }

// has says whether the process has the socket open under that number.
func (d procDir) has(fd, inode uint32) bool {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	n, err := unix.Readlinkat(int(d), "fd/"+strconv.FormatUint(uint64(fd), 10), r.link[:])
	if err != nil {
		return false
	}
	i, ok := socketInode(r.link[:n])
	return ok && i == inode
}

// sockets gives the sockets that the process has open, and how many files it has. With an inode asked for, the newest files come first
// and it ends where it finds it.
func (d procDir) sockets(inode uint32) (open []openSocket, files int, err error) {
	dir, err := unix.Openat(int(d), "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(dir)
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	for files < maxFiles {
		n, err := unix.ReadDirent(dir, r.entries[:])
		if err != nil || n <= 0 {
			return open, files, err
		}
		_, _, r.names = unix.ParseDirent(r.entries[:n], -1, r.names[:0])
		files += len(r.names)
		for _, name := range slices.Backward(r.names) {
			n, err := unix.Readlinkat(dir, name, r.link[:])
			if err != nil {
				continue
			}
			if i, ok := socketInode(r.link[:n]); ok {
				fd, _ := strconv.ParseUint(name, 10, 32) // the kernel's own number
				open = append(open, openSocket{i, uint32(fd)})
				if i == inode && inode != 0 {
					return open, files, nil
				}
			}
		}
		if n < len(r.entries)/2 { // there was room for more
			return open, files, nil
		}
	}
	return open, files, nil
}

// holder reads who the process is.
func (d procDir) holder(pid int) (holder, bool) {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	raw, err := d.read("stat", r.file[:])
	if err != nil {
		return holder{}, false
	}
	s, err := parseStat(raw)
	if err != nil {
		return holder{}, false
	}
	return holder{pid: pid, start: s.start, path: d.executable(), name: s.name, parent: s.ppid}, true
}

// label gives the systemd service that the process belongs to.
func (d procDir) label() string {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	cgroup, err := d.read("cgroup", r.file[:])
	if err != nil {
		return ""
	}
	return serviceOf(string(cgroup))
}

// describeHolder describes the process that was found, which may be gone since.
func describeHolder(h holder) (Process, bool) {
	return Process{PID: h.pid, PPID: h.parent, UID: -1, StartTime: startTime(h.start), Path: h.path, Name: h.name, Label: h.label}, true
}
