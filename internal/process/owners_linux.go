package process

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
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
	maxKnown  = 4 << 10  // inodes in each of the two generations of the cache
	maxRecent = 4        // processes that are asked first
	maxFiles  = 64 << 10 // open files of a process that are looked at
	fewFiles  = 512      // open files of a process that is cheap to ask first

	quickYoung = 24 // new processes that a quick look searches in vain
)

// owners finds sockets by inode: netlink gives the inode, /proc/<pid>/fd says who has it open.
type owners struct {
	diag  finder
	proc  func(pid int) (procDir, error)
	leads func(pid int) bool // pid is a process, and not one of a process's threads
	now   func() uint64      // ticks since boot, as processes' start times

	mu     sync.Mutex // guards what follows
	counts OwnerStats
	known  map[uint32]holder
	older  map[uint32]holder // the generation before
	young  young
	recent []int // owners found last, the last one first
	likely allowance

	walking sync.Mutex // held by a walk; guards walks. Who holds both has taken this one first.
	walks   allowance
}

func (o *owners) open() error {
	d, err := openDiag()
	if err != nil {
		return err
	}
	if err := o.young.start(); err != nil {
		return errors.Join(err, d.close())
	}
	o.diag, o.known, o.now, o.proc = d, map[uint32]holder{}, sinceBoot, openProc
	o.leads = func(pid int) bool { return isProcess(pid) == yes }
	o.likely, o.walks = newAllowance(likelyShare, time.Now()), newAllowance(walkShare, time.Now())
	return nil
}

func (o *owners) close() error { return errors.Join(o.diag.close(), o.young.close()) }

func (o *owners) degraded() string {
	if o.young.why == "" {
		return ""
	}
	return "new processes are polled for: " + o.young.why
}

func (o *owners) find(q *Question, quick bool) (holder, Answer) {
	now := o.now() // before the look: what starts after it is younger
	s, there := o.diag.find(q.Protocol, q.Local, q.Remote)
	switch ok := q.looked(now, uint64(s.inode), there); {
	case !there:
		o.count(func(c *OwnerStats) { c.Asked++; c.Unknown++ })
		return holder{}, NoSocket
	case !ok:
		o.count(func(c *OwnerStats) { c.Asked++; c.Doubtful++ })
		return holder{}, Doubtful
	}
	o.count(func(c *OwnerStats) { c.Asked++ })
	runtime.LockOSThread() // threadTime is that thread's
	defer runtime.UnlockOSThread()
	h, ok := o.cachedOrLikely(s.inode, quick)
	if !ok && !quick {
		h, ok = o.walk(s.inode)
	}
	if !ok {
		return holder{}, Later
	}
	if q.younger(h.start) {
		h = o.eldest(h, s.inode)
	}
	o.count(func(c *OwnerStats) { c.Found++ })
	return h, Found
}

// maxElders is how many ancestors are asked whether a socket is theirs.
const maxElders = 8

// eldest gives the first of a process's ancestors that has the socket too: that one has opened it, the process has inherited it. The process itself
// where none has, for the one that opened it is gone.
func (o *owners) eldest(h holder, inode uint32) holder {
	for up, parent := 0, h.parent; up < maxElders && parent > 0; up++ {
		d, err := o.proc(parent)
		if err != nil {
			break
		}
		open, _, err := d.sockets(inode)
		elder, ok := d.holder(parent)
		has := slices.IndexFunc(open, func(s openSocket) bool { return s.inode == inode })
		if err == nil && ok && has >= 0 {
			elder.fd, elder.label = open[has].fd, d.label()
			h = elder
		}
		d.close()
		if err != nil || !ok || has < 0 {
			break
		}
		parent = elder.parent
	}
	return h
}

// finder asks the kernel for a flow's socket.
type finder interface {
	find(protocol uint8, local, remote netip.AddrPort) (socketInfo, bool)
	close() error
}

// sinceBoot is the time by the clock that processes' start times are of, in their unit.
func sinceBoot() uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return math.MaxUint64 // nothing is younger then
	}
	return uint64(t.Nano()) / (uint64(time.Second) / ticks)
}

func (o *owners) count(add func(*OwnerStats)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	add(&o.counts)
}

func (o *owners) cachedOrLikely(inode uint32, quick bool) (holder, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h, ok := o.cached(inode); ok {
		return h, true
	}
	if !o.likely.ready(time.Now()) {
		o.counts.Limited++
		return holder{}, false
	}
	before := threadTime()
	defer func() { o.likely.spend(threadTime() - before) }()
	return o.searchLikely(inode, quick)
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
	if now, ok := o.again(h, inode); ok {
		return now, true
	}
	delete(o.known, inode)
	delete(o.older, inode)
	return holder{}, false
}

