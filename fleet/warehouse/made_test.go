package warehouse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// fleet is a made fleet and its result logs, the same for the same seed, with the counts that it must come to.
type fleet struct {
	days     int
	newest   time.Time
	programs []program
	popular  []float64

	contacts map[contact]*seen
	findings map[contact]time.Time // when first
	states   map[string]hostState

	lastFindings []time.Time // of each host
}

// program is software that talks in random bytes.
type program struct {
	identity, path, label string
	key                   bool     // exception_key says the identity; else it follows from columns
	columns               []string // names and values
	destinations          []destination
}

type destination struct {
	address string
	port    int
	verdict string
}

// contact is what prevalence is counted by.
type contact struct {
	identity, address string
	port              int
}

// seen is where and when a contact was seen.
type seen struct{ hosts, days map[string]bool }

// hostState is the last word of a host on what it sees.
type hostState struct {
	platform, state, essential string
	at                         time.Time
}

// newFleet makes programs: a few that nearly every host has, many that few have, and implants (the last ten) on one to three hosts each.
func newFleet(days int) *fleet {
	f := &fleet{days: days, newest: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), contacts: map[contact]*seen{}, findings: map[contact]time.Time{}, states: map[string]hostState{}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 250 {
		p := program{path: fmt.Sprintf("/Applications/Vendor %d.app/Contents/MacOS/agent", i)}
		team, id, hash := fmt.Sprintf("TEAM%06d", i), fmt.Sprintf("com.vendor%d.agent", i), fmt.Sprintf("%040x", i)
		switch {
		case i >= 240: // implants
			p.path, p.label = fmt.Sprintf("/Library/Application Support/.m%d/sync", i), fmt.Sprintf("com.apple.metadata.m%d", i)
			p.key, p.identity, p.columns = true, "cdhash:"+hash, []string{"cdhash", hash}
		case i%6 == 0: // unproven, and a name that quotes
			p.path = fmt.Sprintf("/opt/tool \"%d\" to\\x/bin/t\u00fc", i)
			p.identity, p.columns = "path:"+p.path, []string{"cdhash", ""}
		case i%6 == 1:
			p.identity, p.columns = "team:"+team, []string{"team_id", team, "exception_key", ""}
		case i%6 == 2:
			p.identity, p.columns = "signing:"+id, []string{"signature", "apple", "signing_id", id, "cdhash", hash}
		case i%6 == 3:
			p.identity, p.columns = "cdhash:"+hash, []string{"signature", "adhoc", "signing_id", id, "cdhash", hash}
		case i%6 == 4:
			p.identity, p.columns = "signing:"+team+":"+id, []string{"team_id", team, "signing_id", id, "cdhash", hash}
		default:
			p.key, p.identity = true, "signing:"+team+":"+id
		}
		for range 1 + random.IntN(3) {
			p.destinations = append(p.destinations, destination{fmt.Sprintf("203.0.%d.%d", random.IntN(113), random.IntN(256)), 1 + random.IntN(65535), []string{"random", "random", "tls_mimic"}[random.IntN(3)]})
		}
		f.programs = append(f.programs, p)
		f.popular = append(f.popular, 0.6/float64(1+i))
	}
	return f
}

