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
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

const (
	// retryCapture is how long a capture that failed is left alone.
	retryCapture = 10 * time.Second
	// refreshIndex is how old the index of jobs and applications may become.
	refreshIndex = 10 * time.Minute
	// waitingOwners is how many flows may wait for their owner; beyond, a flow goes without and is counted.
	waitingOwners = 4096
)

// live captures on this host and resolves owners while their processes are still there.
type live struct {
	index    *Index
	settings *config.Store
	log      *slog.Logger
	owners   *owners
	asked    chan *flow.Flow // flows whose owner is to be resolved

	mu          sync.Mutex // guards what follows, and each flow in table
	table       *flow.Table
	judge       func(*flow.Flow, *conformance.Conversation) conformance.Judgement
	judgedUnder uint64 // the count of changes of the settings that judge was made of
	kept        *alerts
	source      capture.Source // nil while there is none
	failed      error          // why

	unasked  atomic.Int64 // flows that found the queue full
	unowned  atomic.Int64 // flows whose owner was not found
	resolved atomic.Int64
	unjudged atomic.Int64 // flows over which the judge failed
	started  time.Time
}

func newLive(index *Index, settings *config.Store, log *slog.Logger) *live {
	l := &live{index: index, settings: settings, log: log, owners: newOwners(index), asked: make(chan *flow.Flow, waitingOwners), kept: newAlerts(), started: time.Now()}
	now := settings.Current()
	l.judge, l.judgedUnder = judging(now, l.judgeFailed), settings.Changes()
	l.table = flow.New(flow.Config{
		Judge: func(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
			return l.judge(f, c)
		},
		Opened:  l.opened,
		Removed: l.removed,
		Memory:  int(now.MemoryBudget),
		Keep:    time.Duration(now.TimeWindow),
		Outer:   true, // what is inside a tunnel was chosen by who made it
	})
	return l
}

// run captures until ctx ends, and begins anew when a capture is lost.
func (l *live) run(ctx context.Context) {
	var wait sync.WaitGroup
	defer l.owners.close()
	defer wait.Wait()
	wait.Go(func() { l.keepIndex(ctx) })
	wait.Go(func() { l.resolve(ctx) })
	for ctx.Err() == nil {
		err := l.capture(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("no live capture", "error", err, "retry", retryCapture)
		l.mu.Lock()
		l.source, l.failed = nil, err
		l.mu.Unlock()
		select {
		case <-time.After(retryCapture):
		case <-ctx.Done():
		}
	}
}

// keepIndex builds the index of jobs and applications, and builds it again from time to time: software comes and goes.
func (l *live) keepIndex(ctx context.Context) {
	l.index.build(ctx)
	tick := time.NewTicker(refreshIndex)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.index.refresh(ctx)
		}
	}
}

// capture opens one source and puts its packets to flows until it ends.
func (l *live) capture(ctx context.Context) error {
	source, err := capture.OpenLive(capture.LiveOptions{})
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
		if err == nil {
			l.table.Add(&p)
		} else {
			l.table.Advance(int64(time.Since(l.started)))
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
		l.judge, l.judgedUnder = judging(now, l.judgeFailed), changes
		l.table.SetKeep(time.Duration(now.TimeWindow))
	}
}

// opened asks for a new flow's owner; the table calls it, so it must not wait.
func (l *live) opened(f *flow.Flow) {
	select {
	case l.asked <- f:
	default:
		l.unasked.Add(1)
	}
}

// removed keeps alerts beyond their flow; the table calls it.
func (l *live) removed(f *flow.Flow) {
	if f.Alert() {
		l.kept.add(l.convert(f), time.Now())
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
	f.Owner = owner
	l.mu.Unlock()
	return true
}

// rest is how long a flow must be silent before an alert that more bytes could take back is shown.
const rest = 2 * time.Second

// settled says whether an alert may be shown: a few bytes can look random that the next ones explain.
func settled(j *conformance.Judgement, ended bool, silent time.Duration) bool {
	return j.Final || ended || silent >= rest
}

// convert copies a flow with its owner; the lock must be held.
func (l *live) convert(f *flow.Flow) Flow {
	out := fromTable(f)
	if f.Alert() && !settled(&f.Judgement, f.Ended, time.Since(time.Unix(0, f.LastSeen))) {
		out.Judgement = conformance.Judgement{Verdict: conformance.Undetermined, Reasons: []string{"too_early"}}
	}
	switch owner := f.Owner.(type) {
	case *Owner:
		out.Owner = *owner
	default:
		out.Owner = captured(f.Process, nil)
	}
	return out
}

// flows gives the judged flows of the window, and the alerts that are kept for longer.
func (l *live) flows(window time.Duration, keep func(*Flow) bool) []Flow {
	now := time.Now()
	since := now.Add(-window).Unix()
	l.mu.Lock()
	found := l.kept.list(now, keep)
	for f := range l.table.Flows() {
		if !f.Judged || f.LastSeen/int64(time.Second) < since && !f.Alert() {
			continue
		}
		if out := l.convert(f); keep(&out) {
			found = append(found, out)
		}
	}
	l.mu.Unlock()
	for i := range found {
		found[i].Kept = found[i].LastSeen < since
	}
	slices.SortFunc(found, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.opened, b.opened), strings.Compare(a.CommunityID, b.CommunityID))
	})
	return found
}
