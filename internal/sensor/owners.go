package sensor

import (
	"net/netip"
	"sync"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/process"
)

// maxOwners bounds how many processes are remembered; beyond, all are forgotten and looked up again.
const maxOwners = 8192

// ownerFresh is how long a process that the capture names is taken for the same without asking again.
const ownerFresh = 5 * time.Second

// owners resolves who owns a flow on the running system. Owners are shared: one process, one *Owner, which never changes.
type owners struct {
	index   *Index
	sockets *process.Owners // nil where the socket table cannot be read; failed says why
	failed  error

	mu sync.Mutex
	by map[int]known // by pid
}

type known struct {
	owner   *Owner
	started int64 // the process's start, to notice a pid that is used again
	asked   time.Time
}

func newOwners(index *Index) *owners {
	o := &owners{index: index, by: map[int]known{}}
	o.sockets, o.failed = process.NewOwners()
	return o
}

func (o *owners) close() {
	if o.sockets != nil {
		_ = o.sockets.Close()
	}
}

// socket is what to ask the system's socket table for. Which end is local may not be known.
type socket struct {
	protocol      uint8
	local, remote netip.AddrPort
	guess         bool // local may as well be the remote one
}

func socketOf(f *flow.Flow) socket {
	q := socket{f.Transport, f.Client(), f.Server(), f.Local == flow.LocalUnknown}
	if f.Local == flow.LocalServer {
		q.local, q.remote = q.remote, q.local
	}
	return q
}

// find gives a flow's owner by what the capture said (its kernel knew the pid) or by the socket table; nil when neither helps.
func (o *owners) find(said *capture.Process, q socket) *Owner {
	if said != nil && said.PID > 0 {
		return o.named(said)
	}
	if o.sockets == nil {
		return nil
	}
	p, ok := o.sockets.Owner(q.protocol, q.local, q.remote)
	if !ok && q.guess {
		p, ok = o.sockets.Owner(q.protocol, q.remote, q.local)
	}
	if !ok {
		return nil
	}
	return o.shared(p, BySocket)
}

// named describes the process that the capture names; when it is gone already, perhaps its UUID is known.
func (o *owners) named(said *capture.Process) *Owner {
	pid := int(said.PID)
	o.mu.Lock()
	k, seen := o.by[pid]
	o.mu.Unlock()
	if seen && time.Since(k.asked) < ownerFresh {
		return k.owner
	}
	p, err := process.Get(pid)
	if err != nil {
		owner := captured(said, o.index)
		return &owner
	}
	return o.shared(p, ByPID)
}

// shared gives the one Owner of a process.
func (o *owners) shared(p process.Process, how string) *Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, seen := o.by[p.PID]
	if !seen || k.started != p.StartTime || k.owner.Path != p.Path {
		k = known{owner: &Owner{PID: p.PID, Path: p.Path, Name: p.Name, Label: p.Label, Attribution: how}, started: p.StartTime}
		if k.owner.Label == "" {
			k.owner.Label = o.index.label(p.Path)
		}
	}
	k.asked = time.Now()
	if len(o.by) >= maxOwners {
		clear(o.by)
	}
	o.by[p.PID] = k
	return k.owner
}
