// Package fleet holds what Fleet is told about Cipherlens: reports, policies, labels, agent options and table schema, in the form that
// "fleetctl gitops" reads. The files are generated from packs/ and tables/; Read is a strict reader of the same form, for whoever edits
// a copy of them.
//
// The form is Fleet's pkg/spec/gitops.go at commit 00b32fd (newer than 4.90.0).
package fleet

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cipherlens/cipherlens/packs"
)

//go:generate go run ./gen

// The labels that split a mixed fleet.
const (
	LabelInstalled = "Cipherlens"
	LabelMacOS     = "Cipherlens on macOS"
	LabelLinux     = "Cipherlens on Linux"
	LabelMissing   = "Cipherlens missing"
)

// Report is a query that Fleet runs: live only where Interval is 0.
type Report struct {
	Name               string   `yaml:"name"` // ASCII
	Description        string   `yaml:"description,omitempty"`
	Query              string   `yaml:"query"`
	Interval           int      `yaml:"interval"`           // seconds
	Platform           string   `yaml:"platform,omitempty"` // comma-separated
	MinOsqueryVersion  string   `yaml:"min_osquery_version,omitempty"`
	ObserverCanRun     bool     `yaml:"observer_can_run,omitempty"`
	AutomationsEnabled bool     `yaml:"automations_enabled"` // results go to the log destination
	Logging            string   `yaml:"logging,omitempty"`   // snapshot, differential, differential_ignore_removals
	DiscardData        bool     `yaml:"discard_data,omitempty"`
	LabelsIncludeAny   []string `yaml:"labels_include_any,omitempty"`
}

// Policy is a question that a host passes when its query gives at least one row.
type Policy struct {
	Name                  string   `yaml:"name"`
	Description           string   `yaml:"description,omitempty"`
	Resolution            string   `yaml:"resolution,omitempty"`
	Query                 string   `yaml:"query"`
	Platform              string   `yaml:"platform,omitempty"`
	Critical              bool     `yaml:"critical,omitempty"`
	CalendarEventsEnabled bool     `yaml:"calendar_events_enabled,omitempty"`
	LabelsIncludeAny      []string `yaml:"labels_include_any,omitempty"`
	LabelsIncludeAll      []string `yaml:"labels_include_all,omitempty"`
	LabelsExcludeAny      []string `yaml:"labels_exclude_any,omitempty"`
}

// Label names a set of hosts.
type Label struct {
	Name                string   `yaml:"name"` // ASCII
	Description         string   `yaml:"description,omitempty"`
	Query               string   `yaml:"query,omitempty"`
	Platform            string   `yaml:"platform,omitempty"`
	LabelMembershipType string   `yaml:"label_membership_type"` // dynamic, manual
	Hosts               []string `yaml:"hosts,omitempty"`
}

// AgentOptions are what osqueryd is configured with.
type AgentOptions struct {
	Config    AgentConfig             `yaml:"config"`
	Overrides *AgentOptionsByPlatform `yaml:"overrides,omitempty"`
}

// AgentOptionsByPlatform replaces the whole config on some platforms.
type AgentOptionsByPlatform struct {
	Platforms map[string]AgentConfig `yaml:"platforms"`
}

// AgentConfig is osquery's configuration, as far as these files use it.
type AgentConfig struct {
	Options    map[string]any  `yaml:"options"`
	Decorators *Decorators     `yaml:"decorators,omitempty"`
	Packs      map[string]Pack `yaml:"packs,omitempty"`
}

// Decorators add columns to every result line.
type Decorators struct {
	Load     []string            `yaml:"load,omitempty"`
	Always   []string            `yaml:"always,omitempty"`
	Interval map[string][]string `yaml:"interval,omitempty"`
}

// Pack is one of osquery's query packs.
type Pack struct {
	Platform string               `yaml:"platform,omitempty"`
	Queries  map[string]PackQuery `yaml:"queries"`
}

// PackQuery is one query of a Pack.
type PackQuery struct {
	Query       string `yaml:"query" json:"query"`
	Interval    int    `yaml:"interval" json:"interval"`
	Platform    string `yaml:"platform,omitempty" json:"platform"`
	Description string `yaml:"description,omitempty" json:"description"`
	Value       string `yaml:"value,omitempty" json:"value"`
	Snapshot    *bool  `yaml:"snapshot,omitempty" json:"snapshot"`
	Removed     *bool  `yaml:"removed,omitempty" json:"removed"`
}

// settingsOption is osquery's option that the extension reads its settings from.
const settingsOption = "custom_cipherlens"

// Settings are what custom_cipherlens starts with: the defaults that a site is most likely to move.
const Settings = `{"payload_entropy_threshold": 0.999, "record_sni": "alerts", "time_window": "15m"}`

// Reports makes one report of each query of a pack. Their names are <pack>_<query>, so that a result line has the same end under Fleet
// (pack/Global/an0402_detection) and under osqueryd (pack_an0402_detection).
func Reports(dir fs.FS, pack string) ([]Report, error) {
	queries, err := packs.Queries(dir, pack)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for _, q := range queries {
		reports = append(reports, Report{
			Name:               pack + "_" + q.Name,
			Description:        describe(q),
			Query:              q.SQL,
			Interval:           q.Interval,
			Platform:           q.Platform,
			AutomationsEnabled: q.Interval > 0,
			Logging:            logging(q),
			LabelsIncludeAny:   []string{LabelInstalled},
		})
	}
	return reports, nil
}

