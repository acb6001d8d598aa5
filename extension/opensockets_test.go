package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// TestOpenSockets reads rows as osquery 5.23.1 gives them: every value a string, a listener with remote port 0, IPv4 in IPv6 as it is.
func TestOpenSockets(t *testing.T) {
	t.Parallel()
	row := func(pid, protocol, local, localPort, remote, remotePort string) map[string]string {
		return map[string]string{"pid": pid, "protocol": protocol, "local_address": local, "local_port": localPort, "remote_address": remote, "remote_port": remotePort,
			"program": "/opt/x", "name": "x", "start_time": "1700000000"}
	}
	got := openSockets([]map[string]string{
		row("501", "6", "10.0.0.5", "50123", "203.0.113.7", "443"),
		row("502", "17", "0.0.0.0", "5353", "", "0"),
		row("-1", "6", "10.0.0.5", "50124", "203.0.113.7", "443"),
		row("503", "6", "", "0", "", "0"),
		row("504", "999", "10.0.0.5", "1", "10.0.0.6", "2"),
		row("505", "6", "10.0.0.5", "99999", "10.0.0.6", "2"),
	})
	x := func(pid int) process.Process {
		return process.Process{PID: pid, PPID: -1, UID: -1, Path: "/opt/x", Name: "x", StartTime: 1700000000}
	}
	require.Equal(t, []sensor.OpenSocket{
		{Protocol: 6, Local: netip.MustParseAddrPort("10.0.0.5:50123"), Remote: netip.MustParseAddrPort("203.0.113.7:443"), Process: x(501)},
		{Protocol: 17, Local: netip.MustParseAddrPort("0.0.0.0:5353"), Process: x(502)},
	}, got)
}
