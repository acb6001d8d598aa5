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

// judgeShort recognises the look of a connection that was joined after its handshake: on UDP port 443 every datagram has the fixed bit
// and no long header, and one direction repeats a connection id. Nothing of that can be proved, so the verdict is undetermined.
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
	return conformance.Judgement{Verdict: conformance.Undetermined, Confidence: 0.5, Reasons: []string{"quic_short_header"}}, true
}

// shortHeaders says whether all datagrams may be short header packets, and whether they repeat a connection id.
func shortHeaders(ds []datagram) (ok, same bool) {
	ds = ds[:min(len(ds), shortDatagrams)]
	for i, d := range ds {
		if len(d.data) < leastShort || d.data[0]&0xc0 != 0x40 {
			return false, false
		}
		same = i > 0 && string(d.data[1:1+shortID]) == string(ds[0].data[1:1+shortID]) && (i == 1 || same)
	}
	return true, same
}
