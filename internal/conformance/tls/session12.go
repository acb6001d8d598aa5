package tls

// check12 applies the rules of TLS 1.2 and before: the flights of RFC 5246 section 7.3.
func (s *session) check12() {
	full := s.server.has(msgServerHelloDone)
	s.checkServerFlight(full)
	s.checkClientFlight(full)
	s.checkCertificate()
	s.checkKeyExchange()
	s.checkFinished12(&s.server)
	s.checkFinished12(&s.client)
	s.checkSealed12(&s.server)
	s.checkSealed12(&s.client)
}

// resumable says whether the server may skip its certificate: it answered with the client's session id, or the client sent a ticket
// (RFC 5077 section 3.4; EAP-FAST's PAC travels there, too).
func (s *session) resumable() bool {
	if s.hello == nil {
		return true
	}
	return len(s.hello.SessionID) > 0 && string(s.hello.SessionID) == string(s.reply.sessionID) || len(s.hello.Ticket) > 0
}

func (s *session) checkServerFlight(full bool) {
	done := full || s.server.ccs > 0
	if !done {
		return
	}
	if s.suite.kex.certified() && !s.server.has(msgCertificate) && (full || !s.resumable()) {
		s.broken |= ruleNoCertificate
	}
	if full && s.suite.kex.ephemeral() && !s.server.has(msgServerKeyExchange) {
		s.broken |= ruleNoServerKeyExchange
	}
}

// checkClientFlight: application data only after ChangeCipherSpec and Finished.
func (s *session) checkClientFlight(full bool) {
	for _, d := range [...]*stream{&s.client, &s.server} {
		ccs := false
		for i := range d.steps {
			st := &d.steps[i]
			ccs = ccs || st.kind == stepCCS
			if st.kind == stepSealed && !ccs {
				s.noFinished(d)
				break
			}
		}
	}
	if full && s.client.ccs > 0 && !s.client.has(msgClientKeyExchange) && s.suite.kex != kexOther {
		s.broken |= ruleNoClientKeyExchange
	}
}

func (s *session) noFinished(d *stream) {
	switch {
	case !d.client:
		s.broken |= ruleNoServerFinished
	case s.firstHello == nil || !s.firstHello.EarlyData: // 0-RTT data to a server that only knows TLS 1.2
		s.broken |= ruleNoClientFinished
	}
}

// checkFinished12: the first sealed record is the Finished message or an alert, and Finished has one length for each suite.
func (s *session) checkFinished12(d *stream) {
	i := 0
	for i < len(d.steps) && d.steps[i].kind != stepSealed {
		i++
	}
	if i == len(d.steps) || d.ccs == 0 {
		return
	}
	st := &d.steps[i]
	switch {
	case st.typ == typeAlert || st.typ == typeCCS:
	case st.typ != typeHandshake && d.client:
		s.broken |= ruleNoClientFinished
	case st.typ != typeHandshake:
		s.broken |= ruleNoServerFinished
	case s.reply.compression != 0 || d.client && (s.reply.npn || s.reply.channelID):
	case !s.finishedFits(st.length):
		s.broken |= ruleFinishedSize
	}
}

// finishedFits says whether a record of n bytes can be a Finished message: 16 bytes, in SSL 3.0 40 (RFC 5246 section 7.4.9,
// RFC 6101 section 5.6.9), sealed by the suite (RFC 5246 section 6.2.3, RFC 7366, RFC 7905).
func (s *session) finishedFits(n int) bool {
	plain := 16
	if s.reply.version == versionSSL3 {
		plain = 40
	}
	mac := int(s.suite.mac)
	if s.reply.truncatedHMAC {
		mac = min(mac, 10)
	}
	switch s.suite.seal {
	case sealGCM, sealCCM, sealCCM8:
		return n == 8+plain+s.suite.tag()
	case sealChaCha:
		return n == plain+s.suite.tag() || n == 8+plain+s.suite.tag() // the draft's suites with an explicit nonce
	case sealStream, sealNull:
		return mac == 0 || n == plain+mac
	case sealCBC8, sealCBC16:
		return s.finishedFitsCBC(n, plain, mac)
	}
	return true
}

// finishedFitsCBC: padding is at least one byte and at most 256, of which SSL 3.0 uses at most a block.
func (s *session) finishedFitsCBC(n, plain, mac int) bool {
	if mac == 0 {
		return true
	}
	block := s.suite.block()
	if s.reply.version > version10 {
		n -= block // explicit IV
	}
	if s.reply.encryptMAC {
		n -= mac
		mac = 0
	}
	least := (plain + mac + block) / block * block
	return n%block == 0 && n >= least && n < least+256
}

// checkSealed12: lengths that the suite cannot produce.
func (s *session) checkSealed12(d *stream) {
	if d.ccs == 0 {
		return
	}
	mac, block := int(s.suite.mac), s.suite.block()
	if s.reply.truncatedHMAC {
		mac = min(mac, 10)
	}
	for i := range d.steps {
		st := &d.steps[i]
		if st.kind != stepSealed {
			continue
		}
		ok := true
		switch s.suite.seal {
		case sealGCM, sealCCM, sealCCM8:
			ok = st.length >= 8+s.suite.tag()
		case sealChaCha:
			ok = st.length >= s.suite.tag()
		case sealStream, sealNull:
			ok = st.length >= mac
		case sealCBC8, sealCBC16:
			body := st.length
			if s.reply.encryptMAC {
				body -= mac
			}
			ok = body >= block && body%block == 0
		}
		if !ok {
			s.broken |= ruleRecordSize
			return
		}
	}
}
