package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ticks is USER_HZ, the unit of /proc/<pid>/stat, which is 100 on every architecture that Go has.
const ticks = 100

// maxProcFile is how much of a file in /proc is read, bytes; only arguments can be longer.
const maxProcFile = 256 << 10

// getStarted also gives the start time in ticks since boot, which tells two processes with one pid apart better than seconds.
func getStarted(pid int) (Process, uint64, error) {
	for range 3 { // a pid that is reused while it is read is read again
		s, err := readStat(pid)
		if err != nil {
			return Process{}, 0, err
		}
		p := describe(pid, s)
		if again, err := readStat(pid); err == nil && again.start == s.start {
			return p, s.start, nil
		}
	}
	return Process{}, 0, fmt.Errorf("process: %d: %w", pid, ErrNotFound)
}

func describe(pid int, s stat) Process {
	p := Process{PID: pid, PPID: s.ppid, UID: -1, StartTime: startTime(s.start), Name: s.name}
	dir := "/proc/" + strconv.Itoa(pid)
	p.Path = executable(dir)
	if b, err := readProc(dir + "/cmdline"); err == nil {
		p.Args = splitArgs(b)
	}
	if b, err := readProc(dir + "/status"); err == nil {
		p.UID = realUID(b)
	}
	if b, err := readProc(dir + "/cgroup"); err == nil {
		p.Label = serviceOf(string(b))
	}
	return p
}

// executable gives the path of a process's program.
func executable(dir string) string {
	link, err := os.Readlink(dir + "/exe")
	if err != nil {
		return ""
	}
	return unmarked(link)
}

// unmarked takes off the mark that the kernel adds to the path of a program that was unlinked.
func unmarked(link string) string {
	if name, deleted := strings.CutSuffix(link, " (deleted)"); deleted {
		if _, err := os.Lstat(link); errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
	return link
}

func splitArgs(b []byte) []string {
	text := strings.TrimRight(string(b), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// realUID reads the first number of status' line "Uid:", -1 without one.
func realUID(status []byte) int {
	_, rest, _ := bytes.Cut(status, []byte("\nUid:"))
	fields := bytes.Fields(rest[:min(len(rest), 100)])
	if len(fields) == 0 {
		return -1
	}
	uid, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return -1
	}
	return uid
}

// serviceOf gives the innermost systemd service that a process's control groups name, as systemd's own tools do.
func serviceOf(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		_, group, ok := strings.Cut(strings.TrimSpace(line), "::") // the unified hierarchy
		if !ok {
			_, group, ok = strings.Cut(strings.TrimSpace(line), ":name=systemd:")
		}
		for ; ok && group != "/" && group != "." && group != ""; group = path.Dir(group) {
			if unit := path.Base(group); strings.HasSuffix(unit, ".service") {
				return unit
			}
		}
	}
	return ""
}

// stat is what we need of /proc/<pid>/stat.
type stat struct {
	name  string
	ppid  int
	start uint64 // ticks since boot
}

func readStat(pid int) (stat, error) {
	b, err := readProc("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return stat{}, fmt.Errorf("process: %d: %w", pid, ErrNotFound)
	}
	if err != nil {
		return stat{}, fmt.Errorf("process: %w", err)
	}
	s, err := parseStat(b)
	if err != nil {
		return stat{}, fmt.Errorf("process: /proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// parseStat reads proc_pid_stat(5). The name is in parentheses and may hold any byte, these included.
func parseStat(b []byte) (stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("no name in parentheses")
	}
	var fields [20][]byte
	n := 0
	for field := range bytes.FieldsSeq(b[end+1:]) {
		if fields[n] = field; n == len(fields)-1 {
			n++
			break
		}
		n++
	}
	if n < len(fields) {
		return stat{}, fmt.Errorf("%d fields after the name, less than 20", n)
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, fmt.Errorf("parent: %w", err)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time: %w", err)
	}
	return stat{name: string(b[open+1 : end]), ppid: ppid, start: start}, nil
}

// bootTime is the line "btime" of /proc/stat, unix seconds; 0 when it cannot be read.
var bootTime = sync.OnceValue(func() int64 {
	b, err := readProc("/proc/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("\nbtime "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	t, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return 0
	}
	return t
})

// startTime turns ticks since boot into unix seconds.
func startTime(start uint64) int64 { return bootTime() + int64(start/ticks) }

// readProc reads a file in /proc up to maxProcFile, most of them in one call. Package os would try to poll it first.
func readProc(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 4<<10)
	for len(b) < maxProcFile {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
		if len(b) == cap(b) {
			b = slices.Grow(b, cap(b))
		}
	}
	return b, nil
}

func listPIDs() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("process: /proc: %w", err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

var errNoIdentity = fmt.Errorf("process: code identity on linux: %w", errors.ErrUnsupported)

func identity(int) (CodeIdentity, error) { return CodeIdentity{}, errNoIdentity }
