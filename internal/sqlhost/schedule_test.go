package sqlhost

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

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
