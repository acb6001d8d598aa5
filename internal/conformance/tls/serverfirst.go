package tls

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	// leastTicket is the shortest NewSessionTicket that a server is known to send: header, lifetime, age, no nonce, a session's id of 32 bytes, no
	// extensions (RFC 8446 section 4.6.1). OpenSSL's stateful tickets have 8 bytes of nonce, and all others are longer.
	leastTicket = 4 + 4 + 4 + 1 + 2 + 32 + 2
	keyUpdate   = 5
	// HTTP/2's frame header, a setting, and a whole WINDOW_UPDATE, which servers send in the same record (RFC 9113 section 6.5, 6.9).
	frameHTTP2, settingHTTP2, windowUpdateHTTP2 = 9, 6, 13
)

// serverFirst says whether an HTTPS server spoke before it was asked. The client's only record after the server's flight is too long for a
// Finished, so it has a certificate and is the whole flight, as BoringSSL, NSS and rustls pack it, or its other records would follow at once;
// a server that packs its own flight into one record as well (the same stacks do) next sends tickets, or nothing until there is a request. A
// forgery, whose "flight" is its first message, gets a short answer, sends the next message and gets an answer again, and never what could
// be a ticket.
//
// It says nothing about other ports without ALPN and about other protocols than HTTP, where servers may well speak first; about servers that
// pad all they send; where either flight is spread over records, or messages of both sides cross; and where an answer is as long as a ticket,
// a KeyUpdate or, if offered, HTTP/2's SETTINGS, or both answers are as long as alerts. What it would take for a genuine connection to look so
// is another protocol than HTTP on port 443, whose server greets, has no tickets, asks for a certificate, and packs like its client.
//
// undecided says that only the second answer is missing.
func (s *session) serverFirst(port uint16, client, server []conformance.Segment) (first, undecided bool) {
	c, sv := s.client.firstSealed(), s.server.firstSealed()
	if c[1] == nil || sv[1] == nil || !s.certified(c[0], c[1]) || !s.speaksHTTP(port) || s.maySpeak(sv[1]) ||
		!after(sv[0], server, c[0], client) || !after(c[0], client, sv[1], server) || !after(sv[1], server, c[1], client) {
		return false, false
	}
	if sv[2] == nil {
		return false, true
	}
	mayPad, alerts := true, true
	for i, st := range sv {
		n, padded := s.plaintext(st)
		mayPad = mayPad && padded
		alerts = alerts && (i == 0 || holds(n, alertLength)) // after an alert nothing else comes (RFC 8446 section 6)
	}
	return !mayPad && !alerts && !s.mayNotify(sv[2]) && after(c[1], client, sv[2], server), false
}

// certified says whether a client of TLS 1.3 without a PSK sent a certificate in the first of these records, and no Finished in the second.
func (s *session) certified(flight, next *step) bool {
	if s.v2 > 0 || s.reply == nil || s.reply.version != version13 || s.suite.finished13() == 0 || s.reply.hasPSK || s.hello == nil {
		return false
	}
	if s.firstHello.EarlyData || s.hello.offers(extALPS) || s.hello.offers(extALPSOld) {
		return false
	}
	n, _ := s.plaintext(flight)
	m, _ := s.plaintext(next)
	return n >= s.leastCertificate() && !holds(m, s.suite.finished13())
}

// firstSealed are the first sealed records, nil where there are fewer.
func (d *stream) firstSealed() (out [3]*step) {
	n := 0
	for i := range d.steps {
		if st := &d.steps[i]; st.kind == stepSealed {
			if out[n] = st; n == len(out)-1 {
				break
			}
			n++
		}
	}
	return out
}

// maySpeak says whether a record can be what an HTTPS server that was not asked sends: a message of TLS itself, or HTTP/2's SETTINGS.
func (s *session) maySpeak(st *step) bool {
	n, _ := s.plaintext(st)
	settings := n - frameHTTP2
	return s.mayNotify(st) || s.offersALPN("h2") && settings >= 0 &&
		(settings%settingHTTP2 == 0 || settings >= windowUpdateHTTP2 && (settings-windowUpdateHTTP2)%settingHTTP2 == 0)
}

// mayNotify says whether a record can be a ticket, a KeyUpdate or an empty one.
func (s *session) mayNotify(st *step) bool {
	n, _ := s.plaintext(st)
	return n <= 0 || n >= leastTicket || holds(n, keyUpdate)
}

// speaksHTTP says whether the client means HTTP: by ALPN, or by the port of HTTPS where it has none.
func (s *session) speaksHTTP(port uint16) bool {
	const https = 443
	if !s.hello.offers(extALPN) {
		return port == https
	}
	return s.offersALPN("h2") || s.offersALPN("http/1.1")
}

// offersALPN says whether the client offers the protocol of that name (RFC 7301).
func (s *session) offersALPN(want string) (offered bool) {
	eachExtension(s.hello.Extensions, func(typ uint16, body cryptobyte.String) bool {
		var list, name cryptobyte.String
		if typ == extALPN && body.ReadUint16LengthPrefixed(&list) {
			for !offered && list.ReadUint8LengthPrefixed(&name) {
				offered = string(name) == want
			}
		}
		return !offered
	})
	return offered
}

// after says whether record b was sent in a later segment than all of record a, as far as the order of segments is known.
func after(a *step, of []conformance.Segment, b *step, in []conformance.Segment) bool {
	end, ok := order(of, a.at+recordHeader+a.length-1)
	start, found := order(in, b.at)
	return ok && found && start > end
}

// order is the position, among the segments of both directions, of the one that holds the byte at offset at.
func order(segments []conformance.Segment, at int) (int, bool) {
	for i := range segments {
		if s := &segments[i]; at >= s.Offset && at < s.Offset+s.Length {
			return s.Order, true
		}
	}
	return 0, false
}
