package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/packs"
	"github.com/cipherlens/cipherlens/tables"
)

// osqueryColumn is one of osquery's own.
type osqueryColumn struct{ name, typ, platforms string }

// osqueryTables reads a list of osquery's tables: table, column, type, platforms.
func osqueryTables(t *testing.T, name string) map[string][]osqueryColumn {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	found := map[string][]osqueryColumn{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") || strings.HasPrefix(lines.Text(), "table\t") {
			continue
		}
		part := strings.Split(lines.Text(), "\t")
		require.Len(t, part, 4)
		found[part[0]] = append(found[part[0]], osqueryColumn{part[1], part[2], part[3]})
	}
	require.NoError(t, lines.Err())
	return found
}

func (c osqueryColumn) on(platform string) bool {
	return c.platforms == "all" || slices.Contains(strings.Split(c.platforms, ","), platform)
}

// database is a SQLite database with osquery's tables, as one platform has them, and ours, all empty.
func database(t *testing.T, core map[string][]osqueryColumn, platform string) *sqlite3.Conn {
	t.Helper()
	db, err := sqlite3.Open(":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	for name, columns := range core {
		var list []string
		for _, c := range columns {
			if c.on(platform) {
				list = append(list, fmt.Sprintf("%q %s", c.name, c.typ))
			}
		}
		if len(list) > 0 {
			require.NoError(t, db.Exec("CREATE TABLE "+name+" ("+strings.Join(list, ", ")+")"))
		}
	}
	for _, d := range tables.All() {
		var list []string
		for _, c := range d.Columns {
			list = append(list, fmt.Sprintf("%q %s", c.Name, c.Type))
		}
		require.NoError(t, db.Exec("CREATE TABLE "+d.Name+" ("+strings.Join(list, ", ")+")"))
	}
	return db
}

// coreFunctions are SQLite's own (https://sqlite.org/lang_corefunc.html, lang_aggfunc.html, windowfunctions.html) that packs use, and osquery's sqrt
// (osquery/sql/sqlite_math.cpp): any osquery has them.
var coreFunctions = []string{"abs", "avg", "count", "group_concat", "ifnull", "lag", "like", "max", "min", "replace", "round", "rtrim", "sqrt", "sum"}

// TestQueriesFitTheirPlatforms: every query prepares where osquery's tables have exactly the columns of its platforms, uses no function that
// osquery lacks, and shows an exception_key.
func TestQueriesFitTheirPlatforms(t *testing.T) {
	t.Parallel()
	core := osqueryTables(t, "../packs/testdata/osquery-tables.tsv")
	names, err := packs.Names(os.DirFS("../packs"))
	require.NoError(t, err)
	used := map[string]bool{}
	for _, platform := range []string{"darwin", "linux"} {
		db := database(t, core, platform)
		require.NoError(t, db.SetAuthorizer(func(action sqlite3.AuthorizerActionCode, first, second, _, _ string) sqlite3.AuthorizerReturnCode {
			switch {
			case action == sqlite3.AUTH_FUNCTION && !slices.Contains(coreFunctions, second):
				t.Errorf("the function %s is not known to be osquery's", second)
			case action == sqlite3.AUTH_READ:
				used[first] = true
			}
			return sqlite3.AUTH_OK
		}))
		for _, name := range names {
			queries, err := packs.Queries(os.DirFS("../packs"), name)
			require.NoError(t, err)
			for _, q := range queries {
				if !slices.Contains(strings.Split(q.Platform, ","), platform) {
					continue
				}
				statement, rest, err := db.Prepare(q.SQL)
				require.NoError(t, err, "%s/%s on %s", name, q.Name, platform)
				require.Empty(t, strings.TrimSpace(rest))
				var columns []string
				for i := range statement.ColumnCount() {
					columns = append(columns, statement.ColumnName(i))
				}
				require.Contains(t, columns, "exception_key", "%s/%s", name, q.Name)
				require.NotContains(t, columns, "", "%s/%s", name, q.Name)
				sorted := slices.Sorted(slices.Values(columns))
				require.Len(t, slices.Compact(sorted), len(columns), "%s/%s: a column's name comes twice", name, q.Name)
				require.Equal(t, q.Kind == packs.Response, strings.HasPrefix(q.SQL, "WITH asked(value) AS (SELECT ''),"), "%s/%s", name, q.Name)
				require.Equal(t, q.Interval == 0, q.Kind == packs.Response || name == "an0402-hunt", "%s/%s", name, q.Name)
				require.NoError(t, statement.Close())
			}
		}
	}
	for name := range core {
		require.True(t, used[name], "no query reads %s: leave it out of packs/testdata/osquery-tables.tsv", name)
	}
}

// TestOsquerysTablesAreCurrent compares our copy with the list that it comes from, where that is here.
func TestOsquerysTablesAreCurrent(t *testing.T) {
	t.Parallel()
	const all = "../../shared/reference/osquery-tables.tsv"
	if _, err := os.Stat(all); err != nil {
		t.Skip(all + " is not here")
	}
	want := osqueryTables(t, all)
	for name, columns := range osqueryTables(t, "../packs/testdata/osquery-tables.tsv") {
		require.Equal(t, want[name], columns, name)
	}
}
