package fleet

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	osquery "github.com/osquery/osquery-go"
	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/packs"
	"github.com/cipherlens/cipherlens/tables"
)

const example = "gitops/fleets/cipherlens.yml"

// TestGeneratedFilesAreCurrent fails when packs, tables and the files here have drifted apart.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	want, err := Files(os.DirFS("../packs"))
	require.NoError(t, err)
	have, err := GeneratedFiles(os.DirFS("."))
	require.NoError(t, err)
	for name, data := range want {
		require.Equal(t, string(data), string(have[name]), "%s: run: go generate ./fleet", name)
	}
	for name := range have {
		require.Contains(t, want, name, "%s is of a pack or table that is no more: run: go generate ./fleet", name)
	}
}

// TestRoundTrip: what the strict reader reads is what was generated from.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	dir := os.DirFS("../packs")
	got, err := Read(os.DirFS("."), example)
	require.NoError(t, err)
	require.Equal(t, "Cipherlens", got.Name)
	require.Equal(t, Labels(), got.Labels)
	require.Equal(t, Policies(), got.Policies)
	names, err := packs.Names(dir)
	require.NoError(t, err)
	require.Contains(t, names, "an0402")
	var reports []Report
	for _, name := range names {
		more, err := Reports(dir, name)
		require.NoError(t, err)
		reports = append(reports, more...)
	}
	require.Equal(t, reports, got.Reports)
	for _, r := range reports {
		require.Equal(t, r.Interval > 0, r.AutomationsEnabled, "%s: a live query has no interval and logs nothing", r.Name)
	}
	require.Equal(t, Settings, got.Options.Config.Options["custom_cipherlens"])
	require.Equal(t, []string{"gitops/lib/cipherlens-pppc.mobileconfig"}, got.Profiles)
}

// TestEssentialCoverageIsOne: the policy and an0402-coverage/host mean the same by what the analytic cannot do without.
func TestEssentialCoverageIsOne(t *testing.T) {
	t.Parallel()
	host, err := os.ReadFile("../packs/an0402-coverage/host.sql")
	require.NoError(t, err)
	list := regexp.MustCompile(`name IN \('capture'[^)]*\)`)
	require.Regexp(t, list, string(host))
	require.Equal(t, list.FindString(string(host)), list.FindString(Policies()[0].Query))
}

// TestPacksInAgentOptions: the packs that osqueryd runs itself are the generated ones, without live queries.
func TestPacksInAgentOptions(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("gitops/lib/agent-options-packs.yml")
	require.NoError(t, err)
	var o AgentOptions
	require.NoError(t, yaml.UnmarshalWithOptions(data, &o, yaml.Strict()))
	require.Contains(t, o.Config.Packs, "an0402")
	for name, pack := range o.Config.Packs {
		conf, err := os.ReadFile("../packs/" + name + ".conf")
		require.NoError(t, err)
		var want struct {
			Queries map[string]PackQuery `json:"queries"`
		}
		require.NoError(t, json.Unmarshal(conf, &want))
		for query, q := range pack.Queries {
			require.Equal(t, want.Queries[query], q)
			require.Positive(t, q.Interval)
		}
	}
}

