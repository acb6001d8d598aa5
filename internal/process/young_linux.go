package process

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	youngAge = 2 * time.Second
	maxYoung = 256
	fewPIDs  = 64 // so many are cheaper to try than /proc is to list
)

// young knows the processes that started in the last two seconds. /proc/loadavg says which pid was given last (proc(5)), so that
// new ones are found without listing /proc, which costs as much as there are processes.
type young struct {
	last  int
	since map[int]time.Time // by pid, when it was seen first
}

func (y *young) start() error {
	last, err := lastPID()
	y.last, y.since = last, map[int]time.Time{}
	return err
}

// pids gives the youngest first.
func (y *young) pids() []int {
	now := time.Now()
	for _, pid := range y.unseen() {
		y.since[pid] = now
	}
	pids := make([]int, 0, len(y.since))
	for pid, seen := range y.since {
		if now.Sub(seen) > youngAge || !isProcess(pid) {
			delete(y.since, pid)
			continue
		}
		pids = append(pids, pid)
	}
	slices.SortFunc(pids, func(a, b int) int {
		if c := y.since[b].Compare(y.since[a]); c != 0 {
			return c
		}
		return b - a
	})
	return pids[:min(len(pids), maxYoung)]
}

// unseen gives the pids given since the last call. Some are of threads, or gone.
func (y *young) unseen() []int {
	last, err := lastPID()
	if err != nil || last == y.last {
		return nil
	}
	before := y.last
	y.last = last
	if last < before { // they have started again from the low ones
		before = 0
	}
	var pids []int
	if last-before <= fewPIDs {
		for pid := before + 1; pid <= last; pid++ {
			pids = append(pids, pid)
		}
		return pids
	}
	all, err := listPIDs()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(pid int) bool { return pid <= before || pid > last })
}

// isProcess says whether pid is alive and a process, not one of a process's threads, which have numbers of the same kind.
func isProcess(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errors.Is(err, unix.ENOSYS) // a kernel before 5.3 does not say
	}
	unix.Close(fd)
	return true
}

// lastPID reads the last field of /proc/loadavg.
func lastPID() (int, error) {
	b, err := readProc("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	fields := bytes.Fields(b)
	if len(fields) != 5 {
		return 0, fmt.Errorf("process: /proc/loadavg: %d fields, not 5", len(fields))
	}
	pid, err := strconv.Atoi(string(fields[4]))
	if err != nil {
		return 0, fmt.Errorf("process: /proc/loadavg: last pid: %w", err)
	}
	return pid, nil
}
