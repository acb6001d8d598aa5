// Package process says which processes run and which of them owns a socket. It needs root to see other users' processes whole.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
)

// ErrNotFound is wrapped when there is no such process (any more).
var ErrNotFound = errors.New("no such process")

// Process is one process as the operating system describes it. What may not be read is empty, UID and PPID are then -1.
type Process struct {
	PID, PPID int
	UID       int      // real user id
	StartTime int64    // unix seconds; with PID it names a process for good
	Path      string   // of the executable; empty for kernel threads
	Name      string   // as the kernel keeps it: at most 15 bytes on Linux, 31 on macOS
	Args      []string // the first is the program's name as it was called
	Label     string   // systemd service on Linux; on macOS the kernel does not know it
	Service   string   // macOS: XPC_SERVICE_NAME of its environment, which its parent chose; empty where it may not be read
	Coalition uint64   // macOS: the resource coalition that launchd puts a job's whole process tree into; 0 is unknown

	Responsible *Responsible // macOS: who is responsible for it, perhaps itself; nil when not known
}

// List gives all processes, by pid. Those that end meanwhile are left out.
func List(ctx context.Context) ([]Process, error) {
	pids, err := listPIDs()
	if err != nil {
		return nil, err
	}
	all := make([]Process, 0, len(pids))
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("process: list: %w", err)
		}
		p, err := Get(pid)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return all, nil
}

// Get describes one process.
func Get(pid int) (Process, error) {
	p, _, err := getStarted(pid)
	return p, err
}

// CodeIdentity is what the kernel has verified of a running process's code signature (macOS).
type CodeIdentity struct {
	Flags    uint32 // CS_VALID 0x1, CS_ADHOC 0x2, CS_RUNTIME 0x10000, CS_PLATFORM_BINARY 0x4000000, CS_DEBUGGED 0x10000000
	CDHash   string // 40 hex digits; empty for unsigned code
	Identity string // signing identifier
	TeamID   string // empty for Apple's and ad hoc signed code
}

// Identity asks the kernel for the code signature of a process. It wraps errors.ErrUnsupported where there is none to ask for.
func Identity(pid int) (CodeIdentity, error) { return identity(pid) }

// OwnerStats counts what was asked of an Owners, since it was made.
type OwnerStats struct {
	Asked    uint64 // lookups
	Found    uint64
	Unknown  uint64 // the kernel knows no such socket: it is closed, or of another network namespace
	Doubtful uint64 // what has the flow's ends is not what had them at the first look, or is younger than that
	Limited  uint64 // no time left to look for the process: ask again
	Walks    uint64 // walks over the open files of all processes
}

// Owners finds the process that owns a socket. Its methods may be called at the same time.
type Owners struct{ owners }

// NewOwners opens what Lookup needs. Close it after use. It sees the sockets of its own network namespace.
func NewOwners() (*Owners, error) {
	o := &Owners{}
	if err := o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

// Close gives back what NewOwners opened.
func (o *Owners) Close() error { return o.close() }

// Answer says what came of a question for a socket's owner.
type Answer uint8

// The answers.
const (
	NoSocket Answer = iota // the system knows no such socket: it is closed, or of another network namespace
	Later                  // there is one, and nobody was found to have it (yet), or there was no time to look: ask again
	Found
	Doubtful // what has the flow's ends by now is not what had them when it was asked first: do not ask again
)

// Lookup gives the process that has the socket of a flow: protocol 6 (TCP) or 17 (UDP), local and remote address as packets
// show them. UDP sockets that are not bound to an address or not connected count as well, and IPv4 flows of IPv6 sockets. It
// takes a share of one core at most: when that is used up, ok is false and Stats().Limited has grown, and asking again some
// milliseconds later finds what still lives.
func (o *Owners) Lookup(protocol uint8, local, remote netip.AddrPort) (pid int, ok bool) {
	h, answer := o.find(&Question{Protocol: protocol, Local: unmap(local), Remote: unmap(remote)}, false)
	return h.pid, answer == Found
}

// Owner is Lookup and a description in one, which a reused pid cannot mislead. The description has no arguments and, on Linux, no user.
func (o *Owners) Owner(protocol uint8, local, remote netip.AddrPort) (Process, bool) {
	p, answer := o.Ask(&Question{Protocol: protocol, Local: local, Remote: remote}, false)
	return p, answer == Found
}

// Ask is Owner that says why there is none. Quick asks only the likely owners, those that are new and those found last, which takes well under a
// millisecond; Later then means that the others are left to ask. Who asks again asks the same Question.
func (o *Owners) Ask(q *Question, quick bool) (Process, Answer) {
	q.Local, q.Remote = unmap(q.Local), unmap(q.Remote)
	h, answer := o.find(q, quick)
	if answer != Found {
		return Process{}, answer
	}
	p, ok := describeHolder(h)
	if !ok {
		return Process{}, Later
	}
	return p, Found
}

// Stats counts lookups, for the sensor's report on itself.
func (o *Owners) Stats() OwnerStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts
}

// InFront makes a thread that goes before others, where owners have to be asked for while their processes are still there: on a machine with more to
// do than it has processors, one that lives 50 ms is gone before an ordinary thread has its turn. It is made at once, while there is the right to
// (CAP_SYS_NICE on Linux); failed is called where there is none. What it returns runs one function in that thread, in a goroutine of its own.
func InFront(failed func(error)) (start func(func())) {
	work, ready := make(chan func()), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the function
		if err := hurry(); err != nil {
			failed(err)
		}
		close(ready)
		(<-work)()
	}()
	<-ready
	return func(f func()) { work <- f }
}

// Degraded says what is missing for finding the owners of short-lived processes' sockets; empty when nothing is.
func (o *Owners) Degraded() string { return o.degraded() }

// holder is a process that has a socket open. The start time tells it from a later one with its pid; 0 when we may not know it.
type holder struct {
	pid   int
	start uint64 // in the system's own unit
	fd    uint32 // Linux: under which it has the socket

	// What was read of it in the moment when its socket was found; empty where that was not needed. It may end at any time.
	path, name, label string
	parent            int
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

const (
	protocolTCP = 6
	protocolUDP = 17
)
