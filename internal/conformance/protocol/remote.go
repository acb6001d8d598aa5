package protocol

import (
	"bytes"
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// remote are remote control, monitoring and file systems of their own framing.
var remote = []entry{
	{"teamviewer", conformance.TCP, start, []uint16{5938}, starts{of("\x17"), of("\x17\x11").orNothing()}, isTeamViewer},
	{"mosh", conformance.UDP, midstream, []uint16{60001}, spoken(of("\x00\x80")), isMosh},
	{"nomachine", conformance.TCP, midstream | turned, []uint16{4000}, asked(of("N")), isNoMachine},
	{"citrix", conformance.TCP, start, []uint16{1494}, starts{of("\x7f"), of("\x7f")}, isCitrix},
	{"xdmcp", conformance.UDP, midstream, []uint16{177}, either(of("\x00")), datagrams(1, isXDMCP)},
	{"ipmi", conformance.UDP, midstream, []uint16{623}, either(of("\x06")), datagrams(1, isIPMI)},
	{"rx", conformance.UDP, midstream, []uint16{7000, 7001, 7002, 7003}, starts{some, some}, isRx},
	{"roughtime", conformance.UDP, midstream, []uint16{2002, 2003}, asked(of("R").or(span(1, 16))), isRoughtime},
	{"collectd", conformance.UDP, midstream, []uint16{25826}, either(of("\x00\x02")), datagrams(1, isCollectd)},
	{"sflow", conformance.UDP, midstream, []uint16{6343}, either(of("\x00")), datagrams(1, isSFlow)},
	{"netflow", conformance.UDP, midstream, []uint16{2055, 2057, 4739, 9995, 9996}, either(of("\x00")), datagrams(1, isNetFlow)},
	{"pfcp", conformance.UDP, midstream, []uint16{8805}, either(span(0x20, 0x27)), datagrams(1, isPFCP)},
}

// isTeamViewer wants messages of TeamViewer: magic, command and a length that leads to the next one, at least two of them: 2^-32.
func isTeamViewer(v *view) bool {
	if len(v.client.data) < 5 || be16(v.client.data) != 0x1724 {
		return false
	}
	n, ok := framed(v.client.data, teamViewerSize)
	m, answered := framed(v.server.data, teamViewerSize)
	return ok && answered && n+m >= 2
}

func teamViewerSize(b []byte) int {
	switch {
	case len(b) < 5:
		return 0
	case be16(b) == 0x1724:
		return 5 + le16(b[3:])
	case be16(b) != 0x1130:
		return -1
	case len(b) < 8:
		return 0
	case le32(b[4:]) > 1<<24:
		return -1
	}
	return 24 + int(le32(b[4:]))
}

// isMosh wants mosh's datagrams (mosh.org, crypto.cc and network.cc): a number of 63 bits that counts up from 0 in each direction, and the
// direction in its highest bit; then what is encrypted. 2^-45 a datagram; both directions, or three of one, are wanted.
func isMosh(v *view) bool {
	if v.server.datagrams() == 0 && v.client.datagrams() < 3 {
		return false
	}
	for _, h := range v.sides() {
		var last uint64
		n := 0
		for m := range h.each {
			if len(m) < 8+16+4 {
				return false
			}
			number := binary.BigEndian.Uint64(m)
			step := number - last
			if number&(1<<63-1) > 1<<24 || n > 0 && (step == 0 || step+64 > 128) {
				return false
			}
			last = number
			n++
		}
	}
	a, b := v.client.first(), v.server.first()
	return len(a) > 0 && (len(b) == 0 || a[0]^b[0] == 0x80) && v.client.datagrams()+v.server.datagrams() >= 3
}

// isNoMachine knows the line with a version that NX sends before its TLS.
func isNoMachine(v *view) bool {
	b := v.client.data[:min(len(v.client.data), 32)]
	line, _, ok := bytes.Cut(b, []byte("\n"))
	return ok && bytes.HasPrefix(line, []byte("NXSH-")) && isText(line)
}

// isCitrix knows the greeting of ICA from both sides.
func isCitrix(v *view) bool {
	const magic = "\x7f\x7fICA\x00"
	return bytes.HasPrefix(v.client.data, []byte(magic)) && bytes.HasPrefix(v.server.data, []byte(magic))
}

// isXDMCP knows the X display manager's protocol, version 1: operation and length, 2^-44.
func isXDMCP(m []byte) bool {
	return len(m) >= 6 && be16(m) == 1 && be16(m[2:]) >= 1 && be16(m[2:]) <= 13 && be16(m[4:]) == len(m)-6
}

// isIPMI knows RMCP (IPMI 2.0, 13.1.3): version, reserved zero, and class; then ASF's number, or a session's kind: 2^-32.
func isIPMI(m []byte) bool {
	if len(m) < 8 || m[0] != 6 || m[1] != 0 || m[2] != 0xff {
		return false
	}
	return m[3] == 6 && be32(m[4:]) == 0x11be || m[3] == 7 && (m[4] <= 2 || m[4] == 6) && len(m) >= 14
}

// isRx wants AFS's Rx: the answer repeats epoch and connection, 2^-64, and both headers have a known kind and no flags beyond.
func isRx(v *view) bool {
	c, s := v.client.first(), v.server.first()
	return isRxPacket(c) && isRxPacket(s) && string(c[:4]) == string(s[:4]) && (be32(c[4:])^be32(s[4:]))&^3 == 0 && string(c[26:28]) == string(s[26:28])
}

func isRxPacket(m []byte) bool {
	return len(m) >= 28 && m[20] >= 1 && m[20] <= 13 && m[21] < 64 && m[22] == 0 && m[23] <= 5 && be32(m[12:]) < 1<<24
}

// isRoughtime wants a request or an answer whose tags are in order (RFC draft, section 5), a nonce among them: 2^-64.
func isRoughtime(v *view) bool {
	m := v.client.first()
	if len(m) >= 12 && string(m[:8]) == "ROUGHTIM" {
		m = m[12:]
	}
	if len(m) < 64 {
		return false
	}
	tags := le32(m)
	if tags < 1 || tags > 16 {
		return false
	}
	names := m[4*tags : min(len(m), int(8*tags))]
	return bytes.Contains(names, []byte("NONC")) || bytes.Contains(names, []byte("SREP"))
}

// isCollectd walks the parts of collectd's binary protocol: known kinds, whose lengths fill the datagram, and of which the first is the host's
// name, a signature, or an encrypted part with the length of the whole: 2^-36.
func isCollectd(m []byte) bool {
	if len(m) < 12 || be16(m) != 0 && be16(m) != 0x200 && be16(m) != 0x210 {
		return false
	}
	parts := 0
	for len(m) > 0 {
		if len(m) < 4 {
			return false
		}
		kind, size := be16(m), be16(m[2:])
		if kind > 9 && kind != 0x100 && kind != 0x101 && kind != 0x200 && kind != 0x210 || size < 5 || size > len(m) {
			return false
		}
		if kind == 0x210 {
			return size == len(m) && size > 6 && be16(m[4:]) > 0 && be16(m[4:]) < 64 && isText(m[6:min(size, 6+be16(m[4:]))])
		}
		if kind == 0 && m[size-1] != 0 {
			return false
		}
		m = m[size:]
		parts++
	}
	return parts >= 2
}

// isSFlow knows sFlow version 5: version, kind of address, and samples of known kinds whose lengths fit, 2^-64.
func isSFlow(m []byte) bool {
	if len(m) < 36 || be32(m) != 5 {
		return false
	}
	at := 28
	switch be32(m[4:]) {
	case 1:
	case 2:
		at += 12
	default:
		return false
	}
	samples := be32(m[at-4:])
	if samples == 0 || samples > 64 {
		return false
	}
	for range samples {
		if at+8 > len(m) {
			return false
		}
		size := be32(m[at+4:])
		if be32(m[at:])&0xfff > 5 || uint64(size) > uint64(len(m)-at-8) {
			return false
		}
		at += 8 + int(size)
	}
	return at == len(m)
}

// isNetFlow knows NetFlow 5 and 9 and IPFIX (RFC 3954, RFC 7011): records or sets that fill the datagram, 2^-36.
func isNetFlow(m []byte) bool {
	if len(m) < 20 {
		return false
	}
	at := 20
	switch be16(m) {
	case 5:
		return be16(m[2:]) >= 1 && be16(m[2:]) <= 30 && len(m) == 24+48*be16(m[2:])
	case 10:
		if be16(m[2:]) != len(m) {
			return false
		}
		at = 16
	case 9:
		if be16(m[2:]) == 0 || be16(m[2:]) > 256 {
			return false
		}
	default:
		return false
	}
	sets := 0
	for at < len(m) {
		if at+4 > len(m) {
			return false
		}
		kind, size := be16(m[at:]), be16(m[at+2:])
		if size < 4 || size > len(m)-at || kind > 3 && kind < 256 {
			return false
		}
		at += size
		sets++
	}
	return sets > 0
}

// isPFCP knows 3GPP TS 29.244: version, kind, length, and information elements that fill it, 2^-45.
func isPFCP(m []byte) bool {
	if len(m) < 12 || m[0]&0xf8 != 0x20 || be16(m[2:]) != len(m)-4 || m[1] == 0 || m[1] > 57 {
		return false
	}
	at := 8
	if m[0]&1 != 0 {
		at = 16
	}
	for at < len(m) {
		if at+4 > len(m) || be16(m[at:]) > 0x1ff || be16(m[at+2:]) > len(m)-at-4 {
			return false
		}
		at += 4 + be16(m[at+2:])
	}
	return true
}
