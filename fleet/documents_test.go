package fleet

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	osquery "github.com/osquery/osquery-go"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/packs"
	"github.com/cipherlens/cipherlens/tables"
)

// packColumns are the columns of the result of one query of the pack.
func packColumns(t *testing.T, name string) []string {
	host, err := sqlhost.New(t.Context(), sqlhost.Options{Platform: "darwin"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	var plugins []osquery.OsqueryPlugin
	for _, d := range tables.All() {
		plugins = append(plugins, empty(d))
	}
	require.NoError(t, host.Attach("cipherlens", plugins...))
	queries, err := packs.Queries(os.DirFS("../packs"), "an0402")
	require.NoError(t, err)
	i := slices.IndexFunc(queries, func(q packs.Query) bool { return q.Name == name })
	result, err := host.Query(t.Context(), queries[i].SQL)
	require.NoError(t, err)
	return result.Columns
}

// TestECSCoversEveryColumn: each column of findings and flows has one place, no other has, and no two share one.
func TestECSCoversEveryColumn(t *testing.T) {
	t.Parallel()
	columns, fields := map[string]bool{}, map[string]bool{}
	for _, f := range ECS {
		require.False(t, columns[f.Column] || fields[f.Field], "%s, %s: twice", f.Column, f.Field)
		columns[f.Column], fields[f.Field] = true, true
		require.Contains(t, []string{"keyword", "ip", "long", "double", "date"}, f.Type)
		require.True(t, strings.HasPrefix(f.Field, "cipherlens.") || slices.Contains(ecsNames, f.Field), "%s is not in ECS", f.Field)
	}
	want := map[string]bool{}
	for _, query := range []string{"detection", "flows"} {
		for _, c := range packColumns(t, query) {
			want[c] = true
		}
	}
	require.Equal(t, want, columns)
}

// ecsNames are fields of the Elastic Common Schema 8.17, those that are used here.
var ecsNames = strings.Fields(`process.executable process.name process.pid process.code_signature.signing_id process.code_signature.team_id
	process.code_signature.status process.hash.cdhash service.name source.ip source.port source.bytes source.packets destination.ip destination.port
	destination.bytes destination.packets network.iana_number network.protocol network.community_id tls.client.server_name event.end event.reason log.level`)

func TestIngestPipelineIsOne(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("elastic/ingest-pipeline.json")
	require.NoError(t, err)
	var p struct {
		Description string                      `json:"description"`
		Processors  []map[string]map[string]any `json:"processors"`
		OnFailure   []map[string]map[string]any `json:"on_failure"`
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&p))
	for _, processor := range p.Processors {
		require.Len(t, processor, 1)
		for kind, options := range processor {
			require.Contains(t, []string{"date", "rename", "gsub", "set", "convert", "split", "remove"}, kind)
			require.Contains(t, options, "field")
		}
	}
	require.Len(t, p.OnFailure, 1)
}

// TestNavigatorLayer checks the layer against the format's rules (mitre-attack/attack-navigator, layers/spec/v4.5/layerformat.md).
func TestNavigatorLayer(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("attack/navigator-layer.json")
	require.NoError(t, err)
	var layer Layer
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&layer))
	require.Equal(t, "enterprise-attack", layer.Domain)
	require.Equal(t, "4.5", layer.Versions["layer"])
	scored := map[string]int{}
	for _, technique := range layer.Techniques {
		require.Regexp(t, techniqueID, technique.ID)
		require.NotContains(t, scored, technique.ID)
		require.LessOrEqual(t, technique.Score, layer.Gradient.MaxValue)
		require.NotEmpty(t, technique.Comment)
		scored[technique.ID] = technique.Score
	}
	require.Equal(t, 100, scored["T1573.001"], "the scheduled detection")
	for _, c := range layer.Gradient.Colors {
		require.Regexp(t, `^#[0-9a-f]{6}$`, c)
	}
}
