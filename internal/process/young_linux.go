package process

import (
	"bytes"
	"cmp"
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
	since map[int]youth // by pid
}

type youth struct {
	seen  time.Time // first
	owner bool      // has been found to own a socket
}

func (y *young) start() error {
	last, err := lastPID()
	y.last, y.since = last, map[int]youth{}
	return err
}

// pids gives the likeliest owners first: those that own nothing yet, and of these the youngest.
func (y *young) pids() []int {
	now := time.Now()
	for _, pid := range y.unseen() {
		if isProcess(pid) {
			y.since[pid] = youth{seen: now}
		}
	}
	pids := make([]int, 0, len(y.since))
	for pid, p := range y.since {
		if now.Sub(p.seen) > youngAge {
			delete(y.since, pid)
			continue
		}
		pids = append(pids, pid)
	}
	slices.SortFunc(pids, func(a, b int) int {
		p, q := y.since[a], y.since[b]
		if p.owner != q.owner {
			if q.owner {
				return -1
			}
			return 1
		}
		return cmp.Or(q.seen.Compare(p.seen), b-a)
	})
	return pids[:min(len(pids), maxYoung)]
}

// found notes that a process owns a socket.
func (y *young) found(pid int) {
	if p, ok := y.since[pid]; ok {
		p.owner = true
		y.since[pid] = p
	}
}

func (y *young) gone(pid int) { delete(y.since, pid) }

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
