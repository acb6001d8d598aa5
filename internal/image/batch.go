package image

import (
	"context"
	"strings"
	"sync"
)

// Batch analyses many jobs or processes at one moment: each executable is looked at once, however many of them share it.
// It is for one table call, and is dropped after it.
type Batch struct {
	analyzer *Analyzer

	mu    sync.Mutex
	known map[string]*result
}

type result struct {
	once   sync.Once
	report *Report
	err    error
}

// Batch starts a Batch.
func (a *Analyzer) Batch() *Batch { return &Batch{analyzer: a, known: map[string]*result{}} }

// Analyze is Analyzer.Analyze. The Report is shared: it must not be changed.
func (b *Batch) Analyze(ctx context.Context, path string, inserted []string) (*Report, error) {
	key := path + "\x00" + strings.Join(inserted, "\x00")
	b.mu.Lock()
	r, ok := b.known[key]
	if !ok {
		r = &result{}
		b.known[key] = r
	}
	b.mu.Unlock()
	r.once.Do(func() { r.report, r.err = b.analyzer.Analyze(ctx, path, inserted) })
	return r.report, r.err
}
