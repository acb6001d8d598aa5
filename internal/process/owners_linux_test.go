package process

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the kernel does not know is not looked for in /proc.
func TestOwnersUnknown(t *testing.T) {
	t.Parallel()
	o := newOwners(t)
	for _, protocol := range []uint8{protocolTCP, protocolUDP, 1, 132} {
		_, ok := o.Lookup(protocol, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
		require.False(t, ok)
	}
	_, ok := o.Lookup(protocolTCP, netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:2"))
	require.False(t, ok)
	_, ok = o.Lookup(protocolTCP, netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("192.0.2.2:2"))
	require.False(t, ok)
	require.Equal(t, OwnerStats{Asked: 6, Unknown: 6}, o.Stats())

	// A listener is not the owner of a connection that is not there.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, ok = o.Lookup(protocolTCP, l.Addr().(*net.TCPAddr).AddrPort(), netip.MustParseAddrPort("127.0.0.1:9"))
	require.False(t, ok)
}

// A cached owner whose pid belongs to another process now is not believed.
func TestOwnersReusedPID(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	o := newOwners(t)
	s, ok := o.diag.find(protocolTCP, local, remote)
	require.True(t, ok)
	require.Equal(t, uint32(os.Getuid()), s.uid)
	init, err := readStat(1)
	require.NoError(t, err)
	o.known[s.inode] = holder{pid: 1, start: init.start + 1}
	p, ok := ask(o, protocolTCP, local, remote)
	require.True(t, ok)
	require.Equal(t, os.Getpid(), p.PID)
}

// Without time left nothing is looked for; with some again, it is found.
func TestOwnersLimited(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	o := newOwners(t)
	o.likely.spend(time.Hour)
	_, ok := o.Lookup(protocolTCP, local, remote)
	require.False(t, ok)
	require.Equal(t, OwnerStats{Asked: 1, Limited: 1}, o.Stats())

	o.likely = newAllowance(likelyShare, time.Now())
	pid, ok := o.Lookup(protocolTCP, local, remote)
	require.True(t, ok)
	require.Equal(t, os.Getpid(), pid)
	require.Equal(t, uint64(1), o.Stats().Walks, "this process is not young: it is found in the walk")

	o.likely.spend(time.Hour)
	pid, ok = o.Lookup(protocolTCP, local, remote)
	require.True(t, ok, "what is known needs no time")
	require.Equal(t, os.Getpid(), pid)
}

// New processes are seen, also when pids have started again from the low ones; threads are not processes.
func TestYoung(t *testing.T) {
	t.Parallel()
	var y young
	require.NoError(t, y.start())
	require.NotContains(t, y.pids(), os.Getpid())
	c := sleeper(t, "60")
	pids := y.pids()
	require.Contains(t, pids, c.Process.Pid)
	for _, pid := range pids {
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil {
			require.Contains(t, string(s), fmt.Sprintf("\nTgid:\t%d\n", pid))
		}
	}
	wrapped := young{last: 1 << 30, since: map[int]youth{}}
	require.Contains(t, wrapped.pids(), c.Process.Pid)
	y.since[c.Process.Pid] = youth{seen: time.Now().Add(-2 * youngAge)}
	require.NotContains(t, y.pids(), c.Process.Pid)
}

// Clients of 50 ms, as many at once as a busy host has, get the right pid and path (the sensor asks at the first packet, here: when the
// connection is accepted).
func TestOwnersShortLived(t *testing.T) {
	right := 0
	for i := 0; i < 3 && right < 90; i++ { // a machine that is busy with other tests has three tries
		n, wrong := shortLived(t, newOwners(t), 100)
		require.Zero(t, wrong, "nobody else is ever the owner")
		right = max(right, n)
	}
	require.GreaterOrEqual(t, right, 90, "how many are found depends on how busy the machine is: BenchmarkOwnersShortLived measures it")
}

// BenchmarkOwnersShortLived measures how many clients that live 50 ms, started one each 5 ms, get their right owner.
func BenchmarkOwnersShortLived(b *testing.B) {
	right, all := 0, 0
	for b.Loop() {
		n, _ := shortLived(b, newOwners(b), 1000)
		right, all = right+n, all+1000
	}
	b.ReportMetric(100*float64(right)/float64(all), "%right")
}

// shortLived starts clients, one each 5 ms, and says of how many the owner was right, and of how many somebody else.
func shortLived(t testing.TB, o *Owners, clients int) (right, wrong int) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	self := thisProgram(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range clients {
			c := startClient(t, "tcp4", l.Addr().String(), 50)
			wg.Go(func() { _ = c.Wait() })
			time.Sleep(5 * time.Millisecond)
		}
	})
	var good, bad atomic.Int32
	for range clients {
		conn, err := l.Accept()
		require.NoError(t, err)
		p, ok := ask(o, protocolTCP, conn.RemoteAddr().(*net.TCPAddr).AddrPort(), l.Addr().(*net.TCPAddr).AddrPort())
		wg.Go(func() {
			defer conn.Close()
			said, err := io.ReadAll(conn)
			switch {
			case err != nil || !ok:
			case strconv.Itoa(p.PID) == string(said) && p.Path == self:
				good.Add(1)
			default:
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	return int(good.Load()), int(bad.Load())
}

// ss asks the same kernel by its own code.
func TestOwnersAgreeWithSS(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ss"); err != nil {
		t.Skip("no ss")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	out, err := exec.Command("ss", "-tnpeH", "src", conn.LocalAddr().String(), "dst", conn.RemoteAddr().String()).Output()
	require.NoError(t, err)
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	o := newOwners(t)
	s, ok := o.diag.find(protocolTCP, local, remote)
	require.True(t, ok)
	require.Contains(t, string(out), fmt.Sprintf("ino:%d ", s.inode))
	p, ok := ask(o, protocolTCP, local, remote)
	require.True(t, ok)
	require.True(t, strings.Contains(string(out), fmt.Sprintf("pid=%d,", p.PID)), "%s", out)
}

func TestSocketInode(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]uint32{
		"socket:[12345]": 12345, "socket:[4294967295]": 4294967295, "socket:[4294967296]": 0, "socket:[]": 0, "pipe:[1]": 0, "/dev/null": 0,
	} {
		inode, ok := socketInode(link)
		require.Equal(t, want != 0, ok, link)
		if ok {
			require.Equal(t, want, inode)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add(make([]byte, messageSize), uint8(protocolTCP))
	f.Fuzz(func(t *testing.T, b []byte, protocol uint8) {
		if s, ok := parseReply(b, protocol, 443); ok {
			require.NotZero(t, s.inode)
		}
	})
}

// BenchmarkOwner looks up sockets of short-lived clients, cache and all; the cost is that of one new flow.
func BenchmarkOwner(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	o := newOwners(b)
	for b.Loop() {
		b.StopTimer()
		c := startClient(b, "tcp4", l.Addr().String(), 20)
		conn, err := l.Accept()
		require.NoError(b, err)
		o.likely = newAllowance(likelyShare, time.Now())
		b.StartTimer()
		p, ok := o.Owner(protocolTCP, conn.RemoteAddr().(*net.TCPAddr).AddrPort(), l.Addr().(*net.TCPAddr).AddrPort())
		b.StopTimer()
		require.True(b, ok)
		require.Equal(b, c.Process.Pid, p.PID)
		conn.Close()
		require.NoError(b, c.Wait())
		b.StartTimer()
	}
}
