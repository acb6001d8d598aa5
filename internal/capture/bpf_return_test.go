package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTapReturn plays a day of failures: after a minute, twice as long each time up to an hour, and soon after something changed.
func TestTapReturn(t *testing.T) {
	t.Parallel()
	now := fakeNow
	r := newTapReturn(now)
	next := func() (waited time.Duration) {
		from := now
		for !r.due(now) {
			now = now.Add(time.Second)
		}
		r.failed(now)
		return now.Sub(from)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		require.Equal(t, want*time.Minute, next())
	}
	now = now.Add(20 * time.Minute)
	r.soon = true
	require.Zero(t, next(), "the host woke")
	require.Equal(t, time.Minute, next(), "and the waiting starts anew")
	r.soon = true
	require.Equal(t, 10*time.Second, next(), "interfaces come and go")
	r.soon = true
	require.Equal(t, 10*time.Second, next())
	require.Equal(t, 13, r.tried)
	require.Contains(t, r.String(), "13 times")

	now = fakeNow
	r = newTapReturn(now)
	tries := 0
	for ; now.Before(fakeNow.Add(24 * time.Hour)); now = now.Add(time.Second) {
		if r.due(now) {
			r.failed(now)
			tries++
		}
	}
	require.Equal(t, 28, tries, "6 in the first 63 minutes, then one an hour")
}

// datagrams are records of so many different packets, a second apart from the second first on.
func datagrams(header, first, count int, wrap func([]byte) []byte) []byte {
	packets := make([][]byte, count)
	for i := range packets {
		packets[i] = wrap(fmt.Appendf(nil, "packet of second %d", first+i))
	}
	b := records(header, packets...)
	for i, at := 0, 0; i < count; i++ {
		binary.LittleEndian.PutUint32(b[at:], uint32(first+i))
		at = (at + header + len(packets[i]) + 3) &^ 3
	}
	return b
}

// tapped puts the header of a PKTAP packet of nc on en0 before data.
func tapped(t *testing.T) func([]byte) []byte {
	header := tapPackets(t)[0][:tapFull]
	return func(data []byte) []byte { return append(append([]byte(nil), header...), data...) }
}

func bare(data []byte) []byte { return data }

// onPlain is a source that has to do without PKTAP, and who looks after it.
func onPlain(t *testing.T, k *fakeKernel) (*bpfSource, *plainCapture) {
	t.Helper()
	k.denied[siocIFCREATE] = syscall.EPERM
	o := LiveOptions{Timeout: 50 * time.Millisecond, Interfaces: []string{"en0"}}.withDefaults(maxBPFBuffer)
	s := newBPFSource(ModeBPF, o.Timeout, k.now())
	c := newPlainCapture(k, o, s, errors.New("for a test"))
	require.NoError(t, c.scan())
	t.Cleanup(func() { _ = s.Close() })
	return s, c
}

// TestReturnToPKTAP: what came before the change is taken from the interface, what came after it from PKTAP, in order, each once, and under the
// interface's same number, so that flows go on.
func TestReturnToPKTAP(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	s, c := onPlain(t, k)
	require.Contains(t, s.Stats().Degraded, "PKTAP is tried again after 1m0s")
	const start = 1700000002 // fakeNow
	k.give("en0", datagrams(18, start-2, 2, bare))
	got := collectBPF(t, s)
	require.Len(t, got, 2)

	k.advance(59 * time.Second)
	require.False(t, c.look(), "not yet")
	require.Empty(t, k.created)
	k.advance(time.Second)
	require.False(t, c.look(), "it still fails")
	require.Contains(t, s.Stats().Degraded, "tried again 1 times, the last at 2023-11-14 22:14:22 UTC, and is next 2m0s after that")
	require.Equal(t, Stats{Packets: 2, Mode: ModeBPF, Since: fakeNow, Dropped: 7, Degraded: s.Stats().Degraded}, s.Stats())

	k.allow(siocIFCREATE)
	k.advance(2 * time.Minute)
	const change = start + 180
	k.give("en0", datagrams(18, change-3, 5, bare)) // the last two are in the buffer because they came while it was read
	k.give("pktap5", datagrams(20, change-1, 4, tapped(t)))
	over := make(chan bool)
	go func() { over <- c.look() }()
	got = collectBPF(t, s)
	require.True(t, <-over)
	got = append(got, collectBPF(t, s)...)
	var texts []string
	for _, p := range got {
		texts = append(texts, string(p.Data))
		require.Equal(t, "en0", p.Iface)
		require.Equal(t, got[0].Interface, p.Interface)
		require.Equal(t, p.Time >= change*1e9, p.Process != nil)
	}
	var want []string
	for second := change - 3; second < change+3; second++ {
		want = append(want, fmt.Sprintf("packet of second %d", second))
	}
	require.Equal(t, want, texts)

	stats := s.Stats()
	require.Equal(t, ModePKTAP, stats.Mode)
	require.Equal(t, fakeNow.Add(3*time.Minute), stats.Since)
	require.Empty(t, stats.Degraded)
	require.Contains(t, stats.Before, "bpf until then: no PKTAP (SIOCIFCREATE: operation not permitted)")
	require.EqualValues(t, 14, stats.Dropped, "what the interfaces dropped before still counts")
	require.Len(t, k.devices, 1)
	require.NoError(t, s.Close())
	require.Empty(t, k.devices)
	require.Equal(t, k.created, k.removed)
}

// TestClockSetAtTheChange: a clock that is set back while PKTAP takes over hides nothing for longer than a second.
func TestClockSetAtTheChange(t *testing.T) {
	t.Parallel()
	s := newBPFSource(ModePKTAP, time.Second, fakeNow)
	s.change.Store(fakeNow.UnixNano())
	old := &Packet{Time: fakeNow.Add(-time.Hour).UnixNano()}
	require.True(t, s.elsewhere(old, true))
	s.settling = s.settling.Add(-maxSettling)
	require.False(t, s.elsewhere(old, true))
	require.False(t, s.elsewhere(old, true), "and it is not asked again")
}

// TestCloseWhilePKTAPTakesOver: whoever closes the source does not wait for a reader that waits for Next.
func TestCloseWhilePKTAPTakesOver(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	s, c := onPlain(t, k)
	for range 4 {
		k.give("en0", datagrams(18, 1700000000, 1, bare))
	}
	k.allow(siocIFCREATE)
	k.advance(time.Minute)
	s.readers.Go(func() { c.look() })
	require.Eventually(t, func() bool { return s.change.Load() != 0 }, 5*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Next(&Packet{}), io.EOF)
	require.Empty(t, k.devices)
	require.Equal(t, k.created, k.removed)
	require.ErrorIs(t, c.toTap(), errClosed)
	require.Empty(t, k.devices)
	require.Equal(t, k.created, k.removed)
}

// TestRetry: what the source is told in between is not waited for, and who looks after it hears it.
func TestRetry(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	k.denied[siocIFCREATE] = syscall.EPERM
	src, err := openBPF(k, LiveOptions{Timeout: 10 * time.Millisecond})
	require.NoError(t, err)
	k.allow(siocIFCREATE)
	k.advance(soonestReturn)
	for range 10 {
		src.(Retrier).Retry()
	}
	require.Eventually(t, func() bool {
		_ = src.Next(&Packet{})
		return src.Stats().Mode == ModePKTAP
	}, 5*time.Second, time.Millisecond)
	src.(Retrier).Retry()
	require.NoError(t, src.Close())
	src.(Retrier).Retry()
	require.Empty(t, k.devices)
	require.Equal(t, k.created, k.removed)
}
