package packs

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGeneratedPacksAreCurrent(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	packs := 0
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "gen" || e.Name() == "testdata" {
			continue
		}
		want, err := Build(os.DirFS("."), e.Name())
		require.NoError(t, err)
		got, err := Files.ReadFile(e.Name() + ".conf")
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run: go generate ./packs")
		packs++
	}
	require.NotZero(t, packs)
}

func TestParseQueryNamesFileAndField(t *testing.T) {
	t.Parallel()
	const good = "-- description: d\n--   goes on\n-- attack: AN0402\n-- platform: darwin\n-- interval: 60\n-- snapshot: true\n-- false_positives: f\n-- response: r\nSELECT 1\n"
	q, err := ParseQuery("p/q.sql", []byte(good))
	require.NoError(t, err)
	require.Equal(t, Query{Name: "q", SQL: "SELECT 1", Description: "d goes on", Attack: "AN0402", Platform: "darwin", Interval: 60,
		Snapshot: true, FalsePositives: "f", Response: "r"}, q)
	for from, to := range map[string]string{
		"-- attack: AN0402\n":     "",
		"interval: 60":            "interval: often",
		"-- snapshot: true\n":     "",
		"snapshot: true":          "snapshot: maybe",
		"-- response: r":          "-- response: r\n-- respnse: r",
		"-- platform: darwin\n":   "-- platform: darwin\n-- platform: linux\n",
		"-- false_positives: f\n": "-- nonsense\n",
		"SELECT 1":                "SELECT 1; SELECT 2",
		"SELECT 1\n":              "",
	} {
		bad := strings.Replace(good, from, to, 1)
		require.NotEqual(t, good, bad)
		_, err := ParseQuery("p/q.sql", []byte(bad))
		require.ErrorContains(t, err, "p/q.sql", bad)
	}
}
