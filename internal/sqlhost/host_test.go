package sqlhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

// rowsTable is a table of fixed rows.
func rowsTable(name string, columns []table.ColumnDefinition, rows ...map[string]string) *table.Plugin {
	return table.NewPlugin(name, columns, func(context.Context, table.QueryContext) ([]map[string]string, error) { return rows, nil })
}

func TestResultKeepsColumnsAndKinds(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	result, err := host.Query(t.Context(), "select 1 as a, 'two' as a, null as n, 0.1 as d, 1e20 as e, 7.0 as f, x'4142' as b")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a", "n", "d", "e", "f", "b"}, result.Columns)
	// printf("%.17g") of 0.1 is C's; boost::lexical_cast writes doubles that way, and osquery adds the point.
	require.Equal(t, [][]Value{{
		{"1", Integer}, {"two", Text}, {"", Null}, {"0.10000000000000001", Float}, {"1e+20.0", Float}, {"7.0", Float}, {"AB", Text},
	}}, result.Rows)
	require.Equal(t, "two", result.Maps()[0]["a"])
	require.Equal(t, "", result.Maps()[0]["n"])
}

// What becomes of a value is read from osquery/sql/dynamic_table_row.cpp, DynamicTableRow::get_column.
func TestColumnTakesItsType(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	columns := columnsOf("i INTEGER, b BIGINT, d DOUBLE, t TEXT", table.OptimizedColumn())
	columns = append(columns, table.NewColumn("u", table.ColumnTypeUnsignedBigInt, table.OptimizedColumn()), table.TextColumn("h", table.HiddenColumn()))
	require.NoError(t, host.Attach("e", rowsTable("x", columns,
		map[string]string{"i": "2147483648", "b": "9223372036854775807", "u": "18446744073709551615", "d": "1e3", "t": "a\x00b", "h": "hidden"},
		map[string]string{"i": "0x10", "b": "010", "u": "7", "d": "1.5x", "t": ""},
		map[string]string{"i": "1_000", "b": "", "u": "-1", "d": "", "t": "é"},
		map[string]string{},
	)))
	result, err := host.Query(t.Context(), "select * from x")
	require.NoError(t, err)
	require.Equal(t, []string{"i", "b", "d", "t", "u"}, result.Columns)
	null := Value{}
	require.Equal(t, [][]Value{
		{{"-2147483648", Integer}, {"9223372036854775807", Integer}, {"1000.0", Float}, {"a\x00b", Text}, null},
		{{"16", Integer}, {"8", Integer}, null, {"", Text}, {"7", Integer}},
		{null, null, null, {"é", Text}, {"-1", Integer}},
		{null, null, null, null, null},
	}, result.Rows)
	result, err = host.Query(t.Context(), "select h from x limit 1")
	require.NoError(t, err)
	require.Equal(t, "hidden", result.Rows[0][0].Text)
}

func TestTableThatFails(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	column := []table.ColumnDefinition{table.TextColumn("a")}
	require.NoError(t, host.Attach("e",
		table.NewPlugin("panics", column, func(context.Context, table.QueryContext) ([]map[string]string, error) { panic("boom") }),
		table.NewPlugin("fails", column, func(context.Context, table.QueryContext) ([]map[string]string, error) {
			return nil, errors.New("no privilege")
		}),
	))
	for _, tt := range []struct{ sql, message string }{
		{"select * from panics", "table panics: panic: boom"},
		{"select * from fails", "error generating table: no privilege"},
		{"select * from nope", "no such table: nope"},
		{"select nope from fails", "no such column: nope"},
		{"selekt 1", `near "selekt": syntax error`},
	} {
		_, err := host.Query(t.Context(), tt.sql)
		require.EqualError(t, err, tt.message)
	}
	result, err := host.Query(t.Context(), "select 1")
	require.NoError(t, err)
	require.Len(t, result.Rows, 1)
}

func TestStatementsOnlyRead(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	file := t.TempDir() + "/x.db"
	for _, sql := range []string{
		"attach '" + file + "' as x", "create table x(a)", "create temp table x(a)", "pragma writable_schema=on",
		"insert into time(year) values (1)", "delete from time", "drop table time", "begin",
	} {
		_, err := host.Query(t.Context(), sql)
		require.Error(t, err, sql)
	}
	_, err := os.Stat(file)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestResultIsBounded(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{MaxRows: 10})
	const count = "with recursive n(i) as (select 1 union all select i+1 from n where i<%) select i from n"
	_, err := host.Query(t.Context(), strings.ReplaceAll(count, "%", "11"))
	require.ErrorContains(t, err, "more than 10 rows")
	result, err := host.Query(t.Context(), strings.ReplaceAll(count, "%", "10"))
	require.NoError(t, err)
	require.Len(t, result.Rows, 10)
	_, err = host.Query(t.Context(), strings.Repeat(" ", maxSQLBytes+1))
	require.ErrorContains(t, err, "the limit is")
}

