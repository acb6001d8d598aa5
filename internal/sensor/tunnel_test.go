package sensor

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// wireGuard is what a datagram of n bytes of an inner IPv4 UDP packet's payload makes outside (Donenfeld, "WireGuard", 5.4.6: 16 bytes of header, the packet padded
// to 16 bytes, 16 bytes of tag).
func wireGuard(n int) int { return 16 + (20+8+n+15)/16*16 + 16 }

// openVPN over UDP with AES-256-GCM and P_DATA_V2 (the protocol's page): 4 bytes opcode and peer, 4 packet id, 16 tag.
func openVPN(n int) int { return 24 + 20 + 8 + n }

func TestCorrelation(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	// look gives the traffic of one look: n packets of a size inside, and what these make outside.
	look := func(n, size int, outside func(int) int) (outer, inner traffic) {
		for range n {
			inner.bytes += uint64(size)
			inner.packets++
			outer.bytes += uint64(outside(size))
			outer.packets++
		}
		return outer, inner
	}
	for name, c := range map[string]struct {
		look func(i int) (outer, inner traffic)
		want bool
	}{
		"WireGuard, a download":    {func(int) (traffic, traffic) { return look(100+rnd.IntN(900), 1300, wireGuard) }, true},
		"OpenVPN, a download":      {func(int) (traffic, traffic) { return look(100+rnd.IntN(900), 1300, openVPN) }, true},
		"WireGuard, small packets": {func(int) (traffic, traffic) { return look(100+rnd.IntN(200), 40, wireGuard) }, true},
		"bursts and silence": {func(i int) (traffic, traffic) {
			if i%2 == 0 {
				return traffic{}, traffic{}
			}
			return look(300, 900, wireGuard)
		}, true},
		"and acknowledgements, which the capture leaves out": {func(int) (traffic, traffic) {
			outer, inner := look(400, 1300, wireGuard)
			acks, _ := look(200, 12, wireGuard)
			outer.bytes += acks.bytes
			return outer, inner
		}, true},
		"a tunnel without traffic":         {func(int) (traffic, traffic) { return look(0, 0, wireGuard) }, false},
		"an implant beside an idle tunnel": {func(int) (traffic, traffic) { outer, _ := look(50, 1300, wireGuard); return outer, traffic{} }, false},
		"an implant beside a busy tunnel":  {func(int) (traffic, traffic) { _, inner := look(500, 1300, wireGuard); return traffic{5000, 10}, inner }, false},
		"an implant that is busier": {func(int) (traffic, traffic) {
			_, inner := look(20, 200, wireGuard)
			return traffic{500_000, 400}, inner
		}, false},
		"a beacon beside a tunnel": {func(i int) (traffic, traffic) {
			_, inner := look(100+rnd.IntN(900), 1300, wireGuard)
			return traffic{uint64(i%3) * 800, 1}, inner
		}, false},
		"as much as inside, at another moment": {func(i int) (traffic, traffic) {
			outer, inner := look(400, 1300, wireGuard)
			if i%4 < 2 {
				return outer, traffic{}
			}
			return traffic{}, inner
		}, false},
	} {
		var k carriage
		var now traffic
		carries := false
		for i := range 3 * carryWindows {
			outer, inner := c.look(i)
			now.bytes, now.packets = now.bytes+outer.bytes, now.packets+outer.packets
			carries = k.look(now, inner) || carries
		}
		require.Equal(t, c.want, carries, name)
	}
}