// again looks whether a holder is still the same process and still has the socket: numbers of both are used again.
func (o *owners) again(h holder, inode uint32) (holder, bool) {
	d, err := o.proc(h.pid)
	if err != nil {
		return holder{}, false
	}
	defer d.close()
	now, ok := d.holder(h.pid)
	if !ok || now.start != h.start {
		return holder{}, false
	}
	now.fd, now.label = h.fd, d.label()
	if now.path == "" { // it is ending, and its files are closed with it
		now.path = h.path
		return now, true
	}
	return now, d.has(h.fd, inode)
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

// threadTime is how long this thread has run. Waiting for a busy processor does not count.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// searchLikely asks the processes that are new and those that were found last; quick only the newest, and not those again that have opened nothing since.
func (o *owners) searchLikely(inode uint32, quick bool) (holder, bool) {
	o.young.follow()
	var gone []int
	defer func() {
		for _, pid := range gone {
			o.young.gone(pid)
		}
	}()
	left := maxYoung
	if quick {
		left = quickYoung
	}
	for _, p := range o.young.likely() {
		if p.unchanged() && quick {
			continue
		}
		h, _, ok, err := o.search(p.pid, inode)
		if err != nil {
			gone = append(gone, p.pid)
			continue
		}
		if ok {
			p.owner = true
			return h, true
		}
		if left--; left == 0 {
			break
		}
	}
	for _, pid := range slices.Clone(o.recent) {
		h, files, ok, err := o.search(pid, inode)
		if err != nil {
			o.recent = without(o.recent, pid)
		}
		if ok {
			o.found(pid, files)
			return h, true
		}
	}
	return holder{}, false
}

// search looks for a socket in one process, and remembers the others that it has: their first packets may be on their way to us already. It also gives how
// many files the process has, and an error when there is no such process.
func (o *owners) search(pid int, inode uint32) (h holder, files int, ok bool, err error) {
	d, err := o.proc(pid)
	if err != nil {
		return holder{}, 0, false, err
	}
	defer d.close()
	open, files, err := d.sockets(inode)
	if err != nil || len(open) == 0 {
		return holder{}, files, false, err
	}
	if h, ok = d.holder(pid); !ok {
		return holder{}, files, false, nil
	}
	if !o.leads(pid) { // the number is a thread's by now, whose process has another
		return holder{}, files, false, ErrNotFound
	}
	ok = o.rememberAll(d, &h, open, inode)
	return h, files, ok, nil
}

// walk asks all processes, and remembers the sockets of each that it meets. Meanwhile the likely ones can be asked.
func (o *owners) walk(inode uint32) (holder, bool) {
	o.walking.Lock()
	defer o.walking.Unlock()
	if !o.walks.ready(time.Now()) {
		o.count(func(c *OwnerStats) { c.Limited++ })
		return holder{}, false
	}
	o.count(func(c *OwnerStats) { c.Walks++ })
	before := threadTime()
	defer func() { o.walks.spend(threadTime() - before) }()
	pids, err := listPIDs()
	if err != nil {
		return holder{}, false
	}
	for _, pid := range pids {
		if h, ok := o.walkOne(pid, inode); ok {
			return h, true
		}
	}
	return holder{}, false
}

// walkOne remembers all sockets of a process.
func (o *owners) walkOne(pid int, inode uint32) (holder, bool) {
	d, err := o.proc(pid)
	if err != nil {
		return holder{}, false
	}
	defer d.close()
	open, files, err := d.sockets(0)
	if err != nil || len(open) == 0 {
		return holder{}, false
	}
	h, ok := d.holder(pid)
	if !ok || !o.leads(pid) {
		return holder{}, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	found := o.rememberAll(d, &h, open, inode)
	if found {
		o.found(pid, files)
	}
	return h, found
}

// rememberAll remembers the sockets that a process has open, and says whether one of them is inode; of that one h then has what is asked for. The
// lock must be held.
func (o *owners) rememberAll(d procDir, h *holder, open []openSocket, inode uint32) bool {
	found := slices.IndexFunc(open, func(s openSocket) bool { return s.inode == inode })
	if found >= 0 {
		h.label = d.label()
	}
	for _, s := range open {
		h.fd = s.fd
		o.remember(s.inode, *h)
	}
	if found >= 0 {
		h.fd = open[found].fd
	}
	return found >= 0
}

// found moves an owner that is not new up among those asked first, unless it has so many files that this would not be cheap.
func (o *owners) found(pid, files int) {
	if files <= fewFiles {
		o.recent = slices.Insert(without(o.recent, pid), 0, pid)
		o.recent = o.recent[:min(len(o.recent), maxRecent)]
	}
}

func without(pids []int, pid int) []int {
	return slices.DeleteFunc(pids, func(p int) bool { return p == pid })
}

// socketInode reads "socket:[12345]".
func socketInode(link []byte) (uint32, bool) {
	number, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(bytes.TrimSuffix(number, []byte("]"))), 10, 32)
	return uint32(inode), err == nil
}
