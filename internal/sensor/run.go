package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/state"
)

// Options say what a sensor watches.
type Options struct {
	Root     *rootfs.Root
	Captures []string // capture files; with none, Live says whether to capture
	Live     bool
	// Elsewhere gives all sockets as somebody else sees them, who may see more than we: osquery. It is asked only where we cannot see other users' sockets. May be nil.
	Elsewhere func(context.Context) ([]OpenSocket, error)

	Sockets  *process.Owners // opened while there was the right to; Run closes it. Nil: New opens it.
	Settings *config.Store
	Images   Images
	Alerts   *state.File // where live alerts outlast a restart, from OpenAlerts; nil without
	// AlertsLost says why there is no Alerts, where there should be one; Coverage shows it.
	AlertsLost error
	Log        *slog.Logger

	// Own says, for Coverage, what there is to say of this process itself: the rights that it has given up, who can get at its socket. It may be nil.
	Own      func() []Coverage
	Progress func(Progress) // called while captures are read; may be nil
	Inspect  Inspector      // looks on while captures are judged; may be nil
}

// Sensor watches one host, live or in captures. Its methods are safe for concurrent use.
type Sensor struct {
	o       Options
	index   *Index
	rules   ruleBook
	drained chan struct{}
	live    *live // nil when it reads captures, or nothing

	leftOut atomic.Int64 // flows that tables did not show

	mu       sync.Mutex
	flows    []Flow // of captures
	problems []error
}

// New makes a sensor; Run makes it see.
func New(o Options) *Sensor {
	s := &Sensor{o: o, index: newIndex(o.Root), rules: ruleBook{settings: o.Settings}, drained: make(chan struct{})}
	if len(o.Captures) == 0 && o.Live {
		s.live = newLive(o, s.index, s.approve)
		s.live.begin()
	}
	return s
}

// Drained is closed when the captures were read to their end; with nothing to read at once.
func (s *Sensor) Drained() <-chan struct{} { return s.drained }

// Run reads the captures, or captures live until ctx ends. The error names the captures that could not be read (whole); what they gave before
// is kept. A live capture that cannot be had is not an error but coverage.
func (s *Sensor) Run(ctx context.Context) error {
	if s.live != nil {
		s.live.run(ctx)
		close(s.drained)
		return nil
	}
	defer close(s.drained)
	if len(s.o.Captures) > 0 {
		s.index.build(ctx)
	}
	for _, file := range s.o.Captures {
		r := reader{file: file, settings: s.o.Settings.Current(), owners: s.index, inspect: s.o.Inspect}
		err := r.read(ctx, s.o.Progress)
		s.mu.Lock()
		s.flows = append(s.flows, r.flows...)
		if err != nil {
			s.problems = append(s.problems, err)
		}
		s.mu.Unlock()
		if ctx.Err() != nil {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.problems...)
}

// Flows gives a copy of the judged flows that keep lets through, in order of their first packet: of captures all, live those of the time window
// and alerts for longer.
func (s *Sensor) Flows(ctx context.Context, keep func(*Flow) bool) ([]Flow, error) {
	var found []Flow
	if s.live != nil {
		found = s.live.flows(ctx, time.Duration(s.o.Settings.Current().TimeWindow), keep)
	} else {
		s.mu.Lock()
		for i := range s.flows {
			if keep(&s.flows[i]) {
				found = append(found, s.flows[i])
			}
		}
		s.mu.Unlock()
	}
	s.approve(ctx, found)
	return found, ctx.Err()
}

// Rules gives the allowlist in force and what is wrong with its sources.
func (s *Sensor) Rules() ([]*allowlist.Rule, []error) {
	set, problems := s.rules.current()
	return set.Rules(), problems
}

// Jobs lists the host's launchd jobs as they are now, and the folders that could not be read. What the jobs point to must not be changed.
func (s *Sensor) Jobs(ctx context.Context) ([]launchd.Job, []error) { return s.index.scan.Jobs(ctx) }

// Processes lists the running processes with the jobs that they belong to; a host that is looked at from outside has none.
func (s *Sensor) Processes(ctx context.Context) ([]Process, error) {
	if !s.o.Root.Live() {
		return nil, nil
	}
	jobs, _ := s.Jobs(ctx) // what could not be read shows in the jobs' table
	all, err := s.processes(ctx, jobs)
	for i := range all {
		if code, err := process.Identity(all[i].PID); err == nil {
			all[i].Code = &code
		}
	}
	return all, err
}

func (s *Sensor) processes(ctx context.Context, jobs []launchd.Job) ([]Process, error) {
	all, err := process.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	return tie(all, jobs, uidOf()), nil
}

// Running gives the process of each of these jobs that is known to run.
func (s *Sensor) Running(ctx context.Context, jobs []launchd.Job) (func(*launchd.Job) (pid int, ok bool), error) {
	var all []Process
	var err error
	if s.o.Root.Live() {
		all, err = s.processes(ctx, jobs)
	}
	mains := mainProcesses(all)
	return func(job *launchd.Job) (int, bool) {
		pid, ok := mains[job.PlistPath]
		return pid, ok
	}, err
}
