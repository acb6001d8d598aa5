package sqlhost

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
)

// A fakeClock jumps to the end of every wait, and fails the one that would pass the end.
type fakeClock struct {
	mu       sync.Mutex
	now, end time.Time
}

func newClock(start time.Time, length time.Duration) *fakeClock {
	return &fakeClock{now: start, end: start.Add(length)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Wait(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Add(d).After(c.end) {
		return context.DeadlineExceeded
	}
	c.now = c.now.Add(d)
	return ctx.Err()
}

// The first second of the recording of pack.conf.
var recordingStart = time.Unix(1795422789, 0)

func TestPackEqualsRecordedLogs(t *testing.T) {
	t.Parallel()
	clock := newClock(recordingStart, 27*time.Second)
	host := newHost(t, Options{HostIdentifier: "vm", Platform: "linux", Decorations: map[string]string{"asset_tag": "mac-042"}, Clock: clock})
	require.NoError(t, host.Attach("rec", (&recorder{}).tables()...))
	pack, err := ParsePack("p", read(t, recordings+"pack.conf"))
	require.NoError(t, err)

	dir := t.TempDir()
	log, err := NewFilesystemLogger(dir)
	require.NoError(t, err)
	// The recording stops without a last run of every query, so the clock cuts the run off.
	_, err = host.RunPack(t.Context(), pack, RunOptions{}, log)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, log.Close())

	for _, name := range []string{"results.log", "snapshots.log"} {
		require.Equal(t, string(read(t, recordings+name)), string(read(t, filepath.Join(dir, "osqueryd."+name))), name)
	}
	require.Equal(t, statusLines(read(t, recordings+"status.log")), statusLines(read(t, filepath.Join(dir, "osqueryd.INFO"))))
}

// statusLines drops microseconds and thread ids, which are the recording machine's.
func statusLines(data []byte) []string {
	volatile := regexp.MustCompile(`^(\S+ \S+)\.\d{6} +\d+ `)
	var lines []string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, volatile.ReplaceAllString(strings.TrimSuffix(line, "\n"), "$1 "))
	}
	return lines
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// A memoryLogger keeps what it gets.
type memoryLogger struct {
	mu        sync.Mutex
	results   []*LogItem
	snapshots []*LogItem
	statuses  []Status
	err       error
}

func (l *memoryLogger) Results(item *LogItem) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, item)
	return l.err
}

func (l *memoryLogger) Snapshot(item *LogItem) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshots = append(l.snapshots, item)
	return l.err
}

func (l *memoryLogger) Status(s Status) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses = append(l.statuses, s)
	return l.err
}

// changes are the logged changes in a short form: "-1" is a removed row with n=1.
func (l *memoryLogger) changes() []string {
	var changes []string
	for _, item := range l.results {
		for _, row := range item.Removed {
			changes = append(changes, "-"+row["n"].Text)
		}
		for _, row := range item.Added {
			changes = append(changes, "+"+row["n"].Text)
		}
	}
	return changes
}

// A numbersTable gives the numbers it is set to, as the table numbers(n).
type numbersTable struct {
	mu      sync.Mutex
	numbers []string
	calls   int
}

func (n *numbersTable) set(numbers ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers = numbers
}

func (n *numbersTable) plugin() *table.Plugin {
	return table.NewPlugin("numbers", columnsOf("n TEXT", table.OptimizedColumn()), func(context.Context, table.QueryContext) ([]map[string]string, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.calls++
		var rows []map[string]string
		for _, number := range n.numbers {
			rows = append(rows, map[string]string{"n": number})
		}
		return rows, nil
	})
}

func numbersHost(t *testing.T, clock Clock) (*Host, *numbersTable) {
	t.Helper()
	host := newHost(t, Options{Platform: "darwin", Clock: clock})
	numbers := &numbersTable{}
	require.NoError(t, host.Attach("e", numbers.plugin()))
	return host, numbers
}

func mustParse(t *testing.T, pack string) *Pack {
	t.Helper()
	p, err := ParsePack("p", []byte(pack))
	require.NoError(t, err)
	return p
}

