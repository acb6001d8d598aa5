package sensor

import (
	"net/netip"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	// keepAlerts is how long an alert outlives its last flow: a beacon that pauses for hours is still one finding.
	keepAlerts = 24 * time.Hour
	// maxAlerts bounds what is kept; beyond, the one that was silent for longest goes.
	maxAlerts = 10_000
)

// alertKey is an alert's identity.
type alertKey struct {
	label, path, name string
	verdict           conformance.Verdict
	protocol          uint8
	remote            netip.AddrPort
}

// kept is an alert's first flow, and when its last one was seen.
type kept struct {
	first Flow
	last  time.Time
}

// alerts keeps one flow, the first, of each identity. It is guarded by its owner's lock.
type alerts struct {
	by      map[alertKey]*kept
	dropped int64
}

func newAlerts() *alerts { return &alerts{by: map[alertKey]*kept{}} }

// add takes a flow that leaves the flow table.
func (a *alerts) add(f Flow, now time.Time) {
	k := alertKey{f.Owner.Label, f.Owner.Path, f.Owner.Name, f.Judgement.Verdict, f.Protocol, f.Remote}
	if old := a.by[k]; old != nil {
		old.last = now
		if f.opened < old.first.opened {
			old.first = f
		}
		return
	}
	if len(a.by) >= maxAlerts {
		a.dropOldest()
	}
	a.by[k] = &kept{f, now}
}

func (a *alerts) dropOldest() {
	var oldest alertKey
	var at time.Time
	for k, v := range a.by {
		if at.IsZero() || v.last.Before(at) {
			oldest, at = k, v.last
		}
	}
	delete(a.by, oldest)
	a.dropped++
}

// list gives the kept flows that keep lets through, and forgets those whose time is over.
func (a *alerts) list(now time.Time, keep func(*Flow) bool) []Flow {
	var found []Flow
	for k, v := range a.by {
		if now.Sub(v.last) > keepAlerts {
			delete(a.by, k)
		} else if keep(&v.first) {
			found = append(found, v.first)
		}
	}
	return found
}
