package sensor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/state"
)

const (
	// retryCapture is how long a capture that failed is left alone.
	retryCapture = 10 * time.Second
	// refreshIndex is how old the index of jobs and applications may become.
	refreshIndex = 10 * time.Minute
	// alertShare of memory_budget, one part in so many, is for what is remembered of alerts in the flow table.
	alertShare = 16
	// waitingOwners is how many flows may wait for their owner; beyond, a flow goes without and is counted.
	waitingOwners = 4096
)

// live captures on this host and resolves owners while their processes are still there.
type live struct {
	index    *Index
	settings *config.Store
	images   Images
	approve  func(context.Context, []Flow)
	log      *slog.Logger
	owners   *owners
	file     *state.File          // where alerts are written down; nil without
	fileless error                // why there is none although there should be one
	now      func() clock.Reading // the host's clocks
	awake    func() time.Duration // now().Awake, at less cost
	open     func() (capture.Source, error)
	list     func() ([]link, error) // the network interfaces
	asked    chan *flow.Flow        // flows whose owner is to be resolved

	mu          sync.Mutex // guards what follows, and each flow in table
	table       *flow.Table
	judge       func(*flow.Flow, *conformance.Conversation) conformance.Judgement
	allNames    bool   // record_sni is all
	judgedUnder uint64 // the count of changes of the settings that judge was made of
	kept        *alerts
	alerted     map[*flow.Flow]*alerted // what is an alert in table
	leaving     []sighting              // what was one
	source      capture.Source          // nil while there is none
	failed      error                   // why
	labelled    bool                    // owners have their jobs
	lost        int64                   // how often a capture ended
	jumps       jumps
	links       links
	extensions  []networkExtension
	inside      map[*flow.Flow]traffic // flows in tunnels at the last look
	talkers     talkers
	relayed     int64 // flows to Private Relay
	unsaved     unsaved
	unsavable   error // why the alerts could not be written last
	unwritten   int   // alerts that had no room then
	unreadable  error // why those of the run before were not read
	restored    int

	collecting sync.Mutex    // held while alerts are on their way to kept
	looked     clock.Reading // the keeper's last look at the clocks

	unasked  atomic.Int64 // flows that found the queue full
	unowned  atomic.Int64 // flows whose owner was not found
	resolved atomic.Int64
	unjudged atomic.Int64 // flows over which the judge failed
	started  clock.Reading
}

// jumps are what the clocks did.
type jumps struct {
	sleeps, sets int64
	by           time.Duration // the last time that the clock was set
	at           time.Duration // the last of all, by the clock Awake
}

func newLive(o Options, index *Index, approve func(context.Context, []Flow)) *live {
	began := time.Now()
	base := clock.Now().Awake
	l := &live{
		awake: func() time.Duration { return base + time.Since(began) }, // Go's monotonic clock stands still in sleep, too
		index: index, settings: o.Settings, images: o.Images, approve: approve, log: o.Log, file: o.Alerts, fileless: o.AlertsLost, now: clock.Now,
		open:   func() (capture.Source, error) { return capture.OpenLive(capture.LiveOptions{}) },
		list:   interfaces,
		owners: newOwners(index), asked: make(chan *flow.Flow, waitingOwners), kept: newAlerts(), alerted: map[*flow.Flow]*alerted{},
	}
	return l
}

// begin makes the flow table and takes up the alerts of the run before.
func (l *live) begin() {
	l.started = l.now()
	l.looked = l.started
	now := l.settings.Current()
	l.judge, l.judgedUnder, l.allNames = judging(now, l.judgeFailed), l.settings.Changes(), now.RecordSNI == config.SNIAll
	l.table = flow.New(flow.Config{
		Judge:   l.judged,
		Opened:  l.opened,
		Removed: l.removed,
		Memory:  int(now.MemoryBudget) - int(now.MemoryBudget)/alertShare,
		Keep:    time.Duration(now.TimeWindow),
		Outer:   true, // what is inside a tunnel was chosen by who made it
	})
	l.table.Advance(int64(l.awake()))
	l.restore()
}

// judged judges a flow and remembers alerts; the table calls it.
func (l *live) judged(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
	j := l.judge(f, c)
	if j.Verdict.Alert() && l.alerted[f] == nil {
		l.alerted[f] = &alerted{}
	}
	if relay(j.SNI) {
		if !relay(f.Judgement.SNI) {
			l.relayed++
		}
	} else if !j.Verdict.Alert() && j.Final && !l.allNames {
		j.SNI = "" // nobody may see it, and it takes room
	}
	return j
}

