package flow

import "encoding/binary"

// UDP ports of tunnels, from IANA (8472: VXLAN on Linux before it had a port of its own).
const (
	portGTP       = 2152
	portTeredo    = 3544
	portVXLAN     = 4789
	portVXLANGPE  = 4790
	portGENEVE    = 6081
	portVXLANFlow = 8472
)

// tunnelPort says whether a datagram's ports are a tunnel's. Only Teredo answers to the port that was asked from;
// the others send both ways to the well-known one.
func tunnelPort(src, dst uint16) bool {
	switch dst {
	case portGTP, portTeredo, portVXLAN, portVXLANGPE, portGENEVE, portVXLANFlow:
		return true
	}
	return src == portTeredo
}

// tunnel opens IP in IP, MPLS in IP (RFC 4023) and GRE. There is no flow outside to fall back on.
func (d *decoder) tunnel(protocol uint8, b []byte) error {
	if d.tunnels == 0 {
		return ErrNesting
	}
	d.tunnels--
	switch protocol {
	case ipIPv4:
		return d.ipv4(b)
	case ipIPv6:
		return d.ipv6(b)
	case ipMPLS:
		return d.mpls(b)
	}
	return d.gre(b)
}

// udpTunnel replaces the header by that of the packet inside the datagram, where there is one of TCP or UDP.
func (d *decoder) udpTunnel() error {
	if d.tunnels == 0 || d.h.Fragmented {
		return nil
	}
	outer, b := *d.h, d.h.Payload
	d.tunnels--
	var err error
	switch {
	case outer.DstPort == portGTP:
		err = d.gtp(b)
	case outer.DstPort == portGENEVE:
		err = d.geneve(b)
	case outer.DstPort == portTeredo || outer.SrcPort == portTeredo:
		err = d.teredo(b)
	default:
		err = d.vxlan(b)
	}
	if err != nil {
		*d.h = outer
	}
	return nil
}

// Fields that a GRE header has by its flags (RFC 1701, 2890), each of four bytes but the routing; the last one is in the second byte (PPTP's, RFC 2637).
const (
	greChecksum = 0x80
	greRouting  = 0x40
	greKey      = 0x20
	greSequence = 0x10
	greAck      = 0x80
)

func (d *decoder) gre(b []byte) error {
	size := greHeader(b)
	if len(b) < size {
		return ErrMalformed
	}
	switch kind := binary.BigEndian.Uint16(b[2:]); kind {
	case etherERSPAN:
		return d.erspan(b[size:], b[0]&greSequence != 0)
	case etherPPP:
		return d.ppp(b[size:])
	default:
		return d.bridged(kind, b[size:])
	}
}

// greHeader is how long GRE's header is; longer than b where that is cut short.
func greHeader(b []byte) int {
	size := 4
	if len(b) < size {
		return size
	}
	for _, there := range [...]bool{b[0]&(greChecksum|greRouting) != 0, b[0]&greKey != 0, b[0]&greSequence != 0} {
		if there {
			size += 4
		}
	}
	if b[0]&greRouting != 0 {
		size = routes(b, size)
	}
	if b[1]&greAck != 0 {
		size += 4
	}
	return size
}

// routes is where GRE's source routes end that begin at at: behind the empty one (RFC 1701).
func routes(b []byte, at int) int {
	for at+4 <= len(b) {
		family, size := binary.BigEndian.Uint16(b[at:]), int(b[at+3])
		at += 4 + size
		if family == 0 && size == 0 {
			return at
		}
	}
	return len(b) + 1
}

// bridged is what a tunnel carries by EtherType: a frame or a packet.
func (d *decoder) bridged(kind uint16, b []byte) error {
	if kind == etherBridged {
		return d.ethernet(b)
	}
	return d.ether(kind, b)
}

// erspan has a header from type II on, which GRE's sequence number tells; type I has none.
func (d *decoder) erspan(b []byte, header bool) error {
	if !header {
		return d.ethernet(b)
	}
	if len(b) < 8 {
		return ErrMalformed
	}
	return d.ethernet(b[8:])
}

// geneve is RFC 8926, section 3.4; its options are left unread.
func (d *decoder) geneve(b []byte) error {
	const fixed = 8
	if len(b) < fixed || len(b) < fixed+int(b[0]&0x3f)*4 {
		return ErrMalformed
	}
	return d.bridged(binary.BigEndian.Uint16(b[2:]), b[fixed+int(b[0]&0x3f)*4:])
}

// vxlan carries Ethernet (RFC 7348) unless its P bit names something else (draft-ietf-nvo3-vxlan-gpe).
func (d *decoder) vxlan(b []byte) error {
	if len(b) < 8 || b[0]&0x08 == 0 {
		return ErrMalformed
	}
	if b[0]&0x04 != 0 {
		switch b[3] {
		case 1:
			return d.ipv4(b[8:])
		case 2:
			return d.ipv6(b[8:])
		}
	}
	return d.ethernet(b[8:])
}

// gtp is GTP-U, TS 29.281: only a G-PDU (255) carries a user's packet.
func (d *decoder) gtp(b []byte) error {
	if len(b) < 8 || b[0]&0xf0 != 0x30 || b[1] != 255 {
		return ErrMalformed
	}
	flags, b := b[0], b[8:]
	if flags&0x07 == 0 {
		return d.version(b)
	}
	if len(b) < 4 {
		return ErrTruncated
	}
	next, b := b[3], b[4:]
	if flags&0x04 == 0 {
		return d.version(b)
	}
	for range maxHeaders {
		if next == 0 {
			return d.version(b)
		}
		if len(b) == 0 || b[0] == 0 || len(b) < int(b[0])*4 {
			return ErrMalformed
		}
		size := int(b[0]) * 4
		next, b = b[size-1], b[size:]
	}
	return ErrNesting
}

// teredo is IPv6 behind an optional authentication and an optional origin (RFC 4380, section 5.1.1).
func (d *decoder) teredo(b []byte) error {
	if len(b) >= 4 && binary.BigEndian.Uint16(b) == 1 {
		size := 4 + int(b[2]) + int(b[3]) + 9
		if len(b) < size {
			return ErrTruncated
		}
		b = b[size:]
	}
	if len(b) >= 8 && binary.BigEndian.Uint16(b) == 0 {
		b = b[8:]
	}
	return d.ipv6(b)
}
