package sensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/state"
)

// regular is from which jitter on the packs call a contact regular; packs/an0402/flows.sql.
const regular = 0.25

// startsOf makes starts with these gaps between them.
func startsOf(n int, gap func() time.Duration) []time.Duration {
	starts := []time.Duration{0}
	for range n - 1 {
		starts = append(starts, starts[len(starts)-1]+gap())
	}
	return starts
}

func contactOf(starts []time.Duration) Contact {
	var c contacts
	for _, s := range starts {
		c.add(s, true)
	}
	return c.contact()
}

// jittered is a beacon's wait: uniform up to share either way.
func jittered(r *rand.Rand, mean time.Duration, share float64) func() time.Duration {
	return func() time.Duration { return time.Duration(float64(mean) * (1 + share*(2*r.Float64()-1))) }
}

// human waits in bursts and pauses, as people's clicks come: a lognormal with sigma 1 (Barabasi, Nature 435, 2005, finds even heavier tails).
func human(r *rand.Rand, median time.Duration) func() time.Duration {
	return func() time.Duration { return time.Duration(float64(median) * math.Exp(r.NormFloat64())) }
}

// TestContactsAreMeasured: against the textbook's two passes over the same gaps.
func TestContactsAreMeasured(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for what, gap := range map[string]func() time.Duration{
		"every ten seconds": jittered(r, 10*time.Second, 0.3), "every minute": jittered(r, time.Minute, 0.1), "hourly": jittered(r, time.Hour, 0.1), "by hand": human(r, time.Minute),
	} {
		starts := startsOf(23, gap)
		var mean, squares float64
		for i := range starts[1:] {
			mean += (starts[i+1] - starts[i]).Seconds() / float64(len(starts)-1)
		}
		for i := range starts[1:] {
			squares += math.Pow((starts[i+1]-starts[i]).Seconds()-mean, 2)
		}
		got := contactOf(starts)
		require.Equal(t, 23, got.Flows, what)
		require.Equal(t, 22, got.Gaps, what)
		require.InEpsilon(t, mean, got.Gap, 1e-9, what)
		require.InEpsilon(t, math.Sqrt(squares/21)/mean, got.Jitter, 1e-9, what)
	}
}

func TestRegularContactIsToldFromPeople(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		for _, every := range []time.Duration{5 * time.Second, time.Minute, time.Hour} {
			for _, share := range []float64{0, 0.1, 0.3} {
				c := contactOf(startsOf(24, jittered(r, every, share)))
				require.True(t, c.JitterKnown() && c.Jitter <= regular, "every %v with %v: %+v", every, share, c)
			}
			c := contactOf(startsOf(24, human(r, every)))
			require.False(t, c.JitterKnown() && c.Jitter <= regular, "by hand, around %v: %+v", every, c)
		}
	}
	for n := range leastGaps + 1 {
		c := contactOf(startsOf(n, func() time.Duration { return time.Minute }))
		require.False(t, c.JitterKnown(), "%d contacts say nothing", n)
	}
}

// TestContactsAreOfADay: what is older is forgotten, and no program makes the figures take more room.
func TestContactsAreOfADay(t *testing.T) {
	t.Parallel()
	var c contacts
	for i := range 3 * 24 * 60 {
		c.add(time.Duration(i)*time.Minute, true)
	}
	require.InDelta(t, 24*60, c.contact().Flows, 60)
	require.InDelta(t, 60, c.contact().Gap, 1e-9)
	from := c.last
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 50_000 {
		from += time.Duration(r.Int64N(int64(3 * time.Hour)))
		if i%2 == 0 {
			from += contactStep
		}
		c.add(from, true)
		require.LessOrEqual(t, len(c.steps), contactSteps)
		require.Less(t, c.last-c.steps[0].from, contactSpan)
	}
	require.LessOrEqual(t, cap(c.steps), contactSteps)
	c.add(from+contactSpan, true)
	require.Equal(t, 1, c.contact().Flows)
}

// TestSeveralConnectionsAreOneContact: and one that was settled late does not spoil the gaps.
func TestSeveralConnectionsAreOneContact(t *testing.T) {
	t.Parallel()
	var c contacts
	for i := range 10 {
		at := time.Duration(i) * time.Minute
		c.add(at, true)
		c.add(at+200*time.Millisecond, true)
		c.add(at-30*time.Second, true)
	}
	require.Equal(t, Contact{Flows: 30, Gaps: 9, Gap: 60}, c.contact())
}

