package sensor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/macho"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

func TestScope(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.9.9.9": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "0.0.0.0": "unspecified", "::": "unspecified",
		"169.254.3.4": "link_local", "fe80::1": "link_local", "224.0.0.1": "multicast", "ff02::1": "multicast", "255.255.255.255": "multicast",
		"10.1.2.3": "private", "172.31.0.1": "private", "192.168.0.1": "private", "100.64.0.1": "private", "fd00::1": "private",
		"172.32.0.1": "public", "203.0.113.7": "public", "2606:4700::1111": "public", "::ffff:8.8.8.8": "public",
	} {
		require.Equal(t, want, Scope(netip.MustParseAddr(address)), address)
	}
}

func flowTo(label, remote string, opened int64) Flow {
	return Flow{Protocol: 6, Remote: netip.MustParseAddrPort(remote), Owner: Owner{Label: label}, opened: opened,
		Judgement: conformance.Judgement{Verdict: conformance.Random}}
}

func all(*Flow) bool { return true }

func TestAlertsAreKeptByIdentity(t *testing.T) {
	t.Parallel()
	a := newAlerts()
	job := func(pid int, opened int64) Flow {
		f := flowTo("job", "203.0.113.1:443", opened)
		f.Owner.PID = pid
		return f
	}
	require.True(t, a.add(job(1, 20), 0))
	require.False(t, a.add(job(2, 10), 0))
	require.True(t, a.add(flowTo("other", "203.0.113.1:443", 30), 0))
	require.False(t, a.add(job(3, 30), 20*time.Hour))
	a.expire(0)
	require.Len(t, a.list(all), 2)
	for _, f := range a.list(func(f *Flow) bool { return f.Owner.Label == "job" }) {
		require.Equal(t, 1, f.Owner.PID, "what was shown first stands for all")
		require.EqualValues(t, 10, f.opened, "and comes before an older flow that was judged later")
	}
	a.expire(25 * time.Hour)
	require.Len(t, a.list(all), 1, "24 hours after its last flow an alert is over")
	a.expire(45 * time.Hour)
	require.Empty(t, a.list(all))
	require.Empty(t, a.groups)
	require.Zero(t, a.all.Len())
}

// manyAlerts adds n alerts of one executable.
func manyAlerts(a *alerts, path string, n int, from time.Duration) {
	for i := range n {
		address := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
		f := flowTo("", netip.AddrPortFrom(address, 443).String(), int64(i))
		f.Owner.Path = path
		a.add(f, from+time.Duration(i))
	}
}

func TestAlertsAreBounded(t *testing.T) {
	t.Parallel()
	a := newAlerts()
	for i := range 8 {
		manyAlerts(a, fmt.Sprint("/opt/", i), maxOfOne/2, time.Duration(i)*time.Hour)
	}
	require.Len(t, a.by, maxAlerts)
	require.Zero(t, a.dropped)
	manyAlerts(a, "/opt/new", 10, 9*time.Hour)
	require.Len(t, a.by, maxAlerts)
	require.EqualValues(t, 10, a.dropped)
	for _, f := range a.list(func(f *Flow) bool { return f.Owner.Path == "/opt/0" }) {
		require.GreaterOrEqual(t, f.opened, int64(10), "the longest silent went first")
	}
}

// TestOneProgramDoesNotPushOutOthers: whoever makes alerts without end loses its own.
func TestOneProgramDoesNotPushOutOthers(t *testing.T) {
	t.Parallel()
	a := newAlerts()
	manyAlerts(a, "/opt/quiet", 1, 0)
	manyAlerts(a, "/opt/flood", 3*maxAlerts, time.Hour)
	require.Len(t, a.by, maxOfOne+1)
	require.EqualValues(t, 3*maxAlerts-maxOfOne, a.dropped)
	require.Len(t, a.list(func(f *Flow) bool { return f.Owner.Path == "/opt/quiet" }), 1)
}

func TestAlertsWaitForTheirVerdictToSettle(t *testing.T) {
	t.Parallel()
	provisional, final := &conformance.Judgement{Verdict: conformance.Random}, &conformance.Judgement{Verdict: conformance.Random, Final: true}
	require.False(t, settled(provisional, false, time.Second))
	require.True(t, settled(provisional, false, rest))
	require.True(t, settled(provisional, true, 0))
	require.True(t, settled(final, false, 0))
}

func TestDoHResolvers(t *testing.T) {
	t.Parallel()
	r := newResolvers([]string{"192.0.2.0/24", "DNS.example"})
	tls := conformance.Judgement{Verdict: conformance.TLS}
	require.True(t, r.expected(&tls, netip.MustParseAddr("192.0.2.53")))
	require.False(t, r.expected(&tls, netip.MustParseAddr("203.0.113.1")))
	tls.SNI = "dns.Example"
	require.True(t, r.expected(&tls, netip.MustParseAddr("203.0.113.1")))
	require.False(t, r.expected(&conformance.Judgement{Verdict: conformance.Random}, netip.MustParseAddr("192.0.2.53")), "only a conformant flow is DNS over HTTPS")
}

