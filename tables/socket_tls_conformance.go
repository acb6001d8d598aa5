package tables

import (
	"cmp"
	"context"
	"slices"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// Flows is where the flow tables take their rows from: the sensor.
type Flows interface {
	// Flows gives a copy of the judged flows that keep lets through.
	Flows(ctx context.Context, keep func(*sensor.Flow) bool) ([]sensor.Flow, error)
}

// Bounded is a source of flows that has no memory for any number of rows.
type Bounded interface {
	MostRows() int // 0: any number
	LeftOut(n int) // is told how many rows of a call were left out
}

// shorten leaves out what is over the bound: alerts stay first, then what was seen last.
func shorten(found []sensor.Flow, bound Bounded) []sensor.Flow {
	most := bound.MostRows()
	if most == 0 || len(found) <= most {
		return found
	}
	slices.SortStableFunc(found, func(a, b sensor.Flow) int {
		if x, y := a.Judgement.Verdict.Alert(), b.Judgement.Verdict.Alert(); x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.LastSeen, a.LastSeen)
	})
	bound.LeftOut(len(found) - most)
	return found[:most]
}

// SocketTLSConformance is the table of flows and their verdicts. settings gives the settings in force.
func SocketTLSConformance(flows Flows, settings func() config.Config) Definition {
	return Definition{
		Name:        "socket_tls_conformance",
		Description: "One network flow and what its first bytes in both directions say it is: conformant TLS, DTLS or QUIC, a known protocol, text, compressed data, or something random or pretending (verdicts random and tls_mimic are alerts).",
		Notes:       "Only traffic that was captured: see cipherlens_coverage. Flows are kept for time_window, alerts for 24 hours. Server names are shown as record_sni says.",
		Examples:    []string{"SELECT path, remote_address, remote_port, verdict, reasons FROM socket_tls_conformance WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = ''"},
		Columns:     flowColumns(),
		Rows: func(ctx context.Context, q Query) ([]Row, error) {
			found, err := flows.Flows(ctx, q.wantsFlow)
			if err != nil {
				return nil, err
			}
			if most, ok := flows.(Bounded); ok {
				found = shorten(found, most)
			}
			now := settings()
			rows := make([]Row, len(found))
			for i := range found {
				rows[i] = FlowRow(&found[i], &now)
			}
			return rows, nil
		},
	}
}

func flowColumns() []table.ColumnDefinition {
	return []table.ColumnDefinition{
		key(table.IntegerColumn("pid"), "Process that owns the flow; -1 when not known"),
		key(table.TextColumn("path"), "Executable of that process; empty when not known"),
		text("process_name", "Name of the process as the kernel gives it (16 bytes on macOS)"),
		text("uuid", "LC_UUID of the executable, where the capture states it"),
		text("launchd_label", "launchd job (Linux: systemd unit) that runs the executable"),
		text("attribution", "How the owner was found: pid, socket, uuid, path, osquery; empty when it was not"),
		integer("protocol", "6 TCP, 17 UDP"),
		text("local_address", "Local address; offline the side that sent first, unless the capture says otherwise"),
		integer("local_port", "Local port"),
		key(table.TextColumn("remote_address"), "Remote address"),
		integer("remote_port", "Remote port"),
		text("remote_scope", "What kind of address the remote one is: public, private, link_local, multicast, loopback, unspecified"),
		key(table.TextColumn("direction"), "outbound: the local side sent first; else inbound"),
		bigint("first_seen", "First packet, unix seconds"),
		key(table.BigIntColumn("last_seen"), "Last packet, unix seconds"),
		bigint("packets_in", "Packets received"),
		bigint("packets_out", "Packets sent"),
		bigint("bytes_in", "Payload bytes received"),
		bigint("bytes_out", "Payload bytes sent"),
		key(table.TextColumn("verdict"), "tls, dtls, quic, starttls, tls_midstream, tls_mimic, known_protocol, cleartext, compressed, structured, random, random_midstream or undetermined"),
		double("confidence", "How sure the verdict is, 0 to 1"),
		text("reasons", "What led to the verdict, comma-separated"),
		text("violations", "Rules of TLS, DTLS or QUIC that were broken, comma-separated"),
		text("app_protocol", "The protocol, where it is known: ssh, http, dns, doh, ..."),
		text("tls_version", "Negotiated version: 1.0 to 1.3"),
		text("sni", "Server name of the ClientHello, as record_sni allows"),
		text("alpn", "Application protocol that was negotiated or offered"),
		text("ja4", "JA4 fingerprint of the ClientHello"),
		text("community_id", "Community ID v1 of the 5-tuple, seed 0"),
		double("entropy", "Shannon entropy of the sampled bytes, bits a byte"),
		double("entropy_ratio", "entropy over what uniform bytes of that length give"),
		double("chi2_p", "p-value of the chi-square test against uniform bytes"),
		double("printable_ratio", "Share of printable bytes in the sample"),
		integer("sampled_bytes", "Bytes that the figures stand on"),
		integer("header_bytes", "Clear bytes before random ones"),
		integer("port_expected", "1 when port_profiles call this normal on the server's port, 0 when they do not; NULL for a port without profile"),
		integer("lopsided", "1 when bytes_out over bytes_in reaches traffic_asymmetry_ratio, or something was sent and nothing came in"),
		text("allowlist_rule", "Rule that covers the flow; empty when none does"),
		text("error", "What could not be found out"),
		integer("contacts", "Of an alert: flows with the same launchd_label, path, verdict, protocol, remote address and port that began within 24 hours, to the hour; NULL for what is no alert"),
		double("contact_gap", "Mean seconds between their starts; NULL with one contact, or where the host slept in between"),
		double("contact_jitter", "Standard deviation of these gaps over contact_gap; NULL with fewer than four measured"),
		integer("responsible_pid", responsiblePID),
		text("responsible_path", responsiblePath),
	}
}