// run captures until ctx ends, and begins anew when a capture is lost.
func (l *live) run(ctx context.Context) {
	var wait sync.WaitGroup
	defer l.owners.close()
	defer wait.Wait()
	wait.Go(func() { l.keepIndex(ctx) })
	wait.Go(func() { l.resolve(ctx) })
	wait.Go(func() { l.keep(ctx) })
	for ctx.Err() == nil {
		err := l.capture(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("no live capture", "error", err, "retry", retryCapture)
		l.ended(err)
		select {
		case <-time.After(retryCapture):
		case <-ctx.Done():
		}
	}
}

// ended notes why a capture ended, or could not be had.
func (l *live) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source != nil {
		l.lost++
	}
	l.source, l.failed = nil, err
}

// keepIndex builds the index of jobs and applications, and builds it again from time to time: software comes and goes.
func (l *live) keepIndex(ctx context.Context) {
	l.findExtensions()
	l.index.refresh(ctx, l.relabel)
	tick := time.NewTicker(refreshIndex)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.index.refresh(ctx, l.relabel)
			l.findExtensions()
		}
	}
}

// findExtensions looks for extensions that stand between programs and the network.
func (l *live) findExtensions() {
	found, err := readExtensions(l.index.root)
	if err != nil {
		l.log.Debug("no system extensions", "error", err)
	}
	l.mu.Lock()
	l.extensions = found
	l.mu.Unlock()
}

// relabel tells owners that the jobs are known.
func (l *live) relabel() {
	l.owners.relabel(&l.mu)
	l.mu.Lock()
	l.labelled = true
	l.mu.Unlock()
}

// capture opens one source and puts its packets to flows until it ends.
func (l *live) capture(ctx context.Context) error {
	source, err := l.open()
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.source, l.failed = source, nil
	l.mu.Unlock()
	l.log.Info("capturing", "mode", source.Stats().Mode)
	stop := context.AfterFunc(ctx, func() { _ = source.Close() })
	defer func() {
		if stop() {
			_ = source.Close()
		}
	}()
	var p capture.Packet
	for {
		err := source.Next(&p)
		l.mu.Lock()
		l.table.Advance(int64(l.awake()))
		if err == nil {
			l.table.Add(&p)
		} else {
			l.follow()
		}
		l.mu.Unlock()
		if errors.Is(err, io.EOF) {
			return errors.New("the capture ended")
		}
		if err != nil && !errors.Is(err, capture.ErrTimeout) {
			return err
		}
	}
}

// judgeFailed counts a flow that could not be judged; the table calls it.
func (l *live) judgeFailed(err error) {
	l.unjudged.Add(1)
	l.log.Error("a flow could not be judged", "error", err)
}

// follow puts changed settings in force; memory_budget alone needs a new start. The lock must be held.
func (l *live) follow() {
	if changes := l.settings.Changes(); changes != l.judgedUnder {
		now := l.settings.Current()
		l.judge, l.judgedUnder, l.allNames = judging(now, l.judgeFailed), changes, now.RecordSNI == config.SNIAll
		l.table.SetKeep(time.Duration(now.TimeWindow))
	}
}

// opened asks for a new flow's owner; the table calls it, so it must not wait.
func (l *live) opened(f *flow.Flow) {
	select {
	case l.asked <- f:
	default:
		l.unasked.Add(1)
		f.Owner = l.owners.stated(f.Process)
	}
}

// askAgain is when to ask again for an owner that was not found: soon, for a look at all processes may have been put off, and later, for a
// socket that did not belong to anyone yet.
var askAgain = []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}

// question is a flow that waits for its owner.
type question struct {
	f     *flow.Flow
	asked int
	next  time.Time
}

// resolve finds the owners of flows.
func (l *live) resolve(ctx context.Context) {
	var waiting []question
	tick := time.NewTicker(askAgain[0])
	defer tick.Stop()
	for {
		if len(waiting) == 0 {
			tick.Stop() // a quiet host is not to be woken
		}
		select {
		case <-ctx.Done():
			return
		case f := <-l.asked:
			if waiting = l.ask(waiting, question{f: f}); len(waiting) == 1 {
				tick.Reset(askAgain[0])
			}
		case now := <-tick.C:
			due := waiting
			waiting = nil
			for _, q := range due {
				if q.next.After(now) {
					waiting = append(waiting, q)
				} else {
					waiting = l.ask(waiting, q)
				}
			}
		}
	}
}

