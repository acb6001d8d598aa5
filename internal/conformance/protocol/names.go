package protocol

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var names = []entry{
	{"dns", conformance.UDP, midstream | turned, []uint16{53}, asked(some), dns},
	{"mdns", conformance.UDP, midstream | turned | onPort, []uint16{5353}, asked(some), mdns},
	{"llmnr", conformance.UDP, midstream | turned | onPort, []uint16{5355}, asked(some), llmnr},
	{"dns", conformance.TCP, midstream, []uint16{53}, anything, dnsStream},
	{"netbios", conformance.UDP, midstream | turned | onPort, []uint16{137}, asked(some), netbiosNames},
	{"netbios", conformance.UDP, midstream, []uint16{138}, spoken(span(0x10, 0x16)), netbiosDatagrams},
	{"netbios", conformance.TCP, start, []uint16{139}, starts{of("\x81"), span(0x82, 0x84).orNothing()}, netbiosSession},
	{"dhcp", conformance.UDP, midstream, []uint16{67, 68}, spoken(span(1, 2)), dhcp},
	{"dhcpv6", conformance.UDP, midstream, []uint16{546, 547}, spoken(span(1, 36)), dhcpv6},
	{"ntp", conformance.UDP, midstream | turned, []uint16{123}, spoken(those(func(x byte) bool { return x>>3&7 >= 1 && x>>3&7 <= 4 })), ntp},
	{"snmp", conformance.UDP, midstream, []uint16{161, 162}, spoken(of("\x30")), snmp},
	{"syslog", conformance.UDP, midstream, []uint16{514}, spoken(of("<")), syslog},
	{"syslog", conformance.TCP, midstream, []uint16{514, 601}, starts{of("<0123456789"), set{}.orNothing()}, syslogStream},
	{"radius", conformance.UDP, midstream, []uint16{1812, 1813, 1645, 1646, 3799}, either(span(1, 5).or(span(11, 13)).or(span(40, 45))), radius},
	{"service_location_protocol", conformance.UDP, midstream, []uint16{427}, spoken(span(1, 2)), slp},
	{"service_location_protocol", conformance.TCP, midstream, []uint16{427}, either(span(1, 2)), slpStream},
	{"bgp", conformance.TCP, midstream, []uint16{179}, either(of("\xff")), bgp},
	{"tftp", conformance.UDP, start, []uint16{69}, spoken(of("\x00")), tftpRequest},
	{"tftp", conformance.UDP, start | turned, nil, asked(of("\x00")), tftpTransfer},
}

// dhcp is BOOTP with DHCP's magic cookie and options up to their end (RFC 2131). 2^-60.
func dhcp(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(4, dhcpMessage) && v.server.every(4, dhcpMessage)
}

func dhcpMessage(b []byte) bool {
	if len(b) < 240 || b[0] < 1 || b[0] > 2 || b[2] > 16 || b[3] > 16 {
		return false
	}
	r := read(b[236:])
	if r.u32() != 0x63825363 {
		return false
	}
	for r.left() > 0 {
		switch code := r.u8(); code {
		case 0:
		case 255:
			return true
		default:
			r.skip(int(r.u8()))
		}
	}
	return !r.short
}

// dhcpv6 is a message type, a transaction id and options that fill the message (RFC 8415). Two options: 2^-40.
func dhcpv6(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(4, dhcpv6Message) && v.server.every(4, dhcpv6Message)
}

func dhcpv6Message(b []byte) bool {
	r := read(b)
	kind := r.u8()
	if kind == 12 || kind == 13 { // relayed: hop count, two addresses
		if r.u8() > 32 {
			return false
		}
		r.skip(32)
	} else {
		r.skip(3)
	}
	n := 0
	for ; r.left() > 0; n++ {
		code := r.u16()
		if code == 0 || code > 160 {
			return false
		}
		r.skip(int(r.u16()))
	}
	return kind >= 1 && kind <= 36 && n >= 2 && !r.short
}

// ntp is NTP's 48 byte packets, alone or with extensions or a digest (RFC 5905), and its control messages. One packet: 2^-36.
func ntp(v *view) bool {
	ask, answer := v.client.first(), v.server.first()
	if !ntpPacket(ask) || !v.client.every(6, ntpPacket) || !v.server.every(6, ntpPacket) {
		return false
	}
	if len(answer) >= 48 && len(ask) >= 48 && ask[0]&7 == 3 {
		return answer[0]&7 == 4 && bytes.Equal(answer[24:32], ask[40:48])
	}
	return true
}

