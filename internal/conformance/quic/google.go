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
		if !googleHeader(first) {
			continue
		}
		i := bytes.Index(first, []byte("CHLO"))
		if i < 0 {
			continue
		}
		j := conformance.Judgement{Verdict: conformance.QUIC, Confidence: 0.97, AppProtocol: "gquic", Reasons: []string{"gquic_chlo"}, Final: true}
		j.SNI = tagValue(first[i:], "SNI\x00")
		return j, true
	}
	return conformance.Judgement{}, false
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
