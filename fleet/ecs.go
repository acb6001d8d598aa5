package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ECSField says where one column of a finding or of a flow goes in the Elastic Common Schema (8.17). Columns that the schema has no word for go below
// cipherlens.
type ECSField struct {
	Column string
	Field  string
	Type   string // keyword, ip, long, double, date (unix seconds)
}

// ECS is the mapping of every column of an0402_detection and an0402_flows.
var ECS = []ECSField{
	{"path", "process.executable", "keyword"},
	{"process_name", "process.name", "keyword"},
	{"pid", "process.pid", "long"},
	{"signing_id", "process.code_signature.signing_id", "keyword"},
	{"team_id", "process.code_signature.team_id", "keyword"},
	{"signature", "process.code_signature.status", "keyword"},
	{"cdhash", "process.hash.cdhash", "keyword"},
	{"launchd_label", "service.name", "keyword"},
	{"plist_path", "cipherlens.plist_path", "keyword"},
	{"persistence", "cipherlens.persistence", "keyword"},
	{"local_address", "source.ip", "ip"},
	{"local_port", "source.port", "long"},
	{"bytes_out", "source.bytes", "long"},
	{"packets_out", "source.packets", "long"},
	{"remote_address", "destination.ip", "ip"},
	{"remote_port", "destination.port", "long"},
	{"bytes_in", "destination.bytes", "long"},
	{"packets_in", "destination.packets", "long"},
	{"protocol", "network.iana_number", "keyword"},
	{"app_protocol", "network.protocol", "keyword"},
	{"community_id", "network.community_id", "keyword"},
	{"sni", "tls.client.server_name", "keyword"},
	{"last_seen", "event.end", "date"},
	{"reasons", "event.reason", "keyword"},
	{"severity", "log.level", "keyword"},
	{"provider", "cipherlens.provider", "keyword"},
	{"symbols", "cipherlens.symbols", "keyword"},
	{"verdict", "cipherlens.verdict", "keyword"},
	{"why", "cipherlens.why", "keyword"},
	{"violations", "cipherlens.violations", "keyword"},
	{"confidence", "cipherlens.confidence", "double"},
	{"attribution", "cipherlens.attribution", "keyword"},
	{"ja4", "cipherlens.ja4", "keyword"},
	{"entropy", "cipherlens.entropy", "double"},
	{"entropy_ratio", "cipherlens.entropy_ratio", "double"},
	{"chi2_p", "cipherlens.chi2_p", "double"},
	{"printable_ratio", "cipherlens.printable_ratio", "double"},
	{"sampled_bytes", "cipherlens.sampled_bytes", "long"},
	{"header_bytes", "cipherlens.header_bytes", "long"},
	{"remote_scope", "cipherlens.remote_scope", "keyword"},
	{"lopsided", "cipherlens.lopsided", "long"},
	{"contacts", "cipherlens.contacts", "long"},
	{"contact_gap", "cipherlens.contact_gap", "double"},
	{"contact_jitter", "cipherlens.contact_jitter", "double"},
	{"regular", "cipherlens.regular", "long"},
	{"strong_symmetric", "cipherlens.strong_symmetric", "long"},
	{"exception_key", "cipherlens.exception_key", "keyword"},
}

// severities are event.severity's numbers.
var severities = map[string]int{"high": 73, "medium": 47, "low": 21}

// IngestPipeline is an Elasticsearch ingest pipeline for result lines whose JSON is in the field osquery: one document a row, as osquery logs findings, and
// snapshots with --logger_snapshot_event_type.
func IngestPipeline() ([]byte, error) {
	type object = map[string]any
	processors := []object{
		{"date": object{"field": "osquery.unixTime", "formats": []string{"UNIX"}}},
		{"rename": object{"field": "osquery.hostIdentifier", "target_field": "host.name"}},
		{"gsub": object{"field": "osquery.name", "pattern": "^pack[_/](Global/|team-[0-9]+/)?", "replacement": "", "target_field": "rule.name"}},
		{"set": object{"field": "event.kind", "value": "alert", "if": "ctx.rule?.name != null && ctx.rule.name.endsWith('detection')"}},
		{"set": object{"field": "event.category", "value": []string{"network", "process"}}},
		{"set": object{"field": "event.type", "value": []string{"connection"}}},
		{"set": object{"field": "event.module", "value": "cipherlens"}},
		{"set": object{"field": "network.direction", "value": "outbound", "if": "ctx.osquery?.columns?.remote_address != null"}},
		{"set": object{"field": "threat.framework", "value": "MITRE ATT&CK"}},
		{"set": object{"field": "threat.technique.id", "value": []string{"T1573"}}},
		{"set": object{"field": "threat.technique.subtechnique.id", "value": []string{"T1573.001"}}},
	}
	for _, number := range []string{"6 tcp", "17 udp"} {
		n, name, _ := strings.Cut(number, " ")
		processors = append(processors, object{"set": object{"field": "network.transport", "value": name, "if": "ctx.osquery?.columns?.protocol == '" + n + "'"}})
	}
	for _, level := range []string{"high", "medium", "low"} {
		processors = append(processors, object{"set": object{"field": "event.severity", "value": severities[level], "if": "ctx.osquery?.columns?.severity == '" + level + "'"}})
	}
	for _, f := range ECS {
		from := "osquery.columns." + f.Column
		given := fmt.Sprintf("ctx.osquery?.columns?.%s != null && ctx.osquery.columns.%s != ''", f.Column, f.Column)
		switch f.Type {
		case "date":
			processors = append(processors, object{"date": object{"field": from, "target_field": f.Field, "formats": []string{"UNIX"}, "if": given}})
		case "keyword":
			processors = append(processors, object{"set": object{"field": f.Field, "copy_from": from, "if": given}})
		default:
			processors = append(processors, object{"convert": object{"field": from, "target_field": f.Field, "type": f.Type, "if": given}})
		}
	}
	processors = append(processors, object{"split": object{"field": "cipherlens.symbols", "separator": ",", "ignore_missing": true}},
		object{"remove": object{"field": "osquery"}})
	return indented(object{
		"description": "Cipherlens' result lines to the Elastic Common Schema. Generated by go generate ./fleet.",
		"processors":  processors,
		"on_failure":  []object{{"set": object{"field": "error.message", "value": "{{ _ingest.on_failure_message }}"}}},
	})
}

// The markers around ECSTable in docs/forwarding.md.
const (
	MarkerBegin = "<!-- ecs: generated by go generate ./fleet -->"
	MarkerEnd   = "<!-- end of ecs -->"
)

// ECSTable is the mapping as a table for docs/forwarding.md.
func ECSTable() string {
	var b strings.Builder
	b.WriteString("| column | ECS field | type |\n|---|---|---|\n")
	for _, f := range ECS {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", f.Column, f.Field, f.Type)
	}
	return b.String()
}

func indented(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return []byte(b.String()), err
}
