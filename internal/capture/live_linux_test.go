package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// private gives a test a network namespace of its own, with loopback and a pair of veth interfaces up.
func private(t *testing.T) {
	t.Helper()
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and with it the namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces: %v", err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "here", "type", "veth", "peer", "name", "there"},
		{"addr", "add", "10.9.0.1/24", "dev", "here"},
		{"link", "set", "here", "up"},
		{"link", "set", "there", "up"},
		{"neigh", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "here"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	linkUp(t, "here")
}

// linkUp waits until an interface has its carrier: what is sent before is dropped. It stays on the test's thread, which alone is in the namespace.
func linkUp(t *testing.T, name string) {
	t.Helper()
	for range 500 {
		out, err := exec.Command("ip", "-o", "link", "show", name).Output()
		require.NoError(t, err)
		if bytes.Contains(out, []byte("state UP")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "the link does not come up", name)
}

func openLiveT(t *testing.T, o LiveOptions) Source {
	t.Helper()
	src, err := OpenLive(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// collect reads until nothing comes any more.
func collect(t *testing.T, src Source) []seen {
	t.Helper()
	var all []seen
	for {
		var p Packet
		err := src.Next(&p)
		if errors.Is(err, ErrTimeout) {
			return all
		}
		require.NoError(t, err)
		p.Data = bytes.Clone(p.Data)
		all = append(all, seen{p, src.(InterfaceNamer).InterfaceName(p.Interface)})
	}
}

// TestLoopbackOnce: each datagram on loopback, which the kernel shows twice, is delivered once, whole, with the right time.
func TestLoopbackOnce(t *testing.T) {
	private(t)
	src := openLiveT(t, LiveOptions{})
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	start := time.Now()
	const sent = 100
	for i := range sent {
		_, err := conn.WriteTo(fmt.Appendf(nil, "datagram %d", i), conn.LocalAddr())
		require.NoError(t, err)
	}
	got := collect(t, src)
	n := 0
	for _, p := range got {
		require.EqualValues(t, LinkRaw, p.LinkType)
		require.Equal(t, Unknown, p.Direction)
		require.Equal(t, "lo", p.Iface)
		require.Equal(t, len(p.Data), p.Length)
		require.InDelta(t, start.UnixNano(), p.Time, 5e9)
		require.Contains(t, string(p.Data), fmt.Sprintf("datagram %d", n))
		n++
	}
	require.Equal(t, sent, n)
	require.EqualValues(t, n, src.Stats().Packets)
	require.Equal(t, ModeAFPacket, src.Stats().Mode)
}

// TestTCPWithoutAcknowledgements: of a connection, SYN, SYN, data and FIN are kept, bare acknowledgements are not.
func TestTCPWithoutAcknowledgements(t *testing.T) {
	private(t)
	src := openLiveT(t, LiveOptions{Snaplen: 100})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	server, err := listener.Accept()
	require.NoError(t, err)
	_, err = client.Write(bytes.Repeat([]byte("q"), 500))
	require.NoError(t, err)
	_, err = io.ReadFull(server, make([]byte, 500))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	_, err = server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, server.Close())
	var flags []byte
	for _, p := range collect(t, src) {
		require.LessOrEqual(t, len(p.Data), 100)
		flags = append(flags, p.Data[20+13]&0x17)
		if p.Length > 500 {
			require.Len(t, p.Data, 100)
			require.Greater(t, p.Length, 500)
		}
	}
	// SYN, SYN+ACK, data, FIN, FIN (linux/tcp.h)
	require.Equal(t, []byte{0x02, 0x12, 0x10, 0x11, 0x11}, flags)
}

// TestDirection: what leaves by one end of a veth pair goes out there and comes in at the other.
func TestDirection(t *testing.T) {
	private(t)
	all := openLiveT(t, LiveOptions{})
	there := openLiveT(t, LiveOptions{Interfaces: []string{"there"}})
	conn, err := net.Dial("udp", "10.9.0.255:9")
	if err != nil { // broadcast needs an option; the neighbour does not
		conn, err = net.Dial("udp", "10.9.0.2:9")
	}
	require.NoError(t, err)
	_, err = conn.Write([]byte("hello there"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	var out, in int
	for _, p := range collect(t, all) {
		if bytes.Contains(p.Data, []byte("hello there")) && p.Direction == Out {
			require.Equal(t, "here", p.Iface)
			out++
		} else if bytes.Contains(p.Data, []byte("hello there")) {
			require.Equal(t, "there", p.Iface)
			in++
		}
	}
	require.Equal(t, 1, out)
	require.LessOrEqual(t, in, 1, "the other end drops what is for another host's address")
	for _, p := range collect(t, there) {
		require.Equal(t, "there", p.Iface)
	}
}

// TestCloseEndsNext: Close wakes a reader at once, and the reader is at its end.
func TestCloseEndsNext(t *testing.T) {
	private(t)
	src := openLiveT(t, LiveOptions{Timeout: time.Minute})
	result := make(chan error, 1)
	go func() { var p Packet; result <- src.Next(&p) }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	require.NoError(t, src.Close())
	require.ErrorIs(t, <-result, io.EOF)
	require.Less(t, time.Since(start), time.Second)
	require.ErrorIs(t, src.Next(&Packet{}), io.EOF)
	require.NoError(t, src.Close())
	src.Stats()
}

// TestDropsAreCounted: a ring that nobody reads overflows, and what is lost is counted.
func TestDropsAreCounted(t *testing.T) {
	private(t)
	src := openLiveT(t, LiveOptions{Buffer: 128 << 10})
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	const sent = 2000
	for range sent {
		_, err := conn.WriteTo(make([]byte, 1000), conn.LocalAddr())
		require.NoError(t, err)
	}
	got := len(collect(t, src))
	stats := src.Stats()
	require.Positive(t, stats.Dropped)
	require.EqualValues(t, sent, uint64(got)+stats.Dropped)
}

func TestOpenLiveErrors(t *testing.T) {
	t.Parallel()
	_, err := OpenLive(LiveOptions{Interfaces: []string{"no-such-if0"}})
	require.ErrorContains(t, err, `capture: live: interface "no-such-if0"`)
	if os.Geteuid() != 0 {
		_, err := OpenLive(LiveOptions{})
		require.ErrorContains(t, err, "needs root or CAP_NET_RAW")
	}
}

// TestInterfaceGoesDown: the socket survives an interface that goes, and another that comes.
func TestInterfaceGoesDown(t *testing.T) {
	private(t)
	src := openLiveT(t, LiveOptions{})
	for _, args := range [][]string{
		{"link", "set", "here", "down"}, {"link", "del", "here"}, {"link", "add", "later", "type", "veth", "peer", "name", "other"},
		{"addr", "add", "10.8.0.1/24", "dev", "later"}, {"link", "set", "later", "up"}, {"link", "set", "other", "up"},
	} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	conn, err := net.Dial("udp", "10.8.0.2:9")
	require.NoError(t, err)
	_, err = exec.Command("ip", "neigh", "add", "10.8.0.2", "lladdr", "02:00:00:00:00:02", "dev", "later").CombinedOutput()
	require.NoError(t, err)
	for range 20 { // a new link drops what is sent before it is really up
		_, err = conn.Write([]byte("still there"))
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond)
	}
	require.NoError(t, conn.Close())
	found := 0
	for _, p := range collect(t, src) {
		if bytes.Contains(p.Data, []byte("still there")) {
			require.Equal(t, "later", p.Iface)
			require.Equal(t, Out, p.Direction)
			found++
		}
	}
	require.Positive(t, found)
}
