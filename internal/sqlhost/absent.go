package sqlhost

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/osquery/osquery-go/plugin/table"
)

//go:embed absent.tsv
var absentColumns string

// absentTables are osquery's own tables whose rows only osqueryd can make. They are here with the platform's columns, so that a query that
// joins them still gives what the other tables know: with the rows of Options.CoreRows, or empty and with a word to Options.Warn.
func (h *Host) absentTables() []*table.Plugin {
	var names []string
	columns := map[string][]table.ColumnDefinition{}
	for line := range strings.Lines(absentColumns) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 5 || f[3] != "all" && !platformMatches(f[3], h.opts.Platform) {
			continue
		}
		options, _ := strconv.Atoi(f[4]) // 0 where the file is wrong, which a test would show
		if !slices.Contains(names, f[0]) {
			names = append(names, f[0])
		}
		columns[f[0]] = append(columns[f[0]], table.ColumnDefinition{Name: f[1], Type: table.ColumnType(f[2]), Index: options&optionIndex != 0,
			Required: options&optionRequired != 0, Additional: options&optionAdditional != 0, Optimized: options&optionOptimized != 0})
	}
	tables := make([]*table.Plugin, len(names))
	for i, name := range names {
		var warned sync.Once
		tables[i] = table.NewPlugin(name, columns[name], func(context.Context, table.QueryContext) ([]map[string]string, error) {
			rows, given := h.opts.CoreRows[name]
			if !given {
				warned.Do(func() { h.warn(fmt.Sprintf("Table %s is empty here: only osqueryd can fill it", name)) })
			}
			return rows, nil
		})
	}
	return tables
}
