package process

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What searching may take of one core. The few likely owners are asked at each new flow; that must not wait because there was a
// walk over all processes.
const (
	likelyShare = 0.04
	walkShare   = 0.02
)

const (
	maxKnown  = 16 << 10 // inodes in each of the two generations of the cache
	maxRecent = 4        // processes that are asked first
	maxFiles  = 64 << 10 // open files of a process that are looked at
	fewFiles  = 512      // open files of a process that is cheap to ask first
)

// owners finds sockets by inode: netlink gives the inode, /proc/<pid>/fd says who has it open.
type owners struct {
	diag *diag

	mu            sync.Mutex
	counts        OwnerStats
	known         map[uint32]holder
	older         map[uint32]holder // the generation before
	young         young
	recent        []int // owners found last, the last one first
	likely, walks allowance
}

func (o *owners) open() error {
	d, err := openDiag()
	if err != nil {
		return err
	}
	if err := o.young.start(); err != nil {
		return errors.Join(err, d.close())
	}
	o.diag, o.known = d, map[uint32]holder{}
	o.likely, o.walks = newAllowance(likelyShare, time.Now()), newAllowance(walkShare, time.Now())
	return nil
}

func (o *owners) close() error { return o.diag.close() }

func (o *owners) find(protocol uint8, local, remote netip.AddrPort) (holder, bool) {
	s, ok := o.diag.find(protocol, local, remote)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts.Asked++
	if !ok {
		o.counts.Unknown++
		return holder{}, false
	}
	runtime.LockOSThread() // threadTime is this thread's
	defer runtime.UnlockOSThread()
	h, ok := o.cached(s.inode)
	if !ok {
		h, ok = o.search(s.inode)
	}
	if ok {
		o.counts.Found++
	}
	return h, ok
}

// cached gives a holder that was found before and still is the same process.
func (o *owners) cached(inode uint32) (holder, bool) {
	h, ok := o.known[inode]
	if !ok {
		h, ok = o.older[inode]
	}
	if !ok {
		return holder{}, false
	}
	s, err := readStat(h.pid)
	if err != nil || s.start != h.start {
		delete(o.known, inode)
		delete(o.older, inode)
		return holder{}, false
	}
	return h, true
}

// remember keeps the oldest of the processes that share a socket: the others have inherited it.
func (o *owners) remember(inode uint32, h holder) {
	if before, ok := o.known[inode]; ok && before.start <= h.start {
		return
	}
	if len(o.known) >= maxKnown {
		o.known, o.older = map[uint32]holder{}, o.known
	}
	o.known[inode] = h
}

// search looks in /proc, as long as there is time for it: in the likely owners first, then in all.
func (o *owners) search(inode uint32) (holder, bool) {
	for _, way := range []struct {
		allowed *allowance
		search  func(uint32) (holder, bool)
	}{{&o.likely, o.searchLikely}, {&o.walks, o.walk}} {
		if !way.allowed.ready(time.Now()) {
			o.counts.Limited++
			return holder{}, false
		}
		before := threadTime()
		h, ok := way.search(inode)
		way.allowed.spend(threadTime() - before)
		if ok {
			return h, true
		}
	}
	return holder{}, false
}

// threadTime is how long this thread has run. Waiting for a busy processor does not count.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// searchLikely asks the processes that are new and those that were found last.
func (o *owners) searchLikely(inode uint32) (holder, bool) {
	for _, pid := range append(o.young.pids(), o.recent...) {
		inodes, files, err := openSockets(pid)
		if err != nil {
			o.young.gone(pid)
			o.recent = without(o.recent, pid)
			continue
		}
		if !slices.Contains(inodes, inode) {
			continue
		}
		if h, ok := o.hold(pid, inodes); ok {
			o.found(pid, files)
			return h, true
		}
	}
	return holder{}, false
}

// walk asks all processes, and remembers the sockets of each that it meets.
func (o *owners) walk(inode uint32) (holder, bool) {
	o.counts.Walks++
	pids, err := listPIDs()
	if err != nil {
		return holder{}, false
	}
	for _, pid := range pids {
		inodes, files, err := openSockets(pid)
		if err != nil || len(inodes) == 0 {
			continue
		}
		if h, ok := o.hold(pid, inodes); ok && slices.Contains(inodes, inode) {
			o.found(pid, files)
			return h, true
		}
	}
	return holder{}, false
}

// hold remembers the sockets of a process.
func (o *owners) hold(pid int, inodes []uint32) (holder, bool) {
	s, err := readStat(pid)
	if err != nil {
		return holder{}, false
	}
	h := holder{pid: pid, start: s.start}
	for _, i := range inodes {
		o.remember(i, h)
	}
	return h, true
}

// found moves an owner up among those asked first, unless it has so many files that this would not be cheap.
func (o *owners) found(pid, files int) {
	o.young.found(pid)
	if files <= fewFiles {
		o.recent = slices.Insert(without(o.recent, pid), 0, pid)
		o.recent = o.recent[:min(len(o.recent), maxRecent)]
	}
}

func without(pids []int, pid int) []int {
	return slices.DeleteFunc(pids, func(p int) bool { return p == pid })
}

// openSockets gives the inodes of the sockets that a process has open, and how many files it has.
func openSockets(pid int) (inodes []uint32, files int, err error) {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(dir)
	var entries [8 << 10]byte
	var link [64]byte
	var names []string
	for files < maxFiles {
		n, err := unix.ReadDirent(dir, entries[:])
		if err != nil || n <= 0 {
			return inodes, files, err
		}
		_, _, names = unix.ParseDirent(entries[:n], -1, names[:0])
		for _, name := range names {
			files++
			n, err := unix.Readlinkat(dir, name, link[:])
			if err != nil {
				continue
			}
			if inode, ok := socketInode(string(link[:n])); ok {
				inodes = append(inodes, inode)
			}
		}
	}
	return inodes, files, nil
}

// socketInode reads "socket:[12345]".
func socketInode(link string) (uint32, bool) {
	number, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
	return uint32(inode), err == nil
}
