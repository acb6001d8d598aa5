package tls

import "github.com/cipherlens/cipherlens/internal/randomness"

const (
	// sampleBytes is how much ciphertext of one direction is judged.
	sampleBytes = 512
	// leastSample is the sample below which ciphertext is not judged.
	leastSample = 64
	// lowEntropy is the share of uniform samples below which a sample is no ciphertext: far beyond chance over all of a fleet's flows.
	lowEntropy = 1e-9
	// explicitNonce is what AES-GCM and CCM put in clear before the ciphertext in TLS 1.2: usually a counter (RFC 5288 section 3).
	explicitNonce = 8
)

// ciphertext gathers the bodies of d's application data, in buf where one alone is not enough.
func (s *session) ciphertext(d *stream, buf []byte) []byte {
	skip := explicitNonce
	if s.reply != nil && (s.reply.is13() || s.suite.seal == sealChaCha) {
		skip = 0
	}
	n := 0
	for i := range d.steps {
		st := &d.steps[i]
		if st.kind != stepSealed || st.typ != typeAppData || len(st.body) <= skip {
			continue
		}
		body := st.body[skip:]
		if n == 0 && len(body) >= len(buf) {
			return body[:len(buf)]
		}
		if n += copy(buf[n:], body); n == len(buf) {
			break
		}
	}
	return buf[:n]
}

// mayBeClear says whether the suite encrypts nothing or is not known; without the server's answer, whether the client offers one.
func (s *session) mayBeClear() bool {
	switch {
	case s.reply != nil:
		return s.suite.seal == sealNull || s.suite.seal == sealOther
	case s.hello == nil:
		return false
	}
	var room [listed]uint16
	for _, id := range values(room[:0], s.hello.Suites, s.hello.SuiteLength) {
		if lookupSuite(id).seal == sealNull {
			return true
		}
	}
	return false
}

// checkBodies: application data looks like ciphertext, but for the suites that encrypt nothing.
func (s *session) checkBodies() {
	if s.reply != nil && s.mayBeClear() {
		return
	}
	var buf [sampleBytes]byte
	for _, d := range [...]*stream{&s.client, &s.server} {
		if body := s.ciphertext(d, buf[:]); len(body) >= leastSample && !randomness.Passes(body, lowEntropy) && !s.mayBeClear() {
			s.broken |= ruleLowEntropy
		}
	}
}

// leastRandom are the figures of the direction whose application data looks less like ciphertext.
func (s *session) leastRandom() (worst randomness.Stats) {
	if s.mayBeClear() {
		return worst
	}
	var buf [sampleBytes]byte
	for _, d := range [...]*stream{&s.client, &s.server} {
		body := s.ciphertext(d, buf[:])
		if len(body) < leastSample {
			continue
		}
		if st := randomness.Judge(body); worst.N == 0 || st.Likelihood < worst.Likelihood {
			worst = st
		}
	}
	return worst
}
