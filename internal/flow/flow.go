// Package flow puts packets to flows: a bounded table of TCP connections and UDP exchanges, the first bytes of each
// direction in order and without gaps, counters, and a judge that is asked when there is enough to see and when a flow ends.
//
// A flow is keyed by its 5-tuple alone. Interface and VLAN are left out on purpose: both directions of one connection may
// cross different ones, and a packet that is captured twice on its way must not become two flows.
package flow

import (
	"encoding/binary"
	"net/netip"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// Indexes of a flow's two directions.
const (
	ToServer = 0 // from the client
	ToClient = 1 // from the server
)

// Local says which end of a flow is the capturing host, by the directions that packets carry.
type Local uint8

// Which end is local.
const (
	LocalUnknown Local = iota
	LocalClient
	LocalServer
)

// Flow is one TCP connection or one exchange of UDP datagrams between two sockets. The client is the side that sent the
// SYN, or else the side that was seen sending first. Only the table that made a flow changes it, except Owner.
type Flow struct {
	// What every packet touches comes first, so that it shares cache lines.
	key       key
	touched   int64     // table clock at the last packet
	queued    int64     // table clock when put to the end of its list
	LastSeen  int64     // nanoseconds since 1970, by the packets' clock
	Packets   [2]uint64 // by direction
	Bytes     [2]uint64 // payload bytes on the wire by direction, retransmissions included
	sample    *sample   // nil before the first payload byte and after the last judgement
	base      [2]uint32 // sequence number of the first payload byte, where based
	TCPFlags  [2]uint8  // all flags seen, by direction
	Transport uint8     // TCP or UDP
	Local     Local
	StartSeen bool // TCP: the SYN or the SYN-ACK was seen; UDP: always
	Judged    bool // Judgement is what Config.Judge said; else it is only a placeholder
	Ended     bool // FIN, RST, idle or end of capture; a later packet may take it back

	clientLow bool    // the client is the key's low end
	based     [2]bool // base is known
	guessed   [2]bool // but only from the first payload that was seen
	disputed  bool    // the server answered one SYN with several sequence numbers; the client will say which counts
	sampled   bool    // there was a sample; there will be no other
	class     class

	listed      bool
	processRank uint8
	iface       [2]int32 // the interface that a direction is followed on
	FirstSeen   int64    // as LastSeen
	opened      int64    // table clock
	prev, next  *Flow
	Process     *capture.Process // what the packets said of the owner; nil when they said nothing
	Owner       any              // the sensor's: the resolved owner
	Judgement   conformance.Judgement
}

// Client and Server are the flow's ends.
func (f *Flow) Client() netip.AddrPort { return f.key.end(f.clientLow) }
func (f *Flow) Server() netip.AddrPort { return f.key.end(!f.clientLow) }

// IPv6 says whether the flow's packets were IPv6.
func (f *Flow) IPv6() bool { return f.key.ipv6() }

// CommunityID is the flow's hash as other tools compute it.
func (f *Flow) CommunityID() string { return CommunityID(f.Transport, f.Client(), f.Server()) }

// Alert says whether the flow was judged to be an alert.
func (f *Flow) Alert() bool { return f.Judgement.Verdict.Alert() }

// key is a 5-tuple with its ends in order, so that both directions share it: the low end's address, the high end's, and in
// one word the low end's port, the high end's, the transport and whether it is IPv6.
type key [5]uint64

// of makes k the key of a packet, and says whether that was sent by the low end.
func (k *key) of(h *Header) (fromLow bool) {
	src, from := binary.BigEndian.Uint64(h.Src[:]), binary.BigEndian.Uint64(h.Src[8:])
	dst, to := binary.BigEndian.Uint64(h.Dst[:]), binary.BigEndian.Uint64(h.Dst[8:])
	kind := uint64(h.Transport) << 8
	if h.IPv6 {
		kind |= 1
	}
	if src < dst || src == dst && (from < to || from == to && h.SrcPort <= h.DstPort) {
		k[0], k[1], k[2], k[3], k[4] = src, from, dst, to, uint64(h.SrcPort)<<48|uint64(h.DstPort)<<32|kind
		return true
	}
	k[0], k[1], k[2], k[3], k[4] = dst, to, src, from, uint64(h.DstPort)<<48|uint64(h.SrcPort)<<32|kind
	return false
}

// is says whether k is other. The low words differ most.
func (k *key) is(other *key) bool {
	return k[4] == other[4] && k[3] == other[3] && k[1] == other[1] && k[2] == other[2] && k[0] == other[0]
}

func (k *key) ipv6() bool { return k[4]&1 != 0 }

// port of an end.
func (k *key) port(low bool) uint16 {
	if low {
		return uint16(k[4] >> 48)
	}
	return uint16(k[4] >> 32)
}

func (k *key) end(low bool) netip.AddrPort {
	at := 0
	if !low {
		at = 2
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], k[at])
	binary.BigEndian.PutUint64(a[8:], k[at+1])
	return addrPort(a, k.ipv6(), k.port(low))
}

// direction of a packet, by which end sent it.
func (f *Flow) direction(fromLow bool) int {
	if fromLow == f.clientLow {
		return ToServer
	}
	return ToClient
}

// attribute keeps the best that packets say of the owner: a known pid is better than none, what was sent better than what
// was received (which may be counted to whoever happened to run), and the first of equals stays.
func (f *Flow) attribute(p *capture.Packet, dir int) {
	if f.Local == LocalUnknown && p.Direction != capture.Unknown {
		if (p.Direction == capture.Out) == (dir == ToServer) {
			f.Local = LocalClient
		} else {
			f.Local = LocalServer
		}
	}
	if p.Process == nil {
		return
	}
	rank := uint8(1)
	if p.Direction == capture.Out {
		rank++
	}
	if p.Process.PID >= 0 {
		rank += 2
	}
	if rank > f.processRank {
		f.Process, f.processRank = p.Process, rank
	}
}
