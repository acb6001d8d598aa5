package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/tables"
)

type flowsOptions struct {
	json, summary bool
	root          string
	threshold     float64
	names         string
	config        string
}

func newFlowsCommand() *cobra.Command {
	var o flowsOptions
	cmd := &cobra.Command{
		Use:   "flows [--json | --summary] FILE...",
		Short: "Judge every flow of capture files (pcap, pcapng)",
		Long: `Judge every flow of capture files. Without --json or --summary it prints a line a flow for people to read; with --json one JSON object a line
and flow: the columns of socket_tls_conformance, and file, the path as given. A file that cannot be read is an error line at the end's exit status 1; what came before
the fault and all other files are still reported.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			settings, err := o.settings(cmd)
			if err != nil {
				return err
			}
			onlyRead(cmd.ErrOrStderr())
			return judgeFiles(cmd.Context(), o, settings, files, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "one JSON object a line and flow")
	f.BoolVar(&o.summary, "summary", false, "counts by verdict")
	f.StringVar(&o.root, "root", "", "folder with the macOS volume that the capture comes from, to name executables by their UUID")
	f.Float64Var(&o.threshold, "payload-entropy-threshold", 0, "overrides the setting payload_entropy_threshold (0..1)")
	f.StringVar(&o.names, "record-sni", "", "overrides the setting record_sni (alerts, all, none)")
	f.StringVar(&o.config, "config", config.Path(), "settings file")
	cmd.MarkFlagsMutuallyExclusive("json", "summary")
	return cmd
}

// settings are those of the file with the command line's on top.
func (o flowsOptions) settings(cmd *cobra.Command) (config.Config, error) {
	store, err := openSettings(o.config, cmd)
	if err != nil {
		return config.Config{}, err
	}
	override := map[string]any{}
	if cmd.Flags().Changed("payload-entropy-threshold") {
		override["payload_entropy_threshold"] = o.threshold
	}
	if o.names != "" {
		override["record_sni"] = o.names
	}
	text, err := json.Marshal(override)
	if err != nil {
		return config.Config{}, err
	}
	return config.Parse(store.Current(), "command line", text)
}

// openSettings reads the settings file; one that was named but is missing or broken is an error for a command.
func openSettings(path string, cmd *cobra.Command) (*config.Store, error) {
	store := config.NewStore(path)
	if problems := store.Problems(); len(problems) > 0 {
		return nil, problems[0]
	}
	if cmd.Flags().Changed("config") {
		if _, err := config.ReadTrusted(path); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	return store, nil
}

// judged is one file's outcome.
type judged struct {
	flows  []sensor.Flow
	counts map[conformance.Verdict]int // in place of flows, for a summary
	err    error
}

// judgeFiles judges files on all processors and reports them in the order given.
func judgeFiles(ctx context.Context, o flowsOptions, settings config.Config, files []string, stdout, stderr io.Writer) error {
	owners, err := ownersOf(ctx, o.root)
	if err != nil {
		return err
	}
	if o.summary { // what lives is bounded, and little: garbage may wait
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	w := bufio.NewWriterSize(stdout, 1<<16)
	out := newFlowPrinter(o, settings, w)
	show := newProgress(stderr, len(files))
	failed := false
	err = inOrder(ctx, len(files), runtime.GOMAXPROCS(0), func(i int) (j judged) {
		if o.summary {
			j.counts, j.err = sensor.Count(ctx, files[i], settings)
		} else {
			j.flows, j.err = sensor.Judge(ctx, files[i], settings, owners)
		}
		return j
	}, func(i int, j judged) error {
		out.count(j.counts)
		for k := range j.flows {
			if err := out.flow(&j.flows[k]); err != nil {
				return err
			}
		}
		if j.err != nil {
			failed = true
			show.clear()
			complain(stderr, j.err)
		}
		show.step()
		return nil
	})
	show.clear()
	if err == nil {
		err = out.end()
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil && failed {
		return errReported
	}
	return err
}

// ownersOf is the index of executables below root; nil without a root.
func ownersOf(ctx context.Context, root string) (*sensor.Index, error) {
	if root == "" {
		return nil, nil
	}
	return sensor.OpenIndex(ctx, root)
}

// inOrder runs work(0..n-1) on a few goroutines and hands the results to done in order, at most a few ahead.
func inOrder[T any](ctx context.Context, n, workers int, work func(int) T, done func(int, T) error) error {
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan chan T, 2*workers)
	go func() {
		defer close(results)
		slots := make(chan struct{}, workers)
		for i := range n {
			result := make(chan T, 1)
			select {
			case results <- result:
			case <-feeding.Done():
				return
			}
			slots <- struct{}{}
			go func() {
				defer func() { <-slots }()
				result <- work(i)
			}()
		}
	}()
	var err error
	i := 0
	for result := range results {
		r := <-result
		if err != nil {
			continue // what was begun is waited for
		}
		if err = done(i, r); err != nil {
			stop()
		}
		i++
	}
	return cmp.Or(err, ctx.Err())
}

// flowPrinter writes flows in one of three forms.
type flowPrinter struct {
	o        flowsOptions
	settings config.Config
	w        *bufio.Writer
	table    *tabwriter.Writer
	columns  []jsonColumn
	line     []byte // room for one flow's JSON
	counts   map[conformance.Verdict]int
}

// jsonColumn is a column as JSON has it: numbers as numbers.
type jsonColumn struct {
	name    string
	numeric bool
}

func newFlowPrinter(o flowsOptions, settings config.Config, w *bufio.Writer) *flowPrinter {
	p := &flowPrinter{o: o, settings: settings, w: w, counts: map[conformance.Verdict]int{}}
	p.table = tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	p.columns = append(p.columns, jsonColumn{name: "file"})
	for _, c := range tables.SocketTLSConformance(nil, nil).Columns {
		p.columns = append(p.columns, jsonColumn{c.Name, c.Type != table.ColumnTypeText})
	}
	slices.SortFunc(p.columns, func(a, b jsonColumn) int { return strings.Compare(a.name, b.name) })
	if !o.json && !o.summary {
		fmt.Fprintln(p.table, "VERDICT\tPROTO\tLOCAL\tREMOTE\tBYTES OUT\tBYTES IN\tWHAT\tPROCESS")
	}
	return p
}

func (p *flowPrinter) count(counts map[conformance.Verdict]int) {
	for verdict, n := range counts {
		p.counts[verdict] += n
	}
}

func (p *flowPrinter) flow(f *sensor.Flow) error {
	if p.o.json {
		return p.object(f)
	}
	_, err := fmt.Fprintf(p.table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", f.Judgement.Verdict, transport(f.Protocol), f.Local, f.Remote,
		f.BytesOut, f.BytesIn, printable(what(f)), printable(cmp.Or(f.Owner.Path, f.Owner.Name)))
	return err
}

// object writes a flow as a line of JSON: columns in order of their names, what is not known absent. (To have encoding/json do it, by way of a
// map, takes longer than to judge the flow.)
func (p *flowPrinter) object(f *sensor.Flow) error {
	row := tables.FlowRow(f, &p.settings)
	row["file"] = f.File
	b := p.line[:0]
	for _, c := range p.columns {
		value, known := row[c.name]
		if !known {
			continue
		}
		b = append(append(append(b, `,"`...), c.name...), `":`...)
		if c.numeric {
			b = append(b, value...)
		} else {
			b = appendQuoted(b, value)
		}
	}
	b[0] = '{'
	p.line = append(b, "}\n"...)
	_, err := p.w.Write(p.line)
	return err
}

// appendQuoted writes a JSON string, with <, > and & as they are.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var quoted bytes.Buffer
			enc := json.NewEncoder(&quoted)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // of a string into memory: cannot fail
			return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// what says in a word or two what is known of a flow.
func what(f *sensor.Flow) string {
	j := &f.Judgement
	switch {
	case len(j.Violations) > 0:
		return j.Violations[0]
	case j.AppProtocol != "":
		return j.AppProtocol
	case j.TLSVersion != "":
		return "version " + j.TLSVersion
	case len(j.Reasons) > 0:
		return j.Reasons[0]
	}
	return ""
}

func transport(protocol uint8) string {
	switch protocol {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	}
	return strconv.Itoa(int(protocol))
}

func (p *flowPrinter) end() error {
	if p.o.summary {
		for _, verdict := range slices.Sorted(maps.Keys(p.counts)) {
			fmt.Fprintf(p.table, "%s\t%d\n", verdict, p.counts[verdict])
		}
	}
	if p.o.json {
		return nil
	}
	return p.table.Flush()
}
