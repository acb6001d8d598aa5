// Package tls knows TLS over a byte stream: it reads the records and the handshake of both directions and says whether they keep
// the rules that every real stack keeps (SSL 3.0, RFC 2246, 4346, 5246, 8446), alone or after a cleartext negotiation (STARTTLS,
// proxies). It also reads ClientHellos for the packages quic and dtls.
//
// A rule counts only for bytes that were seen: what a capture lost, cut off or joined late breaks none.
package tls

import (
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/randomness"
)

const tcp = 6

// Recognize judges TLS, STARTTLS, TLS joined late, and what only looks like TLS.
func Recognize(c *conformance.Conversation, _ conformance.Options) (conformance.Judgement, bool) {
	if c.Transport != tcp || len(c.Client.Data) == 0 && len(c.Server.Data) == 0 {
		return conformance.Judgement{}, false
	}
	client, server := &c.Client, &c.Server
	if !beginsWithHello(client.Data) && beginsWithHello(server.Data) {
		// The first packet seen was the server's, or who accepts the connection is TLS's client, as in active FTP.
		client, server = server, client
	}
	switch {
	case opensTLS(client.Data), len(client.Data) == 0 && (client.Total == 0 || client.Gap) && opensTLS(server.Data):
		return judgeFromStart(c, client, server)
	case !c.StartSeen:
		return judgeMidstream(c)
	}
	return judgeStartTLS(c)
}

// opensTLS says whether a direction starts with a record header, or an SSL 2.0 hello.
func opensTLS(data []byte) bool {
	if len(data) >= recordHeader && headerLooks(data) {
		return true
	}
	_, _, err := parseV2Hello(data)
	return err == nil
}

// beginsWithHello says whether data starts with a ClientHello's first bytes.
func beginsWithHello(data []byte) bool {
	if _, _, err := parseV2Hello(data); err == nil {
		return true
	}
	return len(data) > 10 && data[0] == typeHandshake && data[1] == 3 && data[5] == msgClientHello && data[6] == 0 && data[9] == 3
}

// missing says whether bytes of h were not seen or may still come.
func missing(c *conformance.Conversation, h *conformance.Half) bool {
	return !c.Ended || h.Gap || h.Total > uint64(len(h.Data))
}

func judgeFromStart(c *conformance.Conversation, client, server *conformance.Half) (conformance.Judgement, bool) {
	if !c.StartSeen && !beginsWithHello(client.Data) {
		return judgeMidstream(c)
	}
	s := sessions.Get().(*session)
	defer sessions.Put(s)
	s.read(c, client, server)
	if !s.answered(server.Data) {
		s.broken |= ruleServerNotTLS
	}
	if s.broken == 0 {
		var first bool
		if first, s.undecided = s.serverFirst(c.ServerPort, client.Segments, server.Segments); first {
			s.broken |= ruleServerFirst
		}
	}
	j := s.judgement(c)
	if j.Verdict == conformance.TLSMimic && !c.StartSeen {
		return judgeMidstream(c)
	}
	return j, true
}

// answered says whether the server's first bytes, if any, can be an answer to a ClientHello. A server that does not speak TLS
// answers in clear or with a short error, and that is no fault of the client's; random bytes are.
func (s *session) answered(data []byte) bool {
	if s.server.records > 0 || len(data) < leastSample || s.v2 > 0 {
		return true
	}
	const threshold, text = 0.999, 0.9
	st := randomness.Judge(data)
	return st.PrintableRatio > text || !st.Random(threshold)
}

// judgement turns what was read into a verdict.
func (s *session) judgement(c *conformance.Conversation) conformance.Judgement {
	s.checkBodies()
	seen := 0
	j := conformance.Judgement{Verdict: conformance.TLS, Violations: s.broken.names()}
	if h := s.firstHello; h != nil {
		seen |= 1
		j.SNI = h.ServerName
		j.ALPN = string(h.ALPN)
		j.TLSVersion = versionName(h.Version)
		if s.v2 == 0 && !c.VerdictOnly {
			j.JA4 = JA4(h, 't')
		}
	}
	if s.reply != nil {
		seen |= 2
		j.TLSVersion = versionName(s.reply.version)
		if len(s.reply.alpn) > 0 {
			j.ALPN = string(s.reply.alpn)
		}
	}
	j.AppProtocol = application(j.ALPN)
	j.Confidence = s.confidence()
	j.Reasons = reasons[seen]
	if len(j.Violations) > 0 {
		j.Verdict, j.Confidence, j.Final = conformance.TLSMimic, 0.98, true
		if !c.VerdictOnly {
			j.Sample = s.leastRandom()
		}
		return j
	}
	if s.established() {
		j.Reasons = reasons[seen|4]
	}
	j.Final = c.Ended || s.settled() && !s.undecided
	j.Pending = !j.Final
	return j
}

// reasons are what was seen of a connection, a bit each. Nobody may change them.
var reasons = func() (by [8][]string) {
	for seen := range by {
		for i, reason := range [...]string{"client_hello", "server_hello", "handshake_done"} {
			if seen>>i&1 == 1 {
				by[seen] = append(by[seen], reason)
			}
		}
		by[seen] = slices.Clip(by[seen])
	}
	return by
}()

func versionName(v uint16) string {
	switch v {
	case versionSSL2:
		return "ssl2"
	case versionSSL3:
		return "ssl3"
	case version10:
		return "1.0"
	case version11:
		return "1.1"
	case version12:
		return "1.2"
	case version13:
		return "1.3"
	case versionTLCP:
		return "tlcp"
	}
	if isDraft13(v) {
		return "1.3-draft"
	}
	return ""
}

// application names the protocol that ALPN agreed on or offered first.
func application(alpn string) string {
	switch alpn {
	case "h2", "http/1.1", "http/1.0":
		return "http"
	case "dot":
		return "dns"
	case "imap", "pop3", "ftp", "managesieve", "coap", "mqtt", "irc", "postgresql":
		return alpn
	case "xmpp-client", "xmpp-server":
		return "xmpp"
	}
	return ""
}

// confidence grows with what was seen of the handshake.
func (s *session) confidence() float64 {
	switch {
	case s.established():
		return 0.99
	case s.reply != nil && s.hello != nil:
		return 0.95
	case s.reply != nil || s.hello != nil:
		return 0.8
	}
	return 0.6
}

// established says whether both sides went over to ciphertext.
func (s *session) established() bool {
	return s.client.secret > 0 && s.server.secret > 0
}

// settled says whether enough ciphertext was judged in both directions for more to change nothing.
func (s *session) settled() bool {
	const records, bytes = 2, 256
	for _, d := range [...]*stream{&s.client, &s.server} {
		n, size := 0, 0
		for i := range d.steps {
			if st := &d.steps[i]; st.kind == stepSealed && st.typ == typeAppData {
				n++
				size += len(st.body)
			}
		}
		if n < records || size < bytes {
			return false
		}
	}
	return true
}
