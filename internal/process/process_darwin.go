package process

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// proc_info(2) and csops(2): what libproc and Security.framework ask. Numbers from xnu-11417.101.15.
const (
	sysProcInfo = 336
	sysCSOps    = 169

	callListPIDs  = 1
	callPIDInfo   = 2
	callPIDFDInfo = 3

	allPIDs = 1 // PROC_ALL_PIDS

	flavorListFDs      = 1
	flavorBSDInfo      = 3
	flavorPath         = 11
	flavorShortBSDInfo = 13
	flavorCoalition    = 20
	flavorSocket       = 3 // of PIDFDINFO

	opsStatus   = 0
	opsCDHash   = 5
	opsIdentity = 11
	opsTeamID   = 14

	maxPath = 4 * 1024 // PROC_PIDPATHINFO_MAXSIZE
)

// procInfo makes the call and gives how much of b it filled.
func procInfo(call, pid, flavor int, arg uint64, b []byte) (int, error) {
	n, _, errno := unix.Syscall6(sysProcInfo, uintptr(call), uintptr(pid), uintptr(flavor), uintptr(arg),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return min(int(n), len(b)), nil
}

func csops(pid, op int, b []byte) error {
	_, _, errno := unix.Syscall6(sysCSOps, uintptr(pid), uintptr(op), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// listPIDs gives the pids as the kernel has them: the youngest first.
func listPIDs() ([]int, error) {
	for size := 4 << 10; ; size *= 2 { // bytes: room for 1,024 processes, then more
		b := make([]byte, size)
		n, err := procInfo(callListPIDs, allPIDs, 0, 0, b)
		if err != nil {
			return nil, fmt.Errorf("process: list: proc_info: %w", err)
		}
		if n == size && size < 16<<20 {
			continue
		}
		var pids []int
		for b = b[:n]; len(b) >= 4; b = b[4:] {
			if pid := int(int32(host.Uint32(b))); pid > 0 {
				pids = append(pids, pid)
			}
		}
		return pids, nil
	}
}

// getStarted also gives the start time in microseconds. Of other users' processes only root learns it, and the arguments.
func getStarted(pid int) (Process, uint64, error) {
	p, started, err := readStarted(pid)
	if err != nil {
		return Process{}, 0, err
	}
	if raw, err := unix.SysctlRaw("kern.procargs2", pid); err == nil {
		p.Args, _ = parseProcArgs(raw) // what there is of them
		p.Service = procEnvironment(raw, "XPC_SERVICE_NAME")
	}
	var b [coalitionInfoSize]byte
	if n, err := procInfo(callPIDInfo, pid, flavorCoalition, 0, b[:]); err == nil && n == coalitionInfoSize {
		p.Coalition = host.Uint64(b[:]) // COALITION_TYPE_RESOURCE
	}
	p.Responsible = responsibility.of(p, started)
	return p, started, nil
}

// readStarted reads what one look at a process shows: all but arguments, coalition and who is responsible.
func readStarted(pid int) (Process, uint64, error) {
	b := make([]byte, maxPath)
	p, started, err := readBSDInfo(pid, b)
	if errors.Is(err, unix.EPERM) {
		p, err = readShortBSDInfo(pid, b)
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		err = ErrNotFound
	}
	if err != nil {
		return Process{}, 0, fmt.Errorf("process: %d: proc_info: %w", pid, err)
	}
	clear(b)
	if _, err := procInfo(callPIDInfo, pid, flavorPath, 0, b); err == nil {
		p.Path = text(b) // its length is in no result: it ends with a NUL
	}
	return p, started, nil
}

func readBSDInfo(pid int, b []byte) (Process, uint64, error) {
	n, err := procInfo(callPIDInfo, pid, flavorBSDInfo, 0, b[:bsdInfoSize])
	if err != nil {
		return Process{}, 0, err
	}
	return parseBSDInfo(b[:n])
}

func readShortBSDInfo(pid int, b []byte) (Process, error) {
	n, err := procInfo(callPIDInfo, pid, flavorShortBSDInfo, 0, b[:shortBSDInfoSize])
	if err != nil {
		return Process{}, err
	}
	return parseShortBSDInfo(b[:n])
}

func identity(pid int) (CodeIdentity, error) {
	var id CodeIdentity
	b := make([]byte, 1<<10)
	if err := csops(pid, opsStatus, b[:4]); err != nil {
		if errors.Is(err, unix.ESRCH) {
			err = ErrNotFound
		}
		return id, fmt.Errorf("process: %d: csops: %w", pid, err)
	}
	id.Flags = host.Uint32(b)
	if err := csops(pid, opsCDHash, b[:20]); err == nil { // an error says that the code is not signed
		id.CDHash = hexHash(b[:20])
	}
	var err error
	if id.Identity, err = token(pid, opsIdentity, b); err != nil {
		return id, err
	}
	id.TeamID, err = token(pid, opsTeamID, b)
	return id, err
}

// token asks for one of the texts of a signature, which is empty when there is none.
func token(pid, op int, b []byte) (string, error) {
	clear(b)
	switch err := csops(pid, op, b); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL): // no such text; no signature
		return "", nil
	case err != nil:
		return "", fmt.Errorf("process: %d: csops %d: %w", pid, op, err)
	}
	s, err := parseToken(b)
	if err != nil {
		return "", fmt.Errorf("process: %d: csops %d: %w", pid, op, err)
	}
	return s, nil
}

// hurry does nothing: PKTAP gives the process with the packet, so nobody has to be quick.
func hurry() error { return nil }
