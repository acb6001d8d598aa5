package sensor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

const (
	// look is how often the keeper looks for new alerts.
	look = time.Second
	// saveLimit bounds the share of time that writing the file of alerts takes: one part in so many.
	saveLimit = 50
	// saveSeen is how often the file is written only because known alerts were seen again.
	saveSeen = 5 * time.Minute
	// lastWords is how long the last look and the last writing may take.
	lastWords = time.Second
)

// alerted is an alert that is still in the flow table. There may be as many as flows, so it is small.
type alerted struct {
	id       uint64    // of the kept alert that it was put to; 0 before
	seen     int64     // LastSeen then
	carriage *carriage // while there are tunnels: whether it carries one
	mimic    bool      // its verdict then was tls_mimic
	carries  bool      // it carries a tunnel: that stays
}

// news says whether the kept alerts do not know yet what f is.
func (a *alerted) news(f *flow.Flow) bool {
	return a.id == 0 || a.seen != f.LastSeen || a.mimic != (f.Judgement.Verdict == conformance.TLSMimic)
}

// sighting is what is on its way from the flow table to the kept alerts.
type sighting struct {
	flow  Flow
	seen  int64
	start time.Duration // of the flow, by the clock Awake
	from  *alerted
}

// sighting makes one; the lock must be held, and the table know the time.
func (l *live) sighting(f *flow.Flow, a *alerted) sighting {
	return sighting{l.convert(f), f.LastSeen, l.awake() - l.table.Age(f), a}
}

// keep looks for new alerts and writes them down until ctx ends, and once more then.
func (l *live) keep(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	l.lookAround(0)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			l.collect(last)
			l.save(last, true)
			return
		case <-tick.C:
		}
		l.lookAround(n)
		l.collect(ctx)
		l.save(ctx, false)
	}
}

const (
	// lookLinks is how many looks apart the interfaces are listed.
	lookLinks = 5
	// lookFade is how many looks apart the count of talkers fades.
	lookFade = 3600
)

// lookAround notices interfaces that come and go, and compares tunnels with the flows outside.
func (l *live) lookAround(n int) {
	var all []link
	var err error
	if n%lookLinks == 0 {
		all, err = l.list()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.log.Debug("interfaces are not known", "error", err)
	} else if all != nil {
		if added, removed := l.links.look(all); len(added)+len(removed) > 0 {
			l.log.Info("interfaces changed", "added", added, "removed", removed)
			l.retryCapture()
		}
	}
	if n%lookLinks == 0 {
		l.lookAtCapture()
	}
	l.link()
	if n%lookFade == lookFade-1 {
		l.talkers.fade()
	}
}

// retryCapture tells a source that has to do with less than it would like that something has changed; the lock must be held.
func (l *live) retryCapture() {
	if r, ok := l.source.(capture.Retrier); ok {
		r.Retry()
	}
}

// lookAtCapture notices that the source gets its packets in another way by now; the lock must be held.
func (l *live) lookAtCapture() {
	if l.source == nil {
		return
	}
	if now := l.source.Stats().Mode; now != l.mode {
		l.log.Info("capturing", "mode", now, "before", l.mode)
		l.mode = now
	}
}

// watch notices that the host slept or its clock was set. Only collect calls it.
func (l *live) watch(now clock.Reading) {
	slept, set := clock.Between(l.looked, now)
	before := l.looked.Awake
	l.looked = now
	if slept == 0 && set == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slept > 0 {
		l.jumps.sleeps++
		l.retryCapture()
		l.kept.unseen = stretch{before, now.Awake}
	}
	if set != 0 {
		l.jumps.sets++
		l.jumps.by = set
	}
	l.jumps.at = now.Awake
	l.log.Warn("the clock jumped", "slept", slept, "set by", set)
}

