package sensor

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	// keepAlerts is how long an alert outlives its last flow: a beacon that pauses for hours is still one finding.
	keepAlerts = 24 * time.Hour
	// maxAlerts bounds what is kept; beyond, the one that was silent for longest goes.
	maxAlerts = 4096
	// maxOfOne is how many alerts one executable may have; beyond, its own go first, so that it cannot push out those of others.
	maxOfOne = maxAlerts / 4
)

// alertKey is an alert's identity. The name tells processes without a path apart.
type alertKey struct {
	label, path, name, cdhash string
	verdict                   conformance.Verdict
	protocol                  uint8
	remote                    netip.AddrPort
}

func alertKeyOf(f *Flow) alertKey {
	return alertKey{f.Owner.Label, f.Owner.Path, f.Owner.Name, f.Owner.CDHash, f.Judgement.Verdict, f.Protocol, f.Remote}
}

// alertSeed makes ids of identities, which nobody outside can choose.
var alertSeed = maphash.MakeSeed()

// id is short for the identity: a flow in the table has no room for more.
func (k *alertKey) id() uint64 { return maphash.Comparable(alertSeed, *k) }

// group is whose alerts count together against maxOfOne.
func (k *alertKey) group() string {
	if k.path != "" {
		return k.path
	}
	return "name:" + k.name
}

// kept is an alert: its first flow, which stands for all, so that a finding once shown stays the same.
type kept struct {
	key   alertKey
	first Flow
	since int64         // nanoseconds since 1970: the earliest that any of its flows was opened
	last  time.Duration // when the last one was seen, by the clock that add was given
	flows int           // how many there were
	calls contacts      // when they began, by the clock Awake
	shown bool          // in the listing that is being made
	all   *list.Element
	own   *list.Element
}

// alerts keeps one flow of each identity. It is guarded by its owner's lock.
type alerts struct {
	by      map[uint64]*kept      // by id
	all     *list.List            // of *kept, the longest silent first
	groups  map[string]*list.List // the same by executable
	dropped int64
	unseen  stretch // the last one
}

// stretch is a time in which contacts could not be seen or the clock stood still: the host slept, or there was no capture. A gap that reaches into
// one is not measured. By the clock Awake a sleep has no length; what has is when it was noticed.
type stretch struct{ from, to time.Duration }

// within says whether any of the stretch lies between two times.
func (s stretch) within(from, to time.Duration) bool { return from < s.to && to > s.from }

func newAlerts() *alerts {
	return &alerts{by: map[uint64]*kept{}, all: list.New(), groups: map[string]*list.List{}}
}

// add takes a flow, or what is new about one that it has; fresh says that its identity was not known.
func (a *alerts) add(f Flow, now time.Duration) (fresh bool) {
	k := alertKeyOf(&f)
	id := k.id()
	if old := a.by[id]; old != nil {
		old.last, old.since = max(old.last, now), min(old.since, f.opened)
		if f.key() == old.first.key() {
			old.first = f
		} else {
			old.flows++
		}
		a.all.MoveToBack(old.all)
		a.groups[k.group()].MoveToBack(old.own)
		return false
	}
	if own := a.groups[k.group()]; own != nil && own.Len() >= maxOfOne {
		a.drop(own)
	} else if len(a.by) >= maxAlerts {
		a.drop(a.all)
	}
	own := a.groups[k.group()]
	if own == nil {
		own = list.New()
		a.groups[k.group()] = own
	}
	v := &kept{key: k, first: f, since: f.opened, last: now, flows: 1}
	v.all, v.own = a.all.PushBack(v), own.PushBack(v)
	a.by[id] = v
	return true
}

// contact counts the start of a flow for the alert that it was put to.
func (a *alerts) contact(id uint64, start time.Duration) {
	if v := a.by[id]; v != nil {
		v.calls.add(start, !a.unseen.within(v.calls.last, start))
	}
}

// drop forgets the longest silent of a list, for want of room.
func (a *alerts) drop(from *list.List) {
	a.forget(from.Front().Value.(*kept))
	a.dropped++
}

func (a *alerts) forget(v *kept) {
	delete(a.by, v.key.id())
	a.all.Remove(v.all)
	own := a.groups[v.key.group()]
	own.Remove(v.own)
	if own.Len() == 0 {
		delete(a.groups, v.key.group())
	}
}

// withdraw takes back the flow that stood for an alert and turned out to be none, unless there were others.
func (a *alerts) withdraw(id uint64, flow flowKey) {
	if v := a.by[id]; v != nil && v.flows == 1 && v.first.key() == flow {
		a.forget(v)
	}
}

// expire forgets those whose time is over.
func (a *alerts) expire(now time.Duration) {
	for e := a.all.Front(); e != nil; e = a.all.Front() {
		v := e.Value.(*kept)
		if now-v.last <= keepAlerts {
			return
		}
		a.forget(v)
	}
}

// flow is what the tables show of an alert.
func (v *kept) flow(f Flow) Flow {
	f.opened, f.FirstSeen = v.since, v.since/int64(time.Second)
	f.Owner.CDHash = v.key.cdhash
	f.Contact = v.calls.contact()
	return f
}

// list gives the alerts that keep lets through.
func (a *alerts) list(keep func(*Flow) bool) []Flow {
	var found []Flow
	for _, v := range a.by {
		if f := v.flow(v.first); !v.shown && keep(&f) {
			found = append(found, f)
		}
	}
	return found
}
