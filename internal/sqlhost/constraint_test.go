package sqlhost

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gen "github.com/osquery/osquery-go/gen/osquery"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

// The bit set has a bit a column and agrees with the names; the 64th bit stands for all columns from there on
// (osquery/sql/virtual_table.cpp).
func TestColumnsUsed(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	var got struct {
		ColsUsed       []string
		ColsUsedBitset uint64
	}
	plugin := contextPlugin{rowsTable("x", columnsOf("a0 TEXT"+manyColumns(69)), map[string]string{}), func(s string) {
		require.NoError(t, json.Unmarshal([]byte(s), &got))
	}}
	require.NoError(t, host.Attach("e", plugin))
	last := []string{"a63", "a64", "a65", "a66", "a67", "a68", "a69"}
	for _, tt := range []struct {
		sql   string
		names []string
		bits  uint64
	}{
		{"select count(*) from x", []string{}, 0},
		{"select a2, a0 from x", []string{"a0", "a2"}, 0b101},
		{"select a62 from x", []string{"a62"}, 1 << 62},
		{"select a64 from x", last, 1 << 63},
		{"select a1 from x where a69 = ''", append([]string{"a1"}, last...), 1<<63 | 2},
	} {
		_, err := host.Query(t.Context(), tt.sql)
		require.NoError(t, err)
		require.Equal(t, tt.names, got.ColsUsed, tt.sql)
		require.Equal(t, tt.bits, got.ColsUsedBitset, tt.sql)
	}
}

// A contextPlugin shows the context of every generate request.
type contextPlugin struct {
	*table.Plugin
	see func(string)
}

func (p contextPlugin) Call(ctx context.Context, request gen.ExtensionPluginRequest) gen.ExtensionResponse {
	p.see(request["context"])
	return p.Plugin.Call(ctx, request)
}

// Values that osquery does not pass: empty ones, NULL, and what comes after a zero byte.
func TestConstraintValues(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	var got []table.Constraint
	generate := func(_ context.Context, query table.QueryContext) ([]map[string]string, error) {
		got = query.Constraints["a"].Constraints
		return nil, nil
	}
	require.NoError(t, host.Attach("e", table.NewPlugin("x", columnsOf("a TEXT", table.IndexColumn(), table.OptimizedColumn()), generate)))
	equals := func(values ...string) []table.Constraint {
		list := []table.Constraint{}
		for _, v := range values {
			list = append(list, table.Constraint{Operator: table.OperatorEquals, Expression: v})
		}
		return list
	}
	for _, tt := range []struct {
		where string
		want  []table.Constraint
	}{
		{"a = ''", equals()},
		{"a = null", equals()},
		{"a in ('', 'x', null)", equals("x")},
		{"a in ('b', 'a', 'b')", equals("a", "b")},
		{"a = 'é\"\\/' || char(10)", equals("é\"\\/\n")},
		{"a = 'x' || char(0) || 'y'", equals("x")},
		{"a = 5", equals("5")},
		{"a is null", equals()},
		{"a in (select a from x where 0)", equals()},
	} {
		got = equals("not called")
		_, err := host.Query(t.Context(), "select * from x where "+tt.where)
		require.NoError(t, err, tt.where)
		require.Equal(t, tt.want, got, tt.where)
	}
}

// What osquery-go's parser reads of a context is what was put into it, and the JSON is JSON.
func FuzzConstraintJSON(f *testing.F) {
	f.Add("k", "TEXT", 2, "k1", uint64(3))
	f.Add("\"\\/\x01é", "BIGINT", 65, "\x7f\u2028%", uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, name, typ string, op int, expr string, used uint64) {
		if !utf8.ValidString(name) || !utf8.ValidString(typ) || !utf8.ValidString(expr) {
			return
		}
		r := &relation{name: "x", columns: []relationColumn{{name: name, typ: typ}, {name: name + "2", typ: "TEXT"}}}
		context := r.contextJSON(used, map[int][]constraint{0: {{op: op, expr: expr}, {op: opEquals, expr: "second"}}})
		var got struct {
			recordedContext
			ColsUsedBitset uint64 `json:"colsUsedBitset"`
		}
		decoder := json.NewDecoder(strings.NewReader(context))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&got), context)
		require.Equal(t, []recordedConstraint{
			{name, typ, []recordedTerm{{op, expr}, {opEquals, "second"}}}, {name + "2", "TEXT", []recordedTerm{}},
		}, got.Constraints)
		require.Equal(t, used, got.ColsUsedBitset)
		require.Equal(t, used&1 != 0, slices.Contains(got.ColsUsed, name))
	})
}

// A plan comes back from SQLite as it was given, and nothing else that SQLite could hand over breaks anything.
func FuzzPlan(f *testing.F) {
	f.Add("1f 0:2 1:65:in")
	f.Add(scanPlan{}.String())
	f.Fuzz(func(t *testing.T, s string) {
		plan, err := parsePlan(s)
		if err != nil {
			return
		}
		again, err := parsePlan(plan.String())
		require.NoError(t, err)
		require.Equal(t, plan, again)
	})
}
