package baseline

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/allowlist"
)

// madeLogs makes logs of a fleet and gives their files and what is in them.
func madeLogs(t testing.TB, hosts, days int) (files []string, truth map[string]string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "made")
	cmd := exec.Command("go", "run", "./logs", "-hosts", strconv.Itoa(hosts), "-days", strconv.Itoa(days), "-out", dir)
	cmd.Dir = "../../../testdata"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	files, err = filepath.Glob(dir + "/logs/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files, readTruth(t, dir+"/truth.tsv")
}

// readTruth gives the counts of truth.tsv by what they are of.
func readTruth(t testing.TB, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	truth := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		c := strings.Split(s.Text(), "\t")
		require.Len(t, c, 9)
		truth[strings.Trim(strings.Join(c[:5], " "), " ")] = strings.TrimRight(strings.Join(c[5:], " "), " ")
	}
	return truth
}

func read(t testing.TB, files []string, into *Counter) *Progress {
	t.Helper()
	p := &Progress{}
	r := Reader{Workers: 2, Progress: p, Report: func(err error) { t.Error(err) }}
	require.NoError(t, r.Read(context.Background(), files, nil, into))
	return p
}

// TestCountsAreTheMadeFleets compares every count with the generator's own.
func TestCountsAreTheMadeFleets(t *testing.T) {
	t.Parallel()
	files, truth := madeLogs(t, 80, 30)
	c := NewCounter(DefaultBudget, NoDay)
	p := read(t, files, c)
	require.Equal(t, truth["lines"], fmt.Sprintf("   %d", p.Lines.Load())[1:], "lines")
	delete(truth, "lines")
	got := map[string]string{}
	all := c.Totals()
	require.Zero(t, all.Error)
	got["total"] = fmt.Sprintf("%d %d %d %d", all.Hosts, all.Days, all.Rows, all.Destinations)
	require.NoError(t, c.Each(func(id *Identity) error {
		got["identity "+id.Name] = fmt.Sprintf("%d %d %d %d", id.Hosts, id.Days, id.Rows, id.Destinations)
		for _, s := range id.Seen {
			got[fmt.Sprintf("destination %s %s %d %d", id.Name, s.Address(), s.Port(), s.Protocol())] = fmt.Sprintf("%d %d %d", s.Hosts, s.Days, s.Rows)
		}
		return nil
	}))
	require.Equal(t, truth, got)
}

// TestEstimatesAreWithinTheirError: with little memory, what is said to be exact is exact, and the rest within three standard errors.
func TestEstimatesAreWithinTheirError(t *testing.T) {
	t.Parallel()
	const peers = 40_000
	add := func(c *Counter) {
		for i := range peers {
			c.Add(row(i%500, i%30, "signing:PEERPEERPE:p2p", 0x01000000+i, 6881))
			c.Add(row(i%200, i%20, "cdhash:small", 0x02000000+i%10, 443))
		}
	}
	exact, tight, tiny := NewCounter(DefaultBudget, NoDay), NewCounter(2<<20, NoDay), NewCounter(70<<10, NoDay)
	add(exact)
	add(tight)
	add(tiny)
	require.Zero(t, exact.Totals().Error)
	require.EqualValues(t, peers+10, exact.Totals().Destinations)

	all := tight.Totals()
	require.Equal(t, 1, all.Folded)
	require.False(t, all.HostsEstimated)
	require.InDelta(t, 1.04/128, all.Error, 1e-9)
	require.Equal(t, 500, all.Hosts)
	require.NoError(t, tight.Each(func(id *Identity) error {
		if id.Name == "cdhash:small" {
			require.False(t, id.Estimated)
			require.EqualValues(t, 10, id.Destinations)
			require.Equal(t, 200, id.Hosts)
			return nil
		}
		require.True(t, id.Estimated)
		require.Equal(t, []int{500, 30}, []int{id.Hosts, id.Days})
		require.InEpsilon(t, peers, id.Destinations, 3*all.Error)
		return nil
	}))

	all = tiny.Totals()
	require.True(t, all.HostsEstimated)
	require.InEpsilon(t, 500, all.Hosts, 3*all.Error)
	require.InEpsilon(t, peers+10, all.Destinations, 3*all.Error)
	require.EqualValues(t, 2*peers, all.Rows)
}

// TestManyOfEverythingStaysWithinItsBudget feeds what hostile logs could hold.
func TestManyOfEverythingStaysWithinItsBudget(t *testing.T) {
	const n, budget = 300_000, 16 << 20
	before := heap()
	c := NewCounter(budget, 20_000)
	for i := range n {
		c.Add(row(i, i, fmt.Sprintf("path:/bin/%d", i%(n/2)), i*7919, i))
	}
	require.Less(t, float64(heap())-float64(before), 2.5*budget)
	all := c.Totals()
	require.True(t, all.HostsEstimated)
	require.EqualValues(t, n, all.Rows)
	require.InEpsilon(t, n, all.Hosts, 3*all.Error)
	require.InEpsilon(t, n/2, all.Identities, 3*all.Error)
}