// ask asks once, and puts the question back when there is no answer yet.
func (l *live) ask(waiting []question, q question) []question {
	if l.own(q.f) {
		return waiting
	}
	if q.asked == len(askAgain) || len(waiting) >= waitingOwners {
		l.unowned.Add(1)
		l.mu.Lock()
		q.f.Owner = l.owners.stated(q.f.Process)
		l.mu.Unlock()
		return waiting
	}
	q.next = time.Now().Add(askAgain[q.asked])
	q.asked++
	return append(waiting, q)
}

// own resolves one flow's owner, outside the table's lock.
func (l *live) own(f *flow.Flow) bool {
	l.mu.Lock()
	said, known := f.Process, f.Owner != nil
	where := socketOf(f)
	l.mu.Unlock()
	if known {
		return true
	}
	owner := l.owners.find(said, where)
	if owner == nil {
		return false
	}
	l.resolved.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	f.Owner = owner
	if f.Local != flow.LocalServer && owner.Path != "" {
		switch Scope(f.Server().Addr()) {
		case "public", "private":
			l.talkers.add(owner.Path)
		}
	}
	return true
}

// rest is how long a flow must be silent before an alert that more bytes could take back is shown.
const rest = 2 * time.Second

// settled says whether an alert may be shown: a few bytes can look random that the next ones explain.
func settled(j *conformance.Judgement, ended bool, silent time.Duration) bool {
	return j.Final || ended || silent >= rest
}

// settled says so of a flow, whose owner must have been looked for as well: it is part of the alert. The lock must be held.
func (l *live) settled(f *flow.Flow) bool {
	carries, unsure := l.carrying(f)
	return settled(&f.Judgement, f.Ended, l.table.Silent(f)) && f.Owner != nil && l.labelled && !carries && !unsure
}

// convert copies a flow with its owner; the lock must be held.
func (l *live) convert(f *flow.Flow) Flow {
	out := fromTable(f)
	if owner, known := f.Owner.(*Owner); known {
		out.Owner = *owner
	} else {
		out.Owner = captured(f.Process, nil)
	}
	return out
}

// flows gives the judged flows of the window, and the alerts that are kept for longer.
func (l *live) flows(ctx context.Context, window time.Duration, keep func(*Flow) bool) []Flow {
	l.collect(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.Advance(int64(l.awake()))
	var found []Flow
	var shown []*kept
	for f := range l.table.Flows() {
		silent := l.table.Silent(f)
		if !f.Judged || silent > window && !f.Alert() {
			continue
		}
		out := l.convert(f)
		if f.Alert() {
			if carries, _ := l.carrying(f); carries {
				out.Judgement = carrier(out.Judgement)
			} else if !l.settled(f) {
				out.Judgement = conformance.Judgement{Verdict: conformance.Undetermined, Reasons: []string{"too_early"}}
			} else if v := l.keptAs(f, &out); v != nil {
				out = v.flow(out)
				v.shown = true
				shown = append(shown, v)
			}
		}
		out.Kept = silent > window
		if keep(&out) {
			found = append(found, out)
		}
	}
	for _, f := range l.kept.list(keep) {
		f.Kept = true
		found = append(found, f)
	}
	for _, v := range shown {
		v.shown = false
	}
	slices.SortFunc(found, inOrder)
	return found
}

// keptAs gives the kept alert that a flow of the table stands for; nil for one of its later flows. The lock must be held.
func (l *live) keptAs(f *flow.Flow, out *Flow) *kept {
	a := l.alerted[f]
	if a == nil || a.id == 0 {
		return nil
	}
	v := l.kept.by[a.id]
	if v == nil {
		return nil
	}
	out.Owner.CDHash = v.key.cdhash
	if v.first.key() != out.key() {
		return nil
	}
	return v
}

// inOrder compares by the first packet; what stands for an alert comes before its other flows.
func inOrder(a, b Flow) int {
	return cmp.Or(cmp.Compare(a.opened, b.opened), strings.Compare(a.CommunityID, b.CommunityID))
}
