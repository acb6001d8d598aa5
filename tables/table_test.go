package tables

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

func plugin(t *testing.T, limit time.Duration, rows Rows) *table.Plugin {
	t.Helper()
	d := Definition{Name: "t", Columns: []table.ColumnDefinition{key(table.IntegerColumn("pid"), ""), text("error", "")}, Rows: rows}
	g := guard{Definition: d, log: slog.New(slog.DiscardHandler), slots: make(chan struct{}, 1), limit: limit}
	return table.NewPlugin(d.Name, d.Columns, g.generate)
}

func call(ctx context.Context, p *table.Plugin) osquery.ExtensionResponse {
	return p.Call(ctx, osquery.ExtensionPluginRequest{"action": "generate", "context": `{"constraints":[]}`})
}

func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	p := plugin(t, time.Second, func(context.Context, Query) ([]Row, error) { panic("boom") })
	r := call(t.Context(), p)
	require.EqualValues(t, 1, r.Status.Code)
	require.Contains(t, r.Status.Message, "t: panic: boom")
	require.EqualValues(t, 1, call(t.Context(), p).Status.Code, "the slot is free again")
}

func TestTimeLimitAndSlots(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := plugin(t, 50*time.Millisecond, func(context.Context, Query) ([]Row, error) { <-release; return nil, nil })
	started := time.Now()
	r := call(t.Context(), p)
	require.EqualValues(t, 1, r.Status.Code)
	require.Contains(t, r.Status.Message, "deadline exceeded")
	require.Contains(t, call(t.Context(), p).Status.Message, "no free worker", "a call that hangs keeps its slot")
	require.Less(t, time.Since(started), 5*time.Second)
	close(release)
	require.Eventually(t, func() bool { return call(t.Context(), p).Status.Code == 0 }, 5*time.Second, 10*time.Millisecond)
}

func TestCallerGoneEndsTheCall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := plugin(t, time.Minute, func(ctx context.Context, _ Query) ([]Row, error) { cancel(); <-ctx.Done(); return nil, ctx.Err() })
	require.Contains(t, call(ctx, p).Status.Message, "canceled")
}

func query(column string, op table.Operator, values ...string) Query {
	var list []table.Constraint
	for _, v := range values {
		list = append(list, table.Constraint{Operator: op, Expression: v})
	}
	return Query{table.QueryContext{Constraints: map[string]table.ConstraintList{column: {Constraints: list}}}}
}

func TestWants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op      table.Operator
		values  []string
		value   string
		wanted  bool
		comment string
	}{
		{table.OperatorEquals, nil, "x", true, "no constraint"},
		{table.OperatorEquals, []string{"a", "x"}, "x", true, "one of an IN"},
		{table.OperatorEquals, []string{"a", "b"}, "x", false, ""},
		{table.OperatorLike, []string{"/Lib%/X_"}, "/library/a/xy", true, "LIKE ignores case and crosses /"},
		{table.OperatorLike, []string{"/Lib%/X_"}, "/library/a/xyz", false, ""},
		{table.OperatorLike, []string{"%a%a%b"}, "aaaaaaaaaaaaaaaaaaaaaaaaac", false, ""},
		{table.OperatorGlob, []string{"/Lib*/?"}, "/Library/a", true, ""},
		{table.OperatorGlob, []string{"/lib*"}, "/Library", false, "GLOB minds case"},
		{table.OperatorGlob, []string{"[a-c]*"}, "z", true, "classes are left to SQLite"},
		{table.OperatorGreaterThan, []string{"x"}, "a", true, "left to SQLite"},
		{68, []string{"x"}, "x", true, "!= is left to SQLite"},
	} {
		require.Equal(t, c.wanted, query("c", c.op, c.values...).Wants("c", c.value), "%+v", c)
	}
	for _, c := range []struct {
		op     table.Operator
		bound  string
		wanted bool
	}{
		{table.OperatorEquals, "10", true}, {table.OperatorEquals, "11", false}, {table.OperatorEquals, "ten", true},
		{table.OperatorGreaterThan, "9", true}, {table.OperatorGreaterThan, "10", false}, {table.OperatorGreaterThanOrEquals, "10", true},
		{table.OperatorLessThan, "10", false}, {table.OperatorLessThan, "11", true}, {table.OperatorLessThanOrEquals, "9", false},
	} {
		require.Equal(t, c.wanted, query("n", c.op, c.bound).WantsInt("n", 10), "%+v", c)
	}
	require.True(t, query("n", table.OperatorEquals, "1", "10").WantsInt("n", 10))
}

func TestRow(t *testing.T) {
	t.Parallel()
	r := Row{}
	r.Float("d", 7.123456789)
	r.Bool("b", true)
	r.List("l", []string{"a", "b"})
	r.Errors(nil, context.Canceled, nil)
	require.Equal(t, Row{"d": "7.12346", "b": "1", "l": "a,b", "error": "context canceled"}, r)
}
