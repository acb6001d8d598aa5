package sensor

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/process"
)

func openSocket(protocol uint8, local, remote string, pid int) OpenSocket {
	s := OpenSocket{Protocol: protocol, Local: netip.MustParseAddrPort(local), Process: process.Process{PID: pid, Path: "/opt/x"}}
	if remote != "" {
		s.Remote = netip.MustParseAddrPort(remote)
	}
	return s
}

func TestSocketTable(t *testing.T) {
	t.Parallel()
	table := tabulate([]OpenSocket{
		openSocket(6, "10.0.0.5:50000", "203.0.113.7:443", 1),
		openSocket(6, "0.0.0.0:22", "0.0.0.0:0", 2),
		openSocket(17, "0.0.0.0:5353", "", 3),
		openSocket(17, "[::]:4500", "[::]:0", 4),
		openSocket(6, "[::ffff:10.0.0.5]:50001", "[::ffff:203.0.113.7]:443", 5),
	})
	for name, c := range map[string]struct {
		protocol      uint8
		local, remote string
		guess         bool
		want          int // 0: nobody
	}{
		"connected":                       {6, "10.0.0.5:50000", "203.0.113.7:443", false, 1},
		"another port":                    {6, "10.0.0.5:50002", "203.0.113.7:443", false, 0},
		"a listener is not a connection":  {6, "10.0.0.5:22", "203.0.113.7:50000", false, 0},
		"not bound":                       {17, "10.0.0.5:5353", "224.0.0.251:5353", false, 3},
		"not bound, both families":        {17, "10.0.0.5:4500", "203.0.113.7:4500", false, 4},
		"IPv4 in IPv6":                    {6, "10.0.0.5:50001", "203.0.113.7:443", false, 5},
		"seen from the other end":         {6, "203.0.113.7:443", "10.0.0.5:50000", false, 0},
		"seen from the other end, unsure": {6, "203.0.113.7:443", "10.0.0.5:50000", true, 1},
	} {
		p, ok := table.find(socket{c.protocol, netip.MustParseAddrPort(c.local), netip.MustParseAddrPort(c.remote), c.guess, false})
		require.Equal(t, c.want != 0, ok, name)
		require.Equal(t, c.want, p.PID, name)
	}
}

// TestElsewhere: flows whose sockets we cannot see get the owners that osquery sees, and the others are given up.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	from, to := netip.MustParseAddrPort("10.0.0.5:50000"), netip.MustParseAddrPort("203.0.113.7:4444")
	other := netip.MustParseAddrPort("10.0.0.5:50001")
	h.packet(udp(from, to, true, []byte("one")))
	h.packet(udp(other, to, true, []byte("two")))
	require.False(t, h.elsewhere.add(h.fresh[0]), "there is nobody to ask")
	var failure error
	h.elsewhere.ask = func(context.Context) ([]OpenSocket, error) {
		return []OpenSocket{openSocket(17, from.String(), to.String(), 501)}, failure
	}
	for _, f := range h.fresh {
		f.Owner = nil
		require.True(t, h.elsewhere.add(f))
	}
	h.answerElsewhere(t.Context())
	require.Equal(t, &Owner{PID: 501, Path: "/opt/x", Attribution: ByOsquery}, h.fresh[0].Owner)
	require.Equal(t, nobody, h.fresh[1].Owner)
	require.Contains(t, h.elsewhere.coverage(), "1 of osquery's process_open_sockets")
	require.True(t, h.elsewhere.working())

	failure = errors.New("no such table")
	require.True(t, h.elsewhere.add(h.fresh[1]))
	h.answerElsewhere(t.Context())
	require.Contains(t, h.elsewhere.coverage(), "no such table")
	require.False(t, h.elsewhere.working())
}
