package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/allowlist/baseline"
	"github.com/cipherlens/cipherlens/internal/config"
)

type baselineOptions struct {
	from, query, memory, out, since, expires string
	json                                     bool
	minHosts, minDays                        int
}

func newBaselineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "baseline", Short: "Learn from the result logs of many hosts what is usual", Args: cobra.NoArgs}
	cmd.AddCommand(newLearnCommand(), newDiffCommand())
	return cmd
}

func newLearnCommand() *cobra.Command {
	var o baselineOptions
	cmd := &cobra.Command{
		Use:   "learn --from LOG [LOG | DIR]...",
		Short: "Count on how many hosts and days software went where, and propose allowlist rules",
		Long: `Read result logs (JSON lines, also compressed with gzip, as osquery's filesystem, TLS and Kafka loggers and Fleet write them; - is stdin, a folder stands for all files
below it), count on how many hosts and days each identity and destination was seen, and propose allowlist rules: YAML that allowlist.d takes, once somebody has put a name
to approved_by. What cannot be read is an error with file and line, and exit status 1 at the end; the rest is counted. docs/allowlists.md says what exactly is counted.`,
		RunE: func(cmd *cobra.Command, logs []string) error { return learn(cmd, o, logs) },
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "", "write the rules or counts to this file instead of stdout")
	f.BoolVar(&o.json, "json", false, "the counts instead of rules: one JSON object a line")
	f.IntVar(&o.minHosts, "min-hosts", 3, "propose what was seen on at least this many hosts")
	f.IntVar(&o.minDays, "min-days", 2, "propose what was seen on at least this many days")
	f.StringVar(&o.expires, "expires", "", "last day of the proposed rules (default: 180 days after the logs' last day)")
	return cmd
}

func newDiffCommand() *cobra.Command {
	var o baselineOptions
	cmd := &cobra.Command{
		Use:   "diff --since DATE --from LOG [LOG | DIR]...",
		Short: "Say which software and destinations are new since a day (UTC)",
		Long: `Read result logs as baseline learn does, and say which identities, and which destinations of known identities, were seen on or after the day and not before it.
The logs have to reach back before the day: what is not in them is new.`,
		RunE: func(cmd *cobra.Command, logs []string) error { return diff(cmd, o, logs) },
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "first day that is looked at, like 2026-11-16")
	f.BoolVar(&o.json, "json", false, "one JSON object a line")
	_ = cmd.MarkFlagRequired("since")
	return cmd
}

// flags are those that both commands have.
func (o *baselineOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "log file or folder; further ones as arguments")
	f.StringVar(&o.query, "query", "", "only rows of queries whose name contains this, like an0402")
	f.StringVar(&o.memory, "memory", "512MiB", "what exact counts may take; beyond, they become estimates")
	_ = cmd.MarkFlagRequired("from")
}

// learn is the command of that name.
func learn(cmd *cobra.Command, o baselineOptions, logs []string) (err error) {
	var expires baseline.Day
	if o.expires != "" {
		if expires, err = baseline.ParseDay(o.expires); err != nil {
			return err
		}
	}
	counter, failed, err := o.count(cmd, logs, baseline.NoDay)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.out != "" {
		f, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // after an error before the Close below
		out = f
	}
	w := bufio.NewWriter(out)
	if o.json {
		err = writeCounts(w, counter)
	} else {
		totals := counter.Totals()
		terms := baseline.Terms{MinHosts: o.minHosts, MinDays: o.minDays, Expires: cmp.Or(expires, totals.Last+180)}
		err = writeProposals(w, cmd.ErrOrStderr(), counter, terms)
	}
	err = cmp.Or(err, w.Flush())
	if f, ok := out.(*os.File); ok && o.out != "" {
		err = cmp.Or(err, f.Close())
	}
	if err == nil && failed {
		return errReported
	}
	return err
}

