package process

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The one question for which there is no system call: libSystem's responsibility_get_pid_responsible_for_pid(pid_t), which is in no header. Were it
// imported, a macOS without it would not start this program at all; so only dlsym is, and the name is looked up at run time.

// As golang.org/x/sys/unix imports from libSystem without cgo: the linker takes the symbol, responsible_darwin.s jumps to it.

//go:cgo_import_dynamic libc_dlsym dlsym "/usr/lib/libSystem.B.dylib"

//go:linkname syscallPtr syscall.syscallPtr
func syscallPtr(fn, a1, a2, a3 uintptr) (r1, r2 uintptr, err syscall.Errno)

//go:linkname syscallInt syscall.syscall
func syscallInt(fn, a1, a2, a3 uintptr) (r1, r2 uintptr, err syscall.Errno)

var libc_dlsym_trampoline_addr uintptr // set by responsible_darwin.s

const rtldDefault = ^uintptr(1) // RTLD_DEFAULT is -2: all images that are loaded

// responsibleCall is the address of the function.
var responsibleCall = sync.OnceValues(func() (uintptr, error) {
	name, err := unix.BytePtrFromString("responsibility_get_pid_responsible_for_pid")
	if err != nil {
		return 0, err
	}
	address, _, _ := syscallPtr(libc_dlsym_trampoline_addr, rtldDefault, uintptr(unsafe.Pointer(name)), 0)
	runtime.KeepAlive(name)
	if address == 0 {
		return 0, errors.New("process: libSystem has no responsibility_get_pid_responsible_for_pid")
	}
	return address, nil
})

func askResponsible(pid int) (int, error) {
	call, err := responsibleCall()
	if err != nil {
		return 0, err
	}
	answer, _, _ := syscallInt(call, uintptr(pid), 0, 0)
	return int(int32(answer)), nil // -1: it knows of none
}

var responsibility = &accountability{ask: askResponsible, look: readStarted, self: os.Getpid()}
