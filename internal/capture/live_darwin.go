package capture

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func openLive(o LiveOptions) (Source, error) { return openBPF(darwinKernel{}, o) }

// darwinKernel is the running system. Everything that is decided is decided by its callers.
type darwinKernel struct{}

func (darwinKernel) socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func (darwinKernel) open(device string) (int, error) {
	return unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
}

func (darwinKernel) read(fd int, buf []byte) (int, error) { return unix.Read(fd, buf) }

func (darwinKernel) close(fd int) error { return unix.Close(fd) }

func (darwinKernel) pid() int { return os.Getpid() }

func (darwinKernel) now() time.Time { return time.Now() }

func (darwinKernel) ioctl(fd int, request uint32, arg []byte) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&arg[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

func (k darwinKernel) ioctlPointer(fd int, request uint32, arg []byte, at int, target []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&target[0])
	address := uint64(uintptr(unsafe.Pointer(&target[0])))
	for i := range 8 {
		arg[at+i] = byte(address >> (8 * i))
	}
	return k.ioctl(fd, request, arg)
}

func (darwinKernel) interfaces() ([]bpfInterface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	list := make([]bpfInterface, 0, len(all))
	for _, i := range all {
		list = append(list, bpfInterface{
			name: i.Name, up: i.Flags&net.FlagUp != 0, loopback: i.Flags&net.FlagLoopback != 0,
		})
	}
	return list, nil
}