// diff is the command of that name.
func diff(cmd *cobra.Command, o baselineOptions, logs []string) error {
	since, err := baseline.ParseDay(o.since)
	if err != nil {
		return err
	}
	counter, failed, err := o.count(cmd, logs, since)
	if err != nil {
		return err
	}
	if t := counter.Totals(); t.Rows > 0 && t.First >= since {
		fmt.Fprintf(cmd.ErrOrStderr(), "cipherlens: baseline: the logs begin on %s: without anything before %s everything is new\n", t.First, since)
	}
	w := bufio.NewWriter(cmd.OutOrStdout())
	if o.json {
		err = writeNewCounts(w, counter, since)
	} else {
		err = writeNew(w, counter, since)
	}
	if err = cmp.Or(err, w.Flush()); err == nil && failed {
		return errReported
	}
	return err
}

// count reads all logs.
func (o *baselineOptions) count(cmd *cobra.Command, logs []string, since baseline.Day) (counter *baseline.Counter, failed bool, err error) {
	var budget config.Bytes
	if err := yaml.Unmarshal([]byte(o.memory), &budget); err != nil {
		return nil, false, fmt.Errorf("baseline: --memory: %s", config.Reason(err))
	}
	stderr := cmd.ErrOrStderr()
	if o.out == "" {
		onlyRead(stderr)
	} else {
		onlyRead(stderr, filepath.Dir(o.out))
	}
	report := func(err error) {
		failed = true
		complain(stderr, err)
	}
	files, total := logFiles(append([]string{o.from}, logs...), report)
	counter = baseline.NewCounter(int64(budget), since)
	var done baseline.Progress
	show := showReading(stderr, &done, total)
	r := baseline.Reader{Query: o.query, Workers: runtime.GOMAXPROCS(0), Progress: &done, Report: func(err error) { show.aside(func() { report(err) }) }}
	err = r.Read(cmd.Context(), files, cmd.InOrStdin(), counter)
	show.stop()
	if err == nil {
		sayTotals(stderr, counter.Totals(), &done)
	}
	return counter, failed, err
}

// logFiles puts all files below a folder in its place, and adds up their bytes.
func logFiles(paths []string, report func(error)) (files []string, total int64) {
	for _, path := range paths {
		if path == "-" {
			files = append(files, path)
			continue
		}
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				report(fmt.Errorf("baseline: %w", err))
				return nil
			}
			if e.IsDir() || name != path && (strings.HasPrefix(e.Name(), ".") || !e.Type().IsRegular()) { // a pipe would wait for ever
				return nil
			}
			files = append(files, name)
			if info, err := os.Stat(name); err == nil {
				total += info.Size()
			}
			return nil
		})
		if err != nil {
			report(fmt.Errorf("baseline: %w", err))
		}
	}
	return files, total
}

// reading shows on a terminal how far reading has come.
type reading struct {
	mu      sync.Mutex
	bar     *progress
	done    *baseline.Progress
	total   int64
	stopped context.CancelFunc
	ended   chan struct{}
}

func showReading(w io.Writer, done *baseline.Progress, total int64) *reading {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reading{bar: newProgress(w, 0), done: done, total: total, stopped: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
				r.aside(func() {})
			}
		}
	}()
	return r
}

// aside takes the bar away while something else is printed.
func (r *reading) aside(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.clear()
	do()
	r.bar.show(readingLine(r.done.Bytes.Load(), r.total, r.done.Lines.Load(), time.Since(r.bar.started)))
}

func (r *reading) stop() {
	r.stopped()
	<-r.ended
	r.bar.clear()
}