func TestUnchangedHostGivesNoSecondLine(t *testing.T) {
	t.Parallel()
	host, numbers := numbersHost(t, nil)
	pack := mustParse(t, `{"queries":{"q":{"query":"select n from numbers"},"s":{"query":"select n from numbers","snapshot":true}}}`)
	numbers.set("1", "2", "2")
	log := &memoryLogger{}
	for range 2 {
		report, err := host.RunPack(t.Context(), pack, RunOptions{Once: true}, log)
		require.NoError(t, err)
		require.Equal(t, RunReport{Runs: 2}, report)
	}
	require.Equal(t, []string{"+1", "+2", "+2"}, log.changes())
	require.Len(t, log.snapshots, 2)

	// A row that comes once less is one line; the order of rows is none.
	numbers.set("2", "3", "1")
	_, err := host.RunPack(t.Context(), pack, RunOptions{Once: true}, log)
	require.NoError(t, err)
	require.Equal(t, []string{"-2", "+3"}, log.changes()[3:])
	require.Equal(t, uint64(1), log.results[1].Counter)

	// Another epoch starts anew, a state of the caller's own too.
	for _, o := range []RunOptions{{Once: true, Epoch: 1}, {Once: true, State: NewState()}} {
		_, err = host.RunPack(t.Context(), pack, o, log)
		require.NoError(t, err)
		last := log.results[len(log.results)-1]
		require.Len(t, last.Added, 3)
		require.Zero(t, last.Counter)
		require.Equal(t, o.Epoch, last.Epoch)
	}
}

func TestStateSurvivesTheProcess(t *testing.T) {
	t.Parallel()
	pack := mustParse(t, `{"queries":{"q":{"query":"select n, 0.5 as d, 7 as i, null as x, 'é' || char(1) as t from numbers"}}}`)
	state := NewState()
	for i := range 2 {
		host, numbers := numbersHost(t, nil)
		numbers.set("1", "2")
		log := &memoryLogger{}
		_, err := host.RunPack(t.Context(), pack, RunOptions{Once: true, State: state}, log)
		require.NoError(t, err)
		require.Len(t, log.results, 1-i)
		data, err := json.Marshal(state)
		require.NoError(t, err)
		state = NewState()
		require.NoError(t, json.Unmarshal(data, state))
	}
	require.Error(t, json.Unmarshal([]byte(`{"q":null}`), NewState()))
	require.Error(t, json.Unmarshal([]byte(`[]`), NewState()))
}

func TestLastRunWhenTimeIsOver(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Unix(1_000_001, 0), time.Hour)
	host, numbers := numbersHost(t, clock)
	pack := mustParse(t, `{"queries":{"q":{"query":"select n from numbers","interval":300}}}`)
	numbers.set("1")
	report, err := host.RunPack(t.Context(), pack, RunOptions{For: 60 * time.Second}, &memoryLogger{})
	require.NoError(t, err)
	require.Equal(t, RunReport{Runs: 1}, report) // no multiple of 300 s in between
	require.Equal(t, int64(1_000_061), clock.Now().Unix())

	report, err = host.RunPack(t.Context(), pack, RunOptions{For: 60 * time.Second, Interval: 10 * time.Second}, &memoryLogger{})
	require.NoError(t, err)
	require.Equal(t, RunReport{Runs: 7}, report) // at 1000070, ..., 1000120, and last
}

func TestLastRunWhenCapturesAreDrained(t *testing.T) {
	t.Parallel()
	host, numbers := numbersHost(t, nil)
	pack := mustParse(t, `{"queries":{"q":{"query":"select n from numbers","interval":604800}}}`)
	drained := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() {
		numbers.set("late")
		close(drained)
	})
	log := &memoryLogger{}
	started := time.Now()
	_, err := host.RunPack(t.Context(), pack, RunOptions{Drained: drained, For: time.Hour}, log)
	require.NoError(t, err)
	require.Equal(t, []string{"+late"}, log.changes())
	require.Less(t, time.Since(started), 900*time.Millisecond)
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	host, _ := numbersHost(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	report, err := host.RunPack(ctx, mustParse(t, `{"queries":{"q":{"query":"select 1","interval":604800}}}`), RunOptions{}, &memoryLogger{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, report.Runs)
}

func TestFailingQueryDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	host, numbers := numbersHost(t, nil)
	numbers.set("1")
	pack := mustParse(t, `{"queries":{"a":{"query":"select * from nope"},
		"b":{"query":"with recursive n(i) as (select 1 union all select i+1 from n) select max(i) from n"},"c":{"query":"select n from numbers"}}}`)
	log := &memoryLogger{}
	report, err := host.RunPack(t.Context(), pack, RunOptions{Once: true, QueryTimeout: 50 * time.Millisecond}, log)
	require.NoError(t, err)
	require.Equal(t, RunReport{Runs: 3, Failures: 2}, report)
	require.Equal(t, []string{"+1"}, log.changes())
	require.Len(t, log.statuses, 2)
	require.Equal(t, "Error executing scheduled query pack_p_a: no such table: nope", log.statuses[0].Message)
	require.Contains(t, log.statuses[1].Message, "took longer than 50ms")
}

func TestLoggerThatFailsEndsTheRun(t *testing.T) {
	t.Parallel()
	host, numbers := numbersHost(t, nil)
	numbers.set("1")
	full := errors.New("disk full")
	_, err := host.RunPack(t.Context(), mustParse(t, `{"queries":{"q":{"query":"select n from numbers"}}}`), RunOptions{Once: true}, &memoryLogger{err: full})
	require.ErrorIs(t, err, full)
}