func newSensor(t *testing.T, o Options) *Sensor {
	t.Helper()
	dir := o.Root
	if dir == nil {
		root, err := rootfs.Open("/")
		require.NoError(t, err)
		t.Cleanup(func() { _ = root.Close() })
		o.Root = root
	}
	o.Settings = config.NewStore(filepath.Join(t.TempDir(), "config.yaml"))
	o.Images = image.NewAnalyzer(o.Root)
	o.Log = slog.New(slog.DiscardHandler)
	return New(o)
}

func coverageOf(s *Sensor, name string) Coverage {
	for _, c := range s.Coverage(context.Background()) {
		if c.Name == name {
			return c
		}
	}
	return Coverage{}
}

func TestCaptureThatBreaksOffKeepsWhatCameBefore(t *testing.T) {
	t.Parallel()
	const demo = "../../testdata/demo/"
	whole, err := os.ReadFile(demo + "capture.pcapng")
	require.NoError(t, err)
	cut := filepath.Join(t.TempDir(), "cut.pcapng")
	require.NoError(t, os.WriteFile(cut, whole[:len(whole)/2+3], 0o600))
	root, err := rootfs.Open(demo + "root")
	require.NoError(t, err)
	defer func() { _ = root.Close() }()

	s := newSensor(t, Options{Root: root, Captures: []string{cut, "missing.pcap", demo + "capture.pcapng"}})
	err = s.Run(t.Context())
	require.ErrorContains(t, err, "cut.pcapng: offset ")
	require.ErrorContains(t, err, "missing.pcap: no such file")
	<-s.Drained()
	found, err := s.Flows(t.Context(), all)
	require.NoError(t, err)
	files := map[string]int{}
	for _, f := range found {
		files[filepath.Base(f.File)]++
	}
	require.Equal(t, 8, files["capture.pcapng"])
	require.NotZero(t, files["cut.pcapng"])
	require.Equal(t, Degraded, coverageOf(s, "capture").State)
}

func TestNothingToCaptureIsBlind(t *testing.T) {
	t.Parallel()
	s := newSensor(t, Options{})
	require.NoError(t, s.Run(t.Context()))
	require.Equal(t, Blind, coverageOf(s, "capture").State)
}

// TestLive talks random bytes over loopback and finds the flow, its verdict and its owner: this process.
func TestLive(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("live capture needs root")
	}
	s := newSensor(t, Options{Live: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	require.Eventually(t, func() bool { return coverageOf(s, "capture").State == OK }, 10*time.Second, 20*time.Millisecond)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.CopyN(c, rand.Reader, 1500)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_, err = io.CopyN(c, rand.Reader, 1500)
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1500))
	require.NoError(t, err)
	time.Sleep(time.Second) // a socket that is gone within a few milliseconds has no owner any more
	require.NoError(t, c.Close())

	self, err := os.Executable()
	require.NoError(t, err)
	to := netip.MustParseAddrPort(l.Addr().String())
	t.Cleanup(func() {
		if t.Failed() {
			seen, _ := s.Flows(context.Background(), func(f *Flow) bool { return f.Remote == to })
			t.Logf("seen: %+v\ncoverage: %+v", seen, s.Coverage(context.Background()))
		}
	})
	var found []Flow
	require.Eventually(t, func() bool {
		found, err = s.Flows(t.Context(), func(f *Flow) bool {
			return f.Remote == to && f.Judgement.Verdict == conformance.Random && f.Owner.PID > 0
		})
		return err == nil && len(found) == 1
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, os.Getpid(), found[0].Owner.PID)
	require.Equal(t, self, found[0].Owner.Path)
	require.Equal(t, BySocket, found[0].Owner.Attribution)
	require.Equal(t, Outbound, found[0].Direction)
	require.EqualValues(t, 1500, found[0].BytesOut)

	cancel()
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		require.Fail(t, "the sensor did not end")
	}
}

// TestIndexPrefersJobs: a file that borrows a job's UUID does not hide the job.
func TestIndexPrefersJobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../../testdata/demo/root")))
	const job = "/Library/Application Support/Metadata/mdsync"
	program, err := os.ReadFile(filepath.Join(dir, job))
	require.NoError(t, err)
	tool := filepath.Join(dir, "usr/local/bin/tool")
	require.NoError(t, os.MkdirAll(filepath.Dir(tool), 0o755))
	require.NoError(t, os.WriteFile(tool, append(program, "and more"...), 0o755))

	x, err := OpenIndex(t.Context(), dir)
	require.NoError(t, err)
	ids, err := macho.UUIDs(bytes.NewReader(program), int64(len(program)))
	require.NoError(t, err)
	require.Equal(t, job, x.path(ids[0]))
	require.Equal(t, "com.apple.metadata.mdsync", x.label(job))

	require.NoError(t, os.Remove(filepath.Join(dir, "Library/LaunchDaemons/com.apple.metadata.mdsync.plist")))
	x, err = OpenIndex(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "/usr/local/bin/tool", x.path(ids[0]), "a tool that is no job is known too")
}
