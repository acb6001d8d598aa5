package sqlhost

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParsePack(t *testing.T) {
	t.Parallel()
	pack, err := ParsePack("an0402", []byte(`{
		"platform": "darwin", "version": "5.0.0", "shard": "10", "oncall": "soc", "discovery": ["select 1"],
		"queries": {
			"b": {"query": "select 2", "interval": "300", "snapshot": true, "removed": false, "denylist": false,
			      "platform": "posix", "version": "5.1", "shard": 20, "description": "d", "value": "v"},
			"a": {"query": "select 1"}
		}}`))
	require.NoError(t, err)
	require.Equal(t, &Pack{
		Name: "an0402", Platform: "darwin", Version: "5.0.0", Shard: 10, Discovery: []string{"select 1"},
		Queries: []PackQuery{
			{Name: "a", Query: "select 1", Interval: time.Hour, Removed: true, Denylist: true},
			{Name: "b", Query: "select 2", Interval: 300 * time.Second, Snapshot: true, Platform: "posix", Version: "5.1", Shard: 20, Description: "d"},
		},
	}, pack)
}

func TestParsePackNamesTheKey(t *testing.T) {
	t.Parallel()
	query := func(body string) string { return `{"queries":{"q":{"query":"select 1",` + body + `}}}` }
	for _, tt := range []struct{ pack, message string }{
		{``, "pack p: offset 0: unexpected EOF"},
		{`[]`, "pack p: not an object"},
		{`{}`, "pack p: queries: none"},
		{`{"queries":{}}`, "pack p: queries: none"},
		{`{"queries":[]}`, "pack p: queries: not an object"},
		{`{"queries":{"q":{}}}`, "pack p: query q: query: missing"},
		{`{"queries":{"q":{"query":" "}}}`, "pack p: query q: query: missing"},
		{`{"queries":{"":{"query":"select 1"}}}`, "a query without a name"},
		{`{"queries":{"q":"select 1"}}`, "pack p: query q: not an object"},
		{`{"queries":{"q":{"query":1}}}`, "pack p: query q: query: 1: not a string"},
		{`{"queries":{"q":{"query":"a","query":"b"}}}`, "pack p: query q: query: the key comes twice"},
		{`{"queries":{"q":{"query":"a"},"q":{"query":"b"}}}`, "pack p: queries: q: the key comes twice"},
		{query(`"intervall":3`), "pack p: query q: intervall: unknown key"},
		{query(`"interval":-1`), "pack p: query q: interval: -1: not from 0 to 604800 seconds"},
		{query(`"interval":604801`), "query q: interval: 604801"},
		{query(`"interval":1.5`), "query q: interval: 1.5: not a whole number"},
		{query(`"interval":null`), "query q: interval: null: not a whole number"},
		{query(`"interval":9223372036854775807`), "query q: interval: 9223372036854775807: not from"},
		{query(`"snapshot":1`), "query q: snapshot: 1: not true or false"},
		{query(`"removed":"no"`), `query q: removed: "no": not true or false`},
		{query(`"version":"new"`), `query q: version: "new": not a version`},
		{query(`"shard":101`), "query q: shard: 101: not from 0 to 100"},
		{`{"platform":null,"queries":{}}`, "pack p: platform: null: not a string"},
		{`{"discovery":"select 1"}`, "pack p: discovery: \"select 1\": not a list of strings"},
		{`{"discovery":[null]}`, "pack p: discovery"},
		{`{"querys":{}}`, "pack p: querys: unknown key"},
		{`{"queries":{"q":{"query":"select 1"}}} x`, "something after the object"},
		{`{"queries":{"q":{"query":"select 1"}`, "unexpected EOF"},
		{`{"queries":{"q":{"query":"select 1"}}, // all`, "invalid character '/'"},
	} {
		_, err := ParsePack("p", []byte(tt.pack))
		require.ErrorContains(t, err, tt.message, tt.pack)
	}
}

func TestPackIsBounded(t *testing.T) {
	t.Parallel()
	_, err := ParsePack("p", make([]byte, maxPackBytes+1))
	require.ErrorContains(t, err, "the limit is")
	_, err = ParsePack("p", []byte(`{"discovery":`+strings.Repeat("[", 1<<20)))
	require.ErrorContains(t, err, "discovery")
	many := `{"queries":{"q":{"query":"select 1"}` + strings.Repeat(`,"a":0`, maxPackQueries) + `}}`
	_, err = ParsePack("p", []byte(many))
	require.ErrorContains(t, err, "the key comes twice")
}

// Whatever is accepted reads the same to encoding/json, names no query twice, and has intervals that osqueryd takes.
func FuzzParsePack(f *testing.F) {
	f.Add([]byte(`{"queries":{"q":{"query":"select 1","interval":60}}}`))
	f.Add([]byte(`{"platform":"linux","discovery":["select 1"],"shard":5,"queries":{"a":{"query":"x","snapshot":"true"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		pack, err := ParsePack("p", data)
		if err != nil {
			return
		}
		var same struct {
			Platform string
			Queries  map[string]struct{ Query string }
		}
		require.NoError(t, json.Unmarshal(data, &same))
		require.Len(t, pack.Queries, len(same.Queries))
		require.True(t, slices.IsSortedFunc(pack.Queries, func(a, b PackQuery) int { return strings.Compare(a.Name, b.Name) }))
		for _, q := range pack.Queries {
			require.Equal(t, same.Queries[q.Name].Query, q.Query)
			require.GreaterOrEqual(t, q.Interval, time.Duration(0))
			require.LessOrEqual(t, q.Interval, maxInterval)
		}
	})
}
