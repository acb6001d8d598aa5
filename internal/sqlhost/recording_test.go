package sqlhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	osquery "github.com/osquery/osquery-go"
	gen "github.com/osquery/osquery-go/gen/osquery"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

const recordings = "testdata/osqueryd-5.23.1/"

// recordedCall is one generate request, as calls.jsonl has it.
type recordedCall struct {
	Table   string          `json:"table"`
	Context recordedContext `json:"context"`
}

type recordedContext struct {
	ColsUsed    []string             `json:"colsUsed"`
	Constraints []recordedConstraint `json:"constraints"`
}

type recordedConstraint struct {
	Name     string         `json:"name"`
	Affinity string         `json:"affinity"`
	List     []recordedTerm `json:"list"`
}

type recordedTerm struct {
	Op   int    `json:"op"`
	Expr string `json:"expr"`
}

type recordedStatement struct {
	SQL    string              `json:"sql"`
	Calls  []recordedCall      `json:"calls"`
	Rows   []map[string]string `json:"rows"`
	Stderr []string            `json:"stderr"`
}

func readRecording(t *testing.T) []recordedStatement {
	t.Helper()
	data, err := os.ReadFile(recordings + "calls.jsonl")
	require.NoError(t, err)
	var statements []recordedStatement
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s recordedStatement
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		statements = append(statements, s)
	}
	require.Len(t, statements, 150)
	return statements
}

// A recorder is the extension of the recording: eight tables of four rows that write down every generate request.
type recorder struct {
	mu    sync.Mutex
	calls []recordedCall
	err   error
}

func (r *recorder) take() ([]recordedCall, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls, err := r.calls, r.err
	r.calls, r.err = nil, nil
	return calls, err
}

// A recordingPlugin notes requests on their way to the table.
type recordingPlugin struct {
	*table.Plugin
	recorder *recorder
}

func (p recordingPlugin) Call(ctx context.Context, request gen.ExtensionPluginRequest) gen.ExtensionResponse {
	if request["action"] == "generate" {
		p.recorder.note(p.Name(), request["context"])
	}
	return p.Plugin.Call(ctx, request)
}

func (r *recorder) note(name, contextJSON string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	call := recordedCall{Table: name}
	decoder := json.NewDecoder(bytes.NewReader([]byte(contextJSON)))
	decoder.DisallowUnknownFields()
	var full struct {
		recordedContext
		ColsUsedBitset uint64 `json:"colsUsedBitset"`
	}
	if err := decoder.Decode(&full); err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %s: %w", name, contextJSON, err)
	}
	call.Context = full.recordedContext
	r.calls = append(r.calls, call)
	// The recording dropped the bit set, which says the same as the names do.
	var bits uint64
	for _, column := range full.ColsUsed {
		bits |= 1 << slices.Index([]string{"k", "pid", "big", "d", "t"}, column)
	}
	if bits != full.ColsUsedBitset && r.err == nil {
		r.err = fmt.Errorf("%s: colsUsedBitset %b, want %b", name, full.ColsUsedBitset, bits)
	}
}

// tables are the eight tables that the recording's README describes.
func (r *recorder) tables() []osquery.OsqueryPlugin {
	index, additional, required, optimized := table.IndexColumn(), table.AdditionalColumn(), table.RequiredColumn(), table.OptimizedColumn()
	options := map[string][]table.ColumnOpt{
		"t_plain": nil, "t_idx": {index}, "t_idxopt": {index, optimized}, "t_add": {additional}, "t_addopt": {additional, optimized},
		"t_req": {required}, "t_reqopt": {required, optimized}, "t_opt": {optimized},
	}
	var plugins []osquery.OsqueryPlugin
	for name, opts := range options {
		columns := []table.ColumnDefinition{
			table.TextColumn("k", opts...), table.IntegerColumn("pid", opts...), table.BigIntColumn("big", optimized),
			table.DoubleColumn("d", optimized), table.TextColumn("t", optimized),
		}
		plugins = append(plugins, recordingPlugin{table.NewPlugin(name, columns, fourRows), r})
	}
	return plugins
}

func fourRows(context.Context, table.QueryContext) ([]map[string]string, error) {
	var rows []map[string]string
	for i := range 4 {
		n := strconv.Itoa(i)
		rows = append(rows, map[string]string{
			"k": "k" + n, "pid": strconv.Itoa(100 + i), "big": strconv.Itoa(1<<40 + i), "d": n + ".5", "t": "text" + n,
		})
	}
	return rows, nil
}

func TestRecordingInProcess(t *testing.T) {
	t.Parallel()
	var stderr []string
	host := newHost(t, Options{Warn: func(line string) { stderr = append(stderr, line) }})
	r := &recorder{}
	require.NoError(t, host.Attach("rec", r.tables()...))
	replay(t, host, r, &stderr)
}

// replay runs every recorded statement and compares the calls, the rows and what osquery printed. There is no list of
// exceptions: the embedded SQLite, newer than osquery's, plans all 150 statements alike.
func replay(t *testing.T, host *Host, r *recorder, stderr *[]string) {
	t.Helper()
	for i, s := range readRecording(t) {
		*stderr = []string{}
		result, err := host.Query(t.Context(), s.SQL)
		rows := []map[string]string{}
		if err != nil {
			*stderr = append(*stderr, "Error: "+err.Error())
		} else {
			rows = result.Maps()
		}
		calls, err := r.take()
		require.NoError(t, err)
		what := fmt.Sprintf("statement %d: %s", i+1, s.SQL)
		require.Equal(t, s.Stderr, *stderr, what)
		require.ElementsMatch(t, s.Rows, rows, what)
		require.Equal(t, normal(s.Calls), normal(calls), what)
	}
}

// normal makes an empty list of calls comparable.
func normal(calls []recordedCall) []recordedCall {
	if len(calls) == 0 {
		return []recordedCall{}
	}
	return calls
}

func newHost(t *testing.T, opts Options) *Host {
	t.Helper()
	host, err := New(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return host
}
