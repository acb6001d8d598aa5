package packs

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGeneratedPacksAreCurrent(t *testing.T) {
	t.Parallel()
	names, err := Names(os.DirFS("."))
	require.NoError(t, err)
	require.Equal(t, []string{"an0401", "an0402", "an0402-coverage", "an0402-egress", "an0402-hunt", "an0402-response"}, names)
	for _, name := range names {
		want, err := Build(os.DirFS("."), name)
		require.NoError(t, err)
		got, err := Files.ReadFile(name + ".conf")
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run: go generate ./packs")
	}
	docs, err := os.ReadFile("../docs/packs.md")
	require.NoError(t, err)
	want, err := Markdown(os.DirFS("."))
	require.NoError(t, err)
	require.Contains(t, string(docs), MarkerBegin+"\n"+want+MarkerEnd, "run: go generate ./packs")
}

func TestParseQueryNamesFileAndField(t *testing.T) {
	t.Parallel()
	const good = "-- description: d\n--   goes on\n-- attack: AN0402\n-- kind: finding\n-- platform: darwin\n-- interval: 60\n-- snapshot: true\n-- false_positives: f\n-- response: r\nSELECT 1\n"
	q, err := ParseQuery("p/q.sql", []byte(good))
	require.NoError(t, err)
	require.Equal(t, Query{Name: "q", SQL: "SELECT 1", Description: "d goes on", Attack: "AN0402", Kind: "finding", Platform: "darwin", Interval: 60,
		Snapshot: true, FalsePositives: "f", Response: "r"}, q)
	for _, change := range [][2]string{
		{"-- attack: AN0402\n", ""},
		{"-- kind: finding\n", ""},
		{"kind: finding", "kind: guess"},
		{"platform: darwin", "platform: posix"},
		{"interval: 60", "interval: often"},
		{"-- snapshot: true\n", ""},
		{"snapshot: true", "snapshot: maybe"},
		{"-- response: r", "-- response: r\n-- respnse: r"},
		{"-- platform: darwin\n", "-- platform: darwin\n-- platform: linux\n"},
		{"-- false_positives: f\n", "-- nonsense\n"},
		{"description: d", "description: \u00e4"},
		{"SELECT 1", "SELECT '$HOME'"},
		{"SELECT 1", "SELECT 1; SELECT 2"},
		{"SELECT 1\n", ""},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		_, err := ParseQuery("p/q.sql", []byte(bad))
		require.ErrorContains(t, err, "p/q.sql", bad)
	}
}

func TestPaste(t *testing.T) {
	t.Parallel()
	got, err := Paste("WITH asked(value) AS (SELECT ''), x AS (SELECT 1) SELECT ''", "it's")
	require.NoError(t, err)
	require.Equal(t, "WITH asked(value) AS (SELECT 'it''s'), x AS (SELECT 1) SELECT ''", got)
	_, err = Paste("SELECT ''", "7")
	require.Error(t, err)
	_, err = Paste(unasked, "a\x00b")
	require.Error(t, err)
}

// Whatever is accepted has every field, and SQL that Fleet and osquery take.
func FuzzParseQuery(f *testing.F) {
	for _, name := range []string{"an0402/detection.sql", "an0402/jobs.sql", "an0402-response/lineage.sql"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseQuery("p/q.sql", data)
		if err != nil {
			require.ErrorContains(t, err, "p/q.sql")
			return
		}
		for _, field := range []string{q.SQL, q.Description, q.Attack, q.Kind, q.Platform, q.FalsePositives, q.Response} {
			require.NotEmpty(t, field)
			require.NotContains(t, field, "$")
		}
		require.NotContains(t, q.SQL, ";")
		require.False(t, q.Snapshot && q.Removed)
	})
}
