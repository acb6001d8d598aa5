package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/report"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/packs"
)

// reportPack is the pack whose detection makes findings.
const reportPack = "an0402"

type reportOptions struct {
	subject
	logs []string
	out  string
}

func newReportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report [--capture FILE]... [--root DIR] [--log RESULTS.LOG]... -o REPORT.HTML",
		Short: "Write one HTML page of what was found",
		Long: `Write one HTML page that stands alone: findings with their story, who talked when, what the first bytes of flows look like, all flows by length and entropy, and
what could not be seen. Findings come from the detection over the captures, and from osquery's result logs. The page holds figures of payloads, never payloads, and loads nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.write(cmd.Context(), cmd) },
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.logs, "log", nil, "osquery result log (JSON lines) to take findings from (may be given more than once)")
	f.StringVarP(&o.out, "output", "o", "", "the page to write")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

func (o *reportOptions) write(ctx context.Context, cmd *cobra.Command) error {
	if len(o.captures)+len(o.logs) == 0 {
		return errors.New("report: nothing to report on: give --capture, --log or both")
	}
	d := report.Data{Title: "Cipherlens report", Made: time.Now(), Version: version}
	var failed error
	o.writes = append(o.writes, filepath.Dir(o.out))
	if len(o.captures) > 0 {
		failed = o.detect(ctx, cmd, &d)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	} else {
		onlyRead(cmd.ErrOrStderr(), o.writes...)
	}
	for _, name := range o.logs {
		d.Sources = append(d.Sources, name)
		failed = errors.Join(failed, readFindings(name, &d))
	}
	if err := replaceFile(o.out, func(w *bufio.Writer) error { return report.Write(w, d) }); err != nil {
		return errors.Join(failed, fmt.Errorf("report: %w", err))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d findings, %d flows\n", o.out, len(d.Findings)+d.More, len(d.Flows))
	return failed
}

// detect runs the detection over the captures. The error names captures that could not be read whole; what they gave is in d.
func (o *reportOptions) detect(ctx context.Context, cmd *cobra.Command, d *report.Data) error {
	d.Sources = append(d.Sources, o.captures...)
	if o.root != "/" {
		d.Sources = append(d.Sources, o.root)
	}
	text, err := packs.Files.ReadFile(reportPack + ".conf")
	if err != nil {
		return err
	}
	pack, err := sqlhost.ParsePack(reportPack, text)
	if err != nil {
		return err
	}
	d.Shapes = &report.Shapes{}
	o.inspect = d.Shapes
	n, err := o.open(ctx, cmd)
	if err != nil {
		return err
	}
	rows := &collected{}
	if err = n.drained(ctx, o.captures, 0); err == nil {
		_, err = n.host.RunPack(ctx, pack, sqlhost.RunOptions{Once: true}, rows)
	}
	if err == nil {
		d.Flows, err = n.sensor.Flows(ctx, func(*sensor.Flow) bool { return true })
	}
	d.Findings, d.Coverage = rows.findings, n.sensor.Coverage(ctx)
	d.Threshold = n.settings.Current().PayloadEntropyThreshold
	return errors.Join(err, rows.failed, n.close())
}

// collected keeps the findings of a run.
type collected struct {
	findings []report.Finding
	failed   error
}

var _ sqlhost.ResultLogger = (*collected)(nil)

func (c *collected) Results(item *sqlhost.LogItem) error {
	for _, row := range item.Added {
		if _, finding := row["severity"]; finding {
			f := report.Finding{}
			for column, value := range row {
				f[column] = value.Text
			}
			c.findings = append(c.findings, f)
		}
	}
	return nil
}

func (c *collected) Snapshot(*sqlhost.LogItem) error { return nil }

func (c *collected) Status(s sqlhost.Status) error {
	if s.Severity == sqlhost.Error {
		c.failed = errors.Join(c.failed, errors.New(s.Message))
	}
	return nil
}

// replaceFile writes a file for its owner alone, whole or not at all.
func replaceFile(name string, write func(*bufio.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	w := bufio.NewWriter(f)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

const (
	// maxLogLine bounds a line of a result log, in bytes.
	maxLogLine = 64 << 20
	// maxLogErrors bounds how many bad lines of one log are named; the others are counted.
	maxLogErrors = 20
)

// readFindings takes the findings (rows with a severity) out of a result log: lines that osquery's loggers write, one change or one snapshot each. What cannot be read is
// named in the error and left out.
func readFindings(name string, d *report.Data) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLogLine)
	var bad []error
	unnamed := 0
	for n := 1; lines.Scan(); n++ {
		found, err := findingsOf(lines.Bytes())
		room := min(len(found), max(report.MaxFindings-len(d.Findings), 0))
		d.Findings, d.More = append(d.Findings, found[:room]...), d.More+len(found)-room
		switch {
		case err == nil:
		case len(bad) < maxLogErrors:
			bad = append(bad, fmt.Errorf("log: %s:%d: %w", name, n, err))
		default:
			unnamed++
		}
	}
	if err := lines.Err(); err != nil {
		bad = append(bad, fmt.Errorf("log: %s: %w", name, err))
	}
	if unnamed > 0 {
		bad = append(bad, fmt.Errorf("log: %s: %d more bad lines", name, unnamed))
	}
	return errors.Join(bad...)
}

// findingsOf reads one line; an empty one has none.
func findingsOf(text []byte) (found []report.Finding, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var line struct {
		Host     string              `json:"hostIdentifier"`
		Action   string              `json:"action"`
		Columns  map[string]string   `json:"columns"`
		Snapshot []map[string]string `json:"snapshot"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, err
	}
	if line.Action == "added" {
		line.Snapshot = append(line.Snapshot, line.Columns)
	}
	for _, row := range line.Snapshot {
		if row["severity"] != "" {
			row["host"] = line.Host
			found = append(found, row)
		}
	}
	return found, nil
}
