package clock

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBetween(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	from := Reading{Wall: at, Awake: time.Hour, Continuous: 2 * time.Hour}
	for name, c := range map[string]struct{ wall, awake, continuous, slept, set time.Duration }{
		"a second":            {time.Second, time.Second, time.Second, 0, 0},
		"slewed":              {time.Second + time.Millisecond, time.Second, time.Second, 0, 0},
		"a night":             {8 * time.Hour, time.Second, 8 * time.Hour, 8*time.Hour - time.Second, 0},
		"a day ahead":         {day + time.Second, time.Second, time.Second, 0, day},
		"a day back":          {time.Second - day, time.Second, time.Second, 0, -day},
		"a night and set":     {9 * time.Hour, time.Second, 8 * time.Hour, 8*time.Hour - time.Second, time.Hour},
		"stopped, not asleep": {time.Hour, time.Hour, time.Hour, 0, 0},
	} {
		slept, set := Between(from, Reading{Wall: at.Add(c.wall), Awake: from.Awake + c.awake, Continuous: from.Continuous + c.continuous})
		require.Equal(t, []time.Duration{c.slept, c.set}, []time.Duration{slept, set}, name)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	then := Reading{Wall: at, Awake: time.Hour, Boot: "a"}
	require.Equal(t, time.Minute, Age(then, Reading{Wall: at.Add(-48 * time.Hour), Awake: time.Hour + time.Minute, Boot: "a"}), "the wall clock does not count within a boot")
	require.Equal(t, time.Minute, Age(then, Reading{Wall: at.Add(time.Minute), Awake: time.Second, Boot: "b"}))
	require.Zero(t, Age(then, Reading{Wall: at.Add(-time.Hour), Boot: "b"}), "not negative")
	require.Equal(t, time.Minute, Age(Reading{Wall: at}, Reading{Wall: at.Add(time.Minute)}), "boots without a name are not the same")
}

// TestNow compares with /proc/uptime, which is CLOCK_BOOTTIME (proc(5)).
func TestNow(t *testing.T) {
	t.Parallel()
	a, b := Now(), Now()
	slept, set := Between(a, b)
	require.Zero(t, slept)
	require.Zero(t, set)
	require.Equal(t, a.Boot, b.Boot)
	if runtime.GOOS != "linux" {
		return
	}
	text, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	uptime, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	require.NoError(t, err)
	require.InDelta(t, uptime, Now().Continuous.Seconds(), 1)
	require.Len(t, a.Boot, 36)
}
