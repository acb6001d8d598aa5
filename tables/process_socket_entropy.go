package tables

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// ProcessSocketEntropy is the table of processes with their outbound traffic summed up.
func ProcessSocketEntropy(flows Flows, settings func() config.Config) Definition {
	return Definition{
		Name:        "process_socket_entropy",
		Description: "One process's outbound traffic within time_window, summed up. Entropy stands only on flows that are random, structured or mimic, so that TLS does not hide them.",
		Examples:    []string{"SELECT pid, path, random_flows, entropy, entropy_ratio FROM process_socket_entropy WHERE random_flows > 0"},
		Columns: []table.ColumnDefinition{
			key(table.IntegerColumn("pid"), "Process; -1 when not known"),
			key(table.TextColumn("path"), "Its executable; empty when not known"),
			text("process_name", "Its name as the kernel gives it"),
			text("launchd_label", "launchd job (Linux: systemd unit) that runs it"),
			integer("flows", "Outbound flows"),
			integer("random_flows", "Of these random or tls_mimic"),
			integer("tls_flows", "Of these conformant TLS, DTLS, QUIC or STARTTLS"),
			integer("remote_addresses", "Different remote addresses"),
			bigint("bytes_out", "Payload bytes sent"),
			bigint("bytes_in", "Payload bytes received"),
			double("asymmetry_ratio", "bytes_out over bytes_in; NULL when nothing came in"),
			integer("lopsided", "1 when asymmetry_ratio reaches traffic_asymmetry_ratio, or nothing came in"),
			double("entropy", "Mean entropy of the sampled bytes, weighted by their number, bits a byte; NULL without such flows"),
			double("entropy_ratio", "Likewise, over what uniform bytes of these lengths give"),
			double("chi2_p", "Smallest p-value of the chi-square tests against uniform bytes"),
			bigint("sampled_bytes", "Bytes that the figures stand on"),
			bigint("first_seen", "First packet, unix seconds"),
			bigint("last_seen", "Last packet, unix seconds"),
			text("error", "What could not be found out"),
		},
		Rows: func(ctx context.Context, q Query) ([]Row, error) {
			found, err := flows.Flows(ctx, func(f *sensor.Flow) bool {
				return f.Direction == sensor.Outbound && q.WantsInt("pid", int64(f.Owner.PID)) && q.Wants("path", f.Owner.Path)
			})
			if err != nil {
				return nil, err
			}
			return processRows(found, settings().TrafficAsymmetryRatio), nil
		},
	}
}

// traffic is what one process sent and received.
type traffic struct {
	owner                sensor.Owner
	flows, random, tls   int64
	remotes              map[netip.Addr]struct{}
	out, in              uint64
	sampled              int64
	entropy, ratio, chi2 float64 // the first two weighted sums, the last a minimum
	first, last          int64
}

func processRows(flows []sensor.Flow, lopsidedFrom float64) []Row {
	type identity struct {
		pid        int
		path, name string
	}
	by := map[identity]*traffic{}
	for i := range flows {
		f := &flows[i]
		if f.Kept {
			continue
		}
		id := identity{f.Owner.PID, f.Owner.Path, f.Owner.Name}
		t := by[id]
		if t == nil {
			t = &traffic{owner: f.Owner, remotes: map[netip.Addr]struct{}{}, chi2: 1, first: f.FirstSeen}
			by[id] = t
		}
		t.add(f)
	}
	rows := make([]Row, 0, len(by))
	for _, t := range by {
		rows = append(rows, t.row(lopsidedFrom))
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a["path"], b["path"]), cmp.Compare(a["pid"], b["pid"])) })
	return rows
}

func (t *traffic) add(f *sensor.Flow) {
	j := &f.Judgement
	t.flows++
	t.remotes[f.Remote.Addr()] = struct{}{}
	t.out, t.in = t.out+f.BytesOut, t.in+f.BytesIn
	t.first, t.last = min(t.first, f.FirstSeen), max(t.last, f.LastSeen)
	switch j.Verdict {
	case conformance.TLS, conformance.DTLS, conformance.QUIC, conformance.StartTLS:
		t.tls++
	case conformance.Random, conformance.TLSMimic:
		t.random++
	case conformance.RandomMidstream, conformance.Structured:
	default:
		return
	}
	if n := float64(j.Sample.N); n > 0 && j.Verdict != conformance.TLS {
		t.sampled += int64(j.Sample.N)
		t.entropy += n * j.Sample.Entropy
		t.ratio += n * j.Sample.EntropyRatio
		t.chi2 = min(t.chi2, j.Sample.Chi2P)
	}
}

func (t *traffic) row(lopsidedFrom float64) Row {
	r := Row{}
	r.Int("pid", int64(t.owner.PID))
	r.Text("path", t.owner.Path)
	r.Text("process_name", t.owner.Name)
	r.Text("launchd_label", t.owner.Label)
	r.Int("flows", t.flows)
	r.Int("random_flows", t.random)
	r.Int("tls_flows", t.tls)
	r.Int("remote_addresses", int64(len(t.remotes)))
	r.Int("bytes_out", int64(t.out))
	r.Int("bytes_in", int64(t.in))
	if t.in > 0 {
		r.Float("asymmetry_ratio", float64(t.out)/float64(t.in))
	}
	r.Bool("lopsided", lopsided(t.out, t.in, lopsidedFrom))
	if n := float64(t.sampled); n > 0 {
		r.Float("entropy", t.entropy/n)
		r.Float("entropy_ratio", t.ratio/n)
		r.Float("chi2_p", t.chi2)
	}
	r.Int("sampled_bytes", t.sampled)
	r.Int("first_seen", t.first)
	r.Int("last_seen", t.last)
	r.Errors()
	return r
}
