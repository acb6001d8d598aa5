package tls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// Extension numbers that are read (IANA's TLS ExtensionType registry).
const (
	extServerName        = 0
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatureAlgs     = 13
	extALPN              = 16
	extEncryptThenMAC    = 22
	extMasterSecret      = 23
	extSessionTicket     = 35
	extPreSharedKey      = 41
	extEarlyData         = 42
	extSupportedVersions = 43
	extCookie            = 44
	extKeyShare          = 51
	extKeyShareDraft     = 40 // TLS 1.3 drafts before 23
	extNPN               = 13172
	extALPSOld           = 17513
	extALPS              = 17613
	extChannelIDOld      = 30031
	extChannelID         = 30032
	extECH               = 0xfe0d
	extRenegotiation     = 0xff01
	extTruncatedHMAC     = 4
	extClientCertType    = 19
	extServerCertType    = 20
	extCertTypeOld       = 9
)

// ErrClientHello is what ParseClientHello returns for bytes that are no ClientHello.
var ErrClientHello = errors.New("tls: client hello: lengths do not add up")

// ClientHello is a parsed ClientHello; its slices share the parsed bytes.
type ClientHello struct {
	Version       uint16 // legacy_version
	Random        []byte
	SessionID     []byte
	Cookie        []byte // DTLS only
	Suites        []byte // two bytes each; three in an SSL 2.0 hello
	SuiteLength   int    // 2 or 3
	Compression   []byte
	HasExtensions bool
	Extensions    []byte // type, length, body, end to end; lengths were checked

	ServerName        string // SNI's host name, as sent
	ALPN              []byte // the first protocol
	SupportedVersions []byte // two bytes each
	Groups            []byte // two bytes each
	SignatureAlgs     []byte // two bytes each
	KeyShares         []byte // group, length, key, end to end
	Ticket            []byte
	PSKs              int // identities of pre_shared_key
	HasPSK, EarlyData bool
	HasTicket         bool
}

// ParseClientHello reads the body of a ClientHello, without its handshake header (RFC 8446 section 4.1.2; dtls: with the cookie of
// RFC 6347 section 4.2.1). It fails only where lengths do not add up; unknown or odd extension bodies are left alone.
func ParseClientHello(body []byte, dtls bool) (*ClientHello, error) {
	h := new(ClientHello)
	if !h.read(body, dtls) {
		return nil, ErrClientHello
	}
	return h, nil
}

// read is ParseClientHello into h, whatever it held before.
func (h *ClientHello) read(body []byte, dtls bool) bool {
	*h = ClientHello{SuiteLength: 2}
	s := cryptobyte.String(body)
	var sid, suites, comp, cookie cryptobyte.String
	if !s.ReadUint16(&h.Version) || !s.ReadBytes(&h.Random, 32) || !s.ReadUint8LengthPrefixed(&sid) || len(sid) > 32 {
		return false
	}
	if dtls && !s.ReadUint8LengthPrefixed(&cookie) {
		return false
	}
	if !s.ReadUint16LengthPrefixed(&suites) || len(suites) == 0 || len(suites)%2 != 0 ||
		!s.ReadUint8LengthPrefixed(&comp) || len(comp) == 0 {
		return false
	}
	h.SessionID, h.Cookie, h.Suites, h.Compression = sid, cookie, suites, comp
	if s.Empty() {
		return true
	}
	var exts cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&exts) || !s.Empty() || !extensionsAddUp(exts) {
		return false
	}
	h.HasExtensions, h.Extensions = true, exts
	h.readExtensions()
	return true
}

