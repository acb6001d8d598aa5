// Package warehouse tests the ClickHouse side of a fleet's result logs: schema.sql and queries/.
package warehouse

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// fleetSizes are the numbers of hosts at which costs are measured: those of "make warehouse", or a few for "make test".
func fleetSizes() (hosts []int, days int) {
	if n, err := strconv.Atoi(os.Getenv("WAREHOUSE_HOSTS")); err == nil && n >= 1000 {
		return []int{n / 10, 3 * n / 10, n}, 30
	}
	return []int{40, 120}, 12
}

var queries = []string{"prevalence", "identities", "destinations", "first_seen", "coverage"}

// TestWarehouse loads the logs of a made fleet and compares every answer with counts made here while the logs were.
func TestWarehouse(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.run("schema.sql")
	sizes, days := fleetSizes()
	f := newFleet(days)
	log := filepath.Join(t.TempDir(), "results.log")
	var costs strings.Builder
	fmt.Fprintf(&costs, "| query | hosts | seconds | rows read | bytes read |\n|---|---|---|---|---|\n")
	loaded := 0
	for _, hosts := range sizes {
		started := time.Now()
		lines, size := s.loadHosts("cipherlens.lines", f, loaded, hosts, log)
		t.Logf("%d more hosts, %d days: %d lines, %d bytes, loaded in %v", hosts-loaded, days, lines, size, time.Since(started).Round(time.Millisecond))
		loaded = hosts
		f.check(t, s, "cipherlens")
		for _, q := range queries {
			a := s.fastest("queries/" + q + ".sql")
			fmt.Fprintf(&costs, "| %s | %d | %.3f | %d | %d |\n", q, hosts, a.Statistics.Elapsed, a.Statistics.RowsRead, a.Statistics.BytesRead)
		}
	}
	t.Logf("costs:\n%s", costs.String())
	for _, table := range []string{"findings", "contacts", "coverage"} {
		a := s.askText("SELECT count() AS parts, sum(rows) AS kept, sum(bytes) AS disk FROM system.parts WHERE active AND database = 'cipherlens' AND table = '" + table + "'")
		t.Logf("%s: %v rows, %v bytes on disk", table, a.Data[0]["kept"], a.Data[0]["disk"])
	}
	compareWithBaseline(t, s, log)
}

// fastest is the fastest of five answers: what a query costs when nothing else runs.
func (s *server) fastest(file string) answer {
	best := s.ask(file)
	for range 4 {
		if a := s.ask(file); a.Statistics.Elapsed < best.Statistics.Elapsed {
			best = a
		}
	}
	return best
}

// batchLines is how many lines one INSERT has: enough that parts stay few, few enough that the views' work on them stays small.
const batchLines = 20_000

// loadHosts loads the lines of hosts from to to-1 and appends them to a file; it gives their number and bytes.
func (s *server) loadHosts(table string, f *fleet, from, to int, log string) (lines, size int) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	out := bufio.NewWriter(file)
	var batch bytes.Buffer
	inBatch := 0
	for host := from; host < to; host++ {
		for _, line := range f.hostLines(host) {
			lines, size, inBatch = lines+1, size+len(line)+1, inBatch+1
			_, err := out.Write(append(line, '\n'))
			require.NoError(s.t, err)
			batch.Write(append(escape(line), '\n'))
		}
		if inBatch >= batchLines || host == to-1 {
			s.load(table, &batch)
			batch.Reset()
			inBatch = 0
		}
	}
	require.NoError(s.t, out.Flush())
	require.NoError(s.t, file.Close())
	return lines, size
}

// check compares every query's answer with the fleet's own counts.
func (f *fleet) check(t *testing.T, s *server, database string) {
	ask := func(name string) []map[string]any {
		return s.askText(strings.ReplaceAll(read(t, "queries/"+name+".sql"), "cipherlens.", database+".")).Data
	}
	prevalence := ask("prevalence")
	require.Len(t, prevalence, len(f.contacts))
	byIdentity, byDestination := map[string]*seen{}, map[string]*seen{}
	add := func(to map[string]*seen, key string, from *seen) {
		if to[key] == nil {
			to[key] = &seen{map[string]bool{}, map[string]bool{}}
		}
		for h := range from.hosts {
			to[key].hosts[h] = true
		}
		for d := range from.days {
			to[key].days[d] = true
		}
	}
	for _, r := range prevalence {
		port, err := strconv.Atoi(fmt.Sprint(r["remote_port"]))
		require.NoError(t, err)
		c := contact{r["identity"].(string), r["remote_address"].(string), port}
		want := f.contacts[c]
		require.NotNil(t, want, "%v", c)
		require.Equal(t, fmt.Sprint(len(want.hosts)), r["hosts"], "%v", c)
		require.Equal(t, fmt.Sprint(len(want.days)), r["days"], "%v", c)
		add(byIdentity, c.identity, want)
		add(byDestination, c.address+" "+strconv.Itoa(c.port), want)
	}
	for _, r := range ask("identities") {
		want := byIdentity[r["identity"].(string)]
		require.Equal(t, []any{fmt.Sprint(len(want.hosts)), fmt.Sprint(len(want.days))}, []any{r["hosts"], r["days"]})
	}
	for _, r := range ask("destinations") {
		want := byDestination[fmt.Sprintf("%v %v", r["remote_address"], r["remote_port"])]
		require.Equal(t, []any{fmt.Sprint(len(want.hosts)), fmt.Sprint(len(want.days))}, []any{r["hosts"], r["days"]})
	}
	f.checkNew(t, ask("first_seen"))
	f.checkCoverage(t, ask("coverage"))
}

