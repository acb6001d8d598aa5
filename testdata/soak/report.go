//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// goals are what must hold.
type goals struct {
	memory, growth      int64 // bytes
	cpu, dropped, owned float64
}

// row is one goal.
type row struct {
	what, goal, measured string
	ok                   bool
}

// report prints the table and says whether every goal is met.
func (s *soak) report(w io.Writer) bool {
	all := true
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "goal\twanted\tmeasured\tok")
	for _, r := range s.rows() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.goal, r.measured, map[bool]string{true: "ok", false: "NOT MET"}[r.ok])
		all = all && r.ok
	}
	_ = t.Flush()
	return all
}

func (s *soak) rows() []row {
	g := &s.o.goals
	seconds := s.o.time.Seconds()
	rate := float64(s.total.packets) / seconds
	mbit := float64(s.total.bytes) * 8 / seconds / 1e6
	base, flood := s.cpu(false), s.cpu(true)
	resident, growth := s.resident()
	dropped := percent(float64(s.dropped), float64(s.seen+s.dropped))
	owned := percent(float64(s.owned.right), float64(s.owned.all()))
	wantRate := 0.98 * float64(s.o.rate)
	return []row{
		{"packets played a second", fmt.Sprintf(">= %.0f", wantRate), fmt.Sprintf("%.0f (%.1f Mbit/s, %d flows, %.1f %% of ticks late)", rate, mbit, s.total.flows, 100*float64(s.total.skipped)/(seconds*1000)), rate >= wantRate},
		{"short-lived clients a second", fmt.Sprintf(">= %.0f", 0.95*float64(s.o.clients)), fmt.Sprintf("%.0f", float64(s.started.Load())/seconds), float64(s.started.Load())/seconds >= 0.95*float64(s.o.clients)},
		{"resident memory, most", "<= " + mib(g.memory), mib(resident), resident <= g.memory},
		{"processor, base rate", fmt.Sprintf("<= %.1f %% of a core", g.cpu), fmt.Sprintf("%.2f %%", base), base <= g.cpu},
		{"processor, in the flood", "(none)", fmt.Sprintf("%.2f %%", flood), true},
		{"packets dropped", fmt.Sprintf("<= %.2f %%", g.dropped), fmt.Sprintf("%.4f %% (%d of %d; %d shown to the filter's eye)", dropped, s.dropped, s.seen+s.dropped, s.total.shown), dropped <= g.dropped && s.seen > 0},
		{"alerts missing", "0", fmt.Sprintf("%d of %d", len(s.missing), s.expect), len(s.missing) == 0},
		{"alerts that nobody sent", "0", fmt.Sprint(s.strange), s.strange == 0},
		{"clients with the right pid and path", fmt.Sprintf(">= %.1f %%", g.owned), fmt.Sprintf("%.2f %% (of %d: %d without, %d wrong, %d not in the table)", owned, s.owned.all(), s.owned.unknown, s.owned.wrong, s.owned.absent), s.o.clients == 0 || owned >= g.owned && s.owned.wrong == 0},
		{"growth in the last half", "<= " + mib(g.growth), mib(growth), growth <= g.growth},
	}
}

func percent(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// warmUp is left out of the processor's figures: the extension reads its jobs and applications then.
const warmUp = 5 * time.Second

// cpu is percent of a core, in the flood or out of it.
func (s *soak) cpu(flood bool) float64 {
	var used, wall time.Duration
	for i := 1; i < len(s.series); i++ {
		a, b := s.series[i-1], s.series[i]
		if a.at >= warmUp && s.flood(a.at) == flood {
			used += b.usage.cpu - a.usage.cpu
			wall += b.at - a.at
		}
	}
	return percent(float64(used), float64(wall))
}

// resident is the most memory there was, and by how much the end of the last half was above its begin, in medians of a tenth of the time.
func (s *soak) resident() (most, growth int64) {
	for _, x := range s.series {
		most = max(most, x.usage.resident)
	}
	n := len(s.series)
	return most, s.median(n-n/10, n) - s.median(n/2, n/2+n/10)
}

func (s *soak) median(from, to int) int64 {
	var all []int64
	for _, x := range s.series[from:to] {
		all = append(all, x.usage.resident)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