// extensionsAddUp says whether b is type, length and body end to end.
func extensionsAddUp(b []byte) bool {
	for len(b) > 0 {
		n := extensionLength(b)
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

// extensionLength is the length of the extension that b starts with, with its header; more than b has where that is cut.
func extensionLength(b []byte) int {
	const header = 4
	if len(b) < header {
		return header
	}
	return header + int(b[2])<<8 + int(b[3])
}

// eachExtension calls f for every extension of b until f says false. b has passed extensionsAddUp.
func eachExtension(b []byte, f func(typ uint16, body cryptobyte.String) bool) {
	for len(b) > 0 {
		n := extensionLength(b)
		if n > len(b) || !f(uint16(b[0])<<8|uint16(b[1]), b[4:n]) {
			return
		}
		b = b[n:]
	}
}

func (h *ClientHello) readExtensions() {
	eachExtension(h.Extensions, func(typ uint16, body cryptobyte.String) bool {
		switch typ {
		case extServerName:
			h.ServerName = hostName(body)
		case extALPN:
			h.ALPN = firstProtocol(body)
		case extSupportedVersions:
			h.SupportedVersions = pairs8(body)
		case extSupportedGroups:
			h.Groups = pairs16(body)
		case extSignatureAlgs:
			h.SignatureAlgs = pairs16(body)
		case extKeyShare, extKeyShareDraft:
			var shares cryptobyte.String
			if body.ReadUint16LengthPrefixed(&shares) && body.Empty() && extensionsAddUp(shares) {
				h.KeyShares = shares
			}
		case extSessionTicket:
			h.HasTicket, h.Ticket = true, body
		case extPreSharedKey:
			h.HasPSK, h.PSKs = true, countPSKs(body)
		case extEarlyData:
			h.EarlyData = true
		}
		return true
	})
}

// hostName reads a server_name extension (RFC 6066 section 3); "" when it holds none.
func hostName(body cryptobyte.String) string {
	var list, name cryptobyte.String
	var typ uint8
	if !body.ReadUint16LengthPrefixed(&list) || !list.ReadUint8(&typ) || typ != 0 || !list.ReadUint16LengthPrefixed(&name) {
		return ""
	}
	return string(name)
}

// firstProtocol reads an ALPN extension's first name (RFC 7301 section 3.1).
func firstProtocol(body cryptobyte.String) []byte {
	var list, name cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) || !list.ReadUint8LengthPrefixed(&name) {
		return nil
	}
	return name
}

func pairs8(body cryptobyte.String) []byte {
	var list cryptobyte.String
	if !body.ReadUint8LengthPrefixed(&list) || len(list)%2 != 0 {
		return nil
	}
	return list
}

func pairs16(body cryptobyte.String) []byte {
	var list cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) || len(list)%2 != 0 {
		return nil
	}
	return list
}

// countPSKs counts the identities of a pre_shared_key extension (RFC 8446 section 4.2.11).
func countPSKs(body cryptobyte.String) int {
	var ids cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&ids) {
		return 0
	}
	n := 0
	for !ids.Empty() {
		var id cryptobyte.String
		if !ids.ReadUint16LengthPrefixed(&id) || !ids.Skip(4) {
			return n
		}
		n++
	}
	return n
}

// parseV2Hello reads an SSL 2.0 CLIENT-HELLO, which SSL 3.0 to TLS 1.2 clients may send instead (RFC 5246 appendix E.2).
// n is its length with the two-byte header.
func parseV2Hello(data []byte) (h *ClientHello, n int, err error) {
	if len(data) < 11 || data[0]&0x80 == 0 || data[2] != 1 {
		return nil, 0, ErrClientHello
	}
	n = 2 + int(data[0]&0x7f)<<8 + int(data[1])
	suites, sid, challenge := int(data[5])<<8|int(data[6]), int(data[7])<<8|int(data[8]), int(data[9])<<8|int(data[10])
	if suites == 0 || suites%3 != 0 || sid != 0 && sid != 16 || challenge < 16 || challenge > 32 || n != 11+suites+sid+challenge ||
		len(data) < n {
		return nil, 0, ErrClientHello
	}
	h = &ClientHello{Version: uint16(data[3])<<8 | uint16(data[4]), SuiteLength: 3, Compression: []byte{0}}
	if h.Version != versionSSL2 && (h.Version < versionSSL3 || h.Version > version12) {
		return nil, 0, ErrClientHello
	}
	h.Suites, h.SessionID = data[11:11+suites], data[11+suites:11+suites+sid]
	h.Random = make([]byte, 32)
	copy(h.Random[32-challenge:], data[11+suites+sid:n])
	return h, n, nil
}

// OffersSuite says whether id is among the hello's cipher suites.
func (h *ClientHello) OffersSuite(id uint16) bool {
	for i := 0; i+h.SuiteLength <= len(h.Suites); i += h.SuiteLength {
		e := h.Suites[i : i+h.SuiteLength]
		if uint16(e[h.SuiteLength-2])<<8|uint16(e[h.SuiteLength-1]) == id && (h.SuiteLength == 2 || e[0] == 0) {
			return true
		}
	}
	return false
}

// offersVersion says whether a server may answer with v: one of supported_versions, or at most legacy_version.
func (h *ClientHello) offersVersion(v uint16) bool {
	if containsPair(h.SupportedVersions, v) {
		return true
	}
	return v <= h.Version && v <= version12 || v>>8 == draft13Major && h.Version == v
}

// offers says whether the hello carries extension typ.
func (h *ClientHello) offers(typ uint16) (found bool) {
	eachExtension(h.Extensions, func(t uint16, _ cryptobyte.String) bool {
		found = t == typ
		return !found
	})
	return found
}

// share returns the key share that the hello carries for group.
func (h *ClientHello) share(group uint16) (key []byte, ok bool) {
	eachExtension(h.KeyShares, func(g uint16, k cryptobyte.String) bool {
		if g == group {
			key, ok = k, true
		}
		return !ok
	})
	return key, ok
}

func containsPair(list []byte, v uint16) bool {
	for i := 0; i+1 < len(list); i += 2 {
		if uint16(list[i])<<8|uint16(list[i+1]) == v {
			return true
		}
	}
	return false
}

// isGREASE says whether v is one of RFC 8701's reserved values.
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }
