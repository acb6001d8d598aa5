package flow

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Why a packet has no place in a flow. Decode returns these very values, so that the fast path makes no garbage.
var (
	ErrLinkType  = errors.New("flow: link type not known")
	ErrNotIP     = errors.New("flow: neither IPv4 nor IPv6")
	ErrTransport = errors.New("flow: neither TCP nor UDP")
	ErrFragment  = errors.New("flow: a later IP fragment, without ports")
	ErrTruncated = errors.New("flow: captured bytes end within a header")
	ErrMalformed = errors.New("flow: a header contradicts itself")
	ErrNesting   = errors.New("flow: too many headers inside each other")
)

// Transport protocols, as in the IP header.
const (
	TCP = 6
	UDP = 17
)

// TCP flags, as in the TCP header.
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	PSH = 0x08
	ACK = 0x10
)

// LINKTYPE_ values, from https://www.tcpdump.org/linktypes.html. Some are operating systems' own DLT_RAW and the like,
// which are seen in files all the same.
const (
	linkNull      = 0
	linkEthernet  = 1
	linkPPP       = 9
	linkRawBSD    = 12
	linkRawOpen   = 14
	linkPPPHDLC   = 50
	linkRaw       = 101
	linkCiscoHDLC = 104
	linkLoop      = 108
	linkCooked    = 113
	linkPPI       = 192
	linkIPv4      = 228
	linkIPv6      = 229
	linkCooked2   = 276
)

// EtherTypes, from IANA's "IEEE 802 Numbers".
const (
	etherIPv4          = 0x0800
	etherBridged       = 0x6558 // Transparent Ethernet Bridging: a whole frame follows
	etherVLAN          = 0x8100
	etherIPv6          = 0x86dd
	etherMPLS          = 0x8847
	etherMPLSMulticast = 0x8848
	etherPPPoE         = 0x8864
	etherQinQ          = 0x88a8
	etherPPP           = 0x880b
	etherERSPAN        = 0x88be
	etherQinQOld       = 0x9100
)

// maxHeaders bounds tags, labels and extension headers in a row, maxTunnels packets within packets.
const (
	maxHeaders = 16
	maxTunnels = 4
)

// Header is what a flow needs of one packet's headers: of the innermost TCP or UDP packet where there are tunnels.
type Header struct {
	Src, Dst         [16]byte // IPv4 as ::ffff:a.b.c.d
	SrcPort, DstPort uint16
	Transport        uint8 // TCP or UDP
	Flags            uint8 // TCP flags
	IPv6             bool
	Fragmented       bool   // the first fragment of more; Payload is its share
	Seq, Ack         uint32 // TCP
	Payload          []byte // what was captured of it; part of the packet's bytes
	Length           int    // payload bytes on the wire, by IP's and UDP's lengths; more than len(Payload) when cut
}

// Source and Destination are the packet's ends.
func (h *Header) Source() netip.AddrPort      { return addrPort(h.Src, h.IPv6, h.SrcPort) }
func (h *Header) Destination() netip.AddrPort { return addrPort(h.Dst, h.IPv6, h.DstPort) }

func addrPort(a [16]byte, v6 bool, port uint16) netip.AddrPort {
	addr := netip.AddrFrom16(a)
	if !v6 {
		addr = addr.Unmap()
	}
	return netip.AddrPortFrom(addr, port)
}

// Decode reads the headers of a packet of a link type (LINKTYPE_ numbers) into h, down to TCP or UDP. It opens IP in IP,
// GRE, ERSPAN, VXLAN, GENEVE, GTP-U and Teredo, and stays outside where no TCP or UDP is inside. It does not allocate
// unless there is a tunnel. The error is one of this package's; h is then not to be used.
func Decode(linkType uint32, data []byte, h *Header) error {
	d := decoder{h: h, tunnels: maxTunnels}
	return d.link(linkType, data)
}

// DecodeOuter is Decode, but leaves tunnels over UDP closed. On a host that is no router, what speaks VXLAN to the
// outside is itself the flow, and an implant must not choose the addresses that are shown.
func DecodeOuter(linkType uint32, data []byte, h *Header) error {
	d := decoder{h: h, tunnels: maxTunnels, closed: true}
	return d.link(linkType, data)
}