// TestTunnelIsSeenTwice: a VPN's outer flow looks random; inside is a flow that is an alert, and one that is none. The outer one is linked and no alert.
func TestTunnelIsSeenTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.list = func() ([]link, error) {
		return []link{{"eth0", true, []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, {"tun0", true, []netip.Addr{netip.MustParseAddr("10.8.0.2")}}}, nil
	}
	h.lookAround(0)
	server := netip.MustParseAddrPort("203.0.113.99:4500")
	h.judge = func(f *flow.Flow, _ *conformance.Conversation) conformance.Judgement {
		if f.Server() == netip.MustParseAddrPort("203.0.113.2:443") {
			return conformance.Judgement{Verdict: conformance.TLS, Final: true}
		}
		return conformance.Judgement{Verdict: conformance.Random, Final: true}
	}
	implant, browser := netip.MustParseAddrPort("203.0.113.1:443"), netip.MustParseAddrPort("203.0.113.2:443")
	exchange := func(outside bool) {
		for _, to := range []netip.AddrPort{implant, browser} {
			for _, out := range []bool{true, false} {
				h.packet(udp(netip.MustParseAddrPort("10.8.0.2:5000"), to, out, make([]byte, 1000)))
				if outside {
					h.packet(udp(netip.MustParseAddrPort("192.0.2.1:6000"), server, out, make([]byte, wireGuard(1000))))
				}
			}
		}
		for f := range h.table.Flows() {
			f.Owner = nobody
		}
		h.pass(time.Second)
		h.lookAround(1)
	}
	seen := map[string]bool{}
	for range 20 {
		for range 5 {
			exchange(true)
		}
		for _, f := range h.alerts(t) {
			seen[f.Remote.String()] = true
		}
	}
	require.Equal(t, map[string]bool{implant.String(): true}, seen, "the outer flow was never an alert")
	outer := h.flows(t.Context(), time.Hour, func(f *Flow) bool { return f.Remote == server })
	require.Len(t, outer, 1)
	require.Equal(t, conformance.KnownProtocol, outer[0].Judgement.Verdict)
	require.Equal(t, "tunnel", outer[0].Judgement.AppProtocol)
	require.Contains(t, outer[0].Judgement.Reasons, "outside_of_tunnel")
	row := find(t, h.coverage(), "vpn")
	require.Equal(t, OK, row.State)
	require.EqualValues(t, 1, row.Count)
	require.Contains(t, row.Detail, "tun0: 2 flows inside")
	complete(t, row)

	h.list = func() ([]link, error) { return nil, nil }
	h.links.look(nil) // the tunnel goes
	h.lookAround(1)
	require.Len(t, h.alerts(t), 1, "what carried it stays what it was")
}

// TestAlertOutsideOfAnIdleTunnel: what does not carry the tunnel is an alert, a little later.
func TestAlertOutsideOfATunnel(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	tun := []link{{"wg0", true, []netip.Addr{netip.MustParseAddr("10.8.0.2")}}}
	h.list = func() ([]link, error) { return tun, nil }
	h.lookAround(0)
	h.alert(Owner{PID: 1, Path: "/opt/a"}, "192.0.2.1:5000", "203.0.113.1:443")
	require.Empty(t, h.alerts(t), "it may carry the tunnel")
	for range carryWait + 1 {
		h.pass(time.Second)
		h.lookAround(1)
	}
	require.Len(t, h.alerts(t), 1)
	row := find(t, h.coverage(), "vpn")
	require.Equal(t, Degraded, row.State, "nothing was seen inside")
	complete(t, row)
}

// TestOuterFlowOfAnExtension: what a network extension sends while its tunnel has traffic is the tunnel.
func TestOuterFlowOfAnExtension(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.list = func() ([]link, error) {
		return []link{{"utun4", true, []netip.Addr{netip.MustParseAddr("10.8.0.2")}}}, nil
	}
	h.extensions = []networkExtension{{identifier: "com.example.gateway"}}
	h.lookAround(0)
	h.alert(Owner{PID: 1, Path: gateway}, "192.0.2.1:5000", "203.0.113.1:443")
	require.Empty(t, h.alerts(t), "not yet known")
	h.benign("10.8.0.2:5001")
	h.lookAround(1)
	require.Empty(t, h.alerts(t))
	for range carryWait {
		h.pass(time.Second)
		h.lookAround(1)
	}
	require.Empty(t, h.alerts(t))
}