// readingLine is the bar: share, rate and time left.
func readingLine(done, total, lines int64, took time.Duration) string {
	rate := float64(lines) / max(took.Seconds(), 0.001)
	if total <= 0 || done <= 0 {
		return fmt.Sprintf("%d lines, %.0f lines/s", lines, rate)
	}
	share := min(float64(done)/float64(total), 1)
	const width = 30
	filled := int(share * width)
	left := time.Duration(float64(took) * (1 - share) / share)
	return fmt.Sprintf("[%s%s] %3.0f%%  %d lines, %.0f lines/s, %v left", strings.Repeat("#", filled), strings.Repeat(".", width-filled), share*100, lines, rate,
		left.Round(time.Second))
}

// sayTotals says in a line or two what was counted, and what of it is no more than an estimate.
func sayTotals(w io.Writer, t baseline.Totals, done *baseline.Progress) {
	fmt.Fprintf(w, "%d lines, %d findings: %d identities and %d destinations on %d hosts and %d days\n", done.Lines.Load(), t.Rows, t.Identities, t.Destinations, t.Hosts, t.Days)
	if n := done.Nameless.Load(); n > 0 {
		fmt.Fprintf(w, "%d findings name no program and are left out\n", n)
	}
	if t.Folded > 0 && !t.HostsEstimated {
		fmt.Fprintf(w, "the memory for exact counts is used up: how many destinations %d identities have is an estimate (standard error %.1f%%); all else is exact\n", t.Folded, t.Error*100)
	}
	if t.HostsEstimated {
		fmt.Fprintf(w, "the memory for exact counts is used up: the numbers of hosts and destinations are estimates (standard error up to %.1f%%), and about %d identities are counted without their names\n",
			t.Error*100, t.Unnamed.Identities)
	}
}

// writeProposals writes rules, and to notes what was not proposed and why.
func writeProposals(w, notes io.Writer, counter *baseline.Counter, terms baseline.Terms) error {
	t := counter.Totals()
	fmt.Fprintf(w, "# Proposed by cipherlens.ext baseline learn from %d findings on %d hosts and %d days. Read each rule before it goes into allowlist.d, and say\n# in approved_by who has approved it: software that is everywhere is usual, not harmless.\n", t.Rows, t.Hosts, t.Days)
	if t.Folded > 0 || t.HostsEstimated {
		fmt.Fprintf(w, "# Counts said to be \"about\" are estimates (standard error up to %.1f%%).\n", t.Error*100)
	}
	fmt.Fprintln(w, "rules:")
	reasons := map[string]int{}
	err := counter.Each(func(id *baseline.Identity) error {
		rules, why := baseline.Propose(id, t, terms)
		if why != "" {
			reasons[id.Name+": "+why]++
			if len(reasons) <= 20 {
				fmt.Fprintf(notes, "not proposed: %s: %s\n", printable(id.Name), printable(why))
			}
		}
		for _, r := range rules {
			if _, err := io.WriteString(w, allowlist.Format(r)); err != nil {
				return err
			}
		}
		return nil
	})
	if n := len(reasons); n > 20 {
		fmt.Fprintf(notes, "not proposed: %d more\n", n-20)
	}
	return err
}

// The objects of --json. Days are dates, shares are relative standard errors.
type (
	totalCount struct {
		Kind           string  `json:"kind"`
		Hosts          int     `json:"hosts"`
		Days           int     `json:"days"`
		Rows           uint64  `json:"rows"`
		Identities     uint64  `json:"identities"`
		Destinations   uint64  `json:"destinations"`
		First          string  `json:"first_day"`
		Last           string  `json:"last_day"`
		Exact          bool    `json:"exact"`
		Error          float64 `json:"standard_error,omitempty"`
		HostsEstimated bool    `json:"hosts_estimated,omitempty"`
	}
	identityCount struct {
		Kind            string   `json:"kind"`
		Identity        string   `json:"identity"`
		Hosts           int      `json:"hosts"`
		Days            int      `json:"days"`
		Rows            uint64   `json:"rows"`
		Destinations    uint64   `json:"destinations"`
		NewDestinations uint64   `json:"new_destinations,omitempty"`
		IsNew           bool     `json:"new,omitempty"`
		Exact           bool     `json:"exact"`
		First           string   `json:"first_day"`
		Last            string   `json:"last_day"`
		Verdicts        []string `json:"verdicts"`
		Ports           []string `json:"ports"`
	}
	destinationCount struct {
		Kind     string   `json:"kind"`
		Identity string   `json:"identity"`
		Address  string   `json:"remote_address"`
		Port     uint16   `json:"remote_port"`
		Protocol uint8    `json:"protocol"`
		Hosts    int      `json:"hosts"`
		Days     int      `json:"days"`
		Rows     uint64   `json:"rows"`
		First    string   `json:"first_day"`
		Last     string   `json:"last_day"`
		Verdicts []string `json:"verdicts"`
	}
)

