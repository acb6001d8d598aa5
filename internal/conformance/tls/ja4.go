package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// JA4 returns the client fingerprint of h for transport 't' (TLS over TCP), 'q' (QUIC) or 'd' (DTLS), by FoxIO's published
// specification (technical_details/JA4.md of FoxIO-LLC/ja4, BSD 3-Clause). GREASE values are left out everywhere.
func JA4(h *ClientHello, transport byte) string {
	var suiteRoom, hashedRoom, algRoom [listed]uint16
	suites, hashed := values(suiteRoom[:0], h.Suites, h.SuiteLength), hashedRoom[:0]
	sni, exts := byte('i'), 0
	eachExtension(h.Extensions, func(typ uint16, _ cryptobyte.String) bool {
		if isGREASE(typ) {
			return true
		}
		exts++
		switch typ {
		case extServerName:
			sni = 'd'
		case extALPN:
		default:
			hashed = append(hashed, typ)
		}
		return true
	})
	var room [36]byte
	b := append(room[:0], transport)
	b = append(b, ja4Version(h)...)
	b = append(b, sni)
	b = appendCount(b, len(suites))
	b = appendCount(b, exts)
	b = append(b, ja4ALPN(h.ALPN)...)
	slices.Sort(suites)
	slices.Sort(hashed)
	var listRoom [2 * 5 * listed]byte
	list := appendHex(listRoom[:0], suites)
	b = appendHash(append(b, '_'), list)
	list = appendHex(list[:0], hashed)
	if algs := values(algRoom[:0], h.SignatureAlgs, 2); len(algs) > 0 && len(list) > 0 {
		list = appendHex(append(list, '_'), algs)
	}
	return string(appendHash(append(b, '_'), list))
}

// listed is how many cipher suites, extensions or algorithms there is room for without allocating.
const listed = 64

// values appends the numbers in b to out, size bytes each, without GREASE and, in an SSL 2.0 hello, without SSL 2.0's own ciphers.
func values(out []uint16, b []byte, size int) []uint16 {
	for i := 0; i+size <= len(b); i += size {
		v := uint16(b[i+size-2])<<8 | uint16(b[i+size-1])
		if !isGREASE(v) && (size == 2 || b[i] == 0) {
			out = append(out, v)
		}
	}
	return out
}

// ja4Version is the highest version of supported_versions, or else legacy_version, in two characters. DTLS counts downwards.
func ja4Version(h *ClientHello) string {
	best := uint16(0)
	var room [listed]uint16
	for _, v := range values(room[:0], h.SupportedVersions, 2) {
		if v>>8 == 0xfe {
			if best == 0 || v < best {
				best = v
			}
		} else if v > best {
			best = v
		}
	}
	if best == 0 {
		best = h.Version
	}
	switch best {
	case version13:
		return "13"
	case version12:
		return "12"
	case version11:
		return "11"
	case version10:
		return "10"
	case versionSSL3:
		return "s3"
	case versionSSL2:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// ja4ALPN is the first and last character of the first ALPN name, or of its hexadecimal form where one of them is not an
// ASCII letter or digit.
func ja4ALPN(name []byte) string {
	if len(name) == 0 {
		return "00"
	}
	first, last := name[0], name[len(name)-1]
	if alphanumeric(first) && alphanumeric(last) {
		return string([]byte{first, last})
	}
	x := hex.EncodeToString([]byte{first, last})
	return string([]byte{x[0], x[3]})
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func appendCount(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

// appendHex appends numbers in hexadecimal with commas between them.
func appendHex(b []byte, vs []uint16) []byte {
	const digits = "0123456789abcdef"
	for i, v := range vs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
	}
	return b
}

// appendHash appends the first 12 hexadecimal digits of SHA-256; twelve zeros stand for an empty list.
func appendHash(b, list []byte) []byte {
	if len(list) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(list)
	return hex.AppendEncode(b, sum[:6])
}
