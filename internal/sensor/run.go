package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// Options say what a sensor watches.
type Options struct {
	Root     *rootfs.Root
	Captures []string // capture files; with none, Live says whether to capture
	Live     bool
	Settings *config.Store
	Images   Images
	Log      *slog.Logger
	Progress func(Progress) // called while captures are read; may be nil
}

// Sensor watches one host, live or in captures. Its methods are safe for concurrent use.
type Sensor struct {
	o       Options
	index   *Index
	rules   ruleBook
	drained chan struct{}
	live    *live // nil when it reads captures, or nothing

	mu       sync.Mutex
	flows    []Flow // of captures
	problems []error
}

// New makes a sensor; Run makes it see.
func New(o Options) *Sensor {
	s := &Sensor{o: o, index: newIndex(o.Root), rules: ruleBook{settings: o.Settings}, drained: make(chan struct{})}
	if len(o.Captures) == 0 && o.Live {
		s.live = newLive(s.index, o.Settings, o.Log)
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
		r := reader{file: file, settings: s.o.Settings.Current(), owners: s.index}
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
		found = s.live.flows(time.Duration(s.o.Settings.Current().TimeWindow), keep)
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

// Jobs lists the host's launchd jobs, read anew, and the folders that could not be read.
func (s *Sensor) Jobs(ctx context.Context) ([]launchd.Job, []error) {
	return launchd.Jobs(ctx, s.o.Root)
}

// Processes lists the running processes; a host that is looked at from outside has none.
func (s *Sensor) Processes(ctx context.Context) ([]process.Process, error) {
	if !s.o.Root.Live() {
		return nil, nil
	}
	all, err := process.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	for i := range all {
		if all[i].Label == "" {
			all[i].Label = s.index.label(all[i].Path)
		}
	}
	return all, nil
}

// Running gives the process of each job that is known to run, by executable: launchd's own child whose executable is the job's.
func (s *Sensor) Running(ctx context.Context) (func(*launchd.Job) (pid int, ok bool), error) {
	all, err := s.Processes(ctx)
	by := map[string]int{}
	for _, p := range all {
		if old, known := by[p.Path]; p.PPID == 1 && (!known || p.PID < old) {
			by[p.Path] = p.PID
		}
	}
	return func(job *launchd.Job) (int, bool) {
		for _, path := range slices.Compact([]string{job.Executable, job.Program}) {
			if pid, ok := by[path]; ok {
				return pid, true
			}
		}
		return -1, false
	}, err
}
