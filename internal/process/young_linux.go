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
	maxYoung = 1024
	fewPIDs  = 64 // so many are cheaper to try than /proc is to list
)

// young knows the processes that started in the last two seconds: from the kernel's events, or where these are not to be had from /proc/loadavg,
// which says which pid was given last (proc(5)). So new ones are found without listing /proc, which costs as much as there are processes.
type young struct {
	events *events // nil without
	why    string  // there are none
	last   int
	list   []youth  // the youngest last
	room   []*youth // for likely
	unsure []youth  // pids that are given and of no process (yet): threads, and processes that are being made
}

// youth is a new process.
type youth struct {
	pid   int
	seen  time.Time // first
	owner bool      // has been found to own a socket
	files int64     // how many it had open when it was searched last, in vain; 0 when that is not known
}

func (y *young) start() error {
	last, err := lastPID()
	if y.last = last; err != nil {
		return err
	}
	if y.events, err = openEvents(); err != nil {
		y.why = err.Error()
	}
	return nil
}

func (y *young) close() error {
	if y.events == nil {
		return nil
	}
	return y.events.close()
}

// follow notes which processes have started and ended since the last call, and forgets those that are not new any more.
func (y *young) follow() {
	now := time.Now()
	old := 0
	for old < len(y.list) && now.Sub(y.list[old].seen) > youngAge {
		old++
	}
	y.list = slices.Delete(y.list, 0, max(old, len(y.list)-maxYoung))
	if y.events != nil {
		started := func(pid int) {
			y.list, y.last = append(y.list, youth{pid: pid, seen: now}), pid
		}
		if lost := y.events.drain(started, y.gone); !lost {
			return
		}
	}
	y.poll(now)
}

// makingTime is how long a pid may be given before its process is there, on a busy machine.
const makingTime = 20 * time.Millisecond

// poll looks at the pids given since the last call, and again at those of no process.
func (y *young) poll(now time.Time) {
	candidates := slices.DeleteFunc(y.unsure, func(p youth) bool { return now.Sub(p.seen) > makingTime })
	for _, pid := range y.unseen() {
		candidates = append(candidates, youth{pid: pid, seen: now})
	}
	y.unsure = candidates[:0]
	for _, p := range candidates {
		switch isProcess(p.pid) {
		case yes:
			y.list = append(y.list, p)
		case notYet:
			if len(y.unsure) < fewPIDs {
				y.unsure = append(y.unsure, p)
			}
		}
	}
}

// likely gives the youngest processes first, and before the others those that own nothing yet.
func (y *young) likely() []*youth {
	list := y.room[:0]
	for _, owner := range [2]bool{false, true} {
		for i := len(y.list) - 1; i >= 0; i-- {
			if y.list[i].owner == owner {
				list = append(list, &y.list[i])
			}
		}
	}
	y.room = list
	return list
}

// unchanged says whether a process has as many files open as when it was searched last (Linux 6.2 and later tell), and notes how many it has.
func (p *youth) unchanged() bool {
	var s unix.Stat_t
	if unix.Stat("/proc/"+strconv.Itoa(p.pid)+"/fd", &s) != nil || s.Size == 0 {
		return false
	}
	before := p.files
	p.files = s.Size
	return before == s.Size
}

func (y *young) gone(pid int) {
	for i := len(y.list) - 1; i >= 0; i-- {
		if y.list[i].pid == pid {
			y.list = slices.Delete(y.list, i, i+1)
			return
		}
	}
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

// whether pid is a process.
type whether uint8

const (
	no whether = iota
	notYet
	yes
)

// isProcess says whether pid is alive and a process, not one of a process's threads, which have numbers of the same kind.
func isProcess(pid int) whether {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		unix.Close(fd)
		return yes
	case errors.Is(err, unix.ENOSYS): // a kernel before 5.3 does not say
		return yes
	case errors.Is(err, unix.ENOENT): // a thread, says a kernel since 6.15
		return no
	}
	return notYet
}

// lastPID reads the last field of /proc/loadavg.
func lastPID() (int, error) {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	b, err := procDir(unix.AT_FDCWD).read("/proc/loadavg", r.file[:])
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	b = bytes.TrimSpace(b)
	pid, err := strconv.Atoi(string(b[bytes.LastIndexByte(b, ' ')+1:]))
	if err != nil {
		return 0, fmt.Errorf("process: /proc/loadavg: last pid: %w", err)
	}
	return pid, nil
}
