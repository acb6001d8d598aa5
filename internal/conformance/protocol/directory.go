package protocol

import (
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var directory = []entry{
	{"kerberos", conformance.TCP, midstream, []uint16{88}, anything, kerberosStream},
	{"kerberos", conformance.UDP, midstream, []uint16{88, 464}, asked(some), kerberos},
	{"ldap", conformance.TCP, start, []uint16{389, 3268}, spoken(of("\x30")), ldap},
	{"ldap", conformance.UDP, start, []uint16{389}, spoken(of("\x30")), cldap},
	{"smb", conformance.TCP, midstream, []uint16{445, 139}, either(of("\x00\x85")), smb},
	{"dcerpc", conformance.TCP, midstream, []uint16{135}, either(of("\x05")), dceRPC},
	{"nfs", conformance.TCP, midstream, []uint16{2049}, spoken(of("\x00\x01\x80\x81")), func(v *view) bool { return sunStream(v, nfsProgram) }},
	{"nfs", conformance.UDP, midstream, []uint16{2049}, asked(some), func(v *view) bool { return sunDatagrams(v, nfsProgram) }},
	{"rpc", conformance.TCP, midstream, []uint16{111}, spoken(of("\x00\x01\x80\x81")), func(v *view) bool { return sunStream(v, 0) }},
	{"rpc", conformance.UDP, midstream, []uint16{111}, asked(some), func(v *view) bool { return sunDatagrams(v, 0) }},
	{"rdp", conformance.TCP, start, []uint16{3389}, spoken(of("\x03")), rdp},
	{"rdp", conformance.UDP, start | turned, []uint16{3389}, asked(some), rdpDatagrams},
	{"vnc", conformance.TCP, start, []uint16{5900, 5901}, starts{of("R").orNothing(), of("R")}, vnc},
	{"x11", conformance.TCP, start, []uint16{6000, 6001, 6010}, starts{of("lB"), span(0, 2).orNothing()}, x11},
}

// kerberos is Kerberos 5 (RFC 4120) over UDP: an application's tag, version 5, the same type once more, a length to the message's end.
// 2^-90. Or a change of password (RFC 3244).
func kerberos(v *view) bool {
	b := v.client.first()
	return len(b) > 0 && (kerberosMessage(b) == len(b) || kpasswd(b)) && v.server.every(2, func(b []byte) bool {
		return kerberosMessage(b) == len(b) || kpasswd(b)
	})
}

// kpasswd is a length, a version, and an AP message of the length that follows.
func kpasswd(b []byte) bool {
	if len(b) < 6 || be16(b) != len(b) {
		return false
	}
	r := read(b[2:])
	version, size := r.u16(), int(r.u16())
	ap := r.take(size)
	return !r.short && (version == 1 || version == 0xff80) && kerberosMessage(ap) == len(ap) && size > 0
}

// kerberosMessage gives the length of the message that b starts with, which may be cut; -1 where it is none.
func kerberosMessage(b []byte) int {
	r := read(b)
	tag := r.u8()
	kind := tag & 0x1f
	if tag>>5 != 3 || kind != 30 && (kind < 10 || kind > 15) && (kind < 20 || kind > 22) {
		return -1
	}
	size := r.berLength()
	length := len(b) - r.left() + size
	if r.u8() != berSequence {
		return -1
	}
	r.berLength()
	// Requests number their fields from 1, all others from 0.
	first := uint8(0xa0)
	if kind == 10 || kind == 12 {
		first = 0xa1
	}
	if r.u8() != first || r.u32() != 0x03020105 || r.u8() != first+1 || r.u24() != 0x030201 || r.u8() != kind || r.short {
		return -1
	}
	return length
}

// kerberosStream is Kerberos over TCP: each message behind its length.
func kerberosStream(v *view) bool {
	client, ok := v.client.chain(8, 20, kerberosFrame)
	server, fits := v.server.chain(8, 20, kerberosFrame)
	if v.c.StartSeen {
		return ok && fits && client > 0
	}
	return ok && client > 0 || fits && server > 0
}

func kerberosFrame(b []byte) int {
	length := int(binary.BigEndian.Uint32(b))
	if length > 1<<24 || kerberosMessage(b[4:]) != length {
		return -1
	}
	return 4 + length
}

// ldap is LDAP (RFC 4511): messages with an id and an operation that fills them; after a SASL bind also its security layer's
// length-prefixed tokens (RFC 4513, section 5.2.1). One message 2^-40; the server's must have the ids of the client's.
func ldap(v *view) bool {
	n, first, ok := ldapMessages(v.client)
	m, answer, fits := ldapMessages(v.server)
	return ok && fits && n > 0 && (m > 0 && first == answer || m == 0 && len(v.client.data) >= 12)
}

// cldap is LDAP over UDP, a message a datagram (RFC 1798, MS-ADTS 6.3.3).
func cldap(v *view) bool {
	b, s := v.client.first(), v.server.first()
	size, id, ok := ldapMessage(b)
	back, echo, fits := ldapMessage(s)
	return ok && size == len(b) && len(b) >= 12 && (len(s) == 0 || fits && back == len(s) && echo == id)
}

func ldapMessages(s side) (n int, first int32, ok bool) {
	rest := s.data
	for len(rest) > 0 && n < 32 {
		size, id, ok := ldapMessage(rest)
		if !ok {
			if n == 0 {
				return 0, 0, false
			}
			s.data = rest
			_, ok = s.chain(16, 4, saslToken)
			return n, first, ok
		}
		if n == 0 {
			first = id
		}
		n++
		if size > len(rest) {
			return n, first, s.open
		}
		rest = rest[size:]
	}
	return n, first, true
}

// saslToken is a wrapped message of Kerberos (RFC 4121, RFC 1964) or NTLM behind its length.
func saslToken(b []byte) int {
	length := int(binary.BigEndian.Uint32(b))
	if length < 16 || length > 1<<24 || len(b) >= 8 && !has(b[4:], "\x05\x04") && !has(b[4:], "\x60") && !has(b[4:], "\x01\x00\x00\x00") {
		return -1
	}
	return 4 + length
}

// ldapMessage reads the head of a message, which may be cut, and gives its length and id.
func ldapMessage(b []byte) (size int, id int32, ok bool) {
	r := read(b)
	if r.u8() != berSequence {
		return 0, 0, false
	}
	length := r.berLength()
	size = len(b) - r.left() + length
	id = r.berInt()
	switch op := r.u8(); op {
	case 0x42, 0x50, 0x4a, 0x60, 0x61, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x73, 0x77, 0x78, 0x79:
	default:
		return 0, 0, false
	}
	inner := r.berLength()
	end := len(b) - r.left() + inner
	if r.short || id < 0 || end > size || end < size && end < len(b) && b[end] != 0xa0 {
		return 0, 0, false
	}
	return size, id, true
}

// smb is SMB 1 to 3 over TCP: session messages with their length, each a header of the protocol. 2^-40 a message.
func smb(v *view) bool {
	n, ok := v.client.chain(16, 4, smbFrame)
	m, fits := v.server.chain(16, 4, smbFrame)
	return ok && fits && n+m > 0 && (smbMessage(v.client.data) || len(v.client.data) == 0 && smbMessage(v.server.data))
}

func smbFrame(b []byte) int {
	length := int(binary.BigEndian.Uint32(b))
	if length == 0x85000000 { // keep alive
		return 4
	}
	if length>>24 != 0 || length < 32 || len(b) >= 8 && !smbMessage(b) {
		return -1
	}
	return 4 + length
}

// smbMessage says whether b starts with a session message that holds SMB 1, 2, or 3 (MS-CIFS 2.2.3.1, MS-SMB2 2.2.1).
func smbMessage(b []byte) bool {
	r := read(b)
	if r.u32()>>24 != 0 || r.left() < 4 {
		return false
	}
	magic, h := r.take(4), r.b
	switch {
	case len(h) < 48: // too short to say more
		return has(magic[1:], "SMB") && magic[0] >= 0xfc && len(h) < 4
	case has(magic, "\xffSMB"): // reserved bytes
		return h[18] == 0 && h[19] == 0
	case has(magic, "\xfeSMB"): // size of the header, command, flags
		return h[0] == 64 && h[1] == 0 && h[8] <= 18 && h[9] == 0 && h[12]&0x80 == 0 && h[13] == 0 && h[14] == 0
	case has(magic, "\xfdSMB"): // the encrypted message's length
		return int(binary.LittleEndian.Uint32(h[32:]))+52 == int(binary.BigEndian.Uint32(b))
	case has(magic, "\xfcSMB"):
		return binary.LittleEndian.Uint32(h) < 16<<20 && h[5] == 0 && h[4] <= 5
	}
	return false
}

// dceRPC is connection-oriented DCE/RPC (C706): packets with version 5, a kind, the data's representation and a length that adds up. 2^-50 a
// packet.
func dceRPC(v *view) bool {
	n, ok := v.client.chain(16, 16, rpcPacket)
	m, fits := v.server.chain(16, 16, rpcPacket)
	return ok && fits && n+m > 0
}

func rpcPacket(b []byte) int {
	length, auth := int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[10:]))
	if b[4] == 0 {
		length, auth = int(binary.BigEndian.Uint16(b[8:])), int(binary.BigEndian.Uint16(b[10:]))
	}
	if b[0] != 5 || b[1] > 1 || b[2] > 20 || b[4] != 0x10 && b[4] != 0 || b[5] != 0 || b[6] != 0 || b[7] != 0 || auth > length {
		return -1
	}
	return length
}