// call is one contact: a flow of its own, which is an alert, and that is shown.
func (h *host) call(t *testing.T, n int) {
	t.Helper()
	h.alert(Owner{PID: 7, Path: "/opt/beacon"}, fmt.Sprint("192.0.2.1:", 20_000+n), "203.0.113.1:443")
	h.collect(t.Context())
}

// look is what the tables show after the time of a look.
func (h *host) look(t *testing.T) []Flow {
	t.Helper()
	found := h.alerts(t)
	require.NotEmpty(t, found)
	for _, f := range found {
		require.Equal(t, found[0].Contact, f.Contact, "every flow of an identity shows the same")
	}
	return found
}

// TestHourlyBeaconIsRegular: also where the extension starts again, the host sleeps or the capture is lost in between.
func TestHourlyBeaconIsRegular(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		every  func(*rand.Rand) func() time.Duration
		before func(t *testing.T, h *host, n int) *host // what happens before the nth contact
		gaps   int
		even   bool
	}{
		"nothing in between": {func(r *rand.Rand) func() time.Duration { return jittered(r, time.Hour, 0.1) }, func(_ *testing.T, h *host, _ int) *host { return h }, 21, true},
		"by hand":            {func(r *rand.Rand) func() time.Duration { return human(r, 40*time.Minute) }, func(_ *testing.T, h *host, _ int) *host { return h }, 21, false},
		"restarts": {func(r *rand.Rand) func() time.Duration { return jittered(r, time.Hour, 0.1) }, func(t *testing.T, h *host, n int) *host {
			if n == 7 || n == 15 {
				return h.again(t, "")
			}
			return h
		}, 19, true},
		"a reboot that nobody saw coming": {func(r *rand.Rand) func() time.Duration { return jittered(r, time.Hour, 0.1) }, func(t *testing.T, h *host, n int) *host {
			if n == 9 {
				h.collect(t.Context())
				h.save(t.Context(), true)
				h.pass(90 * time.Minute) // switched off
				h.reading.Boot, h.reading.Awake, h.reading.Continuous = "second", time.Minute, time.Minute
				return h.again(t, "")
			}
			return h
		}, 20, true},
		"sleep": {func(r *rand.Rand) func() time.Duration { return jittered(r, time.Hour, 0.1) }, func(t *testing.T, h *host, n int) *host {
			if n == 5 || n == 12 {
				h.reading.Continuous += 9 * time.Hour
				h.reading.Wall = h.reading.Wall.Add(9 * time.Hour)
				if n == 12 { // its timer goes by the wall clock: it calls as soon as the host is awake
					h.reading.Awake -= 20 * time.Minute
				}
			}
			return h
		}, 19, true},
		"the capture is lost": {func(r *rand.Rand) func() time.Duration { return jittered(r, time.Hour, 0.1) }, func(t *testing.T, h *host, n int) *host {
			if n == 5 {
				h.ended(os.ErrPermission)
				h.pass(10 * time.Hour)
				require.Error(t, h.capture(t.Context()))
				h.source = quietSource{}
			}
			return h
		}, 20, true},
	} {
		r := rand.New(rand.NewPCG(11, 12))
		wait := c.every(r)
		h := newHost(t, "", filepath.Join(t.TempDir(), "alerts"))
		h.mendCapture()
		for n := range 22 {
			if n > 0 {
				h.pass(wait())
			}
			if next := c.before(t, h, n); next != h {
				h = next
				h.mendCapture()
			}
			h.call(t, n)
		}
		got := h.look(t)[0].Contact
		if what == "by hand" { // more than a day of it
			require.Greater(t, got.Flows, 5, what)
		} else if what != "the capture is lost" {
			require.Equal(t, 22, got.Flows, what)
			require.Equal(t, c.gaps, got.Gaps, what)
			require.InEpsilon(t, 3600, got.Gap, 0.05, what)
		}
		require.True(t, got.JitterKnown(), what)
		require.Equal(t, c.even, got.Jitter <= regular, "%s: %+v", what, got)
	}
}

