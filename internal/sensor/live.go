package sensor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/state"
)

const (
	// firstRetry is how long a capture that failed is left alone; each time that it fails again twice as long, up to longestRetry.
	firstRetry   = time.Second
	longestRetry = time.Minute
	// steadyCapture is how long a capture must have run for the next wait to be short again.
	steadyCapture = time.Minute
	// refreshIndex is how old the index of jobs and applications may become.
	refreshIndex = 10 * time.Minute
	// alertShare of memory_budget, one part in so many, is for what is remembered of alerts in the flow table.
	alertShare = 16
	// waitingOwners is how many flows may wait for their owner; beyond, a flow goes without and is counted.
	waitingOwners = 4096
)

// live captures on this host and resolves owners while their processes are still there.
type live struct {
	index     *Index
	settings  *config.Store
	images    Images
	approve   func(context.Context, []Flow)
	log       *slog.Logger
	owners    *owners
	file      *state.File          // where alerts are written down; nil without
	fileless  error                // why there is none although there should be one
	now       func() clock.Reading // the host's clocks
	awake     func() time.Duration // now().Awake, at less cost
	open      func() (capture.Source, error)
	list      func() ([]link, error) // the network interfaces
	waiting   questions              // flows whose owner was not found at once
	elsewhere elsewhere              // where owners are asked for that we cannot see

	mu          sync.Mutex // guards what follows, and each flow in table
	table       *flow.Table
	fresh       []*flow.Flow // opened by the packet that is being added
	judge       func(*flow.Flow, *conformance.Conversation) conformance.Judgement
	allNames    bool        // record_sni is all
	handshakes  *handshakes // that were seen
	judgedUnder uint64      // the count of changes of the settings that judge was made of
	kept        *alerts
	alerted     map[*flow.Flow]*alerted // what is an alert in table
	leaving     []sighting              // what was one
	source      capture.Source          // nil while there is none
	mode        capture.Mode            // of source, when it was looked at last
	failed      error                   // why
	blind       time.Duration           // since when, by the clock Awake
	labelled    bool                    // owners have their jobs
	lost        int64                   // how often a capture ended
	jumps       jumps
	links       links
	extensions  []networkExtension
	inside      map[*flow.Flow]traffic // flows in tunnels at the last look
	talkers     talkers
	relayed     int64 // flows to Private Relay
	midstream   int64 // connections that were joined late and have left the table
	unsaved     unsaved
	unsavable   error // why the alerts could not be written last
	unwritten   int   // alerts that had no room then
	unreadable  error // why those of the run before were not read
	restored    int

	collecting sync.Mutex    // held while alerts are on their way to kept
	looked     clock.Reading // the keeper's last look at the clocks

	unasked  atomic.Int64 // flows that found the queue full
	unowned  atomic.Int64 // flows whose owner was not found
	doubtful atomic.Int64 // flows whose ends were another's by the time that somebody was found
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
		owners: newOwners(index, o.Sockets), waiting: questions{wake: make(chan struct{}, 1), asleep: true}, kept: newAlerts(), handshakes: newHandshakes(), alerted: map[*flow.Flow]*alerted{},
	}
	if l.owners.sockets == nil || os.Geteuid() != 0 {
		l.elsewhere.ask = o.Elsewhere
	}
	return l
}

// begin makes the flow table and takes up the alerts of the run before.
func (l *live) begin() {
	l.started = l.now()
	l.looked = l.started
	now := l.settings.Current()
	l.judge, l.judgedUnder, l.allNames = judging(now, l.handshakes, l.judgeFailed), l.settings.Changes(), now.RecordSNI == config.SNIAll
	l.table = flow.New(flow.Config{
		Judge:   l.judged,
		Opened:  l.opened,
		Removed: l.removed,
		Memory:  int(now.MemoryBudget) - int(now.MemoryBudget)/alertShare,
		Keep:    time.Duration(now.TimeWindow),
		Outer:   true, // what is inside a tunnel was chosen by who made it
	})
	l.table.Advance(int64(l.awake()))
	l.blind = math.MinInt64
	l.kept.unseen = stretch{l.blind, l.awake()}
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
	if l.elsewhere.ask != nil {
		wait.Go(func() { l.askElsewhere(ctx) })
	}
	wait.Go(func() { l.keep(ctx) })
	retry := firstRetry
	for ctx.Err() == nil {
		began := l.awake()
		err := l.capture(ctx)
		if ctx.Err() != nil {
			return
		}
		if l.awake()-began >= steadyCapture {
			retry = firstRetry
		}
		l.log.Warn("no live capture", "error", err, "retry", retry)
		l.ended(err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(2*retry, longestRetry)
	}
}

// ended notes why a capture ended, or could not be had.
func (l *live) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source != nil {
		l.lost++
		l.blind = l.awake()
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
	l.source, l.failed, l.mode = source, nil, source.Stats().Mode
	l.kept.unseen = stretch{l.blind, l.awake()}
	l.log.Info("capturing", "mode", l.mode)
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = source.Close() })
	defer func() {
		if stop() {
			_ = source.Close()
		}
	}()
	var p capture.Packet
	var followed time.Duration
	for {
		err := source.Next(&p)
		l.mu.Lock()
		now := l.awake()
		l.table.Advance(int64(now))
		if err == nil {
			l.table.Add(&p)
		}
		if now-followed >= time.Second {
			followed = now
			l.follow()
		}
		fresh := l.fresh
		l.fresh = l.fresh[:0]
		l.mu.Unlock()
		for _, f := range fresh {
			l.askAtOnce(f)
		}
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
		l.judge, l.judgedUnder, l.allNames = judging(now, l.handshakes, l.judgeFailed), changes, now.RecordSNI == config.SNIAll
		l.table.SetKeep(time.Duration(now.TimeWindow))
	}
}