// hostLines gives all result lines of one host, oldest first, and counts them.
func (f *fleet) hostLines(host int) [][]byte {
	random := rand.New(rand.NewPCG(3, uint64(host)))
	name := fmt.Sprintf("host-%05d", host)
	platform := "darwin"
	if host%7 == 6 {
		platform = "linux"
	}
	var installed []int
	for i := range f.programs {
		implanted := i >= 240 && host%(97+i) == i%97 && host < 1000
		if implanted || i < 240 && random.Float64() < f.popular[i] {
			installed = append(installed, i)
		}
	}
	state := []string{"ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "degraded", "degraded", "blind"}[random.IntN(12)]
	essential := state
	if state == "degraded" && host%2 == 0 {
		essential = "ok"
	}
	last := f.days
	if random.IntN(50) == 0 {
		last = f.days - 5 // gone silent
	}
	var lines [][]byte
	reported := map[contact]bool{}
	latest := time.Time{}
	for day := range last {
		at := f.newest.AddDate(0, 0, day+1-f.days).Add(time.Duration(host%80000) * time.Second)
		var flows []sqlhost.Row
		for _, i := range installed {
			p := f.programs[i]
			if i >= 240 && day < f.days-1-i%10 || random.IntN(10) < 3 && day < last-1 {
				continue
			}
			for _, d := range p.destinations {
				flows = append(flows, f.row(p, d))
				c := f.count(name, p, d, at)
				if !reported[c] {
					reported[c], latest = true, at
					if first, known := f.findings[c]; !known || at.Before(first) {
						f.findings[c] = at
					}
					lines = append(lines, f.item(host, name, at, "an0402_detection", "", []sqlhost.Row{f.row(p, d)})...)
				}
			}
		}
		lines = append(lines, f.item(host, name, at, "an0402_flows", "snapshot", flows)...)
		at = at.Add(time.Hour)
		f.states[name] = hostState{platform, state, essential, at}
		lines = append(lines, f.item(host, name, at, "an0402-coverage_host", "snapshot", []sqlhost.Row{row("platform", platform, "state", state, "essential", essential, "blind", "", "degraded", "", "extension_version", "0.1.0", "exception_key", "host:"+state)})...)
	}
	if !latest.IsZero() {
		f.lastFindings = append(f.lastFindings, latest)
	}
	return lines
}

func (f *fleet) count(host string, p program, d destination, at time.Time) contact {
	c := contact{p.identity, d.address, d.port}
	s := f.contacts[c]
	if s == nil {
		s = &seen{map[string]bool{}, map[string]bool{}}
		f.contacts[c] = s
	}
	s.hosts[host], s.days[at.Format(time.DateOnly)] = true, true
	return c
}

func (f *fleet) row(p program, d destination) sqlhost.Row {
	columns := slices.Concat([]string{"severity", "high", "launchd_label", p.label, "path", p.path, "process_name", "agent", "pid", "511", "protocol", "6",
		"remote_address", d.address, "remote_port", strconv.Itoa(d.port), "verdict", d.verdict, "why", "random from the start", "bytes_in", "4711", "bytes_out", "815",
		"entropy", "7.98", "entropy_ratio", "0.999", "community_id", "1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "reasons", "no_protocol,uniform", "sampled_bytes", "1024"}, p.columns)
	if p.key {
		columns = append(columns, "exception_key", p.identity+" to "+d.address+" port "+strconv.Itoa(d.port))
	}
	return row(columns...)
}

func row(pairs ...string) sqlhost.Row {
	r := sqlhost.Row{}
	for i := 0; i < len(pairs); i += 2 {
		r[pairs[i]] = sqlhost.Value{Text: pairs[i+1], Kind: sqlhost.Text}
	}
	return r
}

// item logs rows as a third of the hosts each do: osqueryd's packs, Fleet's reports, and osqueryd with --logger_snapshot_event_type.
func (f *fleet) item(host int, name string, at time.Time, query, action string, rows []sqlhost.Row) [][]byte {
	item := &sqlhost.LogItem{Name: "pack_" + query, HostIdentifier: name, Time: at, Decorations: map[string]string{"name": "decoy", "hostname": name}}
	if host%3 == 1 {
		item.Name = "pack/Global/" + query
		if host%2 == 1 {
			item.Name = "pack/team-12/" + query
		}
	}
	if action == "" || host%3 == 2 {
		item.Added = rows
		lines := item.Lines()
		if action != "" {
			for i, line := range lines {
				lines[i] = slices.Concat(line[:len(line)-len(`"added"}`)], []byte(`"snapshot"}`))
			}
		}
		return lines
	}
	item.Snapshot = rows
	return [][]byte{item.SnapshotLine()}
}
