package process

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// searchShare is what searching may take of one core.
const searchShare = 0.05

const (
	maxRecent   = 16       // processes that are asked first
	maxFileList = 64 << 10 // open files of a process that are looked at
)

// owners asks process after process for its sockets: macOS has no call that goes the other way. It is the fallback where packets
// come without their process (PKTAP gives it).
type owners struct {
	mu      sync.Mutex
	counts  OwnerStats
	recent  []int // owners found last, the last one first
	allowed allowance
	files   []byte // for the list of one process
}

func (o *owners) open() error {
	o.allowed = newAllowance(searchShare, time.Now())
	return nil
}

func (o *owners) close() error { return nil }

func (*owners) degraded() string { return "" }

func (o *owners) find(q *Question, quick bool) (holder, Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts.Asked++
	start := time.Now()
	q.looked(uint64(start.UnixMicro()), 0, true) // sockets have no names here
	if !o.allowed.ready(start) {
		o.counts.Limited++
		return holder{}, Later
	}
	defer func() { o.allowed.spend(time.Since(start)) }()
	h, ok := o.search(q.Protocol, q.Local, q.Remote, quick)
	switch {
	case ok && q.younger(h.start):
		o.counts.Doubtful++
		return holder{}, Doubtful
	case ok:
		o.counts.Found++
		return h, Found
	case quick:
		return holder{}, Later
	}
	o.counts.Unknown++
	return holder{}, NoSocket
}

// describeHolder describes the process that was found, unless it is gone.
func describeHolder(h holder) (Process, bool) {
	p, start, err := getStarted(h.pid)
	return p, err == nil && start == h.start
}

// search asks the owners found last, then all, the youngest first.
func (o *owners) search(protocol uint8, local, remote netip.AddrPort, quick bool) (holder, bool) {
	for _, pid := range slices.Clone(o.recent) {
		if h, ok := o.searchIn(pid, protocol, local, remote); ok {
			return h, true
		}
	}
	if quick {
		return holder{}, false
	}
	o.counts.Walks++
	pids, err := listPIDs()
	if err != nil {
		return holder{}, false
	}
	for _, pid := range pids {
		if h, ok := o.searchIn(pid, protocol, local, remote); ok {
			return h, true
		}
	}
	return holder{}, false
}

func (o *owners) searchIn(pid int, protocol uint8, local, remote netip.AddrPort) (holder, bool) {
	_, start, err := readBSDInfo(pid, make([]byte, bsdInfoSize))
	if err != nil {
		o.recent = slices.DeleteFunc(o.recent, func(p int) bool { return p == pid })
		return holder{}, false // gone, or another user's: its sockets are closed to us as well
	}
	b := make([]byte, socketInfoSize)
	for _, fd := range o.sockets(pid) {
		n, err := procInfo(callPIDFDInfo, pid, flavorSocket, uint64(uint32(fd)), b)
		if err != nil {
			continue
		}
		if s, ok := parseSocketInfo(b[:n]); ok && s.matches(protocol, local, remote) {
			o.moveUp(pid)
			return holder{pid: pid, start: start}, true
		}
	}
	return holder{}, false
}

// sockets gives the descriptors of a process that are sockets.
func (o *owners) sockets(pid int) []int32 {
	if o.files == nil {
		o.files = make([]byte, 256*fdInfoSize)
	}
	for {
		n, err := procInfo(callPIDInfo, pid, flavorListFDs, 0, o.files)
		if err != nil {
			return nil
		}
		if n < len(o.files) || n >= maxFileList*fdInfoSize {
			return socketFDs(o.files[:n])
		}
		o.files = make([]byte, 2*len(o.files))
	}
}

func (o *owners) moveUp(pid int) {
	o.recent = slices.DeleteFunc(o.recent, func(p int) bool { return p == pid })
	o.recent = slices.Insert(o.recent, 0, pid)
	o.recent = o.recent[:min(len(o.recent), maxRecent)]
}
