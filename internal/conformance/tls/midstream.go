package tls

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	// chained is how many record headers in a row prove framing: a header holds 3 bytes of which random data has the right ones once
	// in 800,000.
	chained = 3
	// maxStarts bounds how many places a direction is tried from.
	maxStarts = 64
)

// judgeMidstream looks for a chain of records in both directions of a connection that was joined late.
func judgeMidstream(c *conformance.Conversation) (conformance.Judgement, bool) {
	n, seen := 0, 0
	for _, h := range [...]*conformance.Half{&c.Client, &c.Server} {
		if len(h.Data) == 0 {
			continue
		}
		k := chainIn(h)
		if k == 0 {
			return conformance.Judgement{}, false
		}
		n += k
		seen++
	}
	if n < chained && !(seen == 2 && n == 2) {
		return conformance.Judgement{}, false
	}
	return conformance.Judgement{Verdict: conformance.TLSMidstream, Confidence: 0.9, Reasons: []string{"record_framing"}, Final: true}, true
}

// chainIn returns the longest chain of valid records from the start, a segment's start, or a place that looks like a record of
// application data. A single record counts only from the start of a segment.
func chainIn(h *conformance.Half) int {
	best := chainFrom(h.Data, 0)
	for i := 0; i < len(h.Segments) && i < maxStarts && best < chained; i++ {
		if off := h.Segments[i].Offset; off > 0 && off < len(h.Data) {
			best = max(best, chainFrom(h.Data, off))
		}
	}
	for off, tries := 0, 0; best < chained && tries < maxStarts; tries++ {
		i := bytes.Index(h.Data[off:], []byte{typeAppData, 3})
		if i < 0 {
			break
		}
		if k := chainFrom(h.Data, off+i); k >= 2 {
			best = max(best, k)
		}
		off += i + 1
	}
	return best
}

// chainFrom counts the records from off to the end of data, 0 when a header there is none.
func chainFrom(data []byte, off int) (n int) {
	for off < len(data) {
		r, next, ok := readRecord(data, off)
		if !ok {
			return n
		}
		if !headerValid(&r) {
			return 0
		}
		n++
		off = next
	}
	return n
}