func countOfAll(t baseline.Totals) totalCount {
	return totalCount{"total", t.Hosts, t.Days, t.Rows, t.Identities, t.Destinations, t.First.String(), t.Last.String(), t.Error == 0, t.Error, t.HostsEstimated}
}

func countOf(id *baseline.Identity, hostsEstimated bool) identityCount {
	ports := make([]string, len(id.Ports))
	for i, p := range id.Ports {
		ports[i] = p.String()
	}
	return identityCount{"identity", id.Name, id.Hosts, id.Days, id.Rows, id.Destinations, id.NewDestinations, id.IsNew, !id.Estimated && !hostsEstimated,
		id.First.String(), id.Last.String(), id.Verdicts.Names(), ports}
}

func countOfSeen(identity string, s baseline.Seen) destinationCount {
	return destinationCount{"destination", identity, s.Address().String(), s.Port(), s.Protocol(), s.Hosts, s.Days, s.Rows, s.First.String(), s.Last.String(), s.Verdicts.Names()}
}

// writeCounts writes all counts: the total, then each identity followed by its destinations.
func writeCounts(w io.Writer, counter *baseline.Counter) error {
	t := counter.Totals()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(countOfAll(t)); err != nil {
		return err
	}
	return counter.Each(func(id *baseline.Identity) error {
		err := enc.Encode(countOf(id, t.HostsEstimated))
		for _, s := range id.Seen {
			err = cmp.Or(err, enc.Encode(countOfSeen(id.Name, s)))
		}
		return err
	})
}

// writeNewCounts writes what is new since a day.
func writeNewCounts(w io.Writer, counter *baseline.Counter, since baseline.Day) error {
	t := counter.Totals()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return counter.Each(func(id *baseline.Identity) error {
		if id.NewDestinations == 0 && !id.IsNew {
			return nil
		}
		err := enc.Encode(countOf(id, t.HostsEstimated))
		for _, s := range id.Seen {
			if s.First >= since {
				err = cmp.Or(err, enc.Encode(countOfSeen(id.Name, s)))
			}
		}
		return err
	})
}

// writeNew says for people what is new since a day.
func writeNew(w io.Writer, counter *baseline.Counter, since baseline.Day) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "NEW\tFIRST SEEN\tHOSTS\tDAYS\tIDENTITY\tDESTINATION")
	identities, destinations := 0, uint64(0)
	err := counter.Each(func(id *baseline.Identity) error {
		kind, name := "destination", printable(id.Name)
		if id.IsNew {
			kind = "identity"
			identities++
		}
		destinations += id.NewDestinations
		if id.Estimated && id.NewDestinations > 0 {
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\tabout %d new ones\n", kind, id.First, id.Hosts, id.Days, name, id.NewDestinations)
		}
		for _, s := range id.Seen {
			if s.First >= since {
				p := baseline.Port{Number: s.Port(), Protocol: s.Protocol()}
				fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s port %s\n", kind, s.First, s.Hosts, s.Days, name, s.Address(), p)
			}
		}
		return nil
	})
	fmt.Fprintf(table, "%d new identities, %d new destinations since %s\n", identities, destinations, since)
	return errors.Join(err, table.Flush())
}
