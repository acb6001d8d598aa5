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

	code func(pid int) (process.CodeIdentity, error)

	mu     sync.Mutex
	by     map[int]known               // by pid
	stands map[*capture.Process]*Owner // by what a capture stated of a process that is gone
	early  []early                     // owners that were found before the jobs were known; nil once they are
}

// early is an owner whose job is yet to be looked up.
type early struct {
	owner   *Owner
	process process.Process
}

type known struct {
	owner   *Owner
	started int64 // the process's start, to notice a pid that is used again
	asked   time.Time
	said    *capture.Process // what a capture said of it then; nil when none did
}

// newOwners takes over the socket table, or opens it where it is nil.
func newOwners(index *Index, sockets *process.Owners) *owners {
	o := &owners{index: index, code: process.Identity, by: map[int]known{}, stands: map[*capture.Process]*Owner{}, early: []early{}}
	if o.sockets = sockets; sockets == nil {
		o.sockets, o.failed = process.NewOwners()
	}
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
	outbound      bool // local began it
}

func socketOf(f *flow.Flow) socket {
	q := socket{f.Transport, f.Client(), f.Server(), f.Local == flow.LocalUnknown, f.Local == flow.LocalClient && f.StartSeen}
	if f.Local == flow.LocalServer {
		q.local, q.remote = q.remote, q.local
	}
	return q
}

// asked is how far the search for a flow's owner is: a question for each end that may be the local one. The zero value has not begun.
type asked [2]process.Question

// begin fills in the questions.
func (a *asked) begin(s socket) {
	if a[0].Protocol != 0 {
		return
	}
	a[0] = process.Question{Protocol: s.protocol, Local: s.local, Remote: s.remote, Outbound: s.outbound}
	if s.guess {
		a[1] = process.Question{Protocol: s.protocol, Local: s.remote, Remote: s.local}
	}
}

// find gives a flow's owner by what the capture said (its kernel knew the pid) or by the socket table. Where that gives none, the answer says whether
// asking again may help. Quick leaves out what takes long.
func (o *owners) find(said *capture.Process, q *asked, quick bool) (*Owner, process.Answer) {
	if said != nil && said.PID > 0 {
		return o.named(said), process.Found
	}
	if o.sockets == nil {
		return nil, process.NoSocket
	}
	p, answer := o.sockets.Ask(&q[0], quick)
	if answer == process.NoSocket && q[1].Protocol != 0 {
		p, answer = o.sockets.Ask(&q[1], quick)
	}
	if answer != process.Found {
		return nil, answer
	}
	return o.shared(p, BySocket), answer
}

// named describes the process that the capture names; when it is gone already, perhaps its UUID is known.
func (o *owners) named(said *capture.Process) *Owner {
	pid := int(said.PID)
	o.mu.Lock()
	k, seen := o.by[pid]
	o.mu.Unlock()
	if seen && k.said != nil && k.said.Name == said.Name && k.said.UUID == said.UUID && time.Since(k.asked) < ownerFresh {
		return k.owner
	}
	p, err := process.Get(pid)
	if err != nil {
		return o.stated(said)
	}
	owner := o.shared(p, ByPID)
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.by[pid]; ok && k.owner == owner {
		k.said = said
		o.by[pid] = k
	}
	return owner
}

// nobody owns flows of which nothing is known.
var nobody = &Owner{PID: -1}

// stated is the owner as a capture states it, perhaps by its UUID; nobody when it states nothing.
func (o *owners) stated(said *capture.Process) *Owner {
	if said == nil {
		return nobody
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner := o.stands[said]; owner != nil {
		return owner
	}
	owner := captured(said, o.index)
	if len(o.stands) >= maxOwners {
		clear(o.stands)
	}
	o.stands[said] = &owner
	return &owner
}

// shared gives the one Owner of a process.
func (o *owners) shared(p process.Process, how string) *Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, seen := o.by[p.PID]
	if !seen || k.started != p.StartTime || k.owner.Path != p.Path {
		k = known{owner: o.describe(p, how), started: p.StartTime}
	}
	k.asked = time.Now()
	if len(o.by) >= maxOwners {
		clear(o.by)
	}
	o.by[p.PID] = k
	return k.owner
}

// describe makes the Owner of a process.
func (o *owners) describe(p process.Process, how string) *Owner {
	owner := &Owner{PID: p.PID, Path: p.Path, Name: p.Name, Label: p.Label, Attribution: how, Responsible: p.Responsible}
	if code, err := o.code(p.PID); err == nil {
		if again, err := process.Get(p.PID); err == nil && again.StartTime == p.StartTime {
			owner.code = &code
		}
	}
	switch {
	case owner.Label != "":
	case o.early == nil:
		owner.Label = o.index.job(p, process.Get)
	case len(o.early) < maxOwners:
		o.early = append(o.early, early{owner, p})
	}
	return owner
}

// relabel looks up the jobs of owners that were found before the jobs were known, each under the lock that guards flows, and forgets the
// others so that they are looked up among the jobs that there are now.
func (o *owners) relabel(lock sync.Locker) {
	o.mu.Lock()
	waiting := o.early
	o.early = nil
	if waiting == nil {
		clear(o.by)
		clear(o.stands)
	}
	o.mu.Unlock()
	for _, w := range waiting {
		label := o.index.job(w.process, process.Get)
		lock.Lock()
		w.owner.Label = label
		lock.Unlock()
	}
}
