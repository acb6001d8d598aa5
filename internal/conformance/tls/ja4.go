package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// JA4 returns the client fingerprint of h for transport 't' (TLS over TCP), 'q' (QUIC) or 'd' (DTLS), by FoxIO's published
// specification (technical_details/JA4.md of FoxIO-LLC/ja4, BSD 3-Clause). GREASE values are left out everywhere.
func JA4(h *ClientHello, transport byte) string {
	suites := values(h.Suites, h.SuiteLength)
	var exts, hashed []uint16
	sni := byte('i')
	eachExtension(h.Extensions, func(typ uint16, _ cryptobyte.String) bool {
		if isGREASE(typ) {
			return true
		}
		exts = append(exts, typ)
		switch typ {
		case extServerName:
			sni = 'd'
		case extALPN:
		default:
			hashed = append(hashed, typ)
		}
		return true
	})
	b := make([]byte, 0, 36)
	b = append(b, transport)
	b = append(b, ja4Version(h)...)
	b = append(b, sni)
	b = appendCount(b, len(suites))
	b = appendCount(b, len(exts))
	b = append(b, ja4ALPN(h.ALPN)...)
	slices.Sort(suites)
	slices.Sort(hashed)
	b = append(b, '_')
	b = append(b, ja4Hash(hexList(suites))...)
	b = append(b, '_')
	list := hexList(hashed)
	if algs := hexList(values(h.SignatureAlgs, 2)); algs != "" && list != "" {
		list += "_" + algs
	}
	return string(append(b, ja4Hash(list)...))
}

// values lists the numbers in b, size bytes each, without GREASE and, in an SSL 2.0 hello, without SSL 2.0's own ciphers.
func values(b []byte, size int) []uint16 {
	out := make([]uint16, 0, len(b)/2)
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
	for _, v := range values(h.SupportedVersions, 2) {
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

func hexList(vs []uint16) string {
	const digits = "0123456789abcdef"
	var sb strings.Builder
	sb.Grow(5 * len(vs))
	for i, v := range vs {
		if i > 0 {
			sb.WriteByte(',')
		}
		sb.Write([]byte{digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15]})
	}
	return sb.String()
}

// ja4Hash is the first 12 hexadecimal digits of SHA-256; twelve zeros stand for an empty list.
func ja4Hash(list string) string {
	if list == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:6])
}
