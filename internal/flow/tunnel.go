package flow

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

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

// headerReader is one of gopacket's layers.
type headerReader interface {
	DecodeFromBytes(data []byte, df gopacket.DecodeFeedback) error
	LayerPayload() []byte
}

// peel has gopacket read one header and gives what it says comes next. gopacket's readers index hostile bytes without
// looking at their length first, hence the recover.
func peel(layer headerReader, b []byte) (payload []byte, err error) {
	defer func() {
		if recover() != nil {
			payload, err = nil, ErrMalformed
		}
	}()
	if layer.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
		return nil, ErrMalformed
	}
	return layer.LayerPayload(), nil
}

func (d *decoder) gre(b []byte) error {
	var header layers.GRE
	inner, err := peel(&header, b)
	if err != nil {
		return err
	}
	switch uint16(header.Protocol) {
	case etherERSPAN:
		return d.erspan(inner, header.SeqPresent)
	case etherPPP:
		return d.ppp(inner)
	}
	return d.bridged(uint16(header.Protocol), inner)
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
	inner, err := peel(&layers.ERSPANII{}, b)
	if err != nil {
		return err
	}
	return d.ethernet(inner)
}

func (d *decoder) geneve(b []byte) error {
	var header layers.Geneve
	inner, err := peel(&header, b)
	if err != nil {
		return err
	}
	return d.bridged(uint16(header.Protocol), inner)
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

// gtp is GTP-U, TS 29.281: only a G-PDU (255) carries a user's packet. gopacket's reader prints hostile bytes to standard
// output and can be made to go round for ever, so this one is ours.
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