// collect puts settled alerts to the kept ones, also those whose flow has gone. Who owns them is looked up outside the lock: it may mean to read
// a large executable.
func (l *live) collect(ctx context.Context) {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	l.watch(l.now())
	l.mu.Lock()
	l.table.Advance(int64(l.awake()))
	seen := l.leaving
	l.leaving = nil
	for f, a := range l.alerted {
		switch {
		case !f.Alert():
			l.takeBack(f, a)
			delete(l.alerted, f)
		case a.carries:
			l.takeBack(f, a)
		case l.settled(f) && a.news(f):
			seen = append(seen, l.sighting(f, a))
		}
	}
	l.mu.Unlock()
	slices.SortFunc(seen, func(a, b sighting) int { return cmp.Compare(a.flow.opened, b.flow.opened) })
	hashes := map[runs]string{}
	for i := range seen {
		owner := &seen[i].flow.Owner
		what := runs{owner.Path, owner.code}
		hash, known := hashes[what]
		if !known {
			id, _ := identify(ctx, l.images, what.path, what.code) // what failed shows in the tables
			hash = id.CDHash
			hashes[what] = hash
		}
		owner.CDHash = hash
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Awake
	for i := range seen {
		l.put(&seen[i], now)
	}
	l.kept.expire(now)
}

// put files one sighting; the lock must be held.
func (l *live) put(s *sighting, now time.Duration) {
	k := alertKeyOf(&s.flow)
	id := k.id()
	if s.from.id != 0 && s.from.id != id {
		l.kept.withdraw(s.from.id, s.flow.key())
		l.unsaved.fresh = true
	}
	fresh := l.kept.add(s.flow, now)
	if fresh {
		l.unsaved.fresh = true
	}
	if fresh || s.from.id != id {
		l.kept.contact(id, s.start)
	}
	l.unsaved.seen = true
	s.from.id, s.from.seen, s.from.mimic = id, s.seen, k.verdict == conformance.TLSMimic
}

// takeBack forgets an alert that more bytes have explained; the lock must be held.
func (l *live) takeBack(f *flow.Flow, a *alerted) {
	if a.id != 0 {
		out := fromTable(f)
		l.kept.withdraw(a.id, out.key())
		a.id, l.unsaved.fresh = 0, true
	}
}

// midstream says whether a flow was joined late.
func midstream(f *flow.Flow) bool { return f.Transport == flow.TCP && !f.StartSeen }

// removed keeps alerts beyond their flow; the table calls it.
func (l *live) removed(f *flow.Flow) {
	if midstream(f) {
		l.midstream++
	}
	a := l.alerted[f]
	if a == nil {
		return
	}
	carries, _ := l.carrying(f)
	delete(l.alerted, f)
	switch {
	case !f.Alert(), carries:
		l.takeBack(f, a)
	case !a.news(f):
	case len(l.leaving) < maxAlerts:
		l.leaving = append(l.leaving, l.sighting(f, a))
	default: // no time to ask who signed it
		s := l.sighting(f, a)
		l.put(&s, l.now().Awake)
	}
}

// unsaved says what the file of alerts does not know yet.
type unsaved struct {
	fresh, seen bool
	last        time.Time     // the last writing
	took        time.Duration // and how long it took
}

func (u *unsaved) due(now time.Time) bool {
	waited := now.Sub(u.last)
	return u.fresh && waited >= max(look, saveLimit*u.took) || u.seen && waited >= saveSeen
}

// save writes the alerts down, when that is due or must be.
func (l *live) save(ctx context.Context, must bool) {
	l.mu.Lock()
	u := &l.unsaved
	if l.file == nil || !u.due(time.Now()) && !(must && (u.fresh || u.seen)) {
		l.mu.Unlock()
		return
	}
	began := time.Now()
	*u = unsaved{last: began, took: u.took}
	all := make([]kept, 0, len(l.kept.by))
	for e := l.kept.all.Back(); e != nil; e = e.Prev() {
		all = append(all, *e.Value.(*kept))
	}
	l.mu.Unlock()
	body, left := l.write(ctx, all, l.now())
	err := l.file.Save(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	u.took = time.Since(began)
	if err != nil {
		u.fresh = true // once more, after a while
		if l.unsavable == nil {
			l.log.Warn("alerts are not written down", "error", err)
		}
	}
	l.unsavable, l.unwritten = err, left
}