// opened notes a new flow; the table calls it, so it must not wait.
func (l *live) opened(f *flow.Flow) { l.fresh = append(l.fresh, f) }

// askAtOnce asks for a new flow's owner before the next packet is looked at: a process that lives for a moment may be gone when another thread has
// its turn. What takes longer is left to resolve.
func (l *live) askAtOnce(f *flow.Flow) {
	q := question{f: f}
	answer := l.own(&q, true)
	switch {
	case answer == process.Found:
	case !l.waiting.add(q.later(answer)):
		l.unasked.Add(1)
		l.disown(f)
	}
}

// askAgain is when to ask again for an owner that was not found: soon, for a look at all processes may have been put off, and later, for a
// socket that did not belong to anyone yet.
var askAgain = []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}

// question is a flow that waits for its owner.
type question struct {
	f     *flow.Flow
	of    asked
	asked int
	next  time.Time
}

// later is the question to be asked again: only once, and not soon, where the system does not know the socket.
func (q question) later(answer process.Answer) question {
	if answer == process.NoSocket {
		q.asked = len(askAgain) - 1
	}
	q.next = time.Now().Add(askAgain[q.asked])
	q.asked++
	return q
}

// questions wait for their time. Who adds one wakes resolve only when it sleeps: on a busy host it looks often enough by itself.
type questions struct {
	wake chan struct{}

	mu     sync.Mutex
	list   []question
	asleep bool
}

// add puts a question to the others; false when there are too many.
func (w *questions) add(q question) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) >= waitingOwners {
		return false
	}
	w.list = append(w.list, q)
	if w.asleep {
		w.asleep = false
		w.wake <- struct{}{} // has room: resolve has taken the last one before it went to sleep
	}
	return true
}

// due takes the questions whose time has come. With none left at all, resolve goes to sleep.
func (w *questions) due(now time.Time, to []question) (due []question, asleep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.list[:0]
	for _, q := range w.list {
		if q.next.After(now) {
			rest = append(rest, q)
		} else {
			to = append(to, q)
		}
	}
	clear(w.list[len(rest):])
	w.list = rest
	w.asleep = len(rest)+len(to) == 0
	return to, w.asleep
}

// resolve finds the owners of flows that were not found at once.
func (l *live) resolve(ctx context.Context) {
	tick := time.NewTicker(askAgain[0])
	tick.Stop() // a quiet host is not to be woken
	defer tick.Stop()
	var due []question
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.waiting.wake:
			tick.Reset(askAgain[0])
		case now := <-tick.C:
			var asleep bool
			if due, asleep = l.waiting.due(now, due[:0]); asleep {
				tick.Stop()
			}
			for _, q := range due {
				l.ask(q)
			}
		}
	}
}

// ask asks once, and puts the question back when there is no answer yet.
func (l *live) ask(q question) {
	answer := l.own(&q, false)
	switch {
	case answer == process.Found:
	case answer == process.Doubtful: // whoever has its ends by now is another
		l.doubtful.Add(1)
		l.disown(q.f)
	case q.asked < len(askAgain) && l.waiting.add(q.later(answer)):
	case l.elsewhere.add(q.f):
	default:
		l.unowned.Add(1)
		l.disown(q.f)
	}
}

// disown gives up the search for a flow's owner: what the capture stated is all there is.
func (l *live) disown(f *flow.Flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.Owner = l.owners.stated(f.Process)
}

// own resolves one flow's owner, outside the table's lock.
func (l *live) own(q *question, quick bool) process.Answer {
	f := q.f
	l.mu.Lock()
	said, known := f.Process, f.Owner != nil
	q.of.begin(socketOf(f))
	l.mu.Unlock()
	if known {
		return process.Found
	}
	owner, answer := l.owners.find(said, &q.of, quick)
	if owner == nil {
		return answer
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
	return process.Found
}
