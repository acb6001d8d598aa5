package protocol

import (
	"bytes"
	"slices"
)

// Opcodes of OpenVPN (ssl_pkt.h), in the upper five bits of a packet's first byte; the lower three are the key's number.
const (
	openVPNSoftReset   = 3
	openVPNControl     = 4
	openVPNAck         = 5
	openVPNDataV1      = 6
	openVPNClientReset = 7
	openVPNServerReset = 8
	openVPNDataV2      = 9
	openVPNClientV3    = 10
	openVPNWrapped     = 11
)

// isOpenVPNSession wants the resets that start a session and nothing but known opcodes after them, or sealed control packets.
func isOpenVPNSession(v *view) bool {
	return isOpenVPNControl(&v.client, &v.server, false)
}

// isOpenVPNClientData wants data of the client whose packet numbers count up.
func isOpenVPNClientData(v *view) bool { return isOpenVPNData(&v.client, false) }

// isOpenVPNStream wants any of these in TCP.
func isOpenVPNStream(v *view) bool {
	a, b := &v.client, &v.server
	if len(a.openVPNPacket(true, 0)) == 0 && len(b.openVPNPacket(true, 0)) == 0 {
		return false
	}
	return isOpenVPNControl(a, b, true) || isOpenVPNData(a, true) || isOpenVPNData(b, true)
}

func isOpenVPNControl(a, b *side, stream bool) bool {
	return a.openVPNOpcodes(stream) && b.openVPNOpcodes(stream) &&
		(isOpenVPNStart(a, b, stream) || isOpenVPNStart(b, a, stream) || a.openVPNSealed(stream) || b.openVPNSealed(stream))
}

// openVPNSealed knows the control packets of tls-crypt without the resets before them: a direction has three of one session (64
// bits), whose numbers are small and whose times are sane and at most an hour apart (some 40 bits each).
func (h *side) openVPNSealed(stream bool) bool {
	const least, hour = 3, 3600
	n, since := 0, uint32(0)
	for i := range maxOpenVPNPackets {
		m := h.openVPNPacket(stream, i)
		if len(m) < 54 || m[0]>>3 == openVPNDataV1 || m[0]>>3 == openVPNDataV2 {
			continue
		}
		number, seconds := be32(m[9:])&0xffffff, be32(m[13:])
		if n == 0 {
			since = seconds
		}
		if number == 0 || number > 1024 || !saneTime(seconds) || seconds-since+hour > 2*hour {
			return false
		}
		n++
	}
	return n >= least
}

// saneTime says whether a number of seconds since 1970 lies between 2011 and 2052.
func saneTime(seconds uint32) bool { return seconds > 1_300_000_000 && seconds < 2_600_000_000 }

// isOpenVPNStart judges the first packet of each direction. Where both are there, the server has to acknowledge the client's session
// (64 bits), or both have to be of tls-crypt (39 bits each) within a day of each other. One alone has 40 bits or more.
func isOpenVPNStart(client, server *side, stream bool) bool {
	c, s := client.openVPNPacket(stream, 0), server.openVPNPacket(stream, 0)
	if len(c) == 0 && len(s) == 0 {
		return false
	}
	asks := isOpenVPNReset(c, openVPNClientReset) || isOpenVPNReset(c, openVPNClientV3)
	answers := isOpenVPNReset(s, openVPNServerReset)
	sealed := isOpenVPNCrypt(c, openVPNClientReset) || isOpenVPNCrypt(c, openVPNClientV3)
	sealedAnswer := isOpenVPNCrypt(s, openVPNServerReset)
	switch {
	case len(s) == 0:
		return asks || sealed
	case len(c) == 0:
		return answers || sealedAnswer
	case answers && len(c) >= 14:
		return bytes.Contains(s[9:], c[1:9])
	case sealed && sealedAnswer:
		return be32(c[13:])-be32(s[13:])+86_400 < 2*86_400
	}
	return false
}

// maxOpenVPNPackets bounds how many packets of a direction are looked at.
const maxOpenVPNPackets = 16

