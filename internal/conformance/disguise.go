package conformance

import (
	"encoding/binary"
)

// A disguise is a publicly known way to mask a tunnel's own headers. Masked headers are not uniform bytes, but what they hide is
// proven by undoing the mask.
type disguise struct {
	app     string
	reasons []string
	hides   func(e *examined, c *Conversation) (header int, ok bool)
}

var disguises = []disguise{
	{"mkcp", []string{"mkcp_mask"}, isMKCP},
	{"openvpn", []string{"openvpn_mask"}, isMaskedOpenVPN},
	{"gh0st", []string{"gh0st_mask"}, isGh0st},
	{"gh0st", []string{"random_body", "gh0st_layout"}, isSealedGh0st},
}

// mkcpHeaders are the lengths of the headers that V2Ray's mKCP puts before its datagrams: none, those of SRTP, uTP and WireGuard,
// and those of DTLS and of WeChat's video calls.
var mkcpHeaders = []int{0, 4, 13}

// isMKCP undoes V2Ray's "simple" mask of mKCP (transport/internet/kcp/crypt.go): each byte was XORed with the one four before
// it, and the first four are the FNV-1a hash of the rest, so that each datagram proves itself.
func isMKCP(e *examined, c *Conversation) (int, bool) {
	if c.Transport != UDP {
		return 0, false
	}
	for _, h := range mkcpHeaders {
		proven := 0
		for i := range e.sides {
			all := e.sides[i].whole
			for _, m := range all[:min(len(all), 4)] {
				if !mkcpUnmasks(m[min(h, len(m)):]) {
					proven = -maxMessages
				}
				proven++
			}
		}
		if proven > 0 {
			return h, true
		}
	}
	return 0, false
}

func mkcpUnmasks(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	if int(b[4]^b[0])<<8|int(b[5]^b[1]) != len(b)-6 {
		return false
	}
	const offset, prime = 2166136261, 16777619
	sum := uint32(offset)
	for i := 4; i < len(b); i++ {
		sum = (sum ^ uint32(b[i]^b[i-4])) * prime
	}
	return sum == binary.BigEndian.Uint32(b)
}

// Opcodes of OpenVPN (ssl_pkt.h), in the upper five bits of a packet's first byte.
const (
	softReset     = 3
	controlV1     = 4
	ackV1         = 5
	dataV1        = 6
	resetClientV2 = 7
	resetServerV2 = 8
	dataV2        = 9
	resetClientV3 = 10
)

// minOpcodes is how many packets after the two resets must carry a plausible opcode, which chance gives one in four;
// maxOpcodes of each direction are looked at.
const (
	minOpcodes = 6
	maxOpcodes = 16
)

// isMaskedOpenVPN finds OpenVPN behind the "scramble" patches: every mask leaves the first byte XORed with one constant,
// so that the order of opcodes gives it away (after Xue et al., USENIX Security 2022).
func isMaskedOpenVPN(e *examined, c *Conversation) (int, bool) {
	a, b := &e.sides[0], &e.sides[1]
	header := 0
	if c.Transport != UDP {
		header = 2
	}
	if len(a.data) <= header || len(b.data) <= header {
		return 0, false
	}
	reset := (a.data[header]^b.data[header])>>3 ^ resetServerV2 // where one mask hides both
	mask := a.data[header] ^ reset<<3
	if reset != resetClientV2 && reset != resetClientV3 || mask == 0 || b.data[header]^mask != resetServerV2<<3 {
		return 0, false
	}
	client, server := a.whole, b.whole
	if c.Transport != UDP {
		f := framing{width: 2, extra: 2}
		if !e.search.holds(f, &a.carried, &b.carried) {
			return 0, false
		}
		client, server = f.split(&a.carried, a.room.split[:0]), f.split(&b.carried, b.room.split[:0])
		client, server = bodies(client, header, client[:0]), bodies(server, header, server[:0])
	}
	if len(client) == 0 || len(server) == 0 {
		return 0, false
	}
	n, ok := opcodes(mask, client[1:], server[1:])
	return header, ok && n >= minOpcodes
}

// opcodes counts the packets whose opcode is one that follows the resets; it fails at the first other one, and where each direction only
// sends what it sent first: a session comes from resets to control packets.
func opcodes(mask byte, halves ...[][]byte) (n int, ok bool) {
	for _, all := range halves {
		control := len(all) == 0
		for _, m := range all[:min(len(all), maxOpcodes)] {
			if (m[0]^mask)&7 != 0 {
				return n, false // another key than the first, so early
			}
			switch (m[0] ^ mask) >> 3 {
			case controlV1, ackV1:
				control = true
			case softReset, dataV1, dataV2, resetClientV2, resetServerV2, resetClientV3:
			default:
				return n, false
			}
			n++
		}
		if !control {
			return n, false
		}
	}
	return n, true
}
