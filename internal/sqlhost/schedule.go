package sqlhost

import (
	"context"
	"crypto/sha1"
	"fmt"
	"slices"
	"time"
)

// RunOptions say when a pack's queries run. The zero value runs them at their intervals until the context ends.
type RunOptions struct {
	// Once runs every query once, now.
	Once bool
	// For ends the run after that time; 0 is never.
	For time.Duration
	// Drained ends the run when it is closed: there will be nothing new, because captures are read to their end.
	Drained <-chan struct{}
	// Interval is used instead of every query's own; 0 is not. It counts in whole seconds, from 1.
	Interval time.Duration
	// State is what differential queries are compared with; nil is the Host's own.
	State *State
	// Epoch is osquery's --schedule_epoch.
	Epoch uint64
	// QueryTimeout bounds one query; 0 is 300 s.
	QueryTimeout time.Duration
}

// A RunReport says what came of a run.
type RunReport struct {
	// Skipped says why the pack did not run at all; "" is that it did.
	Skipped string
	// Runs counts executions of queries, Failures those of them that failed.
	Runs, Failures int
}

// discoveryInterval is how long the answer of discovery queries is kept (osquery's --pack_refresh_interval).
const discoveryInterval = 3600 * time.Second

// Where osquery logs from (osquery 5.23.1).
const (
	schedulerSource = "scheduler.cpp:128"
	packSource      = "packs.cpp"
)

// RunPack runs a pack's queries as osqueryd schedules them: at seconds that their interval divides, without splay. When
// For has passed or Drained is closed, every query runs once more, so that nothing seen since its last run is lost.
// A failing query goes to the logger's status lines and the others go on. The error is ctx's, or the logger's.
func (h *Host) RunPack(ctx context.Context, pack *Pack, opts RunOptions, logger ResultLogger) (RunReport, error) {
	r := &packRun{host: h, pack: pack, opts: opts, logger: logger, state: opts.State}
	if r.state == nil {
		r.state = h.state
	}
	if r.report.Skipped = h.whySkipped(pack); r.report.Skipped != "" {
		return r.report, r.status(Info, packSource, "Pack "+pack.Name+" is skipped: "+r.report.Skipped)
	}
	for _, q := range pack.Queries {
		if h.runsHere(q.Platform, q.Version, q.Shard) && (opts.Once || q.Interval > 0) {
			r.queries = append(r.queries, q)
		}
	}
	if len(r.queries) == 0 {
		r.report.Skipped = h.whyNothing(pack)
		return r.report, r.status(Info, packSource, "Pack "+pack.Name+" is skipped: "+r.report.Skipped)
	}
	err := r.run(ctx)
	return r.report, err
}

func (h *Host) whySkipped(p *Pack) string {
	switch {
	case !platformMatches(p.Platform, h.opts.Platform):
		return fmt.Sprintf("it is for %s, this is %s", p.Platform, h.opts.Platform)
	case !versionAtLeast(h.opts.Version, p.Version):
		return fmt.Sprintf("it wants osquery %s, this is %s", p.Version, h.opts.Version)
	case !inShard(h.hostname, p.Shard):
		return fmt.Sprintf("this host is not among its %d %%", p.Shard)
	}
	return ""
}

// whyNothing says why none of a pack's queries is scheduled here.
func (h *Host) whyNothing(p *Pack) string {
	for _, q := range p.Queries {
		if q.Interval == 0 && h.runsHere(q.Platform, q.Version, q.Shard) {
			return "its queries are live: they are not scheduled, but run once"
		}
	}
	return "none of its queries is for this host, which is " + h.opts.Platform
}

func (h *Host) runsHere(platform, version string, shard int) bool {
	return platformMatches(platform, h.opts.Platform) && versionAtLeast(h.opts.Version, version) && inShard(h.hostname, shard)
}

// inShard says whether the host is among the shard's percent (osquery/config/packs.cpp, getMachineShard).
func inShard(hostname string, shard int) bool {
	sum := sha1.Sum([]byte(hostname))
	return shard == 0 || shard >= int(sum[0])*100/255
}

// A packRun is one call of RunPack.
type packRun struct {
	host    *Host
	pack    *Pack
	queries []PackQuery
	opts    RunOptions
	logger  ResultLogger
	state   *State
	report  RunReport

	discovered   bool
	discoveredAt time.Time
}

func (r *packRun) run(ctx context.Context) error {
	if !r.opts.Once {
		if err := r.schedule(ctx); err != nil {
			return err
		}
	}
	return r.runDue(ctx, func(PackQuery) bool { return true })
}

