// Package tables holds Cipherlens' osquery tables: columns, constraints in, rows out. It does no analysis of its own.
package tables

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/osquery/osquery-go/plugin/table"
)

// timeLimit is how long one call of one table may take.
const timeLimit = 60 * time.Second

// maxCalls is how many calls run at once over all tables; further ones wait their turn within their time limit.
const maxCalls = 4

// Rows makes a table's rows for one query. The error is for a call that failed as a whole; what went wrong with single rows is
// in their error column.
type Rows func(ctx context.Context, q Query) ([]Row, error)

// Definition is one table: what it promises and how its rows are made.
type Definition struct {
	Name        string
	Description string
	Notes       string // what the table cannot see
	Examples    []string
	Columns     []table.ColumnDefinition
	Rows        Rows
}

// Plugins makes osquery plugins of definitions. It is the only way from a Definition to osquery: time limit, bounded
// concurrency, panic recovery and logging are here (osquery-go has none of them: a panic in a table would end the process).
func Plugins(log *slog.Logger, definitions ...Definition) []*table.Plugin {
	slots := make(chan struct{}, maxCalls)
	plugins := make([]*table.Plugin, len(definitions))
	for i, d := range definitions {
		guarded := guard{Definition: d, log: log.With("table", d.Name), slots: slots, limit: timeLimit}
		opts := []table.TableOpt{table.WithDescription(d.Description), table.WithNotes(d.Notes), table.WithPlatforms(table.DarwinPlatform, table.LinuxPlatform)}
		for _, e := range d.Examples {
			opts = append(opts, table.WithExample(e))
		}
		plugins[i] = table.NewPlugin(d.Name, d.Columns, guarded.generate, opts...)
	}
	return plugins
}

// guard runs one table's calls.
type guard struct {
	Definition
	log   *slog.Logger
	slots chan struct{}
	limit time.Duration
}

// generate is osquery's entry. The call's goroutine keeps its slot until it really ends, so that calls that ignore their
// context cannot pile up.
func (g guard) generate(ctx context.Context, qc table.QueryContext) ([]map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, g.limit)
	defer cancel()
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no free worker: %w", g.Name, ctx.Err())
	}
	started := time.Now()
	type outcome struct {
		rows []Row
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-g.slots }()
		rows, err := g.recovered(ctx, Query{qc})
		done <- outcome{rows, err}
	}()
	select {
	case <-ctx.Done():
		g.log.Warn("table call ended early", "after", time.Since(started), "cause", ctx.Err())
		return nil, fmt.Errorf("%s: %w", g.Name, ctx.Err())
	case out := <-done:
		if out.err != nil {
			g.log.Warn("table call failed", "after", time.Since(started), "error", out.err)
			return nil, fmt.Errorf("%s: %w", g.Name, out.err)
		}
		g.log.Debug("table call", "rows", len(out.rows), "took", time.Since(started))
		rows := make([]map[string]string, len(out.rows))
		for i, r := range out.rows {
			rows[i] = r
		}
		return rows, nil
	}
}

func (g guard) recovered(ctx context.Context, q Query) (rows []Row, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic in a table", "panic", p, "stack", string(debug.Stack()))
			rows, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return g.Rows(ctx, q)
}

// key declares a column that queries are expected to constrain: Index+Optimized, so that all values of an IN arrive in one call. Every other
// column is only Optimized, since a column without options would be an index (osquery's --extensions_default_index).
func key(c table.ColumnDefinition, description string) table.ColumnDefinition {
	c.Index, c.Optimized, c.Description = true, true, description
	return c
}

// required declares a key column without which the table gives nothing.
func required(c table.ColumnDefinition, description string) table.ColumnDefinition {
	c = key(c, description)
	c.Index, c.Required = false, true
	return c
}

// value declares any other column.
func value(c table.ColumnDefinition, description string) table.ColumnDefinition {
	c.Optimized, c.Description = true, description
	return c
}

func text(name, description string) table.ColumnDefinition {
	return value(table.TextColumn(name), description)
}

func integer(name, description string) table.ColumnDefinition {
	return value(table.IntegerColumn(name), description)
}

func bigint(name, description string) table.ColumnDefinition {
	return value(table.BigIntColumn(name), description)
}

func double(name, description string) table.ColumnDefinition {
	return value(table.DoubleColumn(name), description)
}