// mendCapture makes captures that can be had, and end at once.
func (h *host) mendCapture() {
	h.open = func() (capture.Source, error) { return quietSource{}, nil }
}

// TestContactsOfACapture: the figures of captured flows are those of the same flows seen live.
func TestContactsOfACapture(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	starts := startsOf(20, jittered(r, time.Hour, 0.2))
	var flows []Flow
	for i, at := range starts {
		flows = append(flows, flowTo("job", "203.0.113.1:443", int64(1e18)+int64(at)))
		if i%2 == 0 {
			benign := flowTo("job", "203.0.113.1:443", int64(1e18)+int64(at)+1)
			benign.Judgement.Verdict = "tls"
			flows = append(flows, benign)
		}
	}
	flows = append(flows, flowTo("job", "203.0.113.2:443", 2e18))
	countContacts(flows)
	want := contactOf(starts)
	for _, f := range flows {
		switch {
		case !f.Judgement.Verdict.Alert():
			require.Zero(t, f.Contact)
		case f.Remote == netip.MustParseAddrPort("203.0.113.2:443"):
			require.Equal(t, Contact{Flows: 1}, f.Contact)
		default:
			require.Equal(t, want, f.Contact)
		}
	}
}

// TestFileWithoutContactsIsRead: an extension before this one has written it.
func TestFileWithoutContactsIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts")
	now := clock.Reading{Wall: time.Unix(1_790_000_000, 0), Awake: 30 * time.Hour, Continuous: 30 * time.Hour, Boot: "b"}
	old, err := state.Open(path, alertsKind, 1, maxAlertsFile)
	require.NoError(t, err)
	require.NoError(t, old.Save([]byte(`{"wall":1789999999000000000,"awake":107999000000000,"boot":"b"}`+"\n"+
		`{"age":5000000000,"since":1789990000000000000,"opened":1789990000000000000,"protocol":17,"local":"192.0.2.1:5","remote":"203.0.113.1:443","last_seen":1789990000,`+
		`"packets":[1,2],"bytes":[3,4],"community_id":"1:x","pid":7,"path":"/opt/beacon","name":"","verdict":"random","confidence":0.5,"sample":{"N":3}}`+"\n")))
	require.NoError(t, old.Close())
	h := newHostAt(t, "", path, now)
	require.NoError(t, h.unreadable)
	require.Equal(t, Contact{Flows: 1}, h.look(t)[0].Contact)
	aside, err := filepath.Glob(path + ".aside-*")
	require.NoError(t, err)
	require.Empty(t, aside)

	h.call(t, 1)
	require.Equal(t, Contact{Flows: 2}, h.look(t)[0].Contact, "what was before the start is no gap")
	again := h.again(t, "")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(data), alertsKind+" 2 "))
	require.Equal(t, Contact{Flows: 2}, again.look(t)[0].Contact)
}

// TestContactsRecordIsChecked: a file that says what cannot be is not used.
func TestContactsRecordIsChecked(t *testing.T) {
	t.Parallel()
	good := contactsRecord{Age: 5, Steps: [][5]float64{{3600, 2, 1, 60, 0}, {0, 3, 3, 70, 9}}}
	require.NoError(t, good.check())
	for what, r := range map[string]contactsRecord{
		"no steps": {}, "too many": {Steps: make([][5]float64, contactSteps+1)}, "a negative age": {Age: -1, Steps: good.Steps},
		"out of order": {Steps: [][5]float64{{0, 1, 0, 0, 0}, {60, 1, 0, 0, 0}}}, "from the future": {Steps: [][5]float64{{-1, 1, 0, 0, 0}}},
		"too old": {Steps: [][5]float64{{1e6, 1, 0, 0, 0}}}, "more gaps than flows": {Steps: [][5]float64{{0, 1, 2, 60, 0}}}, "no flows": {Steps: [][5]float64{{}}},
		"a gap of nothing": {Steps: [][5]float64{{0, 1, 1, 0, 0}}}, "endless": {Steps: [][5]float64{{0, 1, 1, 1e300, 0}}}, "a negative square": {Steps: [][5]float64{{0, 1, 1, 60, -1}}},
	} {
		require.Error(t, r.check(), what)
	}
}