// openVPNOpcodes says whether a direction's first packets have an opcode, and control packets the session of the first.
func (h *side) openVPNOpcodes(stream bool) bool {
	var first []byte
	for i := range maxOpenVPNPackets {
		m := h.openVPNPacket(stream, i)
		if len(m) == 0 {
			break
		}
		switch m[0] >> 3 {
		case openVPNDataV1, openVPNDataV2:
			continue
		case openVPNSoftReset, openVPNControl, openVPNAck, openVPNClientReset, openVPNServerReset, openVPNClientV3, openVPNWrapped:
		default:
			return false
		}
		if len(m) < 14 {
			return false
		}
		if first == nil {
			first = m
		}
		if string(first[1:9]) != string(m[1:9]) {
			return false
		}
	}
	return true
}

// What control packets and data begin with.
var (
	openVPNOpcode = span(openVPNSoftReset<<3, openVPNWrapped<<3|7)
	openVPNData   = span(openVPNDataV1<<3, openVPNDataV1<<3|7).or(span(openVPNDataV2<<3, openVPNDataV2<<3|7))
)

// isOpenVPNData wants at least five packets of data in a row whose opcode, key and peer stay and whose number counts up: 20 bits each.
// The 16 bytes of authentication after the number have to vary: constants there are another protocol's header.
func isOpenVPNData(h *side, stream bool) bool {
	const tag = 16
	var first []byte
	var last uint32
	var varied [tag]bool
	n := 0
	for i := range maxOpenVPNPackets {
		m := h.openVPNPacket(stream, i)
		if len(m) == 0 {
			break
		}
		if len(m) < 24 {
			return false
		}
		at := 1
		switch m[0] >> 3 {
		case openVPNDataV1:
		case openVPNDataV2:
			at = 4
		default:
			return false
		}
		number := be32(m[at:])
		if first == nil {
			first, last = m, number-1
		}
		if string(first[:at]) != string(m[:at]) || number-last == 0 || number-last > 64 {
			return false
		}
		for j := range min(tag, len(m)-at-4, len(first)-at-4) {
			varied[j] = varied[j] || m[at+4+j] != first[at+4+j]
		}
		last = number
		n++
	}
	return n >= 5 && !slices.Contains(varied[:], false)
}

// openVPNPacket is the i-th packet of a direction: a datagram, or in TCP what a length of two bytes leads.
func (h *side) openVPNPacket(stream bool, i int) []byte {
	if !stream {
		m, _ := h.datagram(i)
		return m
	}
	b := h.data
	for ; len(b) > 2; i-- {
		size := be16(b)
		if size == 0 || size+2 > len(b) {
			return nil
		}
		if i == 0 {
			return b[2 : 2+size]
		}
		b = b[2+size:]
	}
	return nil
}

// isOpenVPNReset knows a client's or server's reset: session, authentication of none, 16, 20, 32 or 64 bytes with packet number and
// time, acknowledgements, message number 0. Bits: opcode and key 8, empty acknowledgements and message number 40.
func isOpenVPNReset(m []byte, opcode byte) bool {
	if len(m) < 14 || m[0] != opcode<<3 {
		return false
	}
	for _, hmac := range [...]int{-8, 16, 20, 32, 64} {
		at := 9 + hmac + 8
		if at+5 > len(m) || hmac > 0 && (be32(m[at-8:]) > 64 || be32(m[at-8:]) == 0) {
			continue
		}
		acks := int(m[at])
		size := at + 1 + 4*acks + 4
		if acks > 0 {
			size += 8
		}
		if acks <= 4 && size == len(m) && be32(m[size-4:]) == 0 {
			return true
		}
	}
	return false
}

// isOpenVPNCrypt knows a reset of tls-crypt: its packet number is 1, with an upper byte of 10 or 15 where early negotiation is offered,
// and time is a sane one, and after 32 bytes of authentication comes what is encrypted.
func isOpenVPNCrypt(m []byte, opcode byte) bool {
	if len(m) < 54 || m[0] != opcode<<3 {
		return false
	}
	id, seconds := be32(m[9:]), be32(m[13:])
	return (id == 1 || id == 0x0f000001 || id == 0x0a010001) && saneTime(seconds)
}
