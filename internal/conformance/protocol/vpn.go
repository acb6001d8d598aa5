package protocol

import (
	"bytes"
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var vpn = []entry{
	{"wireguard", conformance.UDP, midstream, []uint16{51820}, either(span(0, 0x3f).or(of("T"))), isWireGuard},
	{"tailscale", conformance.UDP, midstream, []uint16{41641}, either(span(0, 0x3f).or(of("T"))), isTailscale},
	{"openvpn", conformance.UDP, midstream, []uint16{1194}, either(openVPNOpcode), isOpenVPNSession},
	{"openvpn", conformance.UDP, midstream | turned, []uint16{1194}, asked(openVPNData), isOpenVPNClientData},
	{"openvpn", conformance.TCP, start, []uint16{1194}, anything, isOpenVPNStream},
	{"ipsec", conformance.UDP, midstream, []uint16{500, natTraversalPort}, anything, isIKE},
	{"ipsec", conformance.UDP, midstream | onPort, []uint16{natTraversalPort}, anything, isESP},
	{"l2tp", conformance.UDP, midstream, []uint16{1701}, either(those(func(x byte) bool { return x&0x34 == 0 })), isL2TP},
	{"pptp", conformance.TCP, start, []uint16{1723}, anything, streams(1, pptpSize)},
	{"gtp", conformance.UDP, midstream, []uint16{2123, 2152}, either(those(func(x byte) bool { return x&0xf8 == 0x30 || x&0xe7 == 0x40 })), datagrams(1, isGTPMessage)},
	{"vxlan", conformance.UDP, midstream, []uint16{4789}, either(of("\x08")), datagrams(1, isVXLANFrame)},
	{"teredo", conformance.UDP, midstream, []uint16{3544}, either(of("\x00\x45").or(span(0x60, 0x6f))), datagrams(1, isTeredoPacket)},
	{"zerotier", conformance.UDP, midstream, []uint16{9993}, asked(some), isZeroTier},
	{"dnscrypt", conformance.UDP, midstream, []uint16{443, 8443}, starts{server: of("r")}, isDNSCrypt},
	{"softether", conformance.UDP, midstream, []uint16{5004}, starts{of("A"), of("I")}, isSoftEther},
	{"nebula", conformance.UDP, midstream, []uint16{4242}, either(span(0x10, 0x16)), isNebula},
	{"tinc", conformance.TCP, start, []uint16{655}, starts{of("0"), of("0")}, isTinc},
}

// Messages of WireGuard (wireguard.com/protocol): a type, three zero bytes, and sizes that follow from the type.
const (
	wireGuardInitiation = 1
	wireGuardResponse   = 2
	wireGuardCookie     = 3
	wireGuardData       = 4
)

// isWireGuard wants every datagram to be of WireGuard, where a peer's index stays the one that the handshake gave, and the counters
// of data do not fall. A random datagram passes with 2^-32 for its type and 2^-11 or less for its size or counter; the WireGuard header that
// mKCP puts before its own bytes fails by its counter. Where the answer repeats the index of the one who asked (2^-64), the reserved bytes may
// be the provider's own, and the handshake longer.
func isWireGuard(v *view) bool {
	ask, answer := v.client.first(), v.server.first()
	echoed := len(ask) >= 148 && len(answer) >= 92 && ask[0] == wireGuardInitiation && answer[0] == wireGuardResponse &&
		string(ask[4:8]) == string(answer[8:12])
	known := 0
	for _, h := range v.sides() {
		g := wireGuard{echoed: echoed}
		for m := range h.each {
			if isDisco(m) || isSTUN(m) {
				continue // Tailscale speaks these on the same port
			}
			if !g.follows(m) {
				return false
			}
			known++
		}
	}
	return known > 0
}

// wireGuard is what one direction's data said last.
type wireGuard struct {
	receiver uint32
	counter  uint64
	data     bool
	echoed   bool
}

func (g *wireGuard) follows(m []byte) bool {
	if len(m) < 32 || m[1]|m[2]|m[3] != 0 && !g.echoed {
		return false
	}
	switch m[0] {
	case wireGuardInitiation:
		g.data = false
		return len(m) == 148 || g.echoed
	case wireGuardResponse:
		g.data = false
		return len(m) == 92 || g.echoed
	case wireGuardCookie:
		return len(m) == 64
	case wireGuardData:
	default:
		return false
	}
	receiver, counter := binary.LittleEndian.Uint32(m[4:]), binary.LittleEndian.Uint64(m[8:])
	// Datagrams may overtake each other within the window of 8,192 counters that receivers keep.
	near := !g.data || receiver != g.receiver || counter+8192 > g.counter && counter < g.counter+1<<20
	g.receiver, g.counter, g.data = receiver, counter, true
	padded := len(m)%16 == 0 || len(m) >= 1200 // not beyond what the link carries
	return padded && counter < 1<<40 && near
}

// isTailscale wants a disco message: six bytes of magic, the sender's key, a nonce and a box (tailscale.com/disco). 2^-48.
func isTailscale(v *view) bool {
	found := false
	for _, h := range v.sides() {
		g := wireGuard{}
		for m := range h.each {
			if isDisco(m) {
				found = true
			} else if !isSTUN(m) && !g.follows(m) {
				return false
			}
		}
	}
	return found
}

func isDisco(m []byte) bool {
	return len(m) >= 6+32+24+16+2 && string(m[:6]) == "TS\xf0\x9f\x92\xac"
}

// isIKE wants every datagram to be ISAKMP (RFC 2408, RFC 7296) or, on the port of NAT traversal, ESP (RFC 3948). Length field, version,
// exchange and flags are 32+6+5+5 bits.
func isIKE(v *view) bool {
	found := false
	for _, h := range v.sides() {
		for m := range h.each {
			marked := len(m) > 4 && be32(m) == 0
			switch {
			case isISAKMP(m) || marked && isISAKMP(m[4:]):
				found = true
			case !isKeepalive(m) && !(v.port(natTraversalPort) && len(m) >= 20 && !marked):
				return false
			}
		}
	}
	return found
}

func isISAKMP(m []byte) bool {
	if len(m) < 28 || binary.BigEndian.Uint64(m) == 0 || int64(be32(m[24:])) != int64(len(m)) {
		return false
	}
	exchange, flags := m[18], m[19]
	switch m[17] {
	case 0x10:
		return (exchange >= 1 && exchange <= 6 || exchange >= 32 && exchange <= 34) && flags&^7 == 0
	case 0x20:
		return exchange >= 34 && exchange <= 45 && flags&^0x38 == 0
	}
	return false
}

// isKeepalive is RFC 3948's byte that keeps a mapping open.
func isKeepalive(m []byte) bool { return len(m) == 1 && m[0] == 0xff }

const natTraversalPort = 4500

// isESP wants ESP in UDP (RFC 3948): on port 4500 only, one index a direction, sequence numbers that count up, and lengths of whole words.
// Each datagram after a direction's first has 32 bits of index and 24 of sequence number; a first one alone counts where it is number one.
func isESP(v *view) bool {
	if !v.port(natTraversalPort) {
		return false
	}
	evidence := 0
	for _, h := range v.sides() {
		var last []byte
		for m := range h.each {
			if isKeepalive(m) {
				continue
			}
			if len(m) < 20 || len(m)%2 != 0 || be32(m) < 256 {
				return false
			}
			switch step := sequenceStep(last, m); {
			case step > 0 && step < 256:
				evidence += 2
			case be32(m[4:]) == 1:
				evidence++
			case last != nil:
				return false
			}
			last = m
		}
	}
	return evidence >= 2
}

// sequenceStep is how far the ESP datagram m is behind the one before it of the same index, 0 where there is none.
func sequenceStep(last, m []byte) uint32 {
	if last == nil || be32(last) != be32(m) {
		return 0
	}
	return be32(m[4:]) - be32(last[4:])
}

// isL2TP wants a control message (RFC 2661): flags, a length that adds up, and the Message Type AVP first. 2^-64. What is beside it has to be
// of version 2 and without reserved bits.
func isL2TP(v *view) bool {
	if !v.all(0, func(m []byte) bool { return len(m) >= 6 && m[0]&0x34 == 0 && m[1] == 2 }) {
		return false
	}
	for _, h := range v.sides() {
		for m := range h.each {
			if isL2TPControl(m) {
				return true
			}
		}
	}
	return false
}

func isL2TPControl(m []byte) bool {
	if len(m) < 20 || be16(m) != 0xc802 || be16(m[2:]) != len(m) || string(m[12:18]) != "\x80\x08\x00\x00\x00\x00" {
		return false
	}
	for at := 12; at < len(m); {
		if at+6 > len(m) {
			return false
		}
		size := be16(m[at:]) & 0x3ff
		if size < 6 || size > len(m)-at {
			return false
		}
		at += size
	}
	return true
}

// pptpSize wants control messages (RFC 2637): type, magic cookie and a known size, 2^-64.
func pptpSize(b []byte) int {
	switch {
	case len(b) < 12:
		return 0
	case be16(b[2:]) != 1 || be32(b[4:]) != 0x1a2b3c4d || b[8] != 0 || b[9] == 0 || b[9] > 15 || be16(b[10:]) != 0 || be16(b) < 12:
		return -1
	}
	return be16(b)
}

// isGTPMessage wants GTP version 1 or 2 (3GPP TS 29.060, 29.281, 29.274) with lengths that add up, and information elements or an IP packet inside.
func isGTPMessage(m []byte) bool {
	if len(m) < 12 {
		return false
	}
	switch m[0] >> 5 {
	case 1:
		return m[0]&0x18 == 0x10 && be16(m[2:]) == len(m)-8 && isGTP1(m)
	case 2:
		size := 4 + be16(m[2:])
		piggybacked := m[0]&0x10 != 0
		if m[0]&7 != 0 || size > len(m) || size != len(m) && !piggybacked {
			return false
		}
		header := 8
		if m[0]&8 != 0 {
			header = 12
		}
		return size >= header && m[header-1] == 0 && isGTP2Elements(m[header:size])
	}
	return false
}

func isGTP1(m []byte) bool {
	at := 8
	if m[0]&7 != 0 {
		at = 12
	}
	for m[0]&4 != 0 && m[at-1] != 0 { // extension headers, each at least four bytes
		if at >= len(m) || m[at] == 0 || at+4*int(m[at]) > len(m) {
			return false
		}
		at += 4 * int(m[at])
	}
	if m[1] == 255 {
		return isIPPacket(m[at:])
	}
	// Echo carries Recovery, or nothing; the tunnel is 0 in messages of path management.
	return m[1] >= 1 && m[1] <= 2 && be32(m[4:]) == 0 && len(m) <= 64 ||
		m[1] >= 16 && m[1] <= 130 && be16(m[10:]) == 0 && m[0] == 0x32
}

// isGTP2Elements walks type, length, instance.
func isGTP2Elements(b []byte) bool {
	n := 0
	for len(b) > 0 {
		if len(b) < 4 || b[3]>>4 != 0 || 4+be16(b[1:]) > len(b) {
			return false
		}
		b = b[4+be16(b[1:]):]
		n++
	}
	return n > 0
}

// isIPPacket wants an IPv4 packet with its checksum, or an IPv6 packet, that takes all of b: 2^-36 and 2^-24.
func isIPPacket(b []byte) bool {
	if len(b) >= 40 && b[0]>>4 == 6 {
		return be16(b[4:])+40 == len(b) && isTransport(b[6])
	}
	if len(b) < 20 || b[0] != 0x45 || be16(b[2:]) != len(b) {
		return false
	}
	sum := 0
	for i := 0; i < 20; i += 2 {
		sum += be16(b[i:])
	}
	return sum%0xffff == 0
}

// isTransport says whether next is a usual next header: options, TCP, UDP, IPv6, fragment, ICMPv6, none.
func isTransport(next byte) bool {
	switch next {
	case 0, 6, 17, 41, 44, 58, 59:
		return true
	}
	return false
}

// isVXLANFrame wants flags, reserved zeros and an Ethernet frame with an IP packet (RFC 7348), 2^-64.
func isVXLANFrame(m []byte) bool {
	if len(m) < 8+14+20 || be32(m) != 0x08000000 || m[7] != 0 {
		return false
	}
	switch be16(m[20:]) {
	case 0x0806:
		return be32(m[22:]) == 0x00010800
	case 0x0800:
		return m[22]>>4 == 4
	case 0x86dd:
		return m[22]>>4 == 6
	}
	return false
}

// isTeredoPacket wants IPv6 in UDP (RFC 4380), behind authentication and origin where these are: version, length and next header
// are 24 bits, an address of Teredo, or a link-local one in router discovery, 10 and more.
func isTeredoPacket(m []byte) bool {
	if len(m) >= 13 && m[0] == 0 && m[1] == 1 {
		m = m[min(len(m), 13+int(m[2])+int(m[3])):]
	}
	if len(m) >= 8 && m[0] == 0 && m[1] == 0 {
		m = m[8:]
	}
	if len(m) < 40 || !isIPPacket(m) {
		return false
	}
	for _, address := range [2][]byte{m[8:24], m[24:40]} {
		if be32(address) == 0x20010000 || be16(address)&0xffc0 == 0xfe80 {
			return true
		}
	}
	return false
}

// isZeroTier wants datagrams whose addresses of five bytes are exchanged in the answers (80 bits), or HELLO, which names its sender
// twice and is not encrypted (network protocol of ZeroTier, node/Packet.hpp).
func isZeroTier(v *view) bool {
	const header = 28
	c, s := v.client.first(), v.server.first()
	if len(c) < header {
		return false
	}
	if len(s) >= header {
		return string(c[8:13]) == string(s[13:18]) && string(c[13:18]) == string(s[8:13]) && string(c[8:13]) != string(c[13:18])
	}
	return len(c) >= header+18 && c[27]&0x1f == 1 && c[28] >= 4 && c[28] <= 32 && c[13] != 0 && string(c[13:18]) == string(c[41:46])
}

// isNebula wants Nebula's header in every datagram (slackhq/nebula, header.go): version 1 and kind, subkind, reserved zeros, index, and a counter;
// both directions or three datagrams, 2^-50 each.
func isNebula(v *view) bool {
	return v.all(3, func(m []byte) bool {
		return len(m) >= 16 && m[0]>>4 == 1 && m[0]&15 <= 6 && m[1] <= 2 && m[2]|m[3] == 0 && be32(m[8:]) == 0 && be32(m[12:]) < 1<<28
	})
}

// isDNSCrypt wants an answer with DNSCrypt's magic that repeats the half of the nonce which the query chose, 2^-160
// (dnscrypt.info/protocol). A query alone is random by nature.
func isDNSCrypt(v *view) bool {
	answer := v.server.first()
	if len(answer) < 8+24+16 || string(answer[:8]) != "r6fnvWj8" {
		return false
	}
	for m := range v.client.each {
		if len(m) >= 52+16 && string(m[40:52]) == string(answer[8:20]) {
			return true
		}
	}
	return false
}

// isSoftEther wants the address that SoftEther's NAT traversal answers a single A with.
func isSoftEther(v *view) bool {
	c, s := v.client.first(), v.server.first()
	return string(c) == "A" && len(s) > 13 && string(s[:3]) == "IP=" && bytes.Contains(s, []byte(",PORT="))
}

// isTinc wants both sides to say who they are and then to send their key in hexadecimal digits (tinc 1.0: "0 name 17", "1 94 64 0 0 KEY");
// what follows is encrypted.
func isTinc(v *view) bool { return isTincGreeting(v.client.data) && isTincGreeting(v.server.data) }

func isTincGreeting(b []byte) bool {
	line, rest, ok := bytes.Cut(b[:min(len(b), 256)], []byte("\n"))
	if !ok || !bytes.HasPrefix(line, []byte("0 ")) || !bytes.Contains(line[2:], []byte(" 17")) {
		return false
	}
	return len(rest) > 64 && rest[0] >= '1' && rest[0] <= '6' && rest[1] == ' ' && isText(rest[:64])
}

// isText says whether all bytes are printable ASCII, tabs or line ends.
func isText(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 || c > 0x7e) && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}
