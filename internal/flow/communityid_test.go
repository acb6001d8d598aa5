package flow

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommunityID has the vectors of the specification that have ports: baseline/baseline_deflt.json in
// https://github.com/corelight/community-id-spec (commit c4ec2bc40d65).
func TestCommunityID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol uint8
		a, b     string
		want     string
	}{
		{6, "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
		{132, "192.168.170.8:7", "192.168.170.56:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
		{6, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{17, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
	} {
		a, b := netip.MustParseAddrPort(c.a), netip.MustParseAddrPort(c.b)
		require.Equal(t, c.want, CommunityID(c.protocol, a, b))
		require.Equal(t, c.want, CommunityID(c.protocol, b, a))
	}
	w, r := newWire(Config{})
	w.up(1, 1, "abc")
	w.table.Close()
	f := r.flows[0].flow
	require.Equal(t, CommunityID(TCP, f.Client(), f.Server()), f.CommunityID())
}
