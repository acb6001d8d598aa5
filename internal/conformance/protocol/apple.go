package protocol

import (
	"bytes"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var apple = slices.Concat([]entry{
	{"afp", conformance.TCP, midstream, []uint16{548}, either(span(0, 1)), streams(2, dsiSize)},
	{"airplay", conformance.UDP, midstream, []uint16{6001, 6002}, spoken(of("\x80")), isAirPlayTiming},
	{"ard", conformance.UDP, midstream, []uint16{3283}, either(of("\x00")), datagrams(1, isRemoteDesktop)},
	{"kdeconnect", conformance.UDP, midstream, []uint16{1716}, either(of("{")), datagrams(1, isKDEConnect)},
	{"homekit", conformance.TCP, start, nil, starts{of("P"), of("H")}, isHomeKit},
	{"airplay", conformance.TCP, start, []uint16{7000}, starts{of("P"), of("R")}, isAirPlayPairing},
	{"companion-link", conformance.TCP, start, nil, starts{span(3, 6), span(1, 0x50).orNothing()}, isCompanionLink},
	{"natpmp", conformance.UDP, midstream, []uint16{5351}, asked(of("\x00\x02")), isPortMapping},
}, remote)

// dsiSize wants AFP's session layer (Apple Filing Protocol Reference, DSI): direction, command, length and a reserved zero, 2^-60.
func dsiSize(b []byte) int {
	const header = 16
	switch {
	case len(b) < header:
		return 0
	case b[0] > 1 || b[1] == 0 || b[1] > 8 || be32(b[12:]) != 0 || be32(b[8:]) > 1<<24:
		return -1
	}
	return header + int(be32(b[8:]))
}

// isAirPlayTiming wants the clock that AirPlay keeps beside its audio: 32 bytes with kind, number 7, zeros, and an answer that repeats the
// question's sending time as its reference, 2^-64; alone three such questions.
func isAirPlayTiming(v *view) bool {
	c, s := v.client.first(), v.server.first()
	if !isTimingPacket(c) {
		return false
	}
	if len(s) > 0 {
		return isTimingPacket(s) && (string(s[8:16]) == string(c[24:32]) || string(c[8:16]) == string(s[24:32]))
	}
	return v.all(1, isTimingPacket)
}

func isTimingPacket(m []byte) bool {
	return len(m) == 32 && m[0] == 0x80 && m[1]&0x7f >= 0x52 && m[1]&0x7f <= 0x53 && be16(m[2:]) == 7 && be32(m[4:]) == 0
}

// isRemoteDesktop knows Apple Remote Desktop's query for computers, and what they answer with their length in the third and fourth byte.
func isRemoteDesktop(m []byte) bool {
	if len(m) < 6 || m[0] != 0 || m[1] != 0x14 && m[1] != 0x10 || be16(m[2:]) != len(m)-4 || m[4] != 0 || m[5] > 8 {
		return false
	}
	return len(m) > 128 || allZero(m[6:])
}

// isKDEConnect knows the announcement of KDE Connect: one line of JSON of its own kind.
func isKDEConnect(m []byte) bool {
	return len(m) > 40 && m[0] == '{' && bytes.Contains(m[:min(len(m), 2048)], []byte(`"kdeconnect.identity"`))
}

// isPortMapping wants NAT-PMP (RFC 6886) or PCP (RFC 6887): a question of a fixed size with zeros in its place, and, where there is an answer,
// its operation plus 128.
func isPortMapping(v *view) bool {
	c, s := v.client.first(), v.server.first()
	switch {
	case len(c) == 12 && c[0] == 0 && (c[1] == 1 || c[1] == 2) && be16(c[2:]) == 0:
		return len(s) == 0 && v.all(2, func(m []byte) bool { return string(m) == string(c) }) || len(s) >= 8 && s[0] == 0 && s[1] == c[1]|0x80
	case len(c) == 2 && c[0] == 0 && c[1] == 0:
		return len(s) == 12 && s[1] == 128
	case len(c) >= 24 && len(c)%4 == 0 && c[0] == 2 && c[1] <= 3 && be16(c[2:]) == 0:
		return allZero(c[8:18]) && be16(c[18:]) == 0xffff || len(s) >= 24 && s[0] == 2 && s[1] == c[1]|0x80
	}
	return false
}

// isHomeKit wants the pairing that a session with an accessory starts with (HomeKit Accessory Protocol, 5.6 and 5.7): a question of HTTP with TLV8
// whose state is given first, and an answer of that kind. What follows is encrypted.
func isHomeKit(v *view) bool { return isPairing(v, "HTTP/1.1", "application/pairing+tlv8") }

// isAirPlayPairing wants the same of AirPlay 2, in RTSP.
func isAirPlayPairing(v *view) bool { return isPairing(v, "RTSP/1.0", "application/octet-stream") }

func isPairing(v *view, version, kind string) bool {
	c, s := v.client.data[:min(len(v.client.data), 1024)], v.server.data[:min(len(v.server.data), 1024)]
	if !has(c, "POST /pair-") {
		return false
	}
	line, rest, ok := bytes.Cut(c, []byte("\r\n"))
	path, found := bytes.CutSuffix(line, []byte(" "+version))
	if !ok || !found || string(path) != "POST /pair-verify" && string(path) != "POST /pair-setup" {
		return false
	}
	return bytes.Contains(rest, []byte(kind)) && bytes.HasPrefix(s, []byte(version+" 200"))
}

// isCompanionLink wants the frames of Apple's devices in the home ("rapport"): kind, length, and a pairing in OPACK first; 2^-60.
func isCompanionLink(v *view) bool {
	c := v.client.data
	if len(c) < 12 || c[0] < 3 || c[0] > 6 || c[4]&0xf0 != 0xe0 || !bytes.Contains(c[4:min(len(c), 64)], []byte("C_pd")) {
		return false
	}
	return isCompanionStream(v)
}

var isCompanionStream = streams(1, func(b []byte) int {
	switch {
	case len(b) < 4:
		return 0
	case b[0] == 0 || b[0] > 0x50:
		return -1
	}
	return 4 + be24(b[1:])
})
