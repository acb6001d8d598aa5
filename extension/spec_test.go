package main

import (
	"encoding/json"
	"log/slog"
	"os/exec"
	"testing"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
)

// TestSpecIsWhatOsqueryIsTold compares "spec --json" with the tables that the extension registers, column by column in what goes over Thrift.
func TestSpecIsWhatOsqueryIsTold(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "cipherlens.ext", "spec", "--json").Output()
	require.NoError(t, err)
	var specs []struct {
		Name, Description string
		Platforms         []string
		Columns           []struct {
			Name, Type, Description                        string
			Index, Required, Additional, Optimized, Hidden bool
		}
	}
	require.NoError(t, json.Unmarshal(out, &specs))
	b, err := newBench(benchOptions{root: "/", settings: config.NewStore("none.yaml"), log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer b.Close()
	registered := map[string]int{}
	for _, p := range b.plugins {
		registered[p.Name()] = len(p.(*table.Plugin).Routes())
	}
	require.Len(t, specs, len(registered))
	for _, s := range specs {
		require.Equal(t, registered[s.Name], len(s.Columns), s.Name)
		require.NotEmpty(t, s.Description)
		require.Equal(t, []string{"darwin", "linux"}, s.Platforms)
		for _, c := range s.Columns {
			require.NotEmpty(t, c.Description, "%s.%s", s.Name, c.Name)
			require.True(t, c.Optimized, "%s.%s: without an option it would be an index", s.Name, c.Name)
			require.Contains(t, []string{"text", "integer", "bigint", "double"}, c.Type, "%s.%s", s.Name, c.Name)
		}
	}
	for _, p := range b.plugins {
		for _, s := range specs {
			if s.Name != p.Name() {
				continue
			}
			for i, route := range p.(*table.Plugin).Routes() {
				require.Equal(t, s.Columns[i].Name, route["name"], s.Name)
			}
		}
	}
}
