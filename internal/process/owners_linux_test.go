package process

import (
	"encoding/binary"
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
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
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
	o.walks.spend(time.Hour)
	_, ok := o.Lookup(protocolTCP, local, remote)
	require.False(t, ok)
	require.Equal(t, OwnerStats{Asked: 1, Limited: 2}, o.Stats())

	o.likely, o.walks = newAllowance(likelyShare, time.Now()), newAllowance(walkShare, time.Now())
	_, answer := o.Ask(&Question{Protocol: protocolTCP, Local: local, Remote: remote}, true)
	require.Equal(t, Later, answer, "this process is not likely, and a quick look walks not")
	pid, ok := o.Lookup(protocolTCP, local, remote)
	require.True(t, ok)
	require.Equal(t, os.Getpid(), pid)
	require.Equal(t, uint64(1), o.Stats().Walks, "this process is not young: it is found in the walk")

	o.likely.spend(time.Hour)
	pid, ok = o.Lookup(protocolTCP, local, remote)
	require.True(t, ok, "what is known needs no time")
	require.Equal(t, os.Getpid(), pid)
}

// pids are those of the processes that a young knows now.
func (y *young) pids() (pids []int) {
	y.follow()
	for _, p := range y.likely() {
		pids = append(pids, p.pid)
	}
	return pids
}

// New processes are seen, also when pids have started again from the low ones; threads are not processes.
func TestYoung(t *testing.T) {
	t.Parallel()
	var y young
	require.NoError(t, y.start())
	defer func() { require.NoError(t, y.close()) }()
	polling := young{last: y.last} // where there are no events
	require.NotContains(t, y.pids(), os.Getpid())
	c := sleeper(t, "60")
	pids := y.pids()
	require.Contains(t, pids, c.Process.Pid)
	require.Contains(t, polling.pids(), c.Process.Pid)
	for _, pid := range pids {
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil {
			require.Contains(t, string(s), fmt.Sprintf("\nTgid:\t%d\n", pid))
		}
	}
	wrapped := young{last: 1 << 30}
	require.Contains(t, wrapped.pids(), c.Process.Pid)
	for i := range y.list {
		y.list[i].seen = time.Now().Add(-2 * youngAge)
	}
	require.NotContains(t, y.pids(), c.Process.Pid)
}

// TestYoungLikely: the youngest first, those before that own nothing yet.
func TestYoungLikely(t *testing.T) {
	t.Parallel()
	y := young{list: []youth{{pid: 1}, {pid: 2, owner: true}, {pid: 3}, {pid: 4, owner: true}, {pid: 5}}}
	var pids []int
	for _, p := range y.likely() {
		pids = append(pids, p.pid)
	}
	require.Equal(t, []int{5, 3, 1, 4, 2}, pids)
	y.gone(3)
	require.Len(t, y.list, 4)

	self := youth{pid: os.Getpid()}
	require.False(t, self.unchanged(), "not searched before")
	if self.files > 0 { // Linux 6.2
		f, err := os.Open(os.DevNull)
		require.NoError(t, err)
		require.False(t, self.unchanged())
		require.NoError(t, f.Close())
	}
}

// TestEvents: the kernel says which processes start and end, and nothing of threads.
func TestEvents(t *testing.T) {
	t.Parallel()
	e, err := openEvents()
	if err != nil {
		t.Skip(err)
	}
	defer func() { require.NoError(t, e.close()) }()
	c := exec.Command("sleep", "0.01")
	require.NoError(t, c.Start())
	require.NoError(t, c.Wait())
	started, ended := map[int]bool{}, map[int]bool{}
	require.Eventually(t, func() bool {
		lost := e.drain(func(pid int) { started[pid] = true }, func(pid int) { ended[pid] = true })
		return !lost && started[c.Process.Pid] && ended[c.Process.Pid]
	}, 5*time.Second, time.Millisecond)
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		require.NoError(t, err)
		require.False(t, started[id], "a thread")
	}
}

// TestEventsLost: when more has happened than the kernel held for us, the new processes are found the other way.
func TestEventsLost(t *testing.T) {
	t.Parallel()
	var y young
	require.NoError(t, y.start())
	defer func() { require.NoError(t, y.close()) }()
	if y.events == nil {
		t.Skip(y.why)
	}
	require.NoError(t, unix.SetsockoptInt(y.events.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
	for range 100 {
		require.NoError(t, exec.Command("true").Run())
	}
	c := sleeper(t, "60")
	require.Contains(t, y.pids(), c.Process.Pid)
}

// TestEventFilter runs the filter in the virtual machine of golang.org/x/net over messages as linux/cn_proc.h lays them out.
func TestEventFilter(t *testing.T) {
	t.Parallel()
	vm, err := bpf.NewVM(eventFilter())
	require.NoError(t, err)
	message := func(what uint32, data ...uint32) []byte {
		b := make([]byte, 16)
		for _, v := range append([]uint32{1, 1, 0, 0, 0, what, 0, 0, 0}, data...) {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return append(b, make([]byte, 16)...)
	}
	for name, c := range map[string]struct {
		message []byte
		want    bool
		pid     int
	}{
		"answer":        {message(0, 0), true, 0},
		"fork":          {message(1, 10, 10, 4711, 4711), true, 4711},
		"thread":        {message(1, 10, 10, 4711, 10), false, 0},
		"exec":          {message(2, 10, 10), false, 0},
		"exit":          {message(0x80000000, 4711, 4711, 0, 17), true, 4711},
		"thread's exit": {message(0x80000000, 4711, 10, 0, 17), false, 0},
		"core dump":     {message(0x40000000, 4711, 4711), false, 0},
	} {
		kept, err := vm.Run(c.message)
		require.NoError(t, err)
		require.Equal(t, c.want, kept > 0, name)
		what, data, ok := parseEvent(c.message)
		require.Equal(t, c.want, ok, name)
		switch {
		case !ok:
		case what == eventFork:
			require.EqualValues(t, c.pid, binary.NativeEndian.Uint32(data[8:]), name)
		case what == eventExit:
			require.EqualValues(t, c.pid, binary.NativeEndian.Uint32(data), name)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(make([]byte, eventMinimum))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, data, ok := parseEvent(b); ok {
			require.GreaterOrEqual(t, len(data), 16)
		}
	})
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
		inode, ok := socketInode([]byte(link))
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
