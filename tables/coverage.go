package tables

import (
	"context"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// CipherlensCoverage is the table of what this host can and cannot see.
func CipherlensCoverage(coverage func(context.Context) []sensor.Coverage) Definition {
	return Definition{
		Name:        "cipherlens_coverage",
		Description: "One thing that the host can or cannot see: ok, degraded or blind, and what to do about it.",
		Examples:    []string{"SELECT name, detail, advice FROM cipherlens_coverage WHERE state <> 'ok'"},
		Columns: []table.ColumnDefinition{
			text("name", "What is looked at: capture, attribution, flow_memory, config, ..."),
			text("state", "ok, degraded or blind"),
			text("detail", "What is so"),
			text("advice", "What to do about it; empty when ok"),
			bigint("count", "How often it happened, where that is counted"),
			text("error", "The error behind it, if there is one"),
		},
		Rows: func(ctx context.Context, _ Query) ([]Row, error) {
			found := coverage(ctx)
			rows := make([]Row, len(found))
			for i, c := range found {
				r := Row{}
				r.Text("name", c.Name)
				r.Text("state", c.State)
				r.Text("detail", c.Detail)
				r.Text("advice", c.Advice)
				r.Int("count", c.Count)
				r.Errors(c.Err)
				rows[i] = r
			}
			return rows, nil
		},
	}
}
