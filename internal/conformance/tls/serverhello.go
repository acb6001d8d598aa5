package tls

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
)

// retryRandom is the random of a ServerHello that is a HelloRetryRequest: SHA-256("HelloRetryRequest"), RFC 8446 section 4.1.3.
var retryRandom = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// serverHello is a parsed ServerHello or HelloRetryRequest; its slices share the parsed bytes.
type serverHello struct {
	legacyVersion uint16
	version       uint16 // negotiated
	random        []byte
	sessionID     []byte
	suite         uint16
	compression   uint8
	extensions    []byte
	retry         bool
	draft         bool // the format of TLS 1.3 drafts before 22: no session id, no compression

	hasShare      bool
	group         uint16
	share         []byte
	hasPSK        bool
	psk           uint16
	encryptMAC    bool
	truncatedHMAC bool
	npn           bool
	channelID     bool
	ticket        bool
	certType      bool // other certificate types than X.509 were agreed on
	alpn          []byte
}

// read reads the body of a ServerHello without its handshake header (RFC 8446 section 4.1.3); what h held before is gone. ok is false
// where lengths do not add up.
func (h *serverHello) read(body []byte) (ok bool) {
	*h = serverHello{}
	s := cryptobyte.String(body)
	if !s.ReadUint16(&h.legacyVersion) || !s.ReadBytes(&h.random, 32) {
		return false
	}
	h.version = h.legacyVersion
	var sid cryptobyte.String
	h.draft = h.legacyVersion>>8 == draft13Major
	if !h.draft && (!s.ReadUint8LengthPrefixed(&sid) || len(sid) > 32) {
		return false
	}
	h.sessionID = sid
	if !s.ReadUint16(&h.suite) || !h.draft && !s.ReadUint8(&h.compression) {
		return false
	}
	h.retry = bytes.Equal(h.random, retryRandom)
	if s.Empty() {
		return true
	}
	var exts cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&exts) || !s.Empty() || !extensionsAddUp(exts) {
		return false
	}
	h.extensions = exts
	eachExtension(exts, h.readExtension)
	return true
}

func (h *serverHello) readExtension(typ uint16, body cryptobyte.String) bool {
	switch typ {
	case extSupportedVersions:
		body.ReadUint16(&h.version)
	case extKeyShare, extKeyShareDraft:
		h.hasShare = body.ReadUint16(&h.group)
		var key cryptobyte.String
		if body.ReadUint16LengthPrefixed(&key) {
			h.share = key
		}
	case extPreSharedKey:
		h.hasPSK = body.ReadUint16(&h.psk)
	case extALPN:
		h.alpn = firstProtocol(body)
	case extEncryptThenMAC:
		h.encryptMAC = true
	case extTruncatedHMAC:
		h.truncatedHMAC = true
	case extNPN:
		h.npn = true
	case extChannelID, extChannelIDOld:
		h.channelID = true
	case extSessionTicket:
		h.ticket = true
	case extClientCertType, extServerCertType, extCertTypeOld:
		h.certType = true
	}
	return true
}

// is13 says whether the handshake is TLS 1.3 or a draft of it.
func (h *serverHello) is13() bool { return h.version == version13 || isDraft13(h.version) }

// isDraft13 says whether v is a draft of TLS 1.3: IETF's 0x7fXX, Facebook's 0xfbXX and Google's 0x7eXX experiments.
func isDraft13(v uint16) bool { return v>>8 == draft13Major || v>>8 == 0xfb || v>>8 == 0x7e }

// ServerHello is what packages beside this one need of a ServerHello.
type ServerHello struct {
	Version uint16 // negotiated
	Suite   uint16
}

// ParseServerHello reads the body of a ServerHello, without its handshake header; ok is false where lengths do not add up.
func ParseServerHello(body []byte) (h ServerHello, ok bool) {
	var p serverHello
	if !p.read(body) {
		return ServerHello{}, false
	}
	return ServerHello{Version: p.version, Suite: p.suite}, true
}
