package protocol

import (
	"bytes"
	"encoding/binary"
)

// rdp is the Remote Desktop Protocol's connection request and confirm (MS-RDPBCGR 2.2.1.1): TPKT and X.224 lengths that agree, and a
// cookie, a negotiation, or the conference that follows without one. 2^-70.
func rdp(v *view) bool {
	r := read(v.client.data)
	if r.u16() != 0x0300 {
		return false
	}
	length, size := int(r.u16()), int(r.u8())
	kind, to := r.u8(), r.u16()
	r.skip(3)
	if r.short || kind != 0xe0 || to != 0 || size != length-5 || length < 11 {
		return false
	}
	b := r.take(length - 11)
	asks := has(b, "Cookie: ") || len(b) >= 8 && b[len(b)-8] == 1 && b[len(b)-6] == 8 && b[len(b)-5] == 0
	if r.short || !asks && !rdpConference(r.b) {
		return false
	}
	if len(v.server.data) == 0 {
		return r.left() == 0
	}
	s := read(v.server.data)
	head, answer, left := s.u16(), int(s.u16()), int(s.u8())
	if head != 0x0300 || left != answer-5 || s.u8() != 0xd0 {
		return false
	}
	client, server := v.client, v.server
	client.data, server.data = r.b, server.data[min(answer, len(server.data)):]
	_, ok := client.chain(32, 4, rdpPacket)
	_, fits := server.chain(32, 4, rdpPacket)
	return ok && fits
}

// rdpConference says whether b starts with the T.125 message that opens a conference.
func rdpConference(b []byte) bool {
	return len(b) >= 9 && b[0] == 3 && b[1] == 0 && b[5] == 0xf0 && b[7] == 0x7f && b[8] == 0x65
}

// rdpPacket gives the length of a TPKT or fast-path packet (MS-RDPBCGR 2.2.9.1.2).
func rdpPacket(b []byte) int {
	switch {
	case b[0] == 3 && b[1] == 0:
		return int(binary.BigEndian.Uint16(b[2:]))
	case b[0]&3 != 0:
		return -1
	case b[1] >= 0x80:
		return int(binary.BigEndian.Uint16(b[1:])) & 0x7fff
	}
	return int(b[1])
}

// rdpDatagrams is RDP's UDP transport (MS-RDPEUDP): the first datagram acknowledges nothing, opens, offers sizes of datagrams, and is filled
// with zeros (2^-100); or, later in a connection, sequence numbers before a TLS or DTLS record that fills the datagram (2^-50).
func rdpDatagrams(v *view) bool {
	b := v.client.first()
	if len(b) < 20 {
		return false
	}
	flags := be16(b[6:])
	if flags&1 != 0 {
		up, down := be16(b[12:]), be16(b[14:])
		return (be32(b) == ^uint32(0) || flags&4 != 0) && up >= 1132 && up <= 1232 && down >= 1132 && down <= 1232 && len(b) >= 1132 && zero(b[len(b)-256:])
	}
	if flags == 0x0008 { // data without an acknowledgement
		return rdpRecord(b[16:])
	}
	acknowledged := 8 + 2 + (int(b[8])<<8 | int(b[9]))
	payload := (acknowledged+3)&^3 + 8
	return flags == 0x000c && payload < len(b) && rdpRecord(b[payload:])
}

// rdpRecord says whether b is records of TLS, or a handshake record of DTLS.
func rdpRecord(b []byte) bool {
	switch {
	case len(b) >= 13 && has(b, "\x16\xfe"):
		return b[2] >= 0xfd && int(binary.BigEndian.Uint16(b[11:])) == len(b)-13
	case len(b) >= 5:
		n, ok := side{data: b}.chain(8, 5, func(b []byte) int {
			if b[0] < 20 || b[0] > 23 || b[1] != 3 || b[2] < 1 || b[2] > 3 {
				return -1
			}
			return 5 + int(binary.BigEndian.Uint16(b[3:]))
		})
		return ok && n > 0
	}
	return false
}

// vnc is the Remote Framebuffer protocol (RFC 6143): each side's version. 2^-64 each.
func vnc(v *view) bool {
	return rfbVersion(v.server.data) && (len(v.client.data) == 0 || rfbVersion(v.client.data))
}

func rfbVersion(b []byte) bool {
	return len(b) >= 12 && has(b, "RFB ") && number(b[4:7]) >= 3 && b[7] == '.' && number(b[8:11]) >= 0 && b[11] == '\n'
}

// x11 is the X Window System's connection setup: byte order, version 11.0, the authorization's name and data, and the server's answer in
// the same order. 2^-60.
func x11(v *view) bool {
	b := v.client.data
	if len(b) < 12 || b[0] != 'l' && b[0] != 'B' || b[1] != 0 {
		return false
	}
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'l' {
		order = binary.LittleEndian
	}
	name := int(order.Uint16(b[6:]))
	if order.Uint16(b[2:]) != 11 || order.Uint16(b[4:]) != 0 || name > 64 || order.Uint16(b[8:]) > 512 || b[10] != 0 || b[11] != 0 {
		return false
	}
	if text := b[12:min(len(b), 12+name)]; !ascii(text) || bytes.IndexByte(text, ' ') >= 0 {
		return false
	}
	s := v.server.data
	return len(s) == 0 || len(s) >= 8 && s[0] <= 2 && order.Uint16(s[2:]) == 11 && order.Uint16(s[4:]) == 0
}
