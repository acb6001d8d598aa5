package flow

import "encoding/binary"

// IP protocol numbers, from IANA.
const (
	ipHopByHop    = 0
	ipIPv4        = 4
	ipIPv6        = 41
	ipRouting     = 43
	ipFragment    = 44
	ipGRE         = 47
	ipMPLS        = 137
	ipAH          = 51
	ipDestination = 60
	ipMobility    = 135
	ipHIP         = 139
	ipShim6       = 140
)

func (d *decoder) ipv4(b []byte) error {
	if len(b) < 20 {
		return ErrTruncated
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>4 != 4 || header < 20 {
		return ErrMalformed
	}
	if total == 0 { // segmentation offload: the length was not yet known when the packet was captured
		total = len(b)
	}
	if total < header {
		return ErrMalformed
	}
	if len(b) < header {
		return ErrTruncated
	}
	h := d.h
	h.IPv6 = false
	mapIPv4(&h.Src, b[12:16])
	mapIPv4(&h.Dst, b[16:20])
	fragment := binary.BigEndian.Uint16(b[6:])
	if fragment&0x1fff != 0 {
		return ErrFragment
	}
	h.Fragmented = fragment&0x2000 != 0
	return d.payload(b[9], b[header:min(len(b), total)], total-header)
}

func mapIPv4(a *[16]byte, b []byte) {
	binary.BigEndian.PutUint64(a[:], 0)
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(b)))
}

func (d *decoder) ipv6(b []byte) error {
	if len(b) < 40 {
		return ErrTruncated
	}
	if b[0]>>4 != 6 {
		return ErrMalformed
	}
	h := d.h
	h.IPv6, h.Fragmented = true, false
	copy(h.Src[:], b[8:24])
	copy(h.Dst[:], b[24:40])
	next, length := b[6], int(binary.BigEndian.Uint16(b[4:]))
	b = b[40:]
	if length == 0 { // a jumbogram (RFC 2675), or segmentation offload
		length = len(b)
	}
	return d.payload(next, b[:min(len(b), length)], length)
}

// payload is what an IP header carries: length bytes, of which b was captured. Extension headers lie before TCP or UDP.
func (d *decoder) payload(protocol uint8, b []byte, length int) error {
	for range maxHeaders {
		switch protocol {
		case TCP:
			return d.tcp(b, length)
		case UDP:
			return d.udp(b, length)
		case ipGRE, ipIPv4, ipIPv6, ipMPLS:
			return d.tunnel(protocol, b)
		}
		size, err := d.extension(protocol, b)
		if err != nil {
			return err
		}
		if len(b) < size {
			return ErrTruncated
		}
		protocol, b, length = b[0], b[size:], length-size
	}
	return ErrNesting
}

// extension gives the size of an IPv6 extension header (RFC 8200) or of an authentication header (RFC 4302).
func (d *decoder) extension(protocol uint8, b []byte) (int, error) {
	switch protocol {
	case ipHopByHop, ipRouting, ipFragment, ipAH, ipDestination, ipMobility, ipHIP, ipShim6:
	default:
		return 0, ErrTransport
	}
	if len(b) < 8 {
		return 0, ErrTruncated
	}
	switch protocol {
	case ipFragment:
		at := binary.BigEndian.Uint16(b[2:])
		if at&^7 != 0 {
			return 0, ErrFragment
		}
		d.h.Fragmented = at&1 != 0
		return 8, nil
	case ipAH:
		return (int(b[1]) + 2) * 4, nil
	}
	return (int(b[1]) + 1) * 8, nil
}

func (d *decoder) tcp(b []byte, length int) error {
	// 14 bytes tell all that is needed, so a capture that was cut within the options still counts.
	if len(b) < 14 {
		return ErrTruncated
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > length {
		return ErrMalformed
	}
	h := d.h
	h.Transport = TCP
	h.SrcPort, h.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	h.Seq, h.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	h.Flags = b[13]
	h.Payload, h.Length = b[min(header, len(b)):], length-header
	return nil
}

func (d *decoder) udp(b []byte, length int) error {
	if len(b) < 8 {
		return ErrTruncated
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	// A first fragment says how long the whole datagram is; anywhere else no more can be there than IP holds. 0 is a
	// jumbogram (RFC 2675), or segmentation offload.
	if size == 0 || size > length && !d.h.Fragmented {
		size = length
	}
	if size < 8 {
		return ErrMalformed
	}
	h := d.h
	h.Transport, h.Flags, h.Seq, h.Ack = UDP, 0, 0, 0
	h.SrcPort, h.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	h.Payload, h.Length = b[8:min(size, len(b))], size-8
	if d.closed || !tunnelPort(h.SrcPort, h.DstPort) {
		return nil
	}
	return d.udpTunnel()
}
