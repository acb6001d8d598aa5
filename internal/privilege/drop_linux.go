package privilege

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the capabilities that a sensor uses all the time.
var kept = []struct {
	number uint
	name   string
}{
	{unix.CAP_DAC_READ_SEARCH, "cap_dac_read_search"}, // read any executable, property list and home
	{unix.CAP_NET_RAW, "cap_net_raw"},                 // open a capture, also again when it was lost
	{unix.CAP_SYS_PTRACE, "cap_sys_ptrace"},           // read /proc/<pid>/exe and /proc/<pid>/fd of others
}

func drop() Report {
	var r Report
	unix.Umask(0o077)
	r.try("core dumps", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	r.try("being traced", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	r.try("new privileges", everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1))
	if os.Geteuid() == 0 {
		r.try("writing outside of the state and socket folders", readOnly())
		r.try("capabilities", dropCapabilities())
	}
	r.Held = held()
	r.try("starting programs, Internet sockets and rare system calls", filter())
	return r
}

// everyThread makes a system call in every thread: Linux keeps these rights by thread. In a program built with cgo it cannot.
func everyThread(number uintptr, a ...uintptr) error {
	var args [6]uintptr
	copy(args[:], a)
	if _, _, errno := syscall.AllThreadsSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); errno != 0 {
		return errno
	}
	return nil
}

func dropCapabilities() error {
	last, err := lastCapability()
	if err != nil {
		return err
	}
	var bits uint64
	for _, k := range kept {
		bits |= 1 << k.number
	}
	for c := range last + 1 {
		if bits>>c&1 == 1 {
			continue
		}
		if err := everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c)); err != nil {
			return err
		}
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return err
	}
	have, err := effective()
	if err != nil {
		return err
	}
	bits &= have // what we do not have, as in a container, cannot be kept
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(bits), Permitted: uint32(bits)},
		{Effective: uint32(bits >> 32), Permitted: uint32(bits >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func lastCapability() (uint, error) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 6)
	return uint(n), err
}

// effective reads the capabilities in force.
func effective() (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if digits, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(digits), 16, 64)
		}
	}
	return 0, errors.New("no CapEff in /proc/thread-self/status")
}

// held names the capabilities in force.
func held() []string {
	bits, err := effective()
	if err != nil {
		return []string{"capabilities that cannot be read: " + err.Error()}
	}
	var names []string
	for _, k := range kept {
		if bits>>k.number&1 == 1 {
			names = append(names, k.name)
			bits &^= 1 << k.number
		}
	}
	if bits != 0 {
		names = append(names, fmt.Sprintf("other capabilities (%#x)", bits))
	}
	return names
}