func (f *fleet) checkNew(t *testing.T, got []map[string]any) {
	newest, want := "", 0
	for _, first := range f.lastFindings {
		newest = max(newest, first.Format(time.DateOnly))
	}
	for _, first := range f.findings {
		if first.Format(time.DateOnly) == newest {
			want++
		}
	}
	require.Len(t, got, want)
	for _, r := range got {
		port, err := strconv.Atoi(fmt.Sprint(r["remote_port"]))
		require.NoError(t, err)
		first := f.findings[contact{r["identity"].(string), r["remote_address"].(string), port}]
		require.Equal(t, first.Format(time.DateTime), r["first_seen"])
	}
}

func (f *fleet) checkCoverage(t *testing.T, got []map[string]any) {
	newest := time.Time{}
	for _, s := range f.states {
		if s.at.After(newest) {
			newest = s.at
		}
	}
	want := map[string]map[string]int{}
	for _, s := range f.states {
		state := s.essential
		if s.at.Before(newest.Add(-24 * time.Hour)) {
			state = "silent"
		}
		if want[s.platform] == nil {
			want[s.platform] = map[string]int{}
		}
		want[s.platform]["hosts"]++
		want[s.platform][state]++
		if state != "silent" && s.state == "ok" {
			want[s.platform]["all_ok"]++
		}
	}
	require.Len(t, got, len(want))
	for _, r := range got {
		for _, column := range []string{"hosts", "ok", "degraded", "blind", "silent", "all_ok"} {
			require.Equal(t, strconv.Itoa(want[r["platform"].(string)][column]), r[column], "%s of %s", column, r["platform"])
		}
	}
}

// TestHostileNames: what an attacker names a file, in every shape of line, forges no row, column or host.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.run("schema.sql")
	f := newFleet(1)
	at := f.newest
	names := []string{
		`/x"},{"identity":"signing:com.apple.x","hostIdentifier":"other`, `/x\"},{\"path\":\"/y`, "/x\ty\nz\x01", `/x"],"action":"removed`, `/ends with \`, `\`, `"`,
		`/x","exception_key":"signing:com.apple.x to 1.1.1.1 port 1`, "/x to 203.0.113.9 port 443", strings.Repeat("/deep", 1000), "/\xff\xfe", `/x"}],"unixTime":1,"columns":{"path":"`,
	}
	var all bytes.Buffer
	want := map[string]int{}
	for i, name := range names {
		for host := range 3 {
			p := program{path: name, identity: "path:" + name, columns: []string{"cdhash", ""}}
			if i%2 == 1 {
				p.key, p.identity = true, "cdhash:"+strings.Repeat("ab", 20)
			}
			d := destination{"203.0.113.9", 443, "random"}
			for _, line := range f.item(host, fmt.Sprintf("h%d", host), at, "an0402_flows", "snapshot", nil) {
				all.Write(append(escape(line), '\n'))
			}
			for _, line := range f.item(host, fmt.Sprintf("h%d", host), at, "an0402_flows", "snapshot", []sqlhost.Row{f.row(p, d), f.row(p, d)}) {
				all.Write(append(escape(line), '\n'))
			}
			want[p.identity]++
		}
	}
	s.load("cipherlens.lines", &all)
	got := s.askText("SELECT identity, remote_address, remote_port, uniqExact(host) AS hosts FROM cipherlens.contacts GROUP BY identity, remote_address, remote_port").Data
	require.Len(t, got, len(want))
	for _, r := range got {
		require.Equal(t, "203.0.113.9", r["remote_address"])
		require.Equal(t, "3", r["hosts"])
		identity := r["identity"].(string)
		if !strings.Contains(identity, "\ufffd") && !strings.Contains(identity, "\x01") {
			require.Contains(t, want, identity)
		}
	}
}

// TestShards: two shards, the hosts split between them, give the same answers as one server. (Both are databases of one server here: a cluster's
// replicas name their default database.)
func TestShards(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	schema := read(t, "schema.sql")
	for _, database := range []string{"cipherlens_1", "cipherlens_2"} {
		s.runText(strings.NewReplacer("cipherlens.", database+".", "EXISTS cipherlens;", "EXISTS "+database+";").Replace(schema))
	}
	s.runText(strings.NewReplacer("'cipherlens'", "''", " AS cipherlens.", " AS cipherlens_1.").Replace(read(t, "distributed.sql")))
	f := newFleet(9)
	s.loadHosts("cipherlens_all.lines", f, 0, 60, filepath.Join(t.TempDir(), "results.log"))
	f.check(t, s, "cipherlens_all")
	hosts := map[string]int{}
	for _, database := range []string{"cipherlens_1", "cipherlens_2"} {
		rows := s.askText("SELECT DISTINCT host FROM " + database + ".coverage").Data
		require.Greater(t, len(rows), 15, "a shard has its share")
		for _, r := range rows {
			hosts[r["host"].(string)]++
		}
	}
	require.Len(t, hosts, 60)
	for host, shards := range hosts {
		require.Equal(t, 1, shards, host)
	}
}