// TestReadIsStrict edits the generated files one by one and expects the error to say which file and what.
func TestReadIsStrict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, old, new, message string }{
		{"fleets/cipherlens.yml", "policies:", "policy:", `unknown field "policy"`},
		{"fleets/cipherlens.yml", "name: Cipherlens", "team: Cipherlens", `unknown field "team"`},
		{"fleets/cipherlens.yml", "- path: ../lib/policies.yml", "- path: ../lib/nowhere.yml", "nowhere.yml"},
		{"fleets/cipherlens.yml", "- path: ../lib/policies.yml", "- path: ../lib/*.yml", "is not one file"},
		{"fleets/cipherlens.yml", "- path: ../lib/policies.yml", "- paths: ../lib/x*.yml", "matches nothing"},
		{"fleets/cipherlens.yml", "path: ../lib/agent-options.yml", "path: ../lib/agent-options-packs.yml", "scheduled twice"},
		{"lib/policies.yml", "  resolution:", "  resolutions:", "unknown field"},
		{"lib/policies.yml", "no unapproved random egress", "the sensor sees everything it needs", "the name comes twice"},
		{"lib/policies.yml", "platform: darwin,linux", "platform: macos", `platform: "macos"`},
		{"lib/policies.yml", "labels_include_any:", "labels_exclude_any: [Other]\n  labels_include_any:", "more than one of labels_include_any"},
		{"lib/policies.yml", "- Cipherlens\n", "- Cipherlense\n", `no label "Cipherlense"`},
		{"lib/policies.yml", "name: \"Cipherlens", "path: labels.yml\n  name: \"Cipherlens", `unknown field "path"`},
		{"lib/labels.yml", "Cipherlens on macOS", "macOS", "the name is Fleet's own"},
		{"lib/labels.yml", "Cipherlens on macOS", "Cipherlens für Macs", "not ASCII"},
		{"lib/labels.yml", "membership_type: dynamic", "membership_type: automatic", `"automatic" is neither`},
		{"lib/labels.yml", "= 'darwin'", "= '$HOME'", `a "$"`},
		{"lib/reports-an0402.yml", "interval: 300", "interval: 0", "automations_enabled without an interval"},
		{"lib/reports-an0402.yml", "interval: 300", "interval: often", "reports-an0402.yml"},
		{"lib/reports-an0402.yml", "interval: 300", "interval: 700000", "not from 0 to 604800"},
		{"lib/reports-an0402.yml", "logging: snapshot", "logging: snapshots", `logging: "snapshots" is unknown`},
		{"lib/reports-an0402.yml", "automations_enabled:", "automation_enabled:", "unknown field"},
		{"lib/reports-an0402.yml", "- name: an0402_coverage", "- name: an0402_détection", "not ASCII"},
		{"lib/agent-options.yml", "disable_distributed: false", "extensions_autoload: /x", "extensions_autoload: not to be set here"},
		{"lib/agent-options.yml", "disable_distributed: false", "disable_distribute: false", "disable_distribute: unknown to Fleet"},
		{"lib/agent-options.yml", "  decorators:", "  decorator:", `unknown field "decorator"`},
		{"lib/agent-options.yml", "time_window", "time_windows", "time_windows"},
		{"lib/agent-options.yml", "config:", "configs:", `unknown field "configs"`},
	} {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "gitops"), os.DirFS("gitops")))
		name := filepath.Join(dir, "gitops", tt.file)
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Contains(t, string(data), tt.old, tt.file)
		require.NoError(t, os.WriteFile(name, []byte(strings.Replace(string(data), tt.old, tt.new, 1)), 0o600))
		_, err = Read(os.DirFS(dir), example)
		require.ErrorContains(t, err, tt.message, "%s: %s -> %s", tt.file, tt.old, tt.new)
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"policies", "labels", "reports-an0402", "agent-options", "agent-options-packs"} {
		data, err := os.ReadFile("gitops/lib/" + name + ".yml")
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		fleetFile := "name: x\nagent_options: {path: a.yml}\npolicies: [{path: a.yml}]\nreports: [{path: a.yml}]\nlabels: [{path: a.yml}]\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f.yml"), []byte(fleetFile), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.yml"), data, 0o600))
		got, err := Read(os.DirFS(dir), "f.yml")
		if err == nil {
			for _, r := range got.Reports {
				require.True(t, ascii(r.Name) && r.Query != "")
			}
		}
	})
}

// TestYAMLReadsTheSameElsewhere compares with PyYAML, which follows YAML 1.1 as the parser does that Fleet uses (github.com/ghodss/yaml).
func TestYAMLReadsTheSameElsewhere(t *testing.T) {
	t.Parallel()
	if exec.CommandContext(t.Context(), "python3", "-c", "import yaml").Run() != nil {
		t.Skip("no python3 with PyYAML")
	}
	files, err := Files(os.DirFS("../packs"))
	require.NoError(t, err)
	for name, data := range files {
		if filepath.Ext(name) != ".yml" {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "python3", "-c", "import sys, json, yaml; json.dump(yaml.safe_load(sys.stdin.read()), sys.stdout)")
		cmd.Stdin = strings.NewReader(string(data))
		theirs, err := cmd.Output()
		require.NoError(t, err, name)
		ours, err := yaml.YAMLToJSON(data)
		require.NoError(t, err, name)
		require.JSONEq(t, string(ours), string(theirs), name)
	}
}

// TestSchemaIsTheTables: Fleet's schema files say what README and "spec" say.
func TestSchemaIsTheTables(t *testing.T) {
	t.Parallel()
	for _, d := range tables.All() {
		data, err := os.ReadFile("schema/tables/" + d.Name + ".yml")
		require.NoError(t, err)
		var s TableSchema
		require.NoError(t, yaml.UnmarshalWithOptions(data, &s, yaml.Strict()))
		require.Equal(t, []string{"darwin", "linux"}, s.Platforms)
		require.Len(t, s.Columns, len(d.Columns))
		for i, c := range d.Columns {
			require.Equal(t, ColumnSchema{c.Name, strings.ToLower(string(c.Type)), c.Required, c.Description}, s.Columns[i])
		}
	}
}

