package tls

import "crypto/ecdh"

// group says how long a key share is and how it can be checked (IANA's TLS Supported Groups registry; RFC 8446 section 4.2.8,
// RFC 7919, RFC 8734, RFC 8998, draft-ietf-tls-ecdhe-mlkem).
type group struct {
	client, server int // bytes
	curve          func() ecdh.Curve
	x25519, mlkem  int // offset in the client's share, -1 without; the server's X25519 share is always at its end
}

var groups = map[uint16]group{
	22:     {65, 65, nil, -1, -1}, // secp256k1
	23:     {65, 65, ecdh.P256, -1, -1},
	24:     {97, 97, ecdh.P384, -1, -1},
	25:     {133, 133, ecdh.P521, -1, -1},
	29:     {32, 32, nil, 0, -1}, // x25519
	30:     {56, 56, nil, -1, -1},
	31:     {65, 65, nil, -1, -1}, // brainpool for TLS 1.3
	32:     {97, 97, nil, -1, -1},
	33:     {129, 129, nil, -1, -1},
	41:     {65, 65, nil, -1, -1}, // SM2
	256:    {256, 256, nil, -1, -1},
	257:    {384, 384, nil, -1, -1},
	258:    {512, 512, nil, -1, -1},
	259:    {768, 768, nil, -1, -1},
	260:    {1024, 1024, nil, -1, -1},
	0x11eb: {65 + 1184, 65 + 1088, nil, -1, -1},  // SecP256r1MLKEM768
	0x11ec: {1184 + 32, 1088 + 32, nil, 1184, 0}, // X25519MLKEM768
	0x11ed: {97 + 1568, 97 + 1568, nil, -1, -1},  // SecP384r1MLKEM1024
	0x6399: {32 + 1184, 32 + 1088, nil, -1, -1},  // X25519Kyber768Draft00
	0x639a: {65 + 1184, 65 + 1088, nil, -1, -1},  // SecP256r1Kyber768Draft00
	0x0200: {800, 768, nil, -1, -1},              // ML-KEM-512
	0x0201: {1184, 1088, nil, -1, 0},             // ML-KEM-768
	0x0202: {1568, 1568, nil, -1, -1},            // ML-KEM-1024
}

// checkShare checks a key share of TLS 1.3: its length, and whether a key generator can have made it.
func (s *session) checkShare(id uint16, key []byte, server bool) rules {
	g, ok := groups[id]
	if !ok {
		return 0
	}
	want := g.client
	if server {
		want = g.server
	}
	if len(key) != want {
		return ruleKeyLength
	}
	if s.thorough() && !g.generates(key, server) {
		return ruleKeyInvalid
	}
	return 0
}

// generates says whether a key generator can have made the key share, which has the right length.
func (g *group) generates(key []byte, server bool) bool {
	if g.curve != nil {
		if _, err := g.curve().NewPublicKey(key); err != nil {
			return false
		}
	}
	if g.x25519 >= 0 {
		off := g.x25519
		if server {
			off = len(key) - 32
		}
		if !onCurve25519(key[off : off+32]) {
			return false
		}
	}
	return g.mlkem < 0 || server || reducedMLKEM(key[g.mlkem:g.mlkem+1152])
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
	if len(point) != g.client {
		return ruleKeyLength
	}
	return s.checkShare(id, point, false)
}

// reducedMLKEM says whether the 12-bit coefficients of an ML-KEM-768 encapsulation key are all below q (FIPS 203 section 7.2).
func reducedMLKEM(b []byte) bool {
	const q = 3329
	for i := 0; i+3 <= len(b); i += 3 {
		c0 := int(b[i]) | int(b[i+1]&15)<<8
		c1 := int(b[i+1]>>4) | int(b[i+2])<<4
		if c0 >= q || c1 >= q {
			return false
		}
	}
	return true
}
