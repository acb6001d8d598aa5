package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal how far long work has come; elsewhere it is silent.
type progress struct {
	w             io.Writer
	on            bool
	done, total   int
	started, last time.Time
}

func newProgress(w io.Writer, total int) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, on: ok && term.IsTerminal(int(f.Fd())), total: total, started: time.Now()}
}

// step counts one more piece of work.
func (p *progress) step() {
	p.done++
	if !p.on || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	left := time.Duration(float64(time.Since(p.started)) / float64(p.done) * float64(p.total-p.done))
	p.show(fmt.Sprintf("%d of %d files, %v left", p.done, p.total, left.Round(time.Second)))
}

func (p *progress) show(text string) {
	if p.on {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	}
}

// clear takes the line away, before other output and at the end.
func (p *progress) clear() {
	if p.on {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