// wantsFlow says whether a flow can be among those asked for.
func (q Query) wantsFlow(f *sensor.Flow) bool {
	return q.Wants("verdict", string(f.Judgement.Verdict)) && q.Wants("direction", f.Direction) && q.WantsInt("last_seen", f.LastSeen) &&
		q.WantsInt("pid", int64(f.Owner.PID)) && q.Wants("path", f.Owner.Path) && q.Wants("remote_address", f.Remote.Addr().String())
}

// rowRoom is room for all columns of a flow.
const rowRoom = 48

// FlowRow is a flow as a row, under some settings.
func FlowRow(f *sensor.Flow, settings *config.Config) Row {
	j, r := &f.Judgement, make(Row, rowRoom)
	r.Int("pid", int64(f.Owner.PID))
	r.Text("path", f.Owner.Path)
	r.Text("process_name", f.Owner.Name)
	r.Text("uuid", f.Owner.UUID)
	r.Text("launchd_label", f.Owner.Label)
	r.Text("attribution", f.Owner.Attribution)
	r.Int("protocol", int64(f.Protocol))
	r.Text("local_address", f.Local.Addr().String())
	r.Int("local_port", int64(f.Local.Port()))
	r.Text("remote_address", f.Remote.Addr().String())
	r.Int("remote_port", int64(f.Remote.Port()))
	r.Text("remote_scope", sensor.Scope(f.Remote.Addr()))
	r.Text("direction", f.Direction)
	r.Int("first_seen", f.FirstSeen)
	r.Int("last_seen", f.LastSeen)
	r.Int("packets_in", int64(f.PacketsIn))
	r.Int("packets_out", int64(f.PacketsOut))
	r.Int("bytes_in", int64(f.BytesIn))
	r.Int("bytes_out", int64(f.BytesOut))
	r.Text("verdict", string(j.Verdict))
	r.Float("confidence", j.Confidence)
	r.List("reasons", j.Reasons)
	r.List("violations", j.Violations)
	r.Text("app_protocol", j.AppProtocol)
	r.Text("tls_version", j.TLSVersion)
	r.Text("sni", shownName(f, settings.RecordSNI))
	r.Text("alpn", j.ALPN)
	r.Text("ja4", j.JA4)
	r.Text("community_id", f.CommunityID)
	if j.Sample.N > 0 {
		r.Float("entropy", j.Sample.Entropy)
		r.Float("entropy_ratio", j.Sample.EntropyRatio)
		r.Float("chi2_p", j.Sample.Chi2P)
		r.Float("printable_ratio", j.Sample.PrintableRatio)
	}
	r.Int("sampled_bytes", int64(j.Sample.N))
	r.Int("header_bytes", int64(j.HeaderBytes))
	if expected, profiled := portExpected(f, settings.PortProfiles); profiled {
		r.Bool("port_expected", expected)
	}
	r.Bool("lopsided", lopsided(f.BytesOut, f.BytesIn, settings.TrafficAsymmetryRatio))
	r.Text("allowlist_rule", f.AllowlistRule)
	r.Errors(f.Err)
	contactColumns(r, f.Contact)
	responsibleColumns(r, f.Owner.Responsible)
	return r
}

// What is said of the columns that responsibleColumns fills.
const (
	responsiblePID  = "macOS: process that the system holds responsible for this one, such as the application behind a helper, itself where nobody else is; -1 when not known, and on Linux"
	responsiblePath = "Executable of that process; empty when not known"
)

func responsibleColumns(r Row, p *process.Responsible) {
	if p == nil {
		p = &process.Responsible{PID: -1}
	}
	r.Int("responsible_pid", int64(p.PID))
	r.Text("responsible_path", p.Path)
}

func contactColumns(r Row, c sensor.Contact) {
	if c.Flows > 0 {
		r.Int("contacts", int64(c.Flows))
	}
	if c.Gaps > 0 {
		r.Float("contact_gap", c.Gap)
	}
	if c.JitterKnown() {
		r.Float("contact_jitter", c.Jitter)
	}
}

// lopsided says whether more goes out than comes in by the ratio from.
func lopsided(out, in uint64, from float64) bool {
	return out > 0 && float64(out) >= from*float64(in)
}

// shownName is the flow's server name where the site wants it shown.
func shownName(f *sensor.Flow, names string) string {
	if names == config.SNIAll || names == config.SNIAlerts && f.Judgement.Verdict.Alert() {
		return f.Judgement.SNI
	}
	return ""
}

// portExpected says whether a flow's verdict or protocol is normal on the server's port; profiled is false for a port without profile.
func portExpected(f *sensor.Flow, profiles []config.PortProfile) (expected, profiled bool) {
	port := f.Remote.Port()
	if f.Direction == sensor.Inbound {
		port = f.Local.Port()
	}
	name := map[uint8]string{6: "tcp", 17: "udp"}[f.Protocol]
	for _, p := range profiles {
		if p.Port == port && p.Protocol == name {
			profiled = true
			expected = expected || slices.Contains(p.Verdicts, string(f.Judgement.Verdict)) || slices.Contains(p.Verdicts, f.Judgement.AppProtocol)
		}
	}
	return expected, profiled
}
