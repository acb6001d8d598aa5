// Package sensor is the one long-running part: it takes packets from a capture, puts them to flows, has these judged, resolves
// who owns them, keeps alerts, and serves snapshots of all that to the tables.
package sensor

import (
	"net/netip"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/process"
)

// The directions of a flow: outbound is a flow in which the local side sent first.
const (
	Outbound = "outbound"
	Inbound  = "inbound"
)

// The ways in which a flow's owner was found.
const (
	ByPID    = "pid"    // the kernel said so with the packet, and the process was still there
	BySocket = "socket" // the system's socket table
	ByUUID   = "uuid"   // the packet's LC_UUID names one known executable
	ByPath   = "path"   // the capture states the path
)

// Owner is the process that a flow belongs to, as far as it is known.
type Owner struct {
	PID         int    // -1 when not known
	Path        string // empty when not known; never made from a bare name
	Name        string
	UUID        string
	Label       string // of the launchd job (or systemd unit) that runs it
	CDHash      string // of the executable, where its signature was looked at
	Attribution string // how the owner was found; empty when it was not

	Responsible *process.Responsible // macOS: who answers for it, such as the application behind a helper; nil when not known

	code *process.CodeIdentity // what the kernel said of its signature when it was found; nil where there is no such kernel
}

// Flow is one judged flow as the tables show it.
type Flow struct {
	File                  string // the capture file that it comes from; empty for live capture
	Protocol              uint8  // 6 TCP, 17 UDP
	Local, Remote         netip.AddrPort
	Direction             string // Outbound or Inbound
	FirstSeen, LastSeen   int64  // unix seconds
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64 // transport payload, without retransmissions
	CommunityID           string
	Owner                 Owner
	AllowlistRule         string // the rule that covers it; empty when none does or none was asked for
	Judgement             conformance.Judgement
	Contact               Contact // of alerts
	Kept                  bool    // an alert whose flow is over for longer than the time window
	Err                   error   // what could not be found out

	opened int64 // FirstSeen in nanoseconds
}

func (f *Flow) key() flowKey { return flowKey{f.File, f.CommunityID, f.opened} }

// Coverage states.
const (
	OK       = "ok"
	Degraded = "degraded"
	Blind    = "blind"
)

// Coverage is one thing that this host can or cannot see.
type Coverage struct {
	Name   string // stable: capture, attribution, flow_memory, …
	State  string // OK, Degraded or Blind
	Detail string // what is so
	Advice string // what to do about it; empty when ok
	Count  int64  // how often it happened, where that is counted
	Err    error  // the error behind it, if there is one
}

// Scope says what kind of address a is: public, private, link_local, multicast, loopback or unspecified. Flows to the last four are
// never findings.
func Scope(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "multicast"
	case a.IsLinkLocalUnicast():
		return "link_local"
	case a.IsPrivate() || sharedSpace.Contains(a):
		return "private"
	}
	return "public"
}

// sharedSpace is carrier-grade NAT's (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