// decoder carries what the layers of one packet share.
type decoder struct {
	h       *Header
	tunnels int  // how many more may be opened
	closed  bool // leave tunnels over UDP alone
}

func (d *decoder) link(linkType uint32, b []byte) error {
	switch linkType {
	case linkEthernet:
		return d.ethernet(b)
	case linkNull, linkLoop:
		return d.loopback(b)
	case linkRaw, linkRawBSD, linkRawOpen:
		return d.version(b)
	case linkIPv4:
		return d.ipv4(b)
	case linkIPv6:
		return d.ipv6(b)
	case linkCooked:
		if len(b) < 16 {
			return ErrTruncated
		}
		return d.ether(binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkCooked2:
		if len(b) < 20 {
			return ErrTruncated
		}
		return d.ether(binary.BigEndian.Uint16(b), b[20:])
	case linkPPP, linkPPPHDLC:
		return d.ppp(b)
	case linkCiscoHDLC:
		if len(b) < 4 {
			return ErrTruncated
		}
		return d.ether(binary.BigEndian.Uint16(b[2:]), b[4:])
	case linkPPI:
		return d.ppi(b)
	}
	return ErrLinkType
}

// ppi is "Per-Packet Information": a header of any length in little endian, which names the link type of what follows.
func (d *decoder) ppi(b []byte) error {
	if len(b) < 8 {
		return ErrTruncated
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < 8 {
		return ErrMalformed
	}
	if len(b) < size {
		return ErrTruncated
	}
	if d.tunnels == 0 {
		return ErrNesting
	}
	d.tunnels--
	return d.link(binary.LittleEndian.Uint32(b[4:]), b[size:])
}

func (d *decoder) ethernet(b []byte) error {
	if len(b) < 14 {
		return ErrTruncated
	}
	return d.ether(binary.BigEndian.Uint16(b[12:]), b[14:])
}

// loopback has the address family in the byte order of the host that captured (null) or of the network (loop).
func (d *decoder) loopback(b []byte) error {
	if len(b) < 4 {
		return ErrTruncated
	}
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	switch family {
	case 2: // AF_INET, everywhere
		return d.ipv4(b[4:])
	case 10, 24, 28, 30: // AF_INET6 on Linux; NetBSD and OpenBSD; FreeBSD; macOS
		return d.ipv6(b[4:])
	}
	return ErrNotIP
}

// version is IP of the version that its first four bits say.
func (d *decoder) version(b []byte) error {
	if len(b) == 0 {
		return ErrTruncated
	}
	switch b[0] >> 4 {
	case 4:
		return d.ipv4(b)
	case 6:
		return d.ipv6(b)
	}
	return ErrNotIP
}

// ether is what follows an EtherType, through VLAN tags, MPLS labels and PPPoE.
func (d *decoder) ether(kind uint16, b []byte) error {
	for range maxHeaders {
		switch kind {
		case etherIPv4:
			return d.ipv4(b)
		case etherIPv6:
			return d.ipv6(b)
		case etherVLAN, etherQinQ, etherQinQOld:
			if len(b) < 4 {
				return ErrTruncated
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case etherMPLS, etherMPLSMulticast:
			return d.mpls(b)
		case etherPPPoE:
			if len(b) < 6 {
				return ErrTruncated
			}
			return d.ppp(b[6:])
		default:
			return ErrNotIP
		}
	}
	return ErrNesting
}

// mpls takes labels off to the bottom of the stack. What is below has no type of its own: its first bits tell IP (RFC 4928).
func (d *decoder) mpls(b []byte) error {
	for range maxHeaders {
		if len(b) < 4 {
			return ErrTruncated
		}
		bottom := b[2]&1 != 0
		b = b[4:]
		if bottom {
			return d.version(b)
		}
	}
	return ErrNesting
}

// ppp allows the address and control bytes to be there or not, and the protocol to be one byte or two (RFC 1661).
func (d *decoder) ppp(b []byte) error {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) < 2 {
		return ErrTruncated
	}
	protocol := uint16(b[0])
	if b[0]&1 != 0 {
		b = b[1:]
	} else {
		protocol, b = binary.BigEndian.Uint16(b), b[2:]
	}
	switch protocol {
	case 0x21:
		return d.ipv4(b)
	case 0x57:
		return d.ipv6(b)
	}
	return ErrNotIP
}