func ntpPacket(b []byte) bool {
	if len(b) < 8 || len(b)%4 != 0 {
		return false
	}
	version, mode := b[0]>>3&7, b[0]&7
	switch {
	case version < 1 || version > 4 || mode == 0 && version > 1:
		return false
	case mode == 6:
		return ntpControl(b)
	case mode == 7:
		return ntpPrivate(b)
	}
	return len(b) >= 48 && len(b) <= 1024 && b[1] <= 16 && (b[2] <= 24 || b[2] >= 0xf8) && (b[3] >= 0xe0 || b[3] <= 6) &&
		b[4] == 0 && b[5] < 16 && b[8] == 0 && b[9] < 32
}

// ntpControl is a control message (RFC 9327): status zero in a question, sequence, and a count of data that adds up.
func ntpControl(b []byte) bool {
	if len(b) < 12 || b[0]>>6 != 0 || b[8] != 0 || b[9] != 0 || b[6] != 0 {
		return false
	}
	padding := len(b) - 12 - (int(b[10])<<8 | int(b[11]))
	return padding >= 0 && padding < 24
}

// ntpPrivate is a message of ntpdc (ntp_request.h of the reference implementation): implementation, request, items times size.
func ntpPrivate(b []byte) bool {
	data := (int(b[4]&0xf)<<8 | int(b[5])) * (int(b[6]&0xf)<<8 | int(b[7]))
	if b[0]>>6&1 != 0 || b[0]>>7 == 0 && b[1]&0x7f != 0 || b[2] > 3 || b[4]>>4 > 7 || b[6]>>4 != 0 || data > len(b)-8 {
		return false
	}
	return zero(b[8+data:])
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// snmp is a BER sequence of version, community or security parameters, and PDU (RFC 3416, RFC 3412). 2^-60.
func snmp(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(4, snmpMessage) && v.server.every(4, snmpMessage)
}

func snmpMessage(b []byte) bool {
	r := read(b)
	m := r.enter(berSequence)
	if m.short {
		return false
	}
	version := m.berInt()
	switch {
	case m.short:
		return false
	case version == 0 || version == 1:
		if m.enter(berOctets).short {
			return false
		}
		tag, pdu := m.next()
		if tag == 0xa4 { // a trap of version 1 begins with who it is from
			kind, _ := pdu.next()
			return kind == 6 && !pdu.short
		}
		pdu.berInt()
		pdu.berInt()
		pdu.berInt()
		list := pdu.enter(berSequence)
		return tag >= 0xa0 && tag <= 0xa8 && !pdu.short && !list.short && m.left() == 0
	case version == 3:
		header := m.enter(berSequence)
		header.berInt()
		size := header.berInt()
		flags := header.enter(berOctets)
		return !header.short && size >= 484 && flags.left() == 1 && header.berInt() <= 3 && !m.enter(berOctets).short
	}
	return false
}

// syslog is a priority in angle brackets before text (RFC 3164, RFC 5424). With 24 bytes of text: 2^-40.
func syslog(v *view) bool {
	return len(v.client.first()) >= 24 && v.client.every(8, syslogMessage) && v.server.every(8, syslogMessage)
}

func syslogMessage(b []byte) bool {
	if len(b) < 8 || b[0] != '<' {
		return false
	}
	i := bytes.IndexByte(b[:min(len(b), 5)], '>')
	return i >= 2 && number(b[1:i]) >= 0 && number(b[1:i]) <= 191 && printable(bytes.TrimRight(b, "\x00"))
}

// syslogStream is syslog over TCP: messages behind their length in digits, or a line each (RFC 6587).
func syslogStream(v *view) bool {
	b := v.client.data
	if len(v.server.data) > 0 || len(b) < 24 {
		return false
	}
	if w, rest := word(b[:min(len(b), 1024)]); number(w) > 0 {
		return len(rest) >= 24 && syslogMessage(rest[:min(len(rest), number(w))])
	}
	l, _, ok := line(b)
	return ok && len(l) >= 24 && syslogMessage(l)
}

// slp is the Service Location Protocol (RFC 2608, RFC 2165): a length that fits, reserved bits, language. 2^-60.
func slp(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(4, slpMessage) && v.server.every(4, slpMessage)
}

func slpMessage(b []byte) bool {
	n := slpLength(b)
	return n == len(b)
}

// slpLength reads the header of a message and gives the message's length; -1 where b does not start with one.
func slpLength(b []byte) int {
	r := read(b)
	version, function := r.u8(), r.u8()
	if function < 1 || function > 11 {
		return -1
	}
	switch version {
	case 1:
		length, flags, dialect, language := int(r.u16()), r.u8(), r.u8(), r.take(2)
		if r.u16(); r.short || flags&7 != 0 || dialect != 0 || !letter(language[0]) || !letter(language[1]) {
			return -1
		}
		return length
	case 2:
		length, flags, ext := int(r.u24()), r.u16(), int(r.u24())
		r.u16()
		size := int(r.u16())
		language := r.take(size)
		if r.short || flags&0x1fff != 0 || ext != 0 && ext >= length || size < 1 || size > 16 || !ascii(language) || !letter(language[0]) {
			return -1
		}
		return length
	}
	return -1
}

func slpStream(v *view) bool {
	return slpFirst(v.client) && slpFirst(v.server) && len(v.client.data)+len(v.server.data) > 0
}

func slpFirst(s side) bool {
	n := slpLength(s.data)
	return len(s.data) == 0 || n == len(s.data) || n > len(s.data) && s.open
}

// bgp is BGP 4 (RFC 4271, section 4.1): a marker of ones, a length and a kind in every message. 2^-140.
func bgp(v *view) bool {
	n, ok := v.client.chain(32, 19, bgpMessage)
	m, fits := v.server.chain(32, 19, bgpMessage)
	return ok && fits && n+m > 0
}

func bgpMessage(b []byte) int {
	length := int(b[16])<<8 | int(b[17])
	for _, x := range b[:16] {
		if x != 0xff {
			return -1
		}
	}
	if length > 4096 && b[18] != 2 || b[18] < 1 || b[18] > 5 || b[18] == 4 && length != 19 {
		return -1
	}
	return length
}

// tftpRequest is a request to read or write: a name, a mode of three, options (RFC 1350, RFC 2347). 2^-60.
func tftpRequest(v *view) bool {
	return tftpAsks(v.client.first()) && v.client.every(4, tftpMessage) && v.server.every(4, tftpMessage)
}

func tftpAsks(b []byte) bool {
	if len(b) < 9 || b[0] != 0 || b[1] < 1 || b[1] > 2 {
		return false
	}
	name, rest, ok := bytes.Cut(b[2:], []byte{0})
	return ok && len(name) > 0 && printable(name) && (hasFold(rest, "OCTET\x00") || hasFold(rest, "NETASCII\x00") || hasFold(rest, "MAIL\x00")) &&
		b[len(b)-1] == 0
}

func tftpMessage(b []byte) bool {
	return tftpAsks(b) || len(b) >= 4 && b[0] == 0 && b[1] >= 3 && b[1] <= 6
}

// tftpTransfer is what follows on other ports: numbered blocks of one size and acknowledgements that echo their numbers. Two blocks and
// two acknowledgements: 2^-128; an error message of text: 2^-50.
func tftpTransfer(v *view) bool {
	b := v.client.first()
	if len(b) > 5 && b[0] == 0 && b[1] == 5 && b[2] == 0 && b[3] <= 8 && v.client.datagrams() == 1 && len(b) >= 9 {
		return b[len(b)-1] == 0 && ascii(b[4:len(b)-1])
	}
	if len(b) >= 12 && b[0] == 0 && b[1] == 6 && v.client.datagrams() == 1 {
		return b[len(b)-1] == 0 && ascii(bytes.ReplaceAll(b[2:], []byte{0}, []byte{' '}))
	}
	blocks := tftpBlocks(v.client, 3)
	return blocks >= 1 && blocks+tftpBlocks(v.server, 4) >= 2
}

// tftpBlocks counts messages of one kind that are numbered from 1 on, or from where the first is; 0 where one is not.
func tftpBlocks(s side, kind uint8) int {
	n, last := 0, 0
	for i := range min(s.datagrams(), 8) {
		b, whole := s.datagram(i)
		r := read(b)
		op, number := r.u16(), int(r.u16())
		switch {
		case r.short || op == 6 && i == 0:
			continue
		case op != uint16(kind) || kind == 4 && len(b) > 8 || number > 1 && n == 0 || n > 0 && number != last && number != last+1:
			return 0
		case kind == 3 && len(b) < 12 && whole && number == 1 && s.datagrams() == 1 && len(b) > 516:
			return 0
		}
		n, last = n+1, number
	}
	return n
}
