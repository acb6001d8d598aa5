package main

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// progress shows on a terminal how far long work has come; elsewhere it is silent.
type progress struct {
	w             io.Writer
	on            bool
	done, total   int
	started, last time.Time
	file          string    // that is read now
	began         time.Time // reading it
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
	p.show(filesLine(p.done, p.total, time.Since(p.started)))
}

// filesLine says how many files are done, how fast, and how long the others will take.
func filesLine(done, total int, took time.Duration) string {
	left := time.Duration(float64(took) / float64(done) * float64(total-done))
	return fmt.Sprintf("%d of %d files, %.0f files/s, %v left", done, total, float64(done)/took.Seconds(), left.Round(time.Second))
}

// capture shows how far the reading of one file is.
func (p *progress) capture(s sensor.Progress) {
	if s.File != p.file {
		p.file, p.began = s.File, time.Now()
	}
	p.show(captureLine(s, time.Since(p.began)))
}

// captureLine says how much of a file was read, and how fast.
func captureLine(s sensor.Progress, took time.Duration) string {
	return fmt.Sprintf("%s: %d packets, %d flows, %.0f packets/s", printable(s.File), s.Packets, s.Flows, float64(s.Packets)/max(took.Seconds(), 0.001))
}

func (p *progress) show(text string) {
	if p.on {
		fmt.Fprintf(p.w, "\r\x1b[K%s", clip(text, terminalOf(p.w).width))
	}
}

// clip makes a line fit beside the cursor on a terminal of that many columns; 0 is any number.
func clip(text string, width int) string {
	if width == 0 || utf8.RuneCountInString(text) < width {
		return text
	}
	head, _ := split(text, width-2)
	return head + "~"
}

// clear takes the line away, before other output and at the end.
func (p *progress) clear() {
	if p.on {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
