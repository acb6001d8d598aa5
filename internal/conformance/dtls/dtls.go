// Package dtls recognises DTLS 1.0 to 1.3 (RFC 4347, 6347, 9147) by records that fill their datagrams and by the handshake in them,
// and names what only carries a DTLS header.
package dtls

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/tls"
	"github.com/cipherlens/cipherlens/internal/randomness"
)

const (
	udp = 17
	// maxDatagrams bounds how many datagrams of each direction are read, maxRecords the records in one.
	maxDatagrams = 32
	maxRecords   = 32
	// sampleBytes is how much ciphertext of one direction is judged, leastSample how much is needed, and lowEntropy the share of
	// uniform samples below which it is none.
	sampleBytes = 2048
	leastSample = 64
	lowEntropy  = 1e-9
	// explicitNonce is what most suites put in clear before the ciphertext (RFC 5288 section 3).
	explicitNonce = 8
)

// Violations.
const (
	recordLength     = "record_length"
	appDataFirst     = "application_data_before_handshake"
	firstMessage     = "handshake_first_message"
	fragmentBroken   = "handshake_fragment_malformed"
	messageType      = "handshake_type_unknown"
	helloMalformed   = "client_hello_malformed"
	replyMalformed   = "server_hello_malformed"
	suiteNotOffered  = "server_suite_not_offered"
	ccsMalformed     = "ccs_malformed"
	alertMalformed   = "alert_malformed"
	lowEntropyBodies = "low_entropy_application_data"
)

// side is one direction.
type side struct {
	client     bool
	datagrams  int // that start like DTLS
	broken     int // datagrams that their records do not fill
	sealed     int
	plain      int // records of epoch 0
	highEpoch  uint16
	hello      message
	ciphertext []byte
}

// connection is what was found out about one flow.
type connection struct {
	client, server side
	violations     []string
	version        uint16 // of the first record
	damages        int    // handshake records that make no sense
}

// Recognize judges DTLS flows and imitations of them.
func Recognize(c *conformance.Conversation, _ conformance.Options) (conformance.Judgement, bool) {
	if c.Transport != udp {
		return conformance.Judgement{}, false
	}
	client, server := &c.Client, &c.Server
	fromClient, fromServer := firstDTLS(client), firstDTLS(server)
	if fromClient == nil && fromServer == nil {
		return conformance.Judgement{}, false
	}
	if startsWith(fromServer, msgClientHello) && !startsWith(fromClient, msgClientHello) || startsWith(fromClient, msgServerHello) ||
		startsWith(fromClient, msgHelloVerifyRequest) {
		// The first packet seen was the server's, or, as in WebRTC, who sent first is not DTLS's client.
		client, server = server, client
	}
	d := connection{client: side{client: true}}
	d.read(&d.client, client)
	d.read(&d.server, server)
	return d.judgement(c)
}

// firstDTLS returns the first datagram that starts like DTLS, nil when there is none. Before it only STUN may come, with which WebRTC
// shares the port (RFC 7983).
func firstDTLS(h *conformance.Half) []byte {
	if len(h.Segments) == 0 && headerLooks(h.Data) {
		return h.Data
	}
	for _, g := range h.Segments[:min(len(h.Segments), maxDatagrams)] {
		if g.Offset < 0 || g.Length <= 0 || g.Offset+g.Length > len(h.Data) {
			return nil
		}
		b := h.Data[g.Offset : g.Offset+g.Length]
		if headerLooks(b) {
			return b
		}
		if !isSTUN(b) {
			return nil
		}
	}
	return nil
}

// isSTUN says whether b is a STUN message: two zero bits, a length in words, the magic cookie (RFC 8489 section 5).
func isSTUN(b []byte) bool {
	return len(b) >= 20 && b[0] < 4 && b[3]&3 == 0 && binary.BigEndian.Uint32(b[4:]) == 0x2112a442
}

