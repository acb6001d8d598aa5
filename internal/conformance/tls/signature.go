package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"

	"golang.org/x/crypto/cryptobyte"
)

// namedCurve is ECCurveType named_curve (RFC 8422 section 5.4).
const namedCurve = 3

// checkServerKeyExchange reads a ServerKeyExchange (RFC 8422 section 5.4, RFC 5246 section 7.4.3) and verifies its signature.
func (s *session) checkServerKeyExchange(body []byte) {
	b := cryptobyte.String(body)
	var curve uint16
	var point cryptobyte.String
	switch s.suite.kex {
	case kexECDHE:
		var typ uint8
		if !b.ReadUint8(&typ) || typ != namedCurve {
			return
		}
		if !b.ReadUint16(&curve) || !b.ReadUint8LengthPrefixed(&point) {
			s.broken |= ruleKeyLength
			return
		}
		if s.hello != nil && len(s.hello.Groups) > 0 && !containsPair(s.hello.Groups, curve) {
			s.broken |= ruleServerGroup
		}
	case kexDHE:
		for range 3 { // p, g, Ys
			var n cryptobyte.String
			if !b.ReadUint16LengthPrefixed(&n) || len(n) == 0 {
				s.broken |= ruleKeyLength
				return
			}
		}
	default:
		return
	}
	if signed := s.verify(body[:len(body)-len(b)], b); !signed && s.suite.kex == kexECDHE {
		s.broken |= s.checkPoint(curve, point) // who signs what a genuine server's key signs made its point as well
	}
}

// verify checks the signature over both randoms and the parameters, and says whether it is sure to be the certificate's. Signatures and keys
// of kinds that are not known here pass, but prove nothing.
func (s *session) verify(params []byte, sig cryptobyte.String) (signed bool) {
	if s.hello == nil || s.v2 > 0 {
		return false
	}
	var alg uint16
	if s.reply.version == version12 && !sig.ReadUint16(&alg) {
		s.broken |= ruleKeyLength
		return false
	}
	var value cryptobyte.String
	if !sig.ReadUint16LengthPrefixed(&value) || !sig.Empty() {
		s.broken |= ruleKeyLength
		return false
	}
	if s.reply.version < versionSSL3 || !s.thorough() {
		return false
	}
	leaf, ok := s.serverCertificate()
	if !ok {
		return false
	}
	if s.proofs != nil && s.proofs.Has(leaf.hash) {
		return true
	}
	key := leaf.publicKey()
	if !decides(key, alg) {
		return false
	}
	sum := passed.sum(leaf.hash, alg, s.hello.Random, s.reply.random, params, value)
	if !passed.check(sum, func() bool { return verifies(key, alg, s.randoms(params), value) }) {
		s.broken |= ruleSignature
		return false
	}
	if k, ok := key.(*rsaKey); ok && !k.usual() {
		return false // crypto/rsa may not take such a key
	}
	if s.proofs != nil {
		s.proofs.Add(leaf.hash)
	}
	return true
}

// decides says whether a signature of a kind by a key can be verified here; alg is as verifies takes it.
func decides(key crypto.PublicKey, alg uint16) bool {
	switch key.(type) {
	case *rsaKey:
		return alg == 0 || pss(alg) || alg&0xff == 1 && hashOf(alg) != 0
	case *ecdsa.PublicKey:
		return alg == 0 || alg&0xff == 3 && hashOf(alg) != 0
	case ed25519.PublicKey:
		return alg == 0x0807
	}
	return false
}

// pss says whether a SignatureScheme is one of RSASSA-PSS (RFC 8446 section 4.2.3).
func pss(alg uint16) bool {
	return alg>>8 == 8 && (alg&0xff >= 4 && alg&0xff <= 6 || alg&0xff >= 9 && alg&0xff <= 11)
}

// verifies checks a signature that can be; alg is TLS 1.2's SignatureScheme, 0 in versions before (RFC 4346 section 7.4.3, RFC 8422 section 5.4).
func verifies(key crypto.PublicKey, alg uint16, signed, sig []byte) bool {
	switch k := key.(type) {
	case *rsaKey:
		return verifiesRSA(k, alg, signed, sig)
	case *ecdsa.PublicKey:
		hash := crypto.SHA1
		if alg != 0 {
			hash = hashOf(alg)
		}
		return ecdsa.VerifyASN1(k, digest(hash, signed), sig)
	case ed25519.PublicKey:
		return ed25519.Verify(k, signed, sig)
	}
	return false
}

func verifiesRSA(k *rsaKey, alg uint16, signed, sig []byte) bool {
	switch {
	case alg == 0:
		return k.verifiesPKCS1(crypto.MD5SHA1, digest(crypto.MD5SHA1, signed), sig)
	case pss(alg):
		hash := [...]crypto.Hash{4: crypto.SHA256, 5: crypto.SHA384, 6: crypto.SHA512, 9: crypto.SHA256, 10: crypto.SHA384, 11: crypto.SHA512}[alg&0xff]
		return k.verifiesPSS(hash, digest(hash, signed), sig)
	}
	hash := hashOf(alg)
	return k.verifiesPKCS1(hash, digest(hash, signed), sig)
}

// digestInfo is what stands before a digest in a signature (RFC 8017 section 9.2, note 1); RFC 4346's MD5 and SHA-1 have nothing.
var digestInfo = map[crypto.Hash]string{
	crypto.MD5SHA1: "",
	crypto.MD5:     "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.SHA1:    "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA256:  "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA384:  "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
	crypto.SHA512:  "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
}

// hashOf is the hash of a TLS 1.2 signature scheme (RFC 5246 section 7.4.1.4.1), 0 when unknown.
func hashOf(alg uint16) crypto.Hash {
	switch alg >> 8 {
	case 1:
		return crypto.MD5
	case 2:
		return crypto.SHA1
	case 4:
		return crypto.SHA256
	case 5:
		return crypto.SHA384
	case 6:
		return crypto.SHA512
	}
	return 0
}

func digest(h crypto.Hash, b []byte) []byte {
	switch h {
	case crypto.MD5:
		sum := md5.Sum(b)
		return sum[:]
	case crypto.MD5SHA1:
		m, s := md5.Sum(b), sha1.Sum(b)
		return append(m[:], s[:]...)
	case crypto.SHA1:
		sum := sha1.Sum(b)
		return sum[:]
	case crypto.SHA256:
		sum := sha256.Sum256(b)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(b)
		return sum[:]
	}
	sum := sha512.Sum512(b)
	return sum[:]
}