func describe(q packs.Query) string {
	return strings.Join([]string{
		q.Description + " (" + q.Attack + ").",
		"False positives: " + q.FalsePositives,
		"What to do: " + q.Response,
	}, "\n")
}

func logging(q packs.Query) string {
	switch {
	case q.Snapshot || q.Interval == 0:
		return "snapshot"
	case q.Removed:
		return "differential"
	}
	return "differential_ignore_removals"
}

// Options are the agent options for scheduled, the packs that osqueryd itself runs; with none, the queries are reports.
func Options(dir fs.FS, scheduled []string) (AgentOptions, error) {
	o := AgentOptions{Config: AgentConfig{
		Options: map[string]any{
			// Fleet's own defaults, because agent options replace what was there before.
			"disable_distributed":          false,
			"distributed_interval":         10,
			"distributed_plugin":           "tls",
			"distributed_tls_max_attempts": 3,
			"logger_tls_endpoint":          "/api/osquery/log",
			"logger_tls_period":            10,
			"pack_delimiter":               "/",
			settingsOption:                 Settings,
		},
		Decorators: &Decorators{Load: []string{
			"SELECT uuid AS host_uuid FROM system_info",
			"SELECT hostname AS hostname FROM system_info",
			"SELECT platform AS host_platform FROM os_version",
		}},
	}}
	for _, name := range scheduled {
		conf, err := packs.Build(dir, name)
		if err != nil {
			return o, err
		}
		var pack Pack
		if err := json.Unmarshal(conf, &pack); err != nil {
			return o, fmt.Errorf("fleet: pack %s: %w", name, err)
		}
		for query, q := range pack.Queries {
			if q.Interval == 0 {
				delete(pack.Queries, query)
			}
		}
		if len(pack.Queries) == 0 {
			continue
		}
		if o.Config.Packs == nil {
			o.Config.Packs = map[string]Pack{}
		}
		o.Config.Packs[name] = pack
	}
	return o, nil
}

// Labels are the labels that reports and policies go by.
func Labels() []Label {
	const installed = "SELECT 1 FROM osquery_extensions WHERE name = 'cipherlens'"
	on := func(platform string) string {
		return "SELECT 1 FROM os_version JOIN osquery_extensions ON osquery_extensions.name = 'cipherlens' WHERE os_version.platform " + platform
	}
	labels := []Label{
		{Name: LabelInstalled, Description: "Hosts whose osqueryd has Cipherlens registered. Its reports and policies go to these alone, so that no other host logs errors.", Query: installed},
		{Name: LabelMacOS, Description: "Of these, Macs.", Query: on("= 'darwin'")},
		{Name: LabelLinux, Description: "Of these, everything else that Cipherlens runs on.", Query: on("NOT IN ('darwin', 'windows')")},
		{Name: LabelMissing, Description: "Macs and Linux hosts without Cipherlens: not covered at all.",
			Query: "SELECT 1 FROM os_version WHERE platform <> 'windows' AND NOT EXISTS (" + installed + ")"},
	}
	for i := range labels {
		labels[i].LabelMembershipType = "dynamic"
	}
	return labels
}

// Policies are the two questions whose answer a fleet's owner wants for every host. Neither passes on a host that cannot see.
func Policies() []Policy {
	policies := []Policy{
		{
			Name: "Cipherlens - the sensor sees everything it needs",
			Description: "Passes when nothing that the analytic cannot do without is degraded or blind: capture, attribution, jobs, processes, root, Full Disk Access. " +
				"Fails on a host whose detection is partly or wholly blind.",
			Resolution: "Run SELECT name, state, detail, advice FROM cipherlens_coverage on the host and do what advice says: mostly Full Disk Access for osqueryd " +
				"(profile cipherlens-pppc.mobileconfig), or osqueryd not running as root.",
			Query: `SELECT 1 FROM (
  SELECT count(*) AS looked_at, sum(state <> 'ok') AS not_ok FROM cipherlens_coverage
  WHERE name IN ('capture', 'attribution', 'launchd', 'processes', 'root', 'full_disk_access', 'judge')
) WHERE looked_at > 0 AND not_ok = 0`,
		},
		{
			Name: "Cipherlens - no unapproved random egress",
			Description: "Passes when no outbound flow of the last 24 hours is random or only pretends to be TLS, apart from those that an allowlist rule approves. " +
				"Fails also where the capture is blind: what was not seen is not approved.",
			Resolution: "Look at the findings of an0402_detection for this host and follow docs/runbook.md. Known software: add an allowlist rule, by team and destination.",
			Critical:   true,
			Query: `SELECT 1 FROM
  (SELECT count(*) AS odd FROM socket_tls_conformance
   WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')),
  (SELECT count(*) AS blind FROM cipherlens_coverage WHERE name = 'capture' AND state = 'blind')
WHERE odd = 0 AND blind = 0`,
		},
	}
	for i := range policies {
		policies[i].Platform = "darwin,linux"
		policies[i].LabelsIncludeAny = []string{LabelInstalled}
	}
	return policies
}
