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

// ownerFresh is how long a process is taken for the same without asking again.
const ownerFresh = 5 * time.Second

// owners resolves who owns a flow on the running system. Owners are shared: one process, one *Owner, which never changes.
type owners struct {
	index   *Index
	sockets *process.Owners

	mu sync.Mutex
	by map[int]known // by pid
}

type known struct {
	owner   *Owner
	started int64 // the process's start, to notice a pid that is used again
	asked   time.Time
}

func newOwners(index *Index) *owners {
	return &owners{index: index, sockets: process.NewOwners(), by: map[int]known{}}
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
		if owner := o.process(int(said.PID), ByPID); owner != nil {
			return owner
		}
		owner := captured(said, o.index) // gone already: perhaps its UUID is known
		return &owner
	}
	pid, ok := o.sockets.Lookup(q.protocol, q.local, q.remote)
	if !ok && q.guess {
		pid, ok = o.sockets.Lookup(q.protocol, q.remote, q.local)
	}
	if !ok {
		return nil
	}
	return o.process(pid, BySocket)
}

// process describes a running process; nil when it is gone.
func (o *owners) process(pid int, how string) *Owner {
	now := time.Now()
	o.mu.Lock()
	k, seen := o.by[pid]
	o.mu.Unlock()
	if seen && now.Sub(k.asked) < ownerFresh {
		return k.owner
	}
	p, err := process.Get(pid)
	if err != nil {
		return nil
	}
	if !seen || k.started != p.StartTime || k.owner.Path != p.Path {
		k = known{owner: &Owner{PID: pid, Path: p.Path, Name: p.Name, Label: p.Label, Attribution: how}, started: p.StartTime}
		if k.owner.Label == "" {
			k.owner.Label = o.index.label(p.Path)
		}
	}
	k.asked = now
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.by) >= maxOwners {
		clear(o.by)
	}
	o.by[pid] = k
	return k.owner
}