// Sun RPC (RFC 5531).
const (
	nfsProgram = 100003
	rpcCall    = 0
	rpcReply   = 1
	lastRecord = 1 << 31
)

// sunCall reads a call's or reply's head: id, kind; for a call also version 2, program, its version, procedure. Program 0 stands for all
// that are registered (RFC 5531, appendix C). A call: 2^-90; a reply 2^-60, and the id that it echoes.
func sunCall(b []byte, program uint32) (id, kind uint32, ok bool) {
	if len(b) < 8 || be32(b[4:]) > rpcReply {
		return 0, 0, false
	}
	r := read(b)
	id, kind = r.u32(), r.u32()
	if kind == rpcReply {
		denied, flavour := r.u32(), r.u32()
		return id, kind, !r.short && denied <= 1 && flavour <= 6
	}
	version, asked, revision, procedure := r.u32(), r.u32(), r.u32(), r.u32()
	known := asked >= 100000 && asked < 400000 || asked>>28 == 4 && asked&0xfff0000 == 0
	if program != 0 {
		known = asked == program
	}
	return id, kind, kind == rpcCall && version == 2 && known && revision < 256 && procedure < 256 && !r.short
}

func sunStream(v *view, program uint32) bool {
	n, ok := v.client.chain(8, 24, sunRecord)
	m, fits := v.server.chain(8, 12, sunRecord)
	if !ok || !fits || n == 0 {
		return false
	}
	id, kind, call := sunCall(v.client.data[4:], program)
	if m == 0 {
		return call && kind == rpcCall
	}
	echo, back, reply := sunCall(v.server.data[4:], 0)
	return call && reply && kind == rpcCall && back == rpcReply && (id == echo || n > 1)
}

func sunRecord(b []byte) int {
	mark := binary.BigEndian.Uint32(b)
	length := int(mark &^ lastRecord)
	if len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) > 1 || length > 16<<20 || length < 8 {
		return -1
	}
	return 4 + length
}

func sunDatagrams(v *view, program uint32) bool {
	id, kind, call := sunCall(v.client.first(), program)
	if s := v.server.first(); len(s) > 0 {
		echo, back, reply := sunCall(s, 0)
		return call && reply && kind == rpcCall && back == rpcReply && (id == echo || v.client.datagrams() > 1)
	}
	return call && kind == rpcCall
}
