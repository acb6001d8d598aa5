package sensor

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/process"
)

// ByOsquery says that a flow's owner was found in osquery's process_open_sockets.
const ByOsquery = "osquery"

// OpenSocket is a socket with its process, as somebody else sees them.
type OpenSocket struct {
	Protocol      uint8
	Local, Remote netip.AddrPort // a UDP socket that is not connected has no remote end
	Process       process.Process
}

const (
	// askElsewhereEvery is how often somebody else is asked for all sockets: that costs them as much as there are processes.
	askElsewhereEvery = 10 * time.Second
	// elsewhereLimit is how long the answer may take.
	elsewhereLimit = 5 * time.Second
)

// elsewhere is the last place where owners are looked for, when we may not see other users' sockets ourselves: osquery's own table.
type elsewhere struct {
	ask func(context.Context) ([]OpenSocket, error) // nil without

	mu      sync.Mutex
	waiting []*flow.Flow
	found   int64
	failed  error // the last time
}

// add has a flow wait for the next question; false when there is nobody to ask, or too many wait already.
func (e *elsewhere) add(f *flow.Flow) bool {
	if e.ask == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) >= waitingOwners {
		return false
	}
	e.waiting = append(e.waiting, f)
	return true
}

func (e *elsewhere) take() []*flow.Flow {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.waiting
	e.waiting = nil
	return taken
}

// askElsewhere finds owners of the flows that wait, every few seconds.
func (l *live) askElsewhere(ctx context.Context) {
	tick := time.NewTicker(askElsewhereEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.answerElsewhere(ctx)
		}
	}
}

func (l *live) answerElsewhere(ctx context.Context) {
	waiting := l.elsewhere.take()
	if len(waiting) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, elsewhereLimit)
	defer cancel()
	sockets, err := l.elsewhere.ask(ctx)
	table := tabulate(sockets)
	var found int64
	for _, f := range waiting {
		l.mu.Lock()
		where, began := socketOf(f), f.FirstSeen
		l.mu.Unlock()
		var owner *Owner
		if p, ok := table.find(where); ok && p.StartTime <= began/int64(time.Second)+1 { // a younger one has taken over the port
			owner = l.owners.shared(p, ByOsquery)
			found++
			l.resolved.Add(1)
		} else {
			l.unowned.Add(1)
			owner = l.owners.stated(f.Process)
		}
		l.mu.Lock()
		f.Owner = owner
		l.mu.Unlock()
	}
	l.elsewhere.mu.Lock()
	l.elsewhere.found += found
	l.elsewhere.failed = err
	l.elsewhere.mu.Unlock()
}

// coverage says that owners come from elsewhere; empty when they do not have to.
func (e *elsewhere) coverage() string {
	if e.ask == nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return fmt.Sprintf("; osquery's process_open_sockets: %v", e.failed)
	}
	return fmt.Sprintf("; %d of osquery's process_open_sockets, asked every %v: short-lived processes are missed", e.found, askElsewhereEvery)
}

// working says whether the last answer was one.
func (e *elsewhere) working() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed == nil && e.found > 0
}

// socketTable is others' sockets by protocol and ends.
type socketTable map[socketEnds]process.Process

type socketEnds struct {
	protocol      uint8
	local, remote netip.AddrPort
}

func tabulate(sockets []OpenSocket) socketTable {
	t := make(socketTable, len(sockets))
	for _, s := range sockets {
		t[socketEnds{s.Protocol, bare(s.Local), bare(s.Remote)}] = s.Process
	}
	return t
}

// bare is an address as packets have it.
func bare(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// find looks for the connected socket first, then for UDP sockets that are not connected, and not bound to an address.
func (t socketTable) find(q socket) (process.Process, bool) {
	for range 2 {
		ends := []socketEnds{{q.protocol, bare(q.local), bare(q.remote)}}
		if q.protocol == flow.UDP {
			for _, any := range []netip.Addr{bare(q.local).Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
				local := netip.AddrPortFrom(any, q.local.Port())
				ends = append(ends, socketEnds{protocol: q.protocol, local: local}, socketEnds{q.protocol, local, netip.AddrPortFrom(netip.IPv4Unspecified(), 0)},
					socketEnds{q.protocol, local, netip.AddrPortFrom(netip.IPv6Unspecified(), 0)})
			}
		}
		for _, e := range ends {
			if p, ok := t[e]; ok {
				return p, true
			}
		}
		if !q.guess {
			break
		}
		q.local, q.remote, q.guess = q.remote, q.local, false
	}
	return process.Process{}, false
}