// fleetHost is an embedded osqueryd whose tables give made-up rows.
func fleetHost(t *testing.T, platform string, rows map[string][]map[string]string) *sqlhost.Host {
	host, err := sqlhost.New(t.Context(), sqlhost.Options{Platform: platform})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	given := func(name string) table.GenerateFunc {
		return func(context.Context, table.QueryContext) ([]map[string]string, error) { return rows[name], nil }
	}
	require.NoError(t, host.Attach("os", table.NewPlugin("os_version", []table.ColumnDefinition{table.TextColumn("platform")}, given("os_version"))))
	if rows["cipherlens_coverage"] != nil {
		var plugins []osquery.OsqueryPlugin
		for _, d := range tables.All() {
			plugins = append(plugins, table.NewPlugin(d.Name, d.Columns, given(d.Name)))
		}
		require.NoError(t, host.Attach("cipherlens", plugins...))
	}
	return host
}

// empty is a table without rows.
func empty(d tables.Definition) *table.Plugin {
	return table.NewPlugin(d.Name, d.Columns, func(context.Context, table.QueryContext) ([]map[string]string, error) { return nil, nil })
}

// passes says whether a query gives a row.
func passes(t *testing.T, host *sqlhost.Host, sql string) bool {
	result, err := host.Query(t.Context(), sql)
	require.NoError(t, err)
	return len(result.Rows) > 0
}

func TestPoliciesAndLabels(t *testing.T) {
	t.Parallel()
	type rows = []map[string]string
	ok, blind := map[string]string{"name": "capture", "state": "ok"}, map[string]string{"name": "capture", "state": "blind"}
	degraded := map[string]string{"name": "full_disk_access", "state": "degraded"}
	flow := func(changes ...string) map[string]string {
		f := map[string]string{"verdict": "random", "direction": "outbound", "allowlist_rule": "", "remote_scope": "public"}
		for i := 0; i < len(changes); i += 2 {
			f[changes[i]] = changes[i+1]
		}
		return f
	}
	for _, tt := range []struct {
		name            string
		platform        string
		coverage, flows rows
		passing         []bool
		labels          []string
	}{
		{"a Mac that sees", "darwin", rows{ok}, rows{flow("verdict", "tls")}, []bool{true, true}, []string{LabelInstalled, LabelMacOS}},
		{"without flows", "ubuntu", rows{ok}, nil, []bool{true, true}, []string{LabelInstalled, LabelLinux}},
		{"degraded", "darwin", rows{ok, degraded}, nil, []bool{false, true}, []string{LabelInstalled, LabelMacOS}},
		{"started late", "darwin", rows{ok, {"name": "late_start", "state": "degraded"}}, nil, []bool{true, true}, []string{LabelInstalled, LabelMacOS}},
		{"nothing to see with", "darwin", rows{{"name": "clock", "state": "ok"}}, nil, []bool{false, true}, []string{LabelInstalled, LabelMacOS}},
		{"blind", "darwin", rows{blind}, nil, []bool{false, false}, []string{LabelInstalled, LabelMacOS}},
		{"a finding", "darwin", rows{ok}, rows{flow()}, []bool{true, false}, []string{LabelInstalled, LabelMacOS}},
		{"a mimic inside", "rhel", rows{ok}, rows{flow("verdict", "tls_mimic", "remote_scope", "private")}, []bool{true, false}, []string{LabelInstalled, LabelLinux}},
		{"approved", "darwin", rows{ok}, rows{flow("allowlist_rule", "messenger")}, []bool{true, true}, []string{LabelInstalled, LabelMacOS}},
		{"inbound", "darwin", rows{ok}, rows{flow("direction", "inbound"), flow("remote_scope", "loopback")}, []bool{true, true}, []string{LabelInstalled, LabelMacOS}},
		{"no extension", "darwin", nil, nil, nil, []string{LabelMissing}},
		{"Windows", "windows", nil, nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host := fleetHost(t, tt.platform, map[string][]map[string]string{
				"os_version": {{"platform": tt.platform}}, "cipherlens_coverage": tt.coverage, "socket_tls_conformance": tt.flows})
			for i, want := range tt.passing {
				require.Equal(t, want, passes(t, host, Policies()[i].Query), Policies()[i].Name)
			}
			var labels []string
			for _, l := range Labels() {
				if passes(t, host, l.Query) {
					labels = append(labels, l.Name)
				}
			}
			require.Equal(t, slices.Clone(tt.labels), labels)
		})
	}
}
