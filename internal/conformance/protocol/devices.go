package protocol

import (
	"unicode/utf8"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// devices are what cars, sensors and lamps speak.
var devices = []entry{
	{"someip", conformance.UDP, midstream, []uint16{30490}, anything, datagrams(1, isSOMEIP)},
	{"rtps", conformance.UDP, midstream, []uint16{7400, 7410}, either(of("R")), datagrams(1, isRTPS)},
	{"coap", conformance.UDP, midstream, []uint16{5683}, either(span(0x40, 0x7f)), isCoAP},
	{"tuya", conformance.UDP, midstream, []uint16{6667}, either(of("\x00")), datagrams(1, func(m []byte) bool { return tuyaSize(m) == len(m) })},
	{"tuya", conformance.TCP, midstream, []uint16{6668}, either(of("\x00")), streams(1, tuyaSize)},
	{"tplink", conformance.UDP, midstream, []uint16{9999}, either(of("\xd0")), datagrams(1, isTPLink)},
}

// isCoAP wants CoAP (RFC 7252), also LwM2M: every datagram's options end where its payload starts, and an answer repeats the
// message number or a token of at least two bytes of the question: 2^-30.
func isCoAP(v *view) bool {
	if !v.all(2, isCoAPMessage) {
		return false
	}
	c, s := v.client.first(), v.server.first()
	if len(c) < 4 || len(s) < 4 {
		return false
	}
	token := int(c[0] & 15)
	same := token >= 2 && s[0]&15 == c[0]&15 && string(c[4:4+token]) == string(s[4:4+token])
	return same || be16(c[2:]) == be16(s[2:]) && s[0]>>4&3 >= 2
}

func isCoAPMessage(m []byte) bool {
	if len(m) < 4 || m[0]>>6 != 1 || m[0]&15 > 8 || m[1]&31 > 15 {
		return false
	}
	if class := m[1] >> 5; class == 1 || class == 3 || class >= 6 || m[1] == 0 && len(m) > 4 {
		return false
	}
	r := read(m[4:])
	r.skip(int(m[0] & 15))
	option := 0
	for r.left() > 0 && !r.short {
		head := r.u8()
		if head == 0xff {
			return r.left() > 0
		}
		option += optionNumber(&r, head>>4)
		value := r.take(optionNumber(&r, head&15))
		if head>>4 == 15 || head&15 == 15 || !isCoAPOption(option, value) {
			return false
		}
	}
	return !r.short
}

// isCoAPOption checks an option against the registry of RFC 7252, 7641, 7959 and later ones: numbers, lengths, text.
func isCoAPOption(number int, value []byte) bool {
	switch number {
	case 3, 8, 11, 15, 20, 35, 39: // host, paths, queries, proxies: text
		return isUTF8Text(value)
	case 5:
		return len(value) == 0
	case 6, 7, 12, 14, 17, 23, 27, 28, 60:
		return len(value) <= 4
	case 1, 4, 9, 16, 19, 31, 252, 258, 292:
		return true
	}
	return false
}

func isUTF8Text(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// optionNumber is CoAP's way to write a number in four bits, or behind them.
func optionNumber(r *cursor, nibble byte) int {
	switch nibble {
	case 13:
		return 13 + int(r.u8())
	case 14:
		return 269 + int(r.u16())
	}
	return int(nibble)
}

// tuyaSize wants a message of Tuya's local protocol: magic before and after, and the length between, 2^-80. What it carries is encrypted.
func tuyaSize(b []byte) int {
	if len(b) < 24 {
		return 0
	}
	header, size, tail := 16, uint32(0), uint32(0x0000aa55)
	switch be32(b) {
	case 0x000055aa:
		size = be32(b[12:])
	case 0x00006699:
		header, size, tail = 18, be32(b[14:]), 0x00009966
	default:
		return -1
	}
	if tail == 0x00009966 {
		size += 4 // the tail does not count there
	}
	if size < 8 || size > 1<<16 {
		return -1
	}
	whole := header + int(size)
	if whole <= len(b) && be32(b[whole-4:]) != tail {
		return -1
	}
	return whole
}

// isTPLink knows JSON under TP-Link's running XOR, which starts with 171: all that comes out is text in braces, 2^-30 and less.
func isTPLink(m []byte) bool {
	if len(m) < 20 {
		return false
	}
	key := byte(171)
	for i, c := range m {
		plain := c ^ key
		key = c
		if i == 0 && plain != '{' || i == len(m)-1 && plain != '}' || plain < 0x20 && plain != '\n' && plain != '\r' && plain != '\t' || plain > 0x7e {
			return false
		}
	}
	return true
}

// isSOMEIP knows AUTOSAR's SOME/IP: length, protocol version, type and return code, 2^-50.
func isSOMEIP(m []byte) bool {
	for range 16 {
		if len(m) < 16 || m[12] != 1 || m[15] > 0x5e {
			return false
		}
		switch m[14] &^ 0x20 {
		case 0, 1, 2, 0x40, 0x41, 0x42, 0x80, 0x81, 0xc0, 0xc1:
		default:
			return false
		}
		size := be32(m[4:])
		if size < 8 || uint64(size) > uint64(len(m)-8) {
			return false
		}
		if m = m[8+size:]; len(m) == 0 {
			return true
		}
	}
	return false
}

// isRTPS knows DDS (OMG RTPS 2.x): name and version, 2^-40.
func isRTPS(m []byte) bool {
	return len(m) >= 16 && (string(m[:4]) == "RTPS" || string(m[:4]) == "RTPX") && m[4] >= 1 && m[4] <= 2 && m[5] <= 9
}