func TestWhoRunsAPack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		head    string
		runs    int
		skipped string
	}{
		{``, 1, ""},
		{`"platform":"darwin",`, 1, ""},
		{`"platform":"linux, darwin",`, 1, ""},
		{`"platform":"posix",`, 1, ""},
		{`"platform":"linux",`, 0, "it is for linux, this is darwin"},
		{`"version":"5.23.1",`, 1, ""},
		{`"version":"5.100.0",`, 0, "it wants osquery 5.100.0, this is 5.23.1"},
		{`"shard":100,`, 1, ""},
		{`"discovery":["select 1 where 1=0"],`, 0, ""},
		{`"discovery":["select 1","select name from osquery_extensions where name='e'"],`, 1, ""},
		{`"discovery":["select * from nope"],`, 0, ""},
	} {
		host, _ := numbersHost(t, nil)
		log := &memoryLogger{}
		report, err := host.RunPack(t.Context(), mustParse(t, `{`+tt.head+`"queries":{"q":{"query":"select 1"},
			"linux":{"query":"select 1","platform":"linux"},"new":{"query":"select 1","version":"6"}}}`), RunOptions{Once: true}, log)
		require.NoError(t, err, tt.head)
		require.Equal(t, RunReport{Skipped: tt.skipped, Runs: tt.runs}, report, tt.head)
		if tt.skipped != "" {
			require.Equal(t, Info, log.statuses[0].Severity)
		}
	}
}

// osquery puts a host into a shard by the first byte of its name's SHA-1 (osquery/config/packs.cpp); the bytes here are
// sha1sum's.
func TestShard(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host  string
		first int
	}{{"vm", 0x0a}, {"mac-042", 0x1b}} {
		share := tt.first * 100 / 255
		require.True(t, inShard(tt.host, share), tt.host)
		require.False(t, inShard(tt.host, share-1), tt.host)
		require.True(t, inShard(tt.host, 0), tt.host)
	}
}

// A discovery query's answer is kept for an hour, a "no" as well.
func TestDiscoveryIsCached(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Unix(3600, 0), 2*time.Hour)
	host, numbers := numbersHost(t, clock)
	pack := mustParse(t, `{"discovery":["select n from numbers"],"queries":{"q":{"query":"select 1 as n","interval":600}}}`)
	report, err := host.RunPack(t.Context(), pack, RunOptions{For: 7000 * time.Second}, &memoryLogger{})
	require.NoError(t, err)
	require.Zero(t, report.Runs)
	require.Equal(t, 2, numbers.calls) // at the start and after an hour, not at each of 12 times
}

func TestSnapshotWithoutRowsIsLogged(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{HostIdentifier: "h", Clock: newClock(time.Unix(0, 0), 0)})
	log := &memoryLogger{}
	_, err := host.RunPack(t.Context(), mustParse(t, `{"queries":{"q":{"query":"select 1 where 0","snapshot":true},"d":{"query":"select 1 where 0"}}}`), RunOptions{Once: true}, log)
	require.NoError(t, err)
	require.Empty(t, log.results)
	require.Equal(t, `{"snapshot":[],"action":"snapshot","name":"pack_p_q","hostIdentifier":"h","calendarTime":"Thu Jan  1 00:00:00 1970 UTC",`+
		`"unixTime":0,"epoch":0,"counter":0,"numerics":false}`, string(log.snapshots[0].SnapshotLine()))
}

func TestNewQueryTextRestartsTheCounter(t *testing.T) {
	t.Parallel()
	s := NewState()
	row := func(n string) []Row { return []Row{{"n": {Text: n, Kind: Text}}} }
	require.Equal(t, uint64(0), s.update("q", "a", 0, row("1")).counter)
	require.Equal(t, uint64(1), s.update("q", "a", 0, row("2")).counter)
	require.Equal(t, uint64(1), s.update("q", "a", 0, row("2")).counter)
	require.Equal(t, uint64(2), s.update("q", "a", 0, row("3")).counter)
	d := s.update("q", "b", 0, row("4"))
	require.Equal(t, difference{added: row("4"), removed: row("3")}, d)
}

// Removed rows come as osquery's std::multiset of typed rows orders them: by column name, integers before doubles before
// texts, numbers by value.
func TestRemovedRowsAreSorted(t *testing.T) {
	t.Parallel()
	value := func(text string, kind Kind) Row { return Row{"v": {Text: text, Kind: kind}} }
	sorted := []Row{value("9", Integer), value("10", Integer), value("1.5", Float), value("11.5", Float), value("10", Text), value("9", Text)}
	shuffled := []Row{sorted[4], sorted[1], sorted[5], sorted[3], sorted[0], sorted[2]}
	require.Equal(t, sorted, diff(shuffled, nil).removed)
}