func TestQueryThatUsesUpSQLitesMemory(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	host.sessions.memory = 4 << 20
	require.NoError(t, host.Attach("e", rowsTable("big", columnsOf("a TEXT"), map[string]string{"a": strings.Repeat("x", 8<<20)})))
	for range 2 * maxSessions {
		_, err := host.Query(t.Context(), "select length(a) from big")
		require.ErrorContains(t, err, "out of memory")
	}
	_, err := host.Query(t.Context(), "select 1")
	require.NoError(t, err)
}

func TestQueryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	slow := func(ctx context.Context, _ table.QueryContext) ([]map[string]string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	require.NoError(t, host.Attach("e", table.NewPlugin("slow", []table.ColumnDefinition{table.TextColumn("a")}, slow)))
	for _, sql := range []string{"select * from slow", "with recursive n(i) as (select 1 union all select i+1 from n) select max(i) from n"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		started := time.Now()
		_, err := host.Query(ctx, sql)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, sql)
		require.Less(t, time.Since(started), 5*time.Second, sql)
	}
	_, err := host.Query(t.Context(), "select 1")
	require.NoError(t, err)
}

// A table may ask its host while the host asks it; each such query takes a connection more, up to a limit.
func TestTableQueriesItsHost(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	var depth sync.Map
	nested := func(ctx context.Context, _ table.QueryContext) ([]map[string]string, error) {
		if _, second := depth.LoadOrStore("in", true); second {
			return []map[string]string{{"a": "inner"}}, nil
		}
		result, err := host.Query(ctx, "select a from nested")
		if err != nil {
			return nil, err
		}
		return result.Maps(), nil
	}
	endless := func(ctx context.Context, _ table.QueryContext) ([]map[string]string, error) {
		_, err := host.Query(ctx, "select a from endless")
		return nil, err
	}
	column := []table.ColumnDefinition{table.TextColumn("a")}
	require.NoError(t, host.Attach("e", table.NewPlugin("nested", column, nested), table.NewPlugin("endless", column, endless)))
	result, err := host.Query(t.Context(), "select a from nested")
	require.NoError(t, err)
	require.Equal(t, "inner", result.Rows[0][0].Text)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = host.Query(ctx, "select a from endless")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestQueriesInParallel(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	require.NoError(t, host.Attach("rec", (&recorder{}).tables()...))
	var wg sync.WaitGroup
	errs := make(chan error, 40)
	for i := range cap(errs) {
		wg.Go(func() {
			pid := strconv.Itoa(100 + i%4)
			result, err := host.Query(t.Context(), "select k from t_addopt where pid = "+pid)
			if err == nil && (len(result.Rows) != 1 || result.Rows[0][0].Text != "k"+strconv.Itoa(i%4)) {
				err = errors.New("wrong rows for pid " + pid)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	good := []table.ColumnDefinition{table.TextColumn("a")}
	for name, tt := range map[string]struct {
		plugin  *table.Plugin
		message string
	}{
		"a core table's name": {rowsTable("time", good), "Failed adding registry broadcast"},
		"no table name":       {rowsTable("x; drop table y", good), "not a table name"},
		"sqlite's names":      {rowsTable("SQLite_x", good), "not a table name"},
		"no columns":          {rowsTable("x", nil), "0 columns"},
		"a column twice":      {rowsTable("x", columnsOf("a TEXT, A TEXT")), "declared twice"},
		"an unknown type":     {rowsTable("x", columnsOf("a NUMBER")), "unknown type"},
		"too many columns":    {rowsTable("x", columnsOf("a0 TEXT"+manyColumns(maxColumns))), "want 1 to 2000"},
	} {
		require.ErrorContains(t, host.Attach("e", tt.plugin), tt.message, name)
	}
	require.NoError(t, host.Attach("e", rowsTable("x", columnsOf("a TEXT"+manyColumns(maxColumns-1)), map[string]string{"a1999": "last"})))
	require.ErrorContains(t, host.Attach("e", rowsTable("y", good)), "Duplicate extension registered")
	result, err := host.Query(t.Context(), "select a1999 from x")
	require.NoError(t, err)
	require.Equal(t, "last", result.Rows[0][0].Text)
}

func manyColumns(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		b.WriteString(", a" + strconv.Itoa(i) + " TEXT")
	}
	return b.String()
}

func TestClosedHost(t *testing.T) {
	t.Parallel()
	host, err := New(t.Context(), Options{})
	require.NoError(t, err)
	require.NoError(t, host.Close())
	require.NoError(t, host.Close())
	_, err = host.Query(t.Context(), "select 1")
	require.ErrorIs(t, err, errClosed)
	require.ErrorIs(t, host.Serve(t.TempDir()+"/s"), errClosed)
}

// Importing the package, as the extension's binary does, must not start SQLite: a fresh process has opened nothing.
func TestImportStartsNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv("SQLHOST_IMPORT_ONLY") != "" {
		require.Zero(t, Opened())
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestImportStartsNothing$", "-test.v")
	cmd.Env = append(os.Environ(), "SQLHOST_IMPORT_ONLY=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestImportStartsNothing")
	newHost(t, Options{})
	require.Positive(t, Opened())
}

func TestCoreTablesHaveOsquerysColumns(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(read(t, "testdata/core-columns.tsv")))
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if strings.HasPrefix(f[0], "#") {
			continue
		}
		if want[f[0]] == nil {
			want[f[0]] = map[string]string{}
		}
		want[f[0]][f[1]] = f[2]
	}
	host := newHost(t, Options{Platform: "linux"})
	got := map[string]map[string]string{}
	for name, r := range host.tables {
		got[name] = map[string]string{}
		for _, c := range r.columns {
			got[name][c.name] = c.typ
		}
	}
	require.Equal(t, want, got)
}

func TestCoreTables(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 11, 3, 8, 5, 9, 0, time.FixedZone("x", 3600)), 0)
	host := newHost(t, Options{Clock: clock, Platform: "darwin", Flags: map[string]string{"custom_cipherlens": `{"a":"b"}`}})
	require.NoError(t, host.Attach("mine", rowsTable("x", columnsOf("a TEXT"))))
	for _, tt := range []struct {
		sql  string
		want []map[string]string
	}{
		{"select unix_time, iso_8601, timestamp, weekday, hour, minutes from time", []map[string]string{{
			"unix_time": "1793689509", "iso_8601": "2026-11-03T07:05:09Z", "timestamp": "Tue Nov  3 07:05:09 2026 UTC",
			"weekday": "Tuesday", "hour": "7", "minutes": "5"}}},
		{"select version, build_platform, platform_mask, extensions, start_time, pid from osquery_info", []map[string]string{{
			"version": "5.23.1", "build_platform": "darwin", "platform_mask": "21", "extensions": "active",
			"start_time": "1793689509", "pid": strconv.Itoa(os.Getpid())}}},
		{"select name, type from osquery_extensions order by uuid", []map[string]string{
			{"name": "core", "type": "core"}, {"name": "mine", "type": "extension"}}},
		{"select value from osquery_flags where name = 'custom_cipherlens'", []map[string]string{{"value": `{"a":"b"}`}}},
		{"select hostname = computer_name as same from system_info", []map[string]string{{"same": "1"}}},
	} {
		result, err := host.Query(t.Context(), tt.sql)
		require.NoError(t, err, tt.sql)
		require.Equal(t, tt.want, result.Maps(), tt.sql)
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the table processes is Linux's")
	}
	host := newHost(t, Options{})
	executable, err := os.Executable()
	require.NoError(t, err)
	pid := strconv.Itoa(os.Getpid())
	result, err := host.Query(t.Context(), "select pid, path, cmdline, uid, parent, on_disk, threads > 0 as threads, resident_size > 0 as resident, "+
		"abs(start_time - "+strconv.FormatInt(time.Now().Unix(), 10)+") < 3600 as started from processes where pid in ("+pid+", 2147483647)")
	require.NoError(t, err)
	require.Equal(t, []map[string]string{{
		"pid": pid, "path": executable, "cmdline": strings.Join(os.Args, " "), "uid": strconv.Itoa(os.Getuid()), "parent": strconv.Itoa(os.Getppid()),
		"on_disk": "1", "threads": "1", "resident": "1", "started": "1",
	}}, result.Maps())
	result, err = host.Query(t.Context(), "select count(*) > 1 as many from processes")
	require.NoError(t, err)
	require.Equal(t, "1", result.Rows[0][0].Text)
}
