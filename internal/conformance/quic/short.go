package quic

import "github.com/cipherlens/cipherlens/internal/conformance"

const (
	httpsPort = 443
	// shortID is the length of the connection ids that servers on the Internet hand out at least (8 bytes: Google, Cloudflare, Meta, Apple).
	shortID = 8
	// leastShort is the shortest packet: flags, packet number and what header protection samples (RFC 9001 section 5.4.2).
	leastShort = 1 + 4 + headerSample
	// shortDatagrams is how many datagrams a direction is asked for.
	shortDatagrams = 8
)

// judgeShort recognises a connection that was joined after its handshake: on UDP port 443 every datagram has the fixed bit and no long
// header, one direction repeats a connection id, and before it the bits that header protection covers change (RFC 9001 section 5.4.1).
// That is evidence and no proof, and the confidence says so.
func judgeShort(c *conformance.Conversation) (conformance.Judgement, bool) {
	if c.ClientPort != httpsPort && c.ServerPort != httpsPort {
		return conformance.Judgement{}, false
	}
	repeats := false
	for _, h := range [...]*conformance.Half{&c.Client, &c.Server} {
		ok, same := shortHeaders(split(h, true))
		if !ok {
			return conformance.Judgement{}, false
		}
		repeats = repeats || same
	}
	if !repeats {
		return conformance.Judgement{}, false
	}
	return conformance.Judgement{Verdict: conformance.QUIC, Confidence: 0.6, Reasons: []string{"short_header_only"}}, true
}

// shortHeaders says whether all datagrams may be short header packets, and whether they repeat a connection id behind changing flags.
func shortHeaders(ds []datagram) (ok, same bool) {
	ds = ds[:min(len(ds), shortDatagrams)]
	same = len(ds) > 1
	changes := false
	for _, d := range ds {
		if len(d.data) < leastShort || d.data[0]&0xc0 != 0x40 {
			return false, false
		}
		same = same && string(d.data[1:1+shortID]) == string(ds[0].data[1:1+shortID])
		changes = changes || (d.data[0]^ds[0].data[0])&0x1f != 0
	}
	return true, same && changes
}