// TestAccountedBytes compares what the counter says it takes with what it takes.
func TestAccountedBytes(t *testing.T) {
	before := heap()
	c := NewCounter(DefaultBudget, NoDay)
	for i := range 400_000 {
		c.Add(row(i%5000, i%30, fmt.Sprintf("path:/usr/local/bin/%d", i%50), i%100_000, 443))
	}
	took := float64(heap()) - float64(before)
	require.Zero(t, c.Totals().Error)
	require.InEpsilon(t, took, float64(c.used), 0.35, "takes %.0f, says %d", took, c.used)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func row(host, day int, identity string, address, port int) Row {
	return Row{
		Host: fmt.Appendf(nil, "host-%d", host), Day: firstDay + Day(day%30000), Identity: []byte(identity), Verdict: Random,
		Where: Destination{address: [16]byte{10: 0xff, 11: 0xff, 12: byte(address >> 24), 13: byte(address >> 16), 14: byte(address >> 8), 15: byte(address)}, port: uint16(port), protocol: 6, four: true},
	}
}

func TestWhatIsNew(t *testing.T) {
	t.Parallel()
	for _, budget := range []int64{DefaultBudget, 300 << 10} {
		c := NewCounter(budget, firstDay+10)
		for i := range 20_000 {
			c.Add(row(i%50, i%5, "signing:PEERPEERPE:p2p", i%4000, 1))    // before
			c.Add(row(i%50, 10+i%5, "signing:PEERPEERPE:p2p", i%5000, 1)) // 1,000 more
		}
		c.Add(row(1, 12, "path:/new", 7, 443))
		found := map[string]Identity{}
		require.NoError(t, c.Each(func(id *Identity) error { found[id.Name] = *id; return nil }))
		require.True(t, found["path:/new"].IsNew)
		require.EqualValues(t, 1, found["path:/new"].NewDestinations)
		peers := found["signing:PEERPEERPE:p2p"]
		require.False(t, peers.IsNew)
		require.InDelta(t, 1000, float64(peers.NewDestinations), math.Ceil(c.Totals().Error*3*5000*2))
		require.Equal(t, budget < DefaultBudget, peers.Estimated)
	}
}

// TestProposalsParse: what is proposed is what the rule parser takes, and covers what was seen.
func TestProposalsParse(t *testing.T) {
	t.Parallel()
	files, _ := madeLogs(t, 60, 30)
	c := NewCounter(DefaultBudget, NoDay)
	read(t, files, c)
	all := c.Totals()
	var text strings.Builder
	text.WriteString("rules:\n")
	why := map[string]string{}
	require.NoError(t, c.Each(func(id *Identity) error {
		rules, reason := Propose(id, all, Terms{MinHosts: 3, MinDays: 2, Expires: all.Last + 180})
		require.Equal(t, reason == "", len(rules) > 0)
		why[id.Name] = reason
		for _, r := range rules {
			require.Contains(t, r.Reason, fmt.Sprintf("seen on %d of %d hosts and %d of %d days", id.Hosts, all.Hosts, id.Days, all.Days))
			text.WriteString(allowlist.Format(r))
		}
		return nil
	}))
	rules, errs := allowlist.Parse("learned.yaml", []byte(text.String()))
	require.Empty(t, errs)
	set, errs := allowlist.NewSet(rules)
	require.Empty(t, errs)
	require.Greater(t, len(rules), 10)
	covered := 0
	require.NoError(t, c.Each(func(id *Identity) error {
		short, err := allowlist.Short(id.Name)
		require.NoError(t, err)
		who := allowlist.Identity{TeamID: short.TeamID, SigningID: short.SigningID, Apple: short.TeamID == "", CDHash: short.CDHash, Path: short.Path}
		for _, s := range id.Seen {
			where := allowlist.Destination{Address: s.Address(), Port: s.Port(), Verdict: s.Verdicts.Names()[0]}
			matched := set.Match(who, where, s.Last.Time()) != nil
			common := why[id.Name] == "" && s.Hosts >= 3 && s.Days >= 2
			require.True(t, matched || !common, "%s %s is common and not covered", id.Name, s.Address())
			if matched {
				covered++
			}
			require.False(t, matched && why[id.Name] != "", id.Name)
		}
		return nil
	}))
	require.Greater(t, covered, 100)
	byName := map[string]*allowlist.Rule{}
	for _, r := range rules {
		byName[r.Name] = r
		require.NotEmpty(t, r.Verdicts)
	}
	telegram := byName["learned signing:6N38VWS5BX:ru.keepcoder.Telegram port 443"]
	require.Equal(t, "6N38VWS5BX", telegram.TeamID)
	require.Equal(t, []string{"random"}, telegram.Verdicts)
	require.NotEmpty(t, telegram.Networks)
	require.Equal(t, "named only by a path in a folder that users can write to", why["path:/Users/Shared/.cache/updater"])
}
