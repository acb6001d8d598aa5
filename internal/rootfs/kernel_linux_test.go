package rootfs

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// kernelReads reads a file as the kernel finds it with dir as the root; ok is false where it has no openat2.
func kernelReads(t *testing.T, dir, name string) (content string, err error, ok bool) { //nolint:revive // the error is a result here
	d, err := os.Open(dir) //nolint:gosec // a test's folder
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	fd, err := unix.Openat2(int(d.Fd()), name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return "", err, false
	}
	if err != nil {
		return "", err, true
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	return string(data), err, true
}
