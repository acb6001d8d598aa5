package sqlhost

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAbsentTables(t *testing.T) {
	t.Parallel()
	var warned, called []string
	host := newHost(t, Options{Platform: "darwin", Warn: func(line string) { warned = append(warned, line) },
		Called:   func(table string) { called = append(called, table) },
		CoreRows: map[string][]map[string]string{"processes": {{"pid": "7", "parent": "1", "path": "/x"}, {"pid": "8"}}}})
	query := func(sql string) []map[string]string {
		result, err := host.Query(t.Context(), sql)
		require.NoError(t, err, sql)
		return result.Maps()
	}
	require.Equal(t, []map[string]string{{"path": "/x", "upid": ""}}, query("select path, upid from processes where pid = 7"))
	require.Empty(t, warned, "rows that were given are no gap")
	require.Empty(t, query("select label from launchd"))
	require.Empty(t, query("select label from launchd"))
	require.Equal(t, []string{"Table launchd is empty here: only osqueryd can fill it"}, warned, "one word is enough")
	require.Equal(t, []string{"processes", "launchd", "launchd"}, called)
	_, err := host.Query(t.Context(), "select 1 from systemd_units")
	require.ErrorContains(t, err, "no such table", "a table of another platform is not there")
	_, err = host.Query(t.Context(), "select 1 from file")
	require.ErrorContains(t, err, "without a required column")
}

func TestOfflineHidesThisHostsProcesses(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{Platform: "linux", Offline: true})
	result, err := host.Query(t.Context(), "select pid from processes")
	require.NoError(t, err)
	require.Empty(t, result.Rows)
}

func TestLiveQueriesAreNotScheduled(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{Platform: "darwin"})
	live := mustParse(t, `{"queries":{"q":{"query":"select 1 as one","interval":0,"snapshot":true}}}`)
	report, err := host.RunPack(t.Context(), live, RunOptions{}, &memoryLogger{})
	require.NoError(t, err)
	require.Equal(t, RunReport{Skipped: "its queries are live: they are not scheduled, but run once"}, report)
	report, err = host.RunPack(t.Context(), live, RunOptions{Once: true}, &memoryLogger{})
	require.NoError(t, err)
	require.Equal(t, RunReport{Runs: 1}, report)
	other := mustParse(t, `{"queries":{"q":{"query":"select 1","interval":60,"platform":"linux"}}}`)
	report, err = host.RunPack(t.Context(), other, RunOptions{Once: true}, &memoryLogger{})
	require.NoError(t, err)
	require.Equal(t, RunReport{Skipped: "none of its queries is for this host, which is darwin"}, report)
}
