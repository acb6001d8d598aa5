package protocol

import (
	"bytes"
	"hash/crc32"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var voice = slices.Concat([]entry{
	{"turn", conformance.UDP, midstream, []uint16{3478}, anything, isTURN},
	{"turn", conformance.TCP, midstream, []uint16{3478}, anything, isTURN},
	{"stun", conformance.UDP, midstream, []uint16{3478, 19302}, anything, isSTUNFlow},
	{"stun", conformance.TCP, midstream, []uint16{3478}, anything, isSTUNFlow},
	{"iax", conformance.UDP, midstream, []uint16{4569}, asked(span(0x80, 0xff)), isIAX},
	{"skinny", conformance.TCP, start, []uint16{2000}, anything, streams(2, skinnySize)},
	{"mgcp", conformance.UDP, midstream, []uint16{2427, 2727}, either(of("ECMDRNA0123456789")), datagrams(1, isMGCP)},
	{"diameter", conformance.TCP, start, []uint16{3868}, either(of("\x01")), streams(1, diameterSize)},
	{"h323", conformance.TCP, start, []uint16{1720}, either(of("\x03")), isH323},
	{"sip", conformance.UDP, midstream, []uint16{5060}, anything, isSIPFlow},
	{"sip", conformance.TCP, start, []uint16{5060}, anything, isSIPFlow},
}, media)

const stunCookie = 0x2112a442

// isSTUN knows a message of STUN or TURN (RFC 8489, 8656): type, length, cookie and attributes that end where the message does, 2^-50.
func isSTUN(m []byte) bool {
	return len(m) >= 20 && m[0]&0xc0 == 0 && be16(m[2:]) == len(m)-20 && be32(m[4:]) == stunCookie && isSTUNBody(m)
}

// isSTUNBody walks the attributes, which Microsoft does not pad (MS-TURN), and checks the fingerprint where there is one.
func isSTUNBody(m []byte) bool { return isAttributes(m, 4) || isAttributes(m, 1) }

func isAttributes(m []byte, align int) bool {
	for at := 20; at < len(m); {
		if at+4 > len(m) {
			return false
		}
		kind, size := be16(m[at:]), be16(m[at+2:])
		if size > len(m)-at-4 {
			return false
		}
		if kind == 0x8028 && size == 4 {
			return be32(m[at+4:]) == crc32.ChecksumIEEE(m[:at])^0x5354554e
		}
		at += 4 + (size+align-1)&^(align-1)
	}
	return true
}

// isClassicSTUN knows a message of RFC 3489, which has no cookie (nor have some of Microsoft's): type and length are 27 bits, and an
// attribute's kind and length 20 more.
func isClassicSTUN(m []byte) bool {
	if len(m) < 20 || be16(m[2:]) != len(m)-20 || m[0]&^1 != 0 || m[1]&^0x1f != 0 || m[1]&15 == 0 {
		return false
	}
	for at := 20; at < len(m); {
		if at+4 > len(m) {
			return false
		}
		kind, size := be16(m[at:]), be16(m[at+2:])
		if size > len(m)-at-4 || kind == 0 || kind&0x7fff > 0x1ff {
			return false
		}
		at += 4 + size
	}
	return true
}

// isSTUNFlow wants STUN, and beside it only what shares its port (RFC 7983): DTLS records, TURN channels, ZRTP, RTP and RTCP.
func isSTUNFlow(v *view) bool {
	if v.c.Transport == conformance.TCP {
		return isSTUNStream(v)
	}
	found := false
	fits := v.mostly(func(m []byte) bool {
		stun := isSTUN(m)
		found = found || stun
		return stun || isBesideSTUN(m)
	})
	return fits && (found || isClassicSTUNFlow(v))
}

// isBesideSTUN says whether a datagram that is not STUN may share its port; only the length of a channel's data and of a record are proof.
func isBesideSTUN(m []byte) bool {
	switch {
	case len(m) < 4:
		return true
	case be16(m) == 0xff10: // as Teams wraps what it relays
		return be16(m[2:]) == len(m)-4
	case m[0]>>6 == 1:
		return isChannelData(m)
	case m[0]>>6 == 2:
		return len(m) >= 8
	case m[0] >= 20 && m[0] <= 63:
		return len(m) >= 13 && (m[1] == 0xfe || m[0]&0xe0 == 0x20)
	}
	return isClassicSTUN(m)
}

// isChannelData knows TURN's four bytes before data (RFC 8656, 12.4).
func isChannelData(m []byte) bool {
	if len(m) < 4 || m[0]>>6 != 1 {
		return false
	}
	padding := len(m) - 4 - be16(m[2:])
	return padding >= 0 && padding < 4
}

// isClassicSTUNFlow wants requests that are answered with their own transaction, or two messages.
func isClassicSTUNFlow(v *view) bool { return v.all(1, isClassicSTUN) }

// isSTUNStream wants STUN over TCP or TURN over TCP (RFC 8656, 3.1), plain or with two bytes of length before each message
// (RFC 4571).
func isSTUNStream(v *view) bool {
	for _, h := range v.sides() {
		if startsSTUN(h.data) && (isPlainSTUN(v) || 20+be16(h.data[2:]) == len(h.data)) || isFramedSTUN(h.data) && isFramedMedia(v) {
			return true
		}
	}
	return false
}

var (
	isPlainSTUN   = streams(2, stunSize)
	isFramedMedia = streams(1, func(b []byte) int {
		if len(b) < 2 {
			return 0
		}
		return 2 + be16(b)
	})
)

func isFramedSTUN(b []byte) bool {
	return len(b) >= 22 && startsSTUN(b[2:]) && be16(b) == 20+be16(b[4:])
}

func startsSTUN(b []byte) bool {
	return len(b) >= 20 && b[0]&0xc0 == 0 && b[3]&3 == 0 && be32(b[4:]) == stunCookie
}

func stunSize(b []byte) int {
	switch {
	case len(b) < 20:
		return 0
	case startsSTUN(b):
		return 20 + be16(b[2:])
	case b[0]>>6 == 1:
		return (4 + be16(b[2:]) + 3) &^ 3
	}
	return -1
}

// isTURN says whether STUN's messages allocate or refresh a relay, send through it, or bind a channel.
func isTURN(v *view) bool {
	for _, h := range v.sides() {
		if startsSTUN(h.data) {
			if method := be16(h.data) & 0x0eef; method >= 3 && method <= 12 {
				return isSTUNFlow(v)
			}
		}
	}
	return false
}

// isIAX wants full frames of IAX2 (RFC 5456) with information elements that end where the datagram does; it starts with NEW, POKE or
// REGREQ at sequence number 0. 2^-40; media comes in mini frames.
func isIAX(v *view) bool {
	return isIAXFrame(v.client.first()) && v.all(1, isIAXAny)
}

func isIAXAny(m []byte) bool {
	return len(m) >= 4 && (m[0]&0x80 == 0 || len(m) >= 12 && m[10] >= 1 && m[10] <= 12)
}

func isIAXFrame(m []byte) bool {
	if len(m) < 12 || m[0]&0x80 == 0 || m[10] != 6 || m[11] == 0 || m[11] > 40 || m[8] > 8 || m[9] > 8 || be32(m[4:]) > 1<<24 {
		return false
	}
	for at := 12; at < len(m); at += 2 + int(m[at+1]) {
		if at+2 > len(m) || at+2+int(m[at+1]) > len(m) {
			return false
		}
	}
	return true
}

// skinnySize wants Cisco's SCCP: little endian length, header version, message number, 2^-50 a message.
func skinnySize(b []byte) int {
	if len(b) < 12 {
		return 0
	}
	size, version, kind := le32(b), le32(b[4:]), le32(b[8:])
	if size < 4 || size > 4096 || version > 0x20 || kind > 0x200 {
		return -1
	}
	return 8 + int(size)
}

// diameterSize wants messages of Diameter (RFC 6733): version, length, flags, and attributes that fill it, 2^-40.
func diameterSize(b []byte) int {
	if len(b) < 20 {
		return 0
	}
	size := be24(b[1:])
	if b[0] != 1 || b[4]&0x0f != 0 || size < 20 || size%4 != 0 {
		return -1
	}
	whole := min(size, len(b))
	for at := 20; at+8 <= whole; {
		n := be24(b[at+5:])
		if n < 8 || b[at+4]&0x1f != 0 || at+n > size {
			return -1
		}
		at += (n + 3) &^ 3
	}
	return size
}

// isMGCP knows a command or an answer of MGCP (RFC 3435): verb and version, or code and transaction, then text.
func isMGCP(m []byte) bool {
	line, rest, ok := bytes.Cut(m, []byte("\n"))
	if !ok || len(line) < 5 || !isText(line) || !isText(rest) {
		return false
	}
	switch string(line[:4]) {
	case "EPCF", "CRCX", "MDCX", "DLCX", "RQNT", "NTFY", "AUEP", "AUCX", "RSIP", "MESG":
		return bytes.Contains(line, []byte(" MGCP "))
	}
	return isDigits(line[:3]) && line[3] == ' ' && isDigits(line[4:5])
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// tpktSize walks TPKT (RFC 1006): version 3, a zero, a length.
func tpktSize(b []byte) int {
	switch {
	case len(b) < 7:
		return 0
	case b[0] != 3 || b[1] != 0 || be16(b[2:]) < 7:
		return -1
	}
	return be16(b[2:])
}

var isTPKT = streams(1, tpktSize)

// isH323 wants Q.931 in TPKT: discriminator 8, a call reference of two bytes, a message type with its upper bit clear, and
// information elements that end with the packet: 2^-40.
func isH323(v *view) bool {
	return isTPKT(v) && (isQ931(v.client.data) || isQ931(v.server.data))
}

func isQ931(b []byte) bool {
	if len(b) < 9 || b[4] != 8 || b[5] != 2 || b[8]&0x80 != 0 {
		return false
	}
	end := min(be16(b[2:]), len(b))
	for at := 9; at < end; {
		switch {
		case b[at]&0x80 != 0:
			at++
		case b[at] == 0x7e: // user-user: two bytes of length
			return at+3 <= end && at+3+be16(b[at+1:]) == be16(b[2:])
		case at+2 > end:
			return false
		default:
			at += 2 + int(b[at+1])
		}
	}
	return end == be16(b[2:])
}

// isSIPFlow wants requests or answers of SIP (RFC 3261) with headers, in UDP in every datagram that is more than a keepalive or text.
func isSIPFlow(v *view) bool {
	if !isSIP(v.client.data) && !isSIP(v.server.data) {
		return false
	}
	return v.c.Transport == conformance.TCP || v.mostly(func(m []byte) bool { return isSIP(m) || len(m) <= 4 || isText(m) })
}

func isSIP(b []byte) bool {
	if len(b) == 0 || b[0] != 0 && !isText(b[:1]) {
		return false
	}
	b = b[:min(len(b), 2048)]
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n' || b[0] == 0) { // keepalives
		b = b[1:]
	}
	if len(b) == 0 || !isText(b[:1]) {
		return false
	}
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if !ok || !isText(line) || !bytes.HasPrefix(line, []byte("SIP/2.0 ")) && !bytes.HasSuffix(line, []byte(" SIP/2.0")) {
		return false
	}
	header, _, ok := bytes.Cut(rest, []byte(":"))
	return ok && len(header) > 0 && isText(header)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
