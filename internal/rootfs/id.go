package rootfs

import (
	"io/fs"
	"syscall"
)

// ID tells one state of one file from another: equal IDs, equal content, as far as the system can say.
type ID struct {
	Device, Inode uint64
	Size          int64
	MTime, CTime  int64 // nanoseconds since 1970
}

// IDOf gives the ID of a file described by Stat or os.File.Stat; it is false where the system gives no inode.
func IDOf(info fs.FileInfo) (ID, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ID{}, false
	}
	return ID{
		Device: uint64(st.Dev), Inode: st.Ino, Size: info.Size(), //nolint:unconvert // int32 on Darwin
		MTime: info.ModTime().UnixNano(), CTime: changed(st),
	}, true
}

// Owner gives the user id that owns a file; -1 where the system gives none.
func Owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
