package quic

import (
	"bytes"
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// recognizeGoogle recognises Google QUIC before IETF framing (Q024 to Q046) by its public header and the CHLO or REJ message that
// the first packets carry in clear (Chromium's QUIC wire layout and crypto specifications).
func recognizeGoogle(c *conformance.Conversation) (conformance.Judgement, bool) {
	for _, h := range [...]*conformance.Half{&c.Client, &c.Server} {
		first := h.Data
		if len(h.Segments) > 0 && h.Segments[0].Length <= len(first) && h.Segments[0].Length > 0 {
			first = first[:h.Segments[0].Length]
		}
		i := googleMessage(first)
		if i < 0 {
			continue
		}
		return conformance.Judgement{
			Verdict: conformance.QUIC, Confidence: 0.97, AppProtocol: "gquic", Reasons: []string{"gquic_handshake"}, Final: true,
			SNI: tagValue(first[i:], "SNI\x00"),
		}, true
	}
	return conformance.Judgement{}, false
}

// googleMessage returns the offset of a handshake message in a Google QUIC packet: a CHLO behind a header with a version, or a server's
// answer behind a header with a connection id; -1 when there is none.
func googleMessage(b []byte) int {
	const most = 64 // header, hash and frame header are shorter
	tags := []string{"REJ\x00", "SREJ", "SHLO"}
	switch {
	case googleHeader(b):
		tags = []string{"CHLO", "REJ\x00", "SREJ", "SHLO"}
	case len(b) < 26 || b[0]&0xc9 != 0x08:
		return -1
	}
	for _, tag := range tags {
		if i := bytes.Index(b[:min(len(b), most)], []byte(tag)); i > 0 && tagged(b[i:]) {
			return i
		}
	}
	return -1
}

// tagged says whether b is a handshake message: name, number of tags, two zeros, then tags with rising end offsets.
func tagged(b []byte) bool {
	const mostTags = 128
	if len(b) < 16 || b[6] != 0 || b[7] != 0 {
		return false
	}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	if n == 0 || n > mostTags {
		return false
	}
	last := uint32(0)
	for i := 8; i+8 <= len(b) && n > 0; i, n = i+8, n-1 {
		end := binary.LittleEndian.Uint32(b[i+4:])
		if end < last {
			return false
		}
		last = end
	}
	return true
}

// googleHeader says whether b starts with a public header with a version "Q0nn": flags with the version bit, 8 bytes of connection
// id, version; or, from Q044 on, a long header.
func googleHeader(b []byte) bool {
	if len(b) < 26 {
		return false
	}
	if b[0]&0x80 != 0 {
		return isGoogleVersion(b[1:])
	}
	return b[0]&0x09 == 0x09 && isGoogleVersion(b[9:])
}

func isGoogleVersion(b []byte) bool {
	return b[0] == 'Q' && b[1] == '0' && b[2] >= '0' && b[2] <= '9' && b[3] >= '0' && b[3] <= '9'
}

// tagValue finds a tag in a handshake message: name, number of tags, two zeros, then tag and end offset each, then the values.
func tagValue(b []byte, tag string) string {
	if len(b) < 8 {
		return ""
	}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	values := 8 + 8*n
	if values > len(b) {
		return ""
	}
	from := 0
	for i := range n {
		e := b[8+8*i:]
		end := binary.LittleEndian.Uint32(e[4:])
		if int64(end) > int64(len(b)-values) || int(end) < from {
			return ""
		}
		if string(e[:4]) == tag {
			return string(b[values+from : values+int(end)])
		}
		from = int(end)
	}
	return ""
}
