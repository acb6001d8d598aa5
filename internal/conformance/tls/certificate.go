package tls

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"hash/maphash"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxCachedKeys bounds the cache of public keys; it is emptied when full.
const maxCachedKeys = 1024

// keyCache holds the public keys of certificates by the certificate's hash, which is keyed by chance: a fleet talks to few servers.
var keyCache = struct {
	sync.Mutex
	keys map[uint64]crypto.PublicKey
}{keys: map[uint64]crypto.PublicKey{}}

// certificate is a DER certificate and its hash.
type certificate struct {
	der  []byte
	hash uint64
}

// publicKey is the subject's key, nil when it is of a kind that is not known here.
func (c certificate) publicKey() crypto.PublicKey {
	keyCache.Lock()
	key, ok := keyCache.keys[c.hash]
	keyCache.Unlock()
	if ok {
		return key
	}
	key = parsePublicKey(c.der)
	keyCache.Lock()
	defer keyCache.Unlock()
	if len(keyCache.keys) >= maxCachedKeys {
		clear(keyCache.keys)
	}
	keyCache.keys[c.hash] = key
	return key
}

// parsePublicKey finds SubjectPublicKeyInfo by structure alone (RFC 5280 section 4.1): certificates in the wild break rules that
// crypto/x509 enforces and that do not matter here.
func parsePublicKey(cert []byte) crypto.PublicKey {
	s := cryptobyte.String(cert)
	var outer, tbs, spki cryptobyte.String
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !outer.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.SkipASN1(asn1.INTEGER) {
		return nil
	}
	for range 4 { // signature, issuer, validity, subject
		if !tbs.SkipASN1(asn1.SEQUENCE) {
			return nil
		}
	}
	if !tbs.ReadASN1Element(&spki, asn1.SEQUENCE) {
		return nil
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil
	}
	if k, ok := key.(*rsa.PublicKey); ok {
		return newRSAKey(k)
	}
	return key
}

// readCertificates splits a Certificate message of TLS 1.2 and before (RFC 5246 section 7.4.2). ok is false where lengths do not
// add up or an entry is not one DER SEQUENCE.
func readCertificates(body []byte) (leaf []byte, ok bool) {
	s := cryptobyte.String(body)
	var list cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var cert cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&cert) || !isSequence(cert) {
			return nil, false
		}
		if leaf == nil {
			leaf = cert
		}
	}
	return leaf, true
}

// isSequence says whether b is one DER SEQUENCE with an explicit length that fills b.
func isSequence(b []byte) bool {
	if len(b) < 2 || b[0] != 0x30 {
		return false
	}
	n, octets := int(b[1]), 0
	if n >= 0x80 {
		octets = n & 0x7f
		if octets == 0 || octets > 3 || len(b) < 2+octets {
			return false
		}
		n = 0
		for _, c := range b[2 : 2+octets] {
			n = n<<8 | int(c)
		}
	}
	return 2+octets+n == len(b)
}

// checkCertificate: what was sent as a certificate has a certificate's structure.
func (s *session) checkCertificate() {
	if s.reply.certType {
		return
	}
	for _, d := range [...]*stream{&s.server, &s.client} {
		if body, ok := d.first(msgCertificate); ok {
			if _, ok := readCertificates(body); !ok {
				s.broken |= ruleCertificate
			}
		}
	}
}

// serverCertificate is the server's own certificate; ok is false when it is unknown.
func (s *session) serverCertificate() (c certificate, ok bool) {
	body, ok := s.server.first(msgCertificate)
	if !ok || s.reply.certType {
		return certificate{}, false
	}
	leaf, ok := readCertificates(body)
	if !ok || leaf == nil {
		return certificate{}, false
	}
	return certificate{leaf, maphash.Bytes(seed, leaf)}, true
}

// checkKeyExchange checks both sides' key exchange messages against the suite and the certificate. In a replayed handshake the
// server's signature covers another client's random.
func (s *session) checkKeyExchange() {
	if ske, ok := s.server.first(msgServerKeyExchange); ok {
		s.checkServerKeyExchange(ske)
	}
	cke, ok := s.client.first(msgClientKeyExchange)
	if !ok {
		return
	}
	switch s.suite.kex {
	case kexRSA:
		s.checkEncryptedPremaster(cke)
	case kexECDHE:
		s.checkClientPoint(cke)
	}
}

// checkEncryptedPremaster: the premaster secret is as long as the certificate's RSA modulus (RFC 5246 section 7.4.7.1); SSL 3.0 and
// some old stacks leave out the length.
func (s *session) checkEncryptedPremaster(cke []byte) {
	leaf, ok := s.serverCertificate()
	if !ok {
		return
	}
	key, ok := leaf.publicKey().(*rsaKey)
	if !ok {
		return
	}
	if n := key.Size(); len(cke) != n+2 && len(cke) != n {
		s.broken |= ruleKeyLength
	}
}

// checkClientPoint: the client's point is on the curve that the server named (RFC 8422 section 5.7).
func (s *session) checkClientPoint(cke []byte) {
	ske, ok := s.server.first(msgServerKeyExchange)
	if !ok || len(ske) < 4 || ske[0] != namedCurve {
		return
	}
	if len(cke) < 1 || int(cke[0]) != len(cke)-1 {
		s.broken |= ruleKeyLength
		return
	}
	s.broken |= s.checkPoint(uint16(ske[1])<<8|uint16(ske[2]), cke[1:])
}

// randoms is client random and server random, as a ServerKeyExchange signs them.
func (s *session) randoms(params []byte) []byte {
	return bytes.Join([][]byte{s.hello.Random, s.reply.random, params}, nil)
}