// startsWith says whether a datagram starts with a handshake record that starts with a message of that type.
func startsWith(b []byte, typ uint8) bool {
	return len(b) > recordHeader && headerLooks(b) && b[0] == typeHandshake && b[3] == 0 && b[4] == 0 && b[recordHeader] == typ
}

func (d *connection) read(s *side, h *conformance.Half) {
	if len(h.Segments) == 0 && len(h.Data) > 0 {
		d.datagram(s, h.Data)
		return
	}
	for _, g := range h.Segments[:min(len(h.Segments), maxDatagrams)] {
		if g.Offset < 0 || g.Length <= 0 || g.Offset+g.Length > len(h.Data) {
			return
		}
		d.datagram(s, h.Data[g.Offset:g.Offset+g.Length])
	}
}

// datagram reads the records of one datagram; they must fill it.
func (d *connection) datagram(s *side, b []byte) {
	if !headerLooks(b) {
		if len(b) > 0 && b[0]>>5 == 1 && s.datagrams > 0 {
			s.sealed++ // DTLS 1.3's short header; anything else is STUN or SRTP
		}
		return
	}
	s.datagrams++
	for range maxRecords {
		if len(b) == 0 {
			return
		}
		r, next, ok := readRecord(b)
		if !ok {
			s.broken++
			return
		}
		d.record(s, &r)
		b = next
	}
}

func (d *connection) record(s *side, r *record) {
	s.highEpoch = max(s.highEpoch, r.epoch)
	if d.version == 0 {
		d.version = r.version
	}
	if r.unified || r.epoch > 0 || r.typ == typeCID {
		s.sealed++
		if r.typ == typeAppData && !r.unified && len(r.body) > explicitNonce && len(s.ciphertext) < sampleBytes {
			// A datagram that came twice is no pattern.
			if body := r.body[explicitNonce:]; !bytes.Contains(s.ciphertext, body) {
				s.ciphertext = append(s.ciphertext, body...)
			}
		}
		return
	}
	s.plain++
	switch r.typ {
	case typeHandshake:
		d.handshake(s, r.body)
	case typeAppData:
		d.violate(appDataFirst)
	case typeCCS:
		// Before RFC 4347 the message carried a sequence number of two bytes.
		if len(r.body) != 1 && !(r.version == versionBad && len(r.body) == 3) || r.body[0] != 1 {
			d.violate(ccsMalformed)
		}
	case typeAlert:
		if len(r.body) < 2 || r.body[0] != 1 && r.body[0] != 2 {
			d.violate(alertMalformed)
		}
	}
}

// handshake reads the fragments of a record in clear.
func (d *connection) handshake(s *side, b []byte) {
	for len(b) > 0 {
		f, next, ok := readFragment(b)
		if !ok {
			d.damaged(fragmentBroken)
			return
		}
		switch {
		case f.typ > 24 && f.typ != 67 && f.typ != 203:
			d.damaged(messageType)
			return
		case s.client && f.typ == msgClientHello, !s.client && f.typ == msgServerHello:
			s.hello.add(&f)
		}
		b = next
	}
}

// damaged notes a handshake record that makes no sense. One alone is ignored: datagrams may be damaged or forged by others, and Zoom sends
// a garbled hello before the real one.
func (d *connection) damaged(rule string) {
	if d.damages++; d.damages > 1 {
		d.violate(rule)
	}
}

func (d *connection) violate(rule string) {
	if !slices.Contains(d.violations, rule) {
		d.violations = append(d.violations, rule)
	}
}

