package tls

import (
	"crypto/ecdh"

	"golang.org/x/crypto/cryptobyte"
)

// part is one key of a key share: hybrids have two.
type part struct {
	size int
	// made says whether a key generator can have made the key, which has the right size; nil where that is not known. doubtful asks for what
	// takes long, too.
	made func(key []byte, doubtful bool) bool
}

// What shares are made of. Points are uncompressed.
var (
	p256         = part{65, onCurve(ecdh.P256)}
	p384         = part{97, onCurve(ecdh.P384)}
	p521         = part{133, onCurve(ecdh.P521)}
	x25519       = part{32, made25519}
	mlkem512Key  = part{800, reducedMLKEM}
	mlkem768Key  = part{1184, reducedMLKEM}
	mlkem1024Key = part{1568, reducedMLKEM}
	// Ciphertexts of ML-KEM are as good as random.
	mlkem512Text, mlkem768Text, mlkem1024Text = part{768, nil}, part{1088, nil}, part{1568, nil}
)

// group says what a key share holds, in either direction (IANA's TLS Supported Groups registry; RFC 8446 section 4.2.8, RFC 7919, RFC 8734,
// RFC 8998, draft-ietf-tls-ecdhe-mlkem, draft-tls-westerbaan-xyber768d00).
type group struct{ client, server []part }

func both(p part) group { return group{[]part{p}, []part{p}} }

func unchecked(size int) group { return both(part{size, nil}) }

var groups = map[uint16]group{
	22:     unchecked(65), // secp256k1
	23:     both(p256),
	24:     both(p384),
	25:     both(p521),
	29:     both(x25519),
	30:     unchecked(56), // x448
	31:     unchecked(65), // brainpool for TLS 1.3
	32:     unchecked(97),
	33:     unchecked(129),
	41:     unchecked(65), // SM2
	256:    unchecked(256),
	257:    unchecked(384),
	258:    unchecked(512),
	259:    unchecked(768),
	260:    unchecked(1024),
	0x11eb: {[]part{p256, mlkem768Key}, []part{p256, mlkem768Text}},     // SecP256r1MLKEM768
	0x11ec: {[]part{mlkem768Key, x25519}, []part{mlkem768Text, x25519}}, // X25519MLKEM768
	0x11ed: {[]part{p384, mlkem1024Key}, []part{p384, mlkem1024Text}},   // SecP384r1MLKEM1024
	0x6399: {[]part{x25519, mlkem768Key}, []part{x25519, mlkem768Text}}, // X25519Kyber768Draft00
	0x639a: {[]part{p256, mlkem768Key}, []part{p256, mlkem768Text}},     // SecP256r1Kyber768Draft00
	0x0200: {[]part{mlkem512Key}, []part{mlkem512Text}},
	0x0201: {[]part{mlkem768Key}, []part{mlkem768Text}},
	0x0202: {[]part{mlkem1024Key}, []part{mlkem1024Text}},
}

// parts are a share's in one direction.
func (g group) parts(server bool) []part {
	if server {
		return g.server
	}
	return g.client
}

// size is the length of a share.
func size(parts []part) (n int) {
	for _, p := range parts {
		n += p.size
	}
	return n
}

// made says whether key generators can have made a share of the right length.
func made(parts []part, share []byte, doubtful bool) bool {
	for _, p := range parts {
		if p.made != nil && !p.made(share[:p.size], doubtful) {
			return false
		}
		share = share[p.size:]
	}
	return true
}

// checkShare checks a key share of TLS 1.3: its length, and whether a key generator can have made it. Random bytes are refused, in a
// connection that is not doubtful, as an X25519 key 7 times in 8, and otherwise 31 times in 32; as an ML-KEM key or a point of NIST's always.
func (s *session) checkShare(id uint16, share []byte, server bool) rules {
	g, ok := groups[id]
	if !ok {
		return 0
	}
	parts := g.parts(server)
	if len(share) != size(parts) {
		return ruleKeyLength
	}
	if s.thorough() && !made(parts, share, s.doubtful()) {
		return ruleKeyInvalid
	}
	return 0
}

// checkOtherShares checks the key shares of the client that the server did not choose, or all where it was not seen.
func (s *session) checkOtherShares() {
	const most = 8 // real ClientHellos carry up to four
	n := 0
	eachExtension(s.hello.KeyShares, func(id uint16, share cryptobyte.String) bool {
		g, ok := groups[id] // has no GREASE
		if ok && (s.reply == nil || s.reply.group != id) && len(share) == size(g.client) && !made(g.client, share, true) {
			s.broken |= ruleKeyInvalid
		}
		n++
		return n < most && s.broken&ruleKeyInvalid == 0
	})
}

// doubtful says whether nothing but the key shares speaks for a TLS 1.3 handshake: the client's first sealed record, which in most is as long
// as Finished, is of another length, or early data. What takes long is then worth its time.
func (s *session) doubtful() bool {
	if s.reply == nil {
		return true
	}
	if !s.reply.is13() {
		return false
	}
	for i := range s.client.steps {
		if st := &s.client.steps[i]; st.kind == stepSealed {
			n, _ := s.plaintext(st)
			return s.suite.finished13() == 0 || !holds(n, s.suite.finished13())
		}
	}
	return false
}

// onCurve is whether a key is an uncompressed point of a curve (RFC 8446 section 4.2.8.2), which random bytes never are.
func onCurve(curve func() ecdh.Curve) func([]byte, bool) bool {
	return func(point []byte, _ bool) bool {
		_, err := curve().NewPublicKey(point)
		return err == nil
	}
}

// checkPoint checks an elliptic curve point of a key exchange of TLS 1.2 and before, where points may be compressed.
func (s *session) checkPoint(id uint16, point []byte) rules {
	g, ok := groups[id]
	if !ok || id >= 256 {
		return 0
	}
	if id != 29 && id != 30 && len(point) > 0 && (point[0] == 2 || point[0] == 3) {
		return 0
	}
	if len(point) != size(g.client) {
		return ruleKeyLength
	}
	return s.checkShare(id, point, false)
}

// reducedMLKEM says whether the 12-bit coefficients of an ML-KEM encapsulation key, which fill all but its last 32 bytes, are below q
// (FIPS 203 section 7.2; Kyber's keys are of the same form). Random ones are, all 768 of ML-KEM-768's, once in 10^69.
func reducedMLKEM(key []byte, _ bool) bool {
	const q, seed = 3329, 32
	for b := key[:len(key)-seed]; len(b) >= 3; b = b[3:] {
		if int(b[0])|int(b[1]&15)<<8 >= q || int(b[1]>>4)|int(b[2])<<4 >= q {
			return false
		}
	}
	return true
}
