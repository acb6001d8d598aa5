package quic

import (
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	httpsPort = 443
	// shortID is the length of the shortest connection ids in use: quic-go's; others have 8 bytes and more.
	shortID = 4
	// leastShort is the shortest packet: flags, packet number and what header protection samples (RFC 9001 section 5.4.2).
	leastShort = 1 + 4 + headerSample
	// shortDatagrams is how many datagrams a direction is asked for, and leastDatagrams how many both need on a port that says nothing.
	shortDatagrams, leastDatagrams = 8, 8
)

// judgeShort recognises a connection that was joined after its first flight: every datagram has the fixed bit and no long header, or one of
// a known version, one direction repeats a connection id, and before it the bits that header protection covers change (RFC 9001 section
// 5.4.1). On ports other than 443 that must hold for more datagrams, which have the two bits by chance once in 4. It is evidence and
// no proof, and the confidence says so.
func judgeShort(c *conformance.Conversation) (conformance.Judgement, bool) {
	repeats, n := false, 0
	for _, h := range [...]*conformance.Half{&c.Client, &c.Server} {
		all, same, ok := shortHeaders(h)
		if !ok {
			return conformance.Judgement{}, false
		}
		repeats, n = repeats || same, n+all
	}
	if !repeats || c.ClientPort != httpsPort && c.ServerPort != httpsPort && n < leastDatagrams {
		return conformance.Judgement{}, false
	}
	return conformance.Judgement{Verdict: conformance.QUIC, Confidence: 0.6, Reasons: []string{"short_header_only"}}, true
}

// shortHeaders says how many datagrams of one direction were asked, whether these repeat a connection id behind changing flags, and whether all
// may be short header packets, or behind the last long ones.
func shortHeaders(h *conformance.Half) (all int, same, ok bool) {
	var first []byte
	n, changes := 0, false
	same = true
	for all < shortDatagrams {
		b := nth(h, all)
		if len(b) == 0 {
			break
		}
		all++
		if isLong(b) {
			continue
		}
		if len(b) < leastShort || b[0]&0xc0 != 0x40 {
			return all, false, false
		}
		if first == nil {
			first = b
		}
		n++
		same = same && string(b[1:1+shortID]) == string(first[1:1+shortID])
		changes = changes || (b[0]^first[0])&0x1f != 0
	}
	return all, n > 1 && same && changes, true
}

// isLong says whether a datagram starts with a long header of version 1 or 2.
func isLong(b []byte) bool {
	const long, fixed = 0x80, 0x40
	if len(b) < 7 || b[0]&(long|fixed) != long|fixed {
		return false
	}
	v := binary.BigEndian.Uint32(b[1:])
	return v == version1 || v == version2
}
