package tls

const (
	// leastServerFlight is the shortest plaintext that a TLS 1.3 server without a PSK sends after its ServerHello: EncryptedExtensions (6),
	// Certificate with a raw Ed25519 key (4+1+3+3+44+2), CertificateVerify with a 64-byte signature (4+4+64), Finished (36); RFC 8446
	// section 4.3.1 and 4.4.
	leastServerFlight = 6 + 57 + 72 + 36
	// leastCertificate is the shortest Certificate message with a key in it, emptyCertificate one without (RFC 8446 section 4.4.2).
	leastCertificate = 57
	emptyCertificate = 8
	alertLength      = 2
	// paddingJSSE is how many zeros Java puts behind the content of every record (sun.security.ssl.OutputRecord.T13PaddingHolder).
	paddingJSSE = 16
)

// check13 applies the rules of TLS 1.3 (RFC 8446 section 2 and 4.4).
func (s *session) check13() {
	s.checkSealed13(&s.client)
	s.checkSealed13(&s.server)
	if s.reply.version != version13 || s.suite.finished13() == 0 {
		return // drafts, and suites that are not known
	}
	s.checkServerFlight13()
	s.checkClientFinished13()
}

// overhead is what sealing adds in TLS 1.3: the content type and the tag (RFC 8446 section 5.2).
func (s *session) overhead() int { return 1 + s.suite.tag() }

func (s *session) checkSealed13(d *stream) {
	for i := range d.steps {
		st := &d.steps[i]
		if st.kind != stepSealed {
			continue
		}
		if st.typ != typeAppData || s.suite.tag() > 0 && st.length < s.overhead() {
			s.broken |= ruleRecordSize
			return
		}
	}
}

// plaintext is the length of a sealed record's content; padded says that it may be shorter, as stacks that pad do so to a multiple
// of a block (OpenSSL's SSL_CTX_set_block_padding) that is not below 16.
func (s *session) plaintext(st *step) (n int, padded bool) {
	n = st.length - s.overhead()
	return n, (n+1)%16 == 0
}

// holds says whether a record with n bytes of content and padding can be one message of the given length.
func holds(n, length int) bool { return n == length || n == length+paddingJSSE }

// checkServerFlight13: before a client goes on, the server has sent its whole flight.
func (s *session) checkServerFlight13() {
	if s.server.cut || s.reply.hasPSK || !s.clientSealed() {
		return
	}
	sum := 0
	for i := range s.server.steps {
		if st := &s.server.steps[i]; st.kind == stepSealed {
			n, _ := s.plaintext(st)
			if holds(n, alertLength) {
				return
			}
			sum += n
		}
	}
	if sum < leastServerFlight {
		s.broken |= ruleFlightSize
	}
}

// clientSealed says whether the client sent a sealed record that is no alert.
func (s *session) clientSealed() bool {
	if s.firstHello == nil || s.firstHello.EarlyData {
		return false
	}
	for i := range s.client.steps {
		st := &s.client.steps[i]
		if st.kind != stepSealed {
			continue
		}
		if n, _ := s.plaintext(st); !holds(n, alertLength) {
			return true
		}
	}
	return false
}

// checkClientFinished13: the client's first sealed record begins its last flight: Finished alone, or with an empty Certificate, or a
// Certificate with its CertificateVerify (RFC 8446 section 4.4); an alert; or client settings where these were offered.
func (s *session) checkClientFinished13() {
	if s.firstHello == nil || s.firstHello.EarlyData || s.hello.offers(extALPS) || s.hello.offers(extALPSOld) {
		return
	}
	var sealed []*step
	for i := range s.client.steps {
		if st := &s.client.steps[i]; st.kind == stepSealed {
			sealed = append(sealed, st)
		}
	}
	if len(sealed) == 0 {
		return
	}
	finished := s.suite.finished13()
	n, padded := s.plaintext(sealed[0])
	switch {
	case padded && s.pads(sealed[1:]), holds(n, alertLength), holds(n, finished), holds(n, emptyCertificate), holds(n, emptyCertificate+finished):
	case n >= s.leastCertificate()+72+finished: // Certificate, CertificateVerify and Finished in one record
	case n >= s.leastCertificate() && s.finishedFollows(sealed[1:]):
	default:
		s.broken |= ruleFinishedSize
	}
}

// pads says whether a client that seems to pad its first sealed record may: it pads all others (mbed TLS, OpenSSL), or can be OpenSSL,
// which may pad its handshake alone (SSL_CTX_set_block_padding_ex), and offers encrypt_then_mac where it offers TLS 1.2.
func (s *session) pads(rest []*step) bool {
	if s.hello.offers(extEncryptThenMAC) || !s.hello.offers(extMasterSecret) {
		return true
	}
	for _, st := range rest {
		if _, padded := s.plaintext(st); !padded {
			return false
		}
	}
	return true
}

// leastCertificate is the length of the shortest client Certificate message: a raw key where one was offered (RFC 7250), or an X.509 certificate
// without names, with an Ed25519 key and signature (RFC 8410).
func (s *session) leastCertificate() int {
	const x509 = 170
	if s.hello.offers(extClientCertType) {
		return leastCertificate
	}
	return emptyCertificate + 3 + x509 + 2
}

// finishedFollows says whether one of the next records can be the Finished message, or is yet to come.
func (s *session) finishedFollows(rest []*step) bool {
	const flight = 8 // a long chain is spread over a few records
	for i, st := range rest {
		if n, padded := s.plaintext(st); padded || holds(n, s.suite.finished13()) || i == flight {
			return i < flight
		}
	}
	return len(rest) < flight && s.client.cut
}
