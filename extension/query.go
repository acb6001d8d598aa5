package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

func newQueryCommand() *cobra.Command {
	var s subject
	var p packQuery
	var asJSON bool
	var runFor time.Duration
	cmd := &cobra.Command{
		Use:   "query [--root DIR] [--capture FILE]... [--for 10s] [--json] SQL | --pack-query PACK/QUERY [--asked VALUE]",
		Short: "Run one SQL statement over the tables, without osqueryd",
		Long: `Run one SQL statement over the tables, without osqueryd, once the captures are read. Without --capture, as root, it captures live: --for says how
long, before the statement runs. --pack-query takes a statement of the packs that come with the program, as an0402-hunt/random; into those of an0402-response
--asked pastes a pid, a path, a launchd label (a systemd unit) or a remote address.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			sql, err := p.statement(args)
			if err != nil {
				return err
			}
			n, err := s.open(ctx, cmd)
			if err != nil {
				return err
			}
			if err = n.drained(ctx, s.captures, runFor); err == nil {
				err = n.query(ctx, sql, asJSON, cmd.OutOrStdout())
			}
			return errors.Join(err, n.close())
		},
	}
	s.flags(cmd)
	p.flags(cmd)
	cmd.Flags().DurationVar(&runFor, "for", 0, "capture live for that long before the statement runs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array with strings as values, like osqueryi --json")
	return cmd
}

// query runs one statement and prints what it gives.
func (n *session) query(ctx context.Context, sql string, asJSON bool, w io.Writer) error {
	result, err := n.host.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if asJSON {
		return printJSON(w, result)
	}
	return printTable(w, result)
}

// printJSON prints like osqueryi: an array of objects, a line each.
func printJSON(w io.Writer, result *sqlhost.Result) error {
	var b strings.Builder
	b.WriteString("[\n")
	for i, row := range result.Maps() {
		if i > 0 {
			b.WriteString(",\n")
		}
		text, err := marshal(row)
		if err != nil {
			return err
		}
		b.WriteString("  " + text)
	}
	b.WriteString("\n]\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// marshal is JSON on one line without HTML's escapes.
func marshal(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func printTable(w io.Writer, result *sqlhost.Result) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(result.Columns, "\t"))
	for _, row := range result.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = printable(v.Text)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}
