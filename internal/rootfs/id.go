package rootfs

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// ID tells one state of one file from another: equal IDs, equal content, as far as the system can say.
type ID struct {
	Device, Inode uint64
	Size          int64
	MTime, CTime  int64 // nanoseconds since 1970
}

// IDOf gives the ID of a file described by Locate, Stat or os.File.Stat; it is false where the system gives no inode.
func IDOf(info fs.FileInfo) (ID, bool) {
	id := ID{Size: info.Size(), MTime: info.ModTime().UnixNano()}
	switch st := info.Sys().(type) {
	case *unix.Stat_t:
		id.Device, id.Inode, id.CTime = uint64(st.Dev), st.Ino, st.Ctim.Nano() //nolint:unconvert // int32 on Darwin
	case *syscall.Stat_t:
		id.Device, id.Inode, id.CTime = uint64(st.Dev), st.Ino, changed(st) //nolint:unconvert // int32 on Darwin
	default:
		return ID{}, false
	}
	return id, true
}

// Owner gives the user id that owns a file; -1 where the system gives none.
func Owner(info fs.FileInfo) int {
	switch st := info.Sys().(type) {
	case *unix.Stat_t:
		return int(st.Uid)
	case *syscall.Stat_t:
		return int(st.Uid)
	}
	return -1
}

// Group gives the group id that a file belongs to; -1 where the system gives none.
func Group(info fs.FileInfo) int {
	switch st := info.Sys().(type) {
	case *unix.Stat_t:
		return int(st.Gid)
	case *syscall.Stat_t:
		return int(st.Gid)
	}
	return -1
}