// judgement turns what was read into a verdict.
func (d *connection) judgement(c *conformance.Conversation) (conformance.Judgement, bool) {
	j := conformance.Judgement{Verdict: conformance.DTLS, Confidence: 0.97}
	if !d.adds(c) {
		return conformance.Judgement{}, false
	}
	if d.client.hello.complete() {
		d.readHellos(&j)
	} else if (!d.lateJoin() || d.damages == d.client.plain+d.server.plain && d.damages > 0) && len(d.violations) == 0 {
		return conformance.Judgement{}, false
	} else if d.client.plain+d.server.plain == 0 {
		j.Confidence, j.Reasons = 0.85, append(j.Reasons, "joined_late")
		j.TLSVersion = versionName(d.version)
	}
	d.checkBodies()
	if j.Violations = d.violations; len(j.Violations) > 0 {
		j.Verdict, j.Confidence, j.Final = conformance.TLSMimic, 0.95, true
		if !c.VerdictOnly {
			j.Sample = d.leastRandom()
		}
		return j, true
	}
	j.Final = c.Ended || d.client.sealed > 2 && d.server.sealed > 2
	return j, true
}

// adds says whether records fill their datagrams; where most do not, the header is a disguise. One that is cut off proves nothing.
func (d *connection) adds(c *conformance.Conversation) bool {
	broken, all := d.client.broken+d.server.broken, d.client.datagrams+d.server.datagrams
	switch {
	case broken == 0:
		return true
	case c.Client.Gap || c.Server.Gap:
		return broken < all
	case broken > 1 && 2*broken > all:
		d.violate(recordLength)
	}
	return broken < all || len(d.violations) > 0
}

// lateJoin says whether what was seen can be the middle or the rest of a connection.
func (d *connection) lateJoin() bool {
	high := max(d.client.highEpoch, d.server.highEpoch)
	return high <= maxEpoch && d.client.datagrams+d.server.datagrams > d.client.broken+d.server.broken ||
		d.client.plain+d.server.plain > 0
}

// readHellos reads the ClientHello and checks the ServerHello against it.
func (d *connection) readHellos(j *conformance.Judgement) {
	h, err := tls.ParseClientHello(d.client.hello.buf, true)
	if err != nil {
		d.violate(helloMalformed)
		return
	}
	// Beside a hello that is right, those that make no sense are not the connection's.
	d.violations = slices.DeleteFunc(d.violations, func(v string) bool { return v == fragmentBroken || v == messageType || v == recordLength })
	j.Reasons = append(j.Reasons, "client_hello")
	j.Confidence = 0.99
	j.SNI, j.ALPN, j.JA4, j.TLSVersion = h.ServerName, string(h.ALPN), tls.JA4(h, 'd'), versionName(h.Version)
	switch j.ALPN {
	case "webrtc", "c-webrtc", "coap":
		j.AppProtocol = j.ALPN
	}
	if !d.server.hello.complete() {
		return
	}
	reply, ok := tls.ParseServerHello(d.server.hello.buf)
	if !ok {
		d.violate(replyMalformed)
		return
	}
	j.Reasons = append(j.Reasons, "server_hello")
	j.TLSVersion = versionName(reply.Version)
	if !h.OffersSuite(reply.Suite) && d.client.sealed > 0 {
		d.violate(suiteNotOffered)
	}
}

// checkBodies: application data looks like ciphertext.
func (d *connection) checkBodies() {
	for _, s := range [...]*side{&d.client, &d.server} {
		if len(s.ciphertext) >= leastSample && !randomness.Passes(s.ciphertext, lowEntropy) {
			d.violate(lowEntropyBodies)
		}
	}
}

// leastRandom are the figures of the direction whose application data looks less like ciphertext.
func (d *connection) leastRandom() (worst randomness.Stats) {
	for _, s := range [...]*side{&d.client, &d.server} {
		if len(s.ciphertext) < leastSample {
			continue
		}
		if st := randomness.Judge(s.ciphertext); worst.N == 0 || st.Likelihood < worst.Likelihood {
			worst = st
		}
	}
	return worst
}

func versionName(v uint16) string {
	switch v {
	case version10, versionBad:
		return "1.0"
	case version12:
		return "1.2"
	case version13:
		return "1.3"
	}
	return ""
}
