package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// openSocketsQuery asks osquery itself: it may run with more rights than we have.
const openSocketsQuery = `SELECT s.pid, s.protocol, s.local_address, s.local_port, s.remote_address, s.remote_port, p.path AS program, p.name, p.start_time
FROM process_open_sockets s JOIN processes p USING (pid) WHERE s.protocol IN (6, 17) AND s.local_port != 0`

// osquerysSockets gives the sockets that osquery sees; socket may be a pattern, as for attach.
func osquerysSockets(socket string) func(context.Context) ([]sensor.OpenSocket, error) {
	return func(ctx context.Context) ([]sensor.OpenSocket, error) {
		path, err := findSocket(socket)
		if err != nil {
			return nil, err
		}
		rows, err := askOsquery(ctx, path, openSocketsQuery)
		if err != nil {
			return nil, fmt.Errorf("process_open_sockets: %w", err)
		}
		return openSockets(rows), nil
	}
}

// openSockets reads osquery's rows and leaves out those that are not of a connection.
func openSockets(rows []map[string]string) []sensor.OpenSocket {
	var all []sensor.OpenSocket
	for _, r := range rows {
		pid, err := strconv.Atoi(r["pid"])
		protocol, errProtocol := strconv.ParseUint(r["protocol"], 10, 8)
		local, okLocal := endOf(r["local_address"], r["local_port"])
		if err != nil || pid <= 0 || errProtocol != nil || !okLocal {
			continue
		}
		remote, _ := endOf(r["remote_address"], r["remote_port"]) // UDP sockets need not be connected
		started, _ := strconv.ParseInt(r["start_time"], 10, 64)   // 0 when osquery does not know
		all = append(all, sensor.OpenSocket{
			Protocol: uint8(protocol), Local: local, Remote: remote,
			Process: process.Process{PID: pid, PPID: -1, UID: -1, Path: r["program"], Name: r["name"], StartTime: started},
		})
	}
	return all
}

func endOf(address, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err == nil
}