// schedule runs what is due at each second, until the run's end.
func (r *packRun) schedule(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		select {
		case <-r.opts.Drained:
			stop()
		case <-waiting.Done():
		}
	}()
	defer func() { <-drained }()
	defer stop()

	clock := r.host.opts.Clock
	start := clock.Now()
	previous := start.Unix() - 1
	for {
		now := clock.Now().Unix()
		if err := r.runDue(ctx, func(q PackQuery) bool { return due(previous, now, r.interval(q)) }); err != nil {
			return err
		}
		previous = now
		wait := time.Unix(now+1, 0).Sub(clock.Now())
		if r.opts.For > 0 {
			wait = min(wait, start.Add(r.opts.For).Sub(clock.Now()))
		}
		if err := clock.Wait(waiting, wait); err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				return nil // drained
			}
			return err
		}
		if r.opts.For > 0 && clock.Now().Sub(start) >= r.opts.For {
			return nil
		}
	}
}

func (r *packRun) interval(q PackQuery) int64 {
	if r.opts.Interval > 0 {
		return max(1, int64(r.opts.Interval/time.Second))
	}
	return int64(q.Interval / time.Second)
}

// due says whether a multiple of the interval lies in (previous, now] (osquery/dispatcher/scheduler.cpp). All are unix
// seconds.
func due(previous, now, interval int64) bool {
	return now-previous >= interval || now > previous && now%interval <= previous%interval
}

// runDue runs the queries that are due, by name, if the pack's discovery queries allow it.
func (r *packRun) runDue(ctx context.Context, isDue func(PackQuery) bool) error {
	if !slices.ContainsFunc(r.queries, isDue) {
		return ctx.Err()
	}
	if ok, err := r.discover(ctx); err != nil || !ok {
		return err
	}
	for _, q := range r.queries {
		if !isDue(q) {
			continue
		}
		if err := r.runQuery(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// discover says whether every discovery query gives a row. The answer is kept for an hour, as osquery does.
func (r *packRun) discover(ctx context.Context) (bool, error) {
	now := r.host.opts.Clock.Now()
	if !r.discoveredAt.IsZero() && now.Sub(r.discoveredAt) < discoveryInterval {
		return r.discovered, ctx.Err()
	}
	r.discoveredAt, r.discovered = now, true
	for _, sql := range r.pack.Discovery {
		result, err := r.query(ctx, sql)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			r.discovered = false
			return false, r.status(Warning, packSource, fmt.Sprintf("Discovery query failed (%s): %v", sql, err))
		}
		if len(result.Rows) == 0 {
			r.discovered = false
			return false, nil
		}
	}
	return true, nil
}

func (r *packRun) query(ctx context.Context, sql string) (*Result, error) {
	timeout := r.opts.QueryTimeout
	if timeout == 0 {
		timeout = callTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the query took longer than %s", timeout))
	defer cancel()
	return r.host.Query(ctx, sql)
}

// runQuery runs one query and logs what it gave.
func (r *packRun) runQuery(ctx context.Context, q PackQuery) error {
	name := "pack_" + r.pack.Name + "_" + q.Name
	result, err := r.query(ctx, q.Query)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.report.Runs++
	if err != nil {
		r.report.Failures++
		return r.status(Error, schedulerSource, fmt.Sprintf("Error executing scheduled query %s: %v", name, err))
	}
	item := &LogItem{
		Name:           name,
		HostIdentifier: r.host.opts.HostIdentifier,
		Time:           r.host.opts.Clock.Now(),
		Epoch:          r.opts.Epoch,
		Decorations:    r.host.opts.Decorations,
		Columns:        result.Columns,
	}
	if q.Snapshot {
		item.Snapshot = result.rows()
		return r.logger.Snapshot(item)
	}
	rows := result.rows()
	for _, row := range rows {
		for column, value := range row {
			if value.Kind == Text {
				row[column] = Value{Text: escapeText(value.Text), Kind: Text}
			}
		}
	}
	d := r.state.update(name, q.Query, r.opts.Epoch, rows)
	item.Added, item.Removed, item.Counter = d.added, d.removed, d.counter
	if !q.Removed {
		item.Removed = nil
	}
	if len(item.Added)+len(item.Removed) == 0 {
		return nil
	}
	return r.logger.Results(item)
}

func (r *packRun) status(severity Severity, source, message string) error {
	return r.logger.Status(Status{Severity: severity, Time: r.host.opts.Clock.Now(), Source: source, Message: message})
}
