package conformance

import (
	"math"
	"unicode"
	"unicode/utf8"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// Transport protocols, as IP numbers them.
const (
	TCP = 6
	UDP = 17
)

// How much is needed to say something.
const (
	// minText is how many bytes make a verdict of text, and minStructured one of structure, where more may come.
	minText       = 8
	minStructured = 16
	// minRandom is how many bytes of ciphertext both directions together must have for an alert.
	minRandom = 32
	// midstream is what each direction must have carried for random_midstream.
	midstream = 16 << 10
	// settled is how many bytes of a random sample more would not change.
	settled = 2048
)

// Unexplained judges a conversation that no recognizer knows: text, a compressed format, structure, or ciphertext from the start or
// behind a clear header.
func Unexplained(c *Conversation, o Options) Judgement {
	n := len(c.Client.Data) + len(c.Server.Data)
	if n == 0 {
		return Judgement{Verdict: Undetermined, Reasons: []string{"no_payload"}, Final: c.Ended}
	}
	e := examine(c, o)
	j := e.judge(c)
	j.Final = c.Ended || e.full(c) && j.Verdict != Undetermined
	return j
}

// examined is what the unexplained bytes of both directions show.
type examined struct {
	threshold  float64
	sides      [2]side
	framed     bool
	compressed string
	found      bool             // the bodies are random
	both       randomness.Stats // of both directions' bodies together
}

// side is one direction.
type side struct {
	data     []byte   // all of it
	messages [][]byte // distinct ones, as they came
	framed   [][]byte // cut by their length field
	header   int      // clear bytes before the body
	body     []byte   // the bodies of the messages, joined
	stats    randomness.Stats
	columns  float64 // likelihood of the bodies' columns under uniform bytes
}

func examine(c *Conversation, o Options) *examined {
	e := &examined{threshold: o.Threshold}
	if e.threshold <= 0 || e.threshold > 1 {
		e.threshold = DefaultThreshold
	}
	halves := [2]*Half{&c.Client, &c.Server}
	var whole [2][][]byte
	var open [2]bool
	for i, h := range halves {
		whole[i] = messages(c, h)
		open[i] = c.Transport != UDP && (h.Total > uint64(len(h.Data)) || h.Gap || !c.Ended)
		e.sides[i] = side{data: h.Data, messages: distinct(whole[i])}
	}
	e.compressed = e.findCompressed()
	if e.compressed != "" || e.random(0, 0) {
		return e
	}
	f, split, framed := frame(whole, open)
	if framed && e.behindField(f, split) {
		e.framed = true
		return e
	}
	if !e.behindHeader() {
		e.whole()
	}
	return e
}

// whole takes all bytes for the sample.
func (e *examined) whole() {
	var joined []byte
	for i := range e.sides {
		s := &e.sides[i]
		s.header, s.body = 0, s.data[:min(len(s.data), randomness.MaxSample)]
		joined = append(joined, s.body[:min(len(s.body), randomness.MaxSample/2)]...)
	}
	e.both, e.found = randomness.Judge(joined), false
}

// judge draws the conclusion.
func (e *examined) judge(c *Conversation) Judgement {
	n := len(e.sides[0].data) + len(e.sides[1].data)
	switch {
	case e.compressed != "":
		return Judgement{Verdict: Compressed, Confidence: 0.9, Reasons: []string{"compressed_" + e.compressed}}
	case e.found:
		return e.judgeRandom(c)
	case n >= minText && mostlyText(e.sides[0].data, e.sides[1].data):
		return Judgement{Verdict: Cleartext, Confidence: 0.9, Reasons: []string{"printable"}}
	case n < minStructured:
		return Judgement{Verdict: Undetermined, Reasons: []string{"few_bytes"}, Sample: e.both}
	case e.both.Likelihood >= 1-e.threshold:
		return Judgement{Verdict: Undetermined, Reasons: []string{"directions_differ"}, Sample: e.both}
	}
	return Judgement{Verdict: Structured, Confidence: confidence(n), Reasons: []string{"binary_structure"}, Sample: e.both}
}

func (e *examined) judgeRandom(c *Conversation) Judgement {
	j := Judgement{Sample: e.both, Confidence: confidence(e.both.N), Reasons: []string{"random_body"}}
	j.HeaderBytes = max(e.sides[0].header, e.sides[1].header)
	switch {
	case e.framed:
		j.Reasons = append(j.Reasons, "length_prefix")
	case j.HeaderBytes > 0:
		j.Reasons = append(j.Reasons, "clear_header")
	}
	switch {
	case c.StartSeen:
		j.Verdict = Random
	case c.Client.Total >= midstream && c.Server.Total >= midstream:
		j.Verdict = RandomMidstream
	default:
		j.Verdict, j.Confidence = Undetermined, 0
		j.Reasons = append(j.Reasons, "start_not_seen")
	}
	return j
}

// confidence grows with the bytes that were judged: 0.5 at 32, 0.75 at 64, 0.94 at 128.
func confidence(n int) float64 { return 1 - math.Exp2(-float64(n)/32) }

// full says whether more bytes would hardly change the verdict: both directions have shown enough, or all that is kept.
func (e *examined) full(c *Conversation) bool {
	for _, h := range []*Half{&c.Client, &c.Server} {
		if len(h.Data) < settled && !h.Gap {
			return false
		}
	}
	return true
}

// mostlyText says whether at least four fifths of the bytes are printable ASCII or UTF-8 beyond.
func mostlyText(halves ...[]byte) bool {
	text, n := 0, 0
	for _, b := range halves {
		n += len(b)
		for len(b) > 0 {
			r, size := utf8.DecodeRune(b)
			if r >= 0x20 && r <= 0x7e || r == '\t' || r == '\r' || r == '\n' || size > 1 && unicode.IsPrint(r) {
				text += size
			}
			b = b[size:]
		}
	}
	return 5*text >= 4*n
}

// random tries one hypothesis: that the bodies behind headers of the given lengths are ciphertext in both directions.
func (e *examined) random(client, server int) bool {
	return e.accept([2][][]byte{e.sides[0].messages, e.sides[1].messages}, [2]int{client, server}, 1-e.threshold)
}

// accept measures the bodies of messages behind headers, and says whether all of them may be uniform: each direction's bytes, both
// together, and their columns, none less likely than level.
func (e *examined) accept(all [2][][]byte, header [2]int, level float64) bool {
	var joined []byte
	headers := 0
	for i := range e.sides {
		s := &e.sides[i]
		rest := bodies(all[i], header[i])
		headers += header[i] * len(rest)
		s.header, s.body = header[i], join(rest, randomness.MaxSample)
		s.stats, s.columns = randomness.Judge(s.body), randomness.Columns(rest)
		joined = append(joined, s.body...)
	}
	if len(joined) < minRandom || len(joined) < headers {
		return false
	}
	for i := range e.sides {
		s := &e.sides[i]
		if len(s.body) >= randomness.MinSample && (s.stats.Likelihood < level || s.columns < level) {
			return false
		}
	}
	e.both = randomness.Judge(joined)
	e.found = e.both.Likelihood >= level
	return e.found
}

// stricter is the likelihood that bodies need where the header's length was searched for.
const stricter = 0.01

// maxSearched is the longest header that is found by trying.
const maxSearched = 32

// behindField looks for ciphertext behind a length field, and whatever else is clear behind that.
func (e *examined) behindField(f framing, split [2][][]byte) bool {
	for i := range split {
		split[i] = distinct(split[i])
	}
	base := f.position + f.width
	clear := [2]int{max(base, clearHeader(split[0])), max(base, clearHeader(split[1]))}
	if e.accept(split, clear, 1-e.threshold) || e.accept(split, [2]int{base, base}, 1-e.threshold) {
		return true
	}
	if f.extra > base && e.accept(split, [2]int{f.extra, f.extra}, 1-e.threshold) {
		return true
	}
	for h := base + 1; h <= base+maxSearched; h++ {
		if e.accept(split, [2]int{h, h}, stricter) {
			return true
		}
	}
	return false
}

// behindHeader looks for ciphertext behind what repeats in every message, or behind one header at the start of each direction.
func (e *examined) behindHeader() bool {
	all := [2][][]byte{e.sides[0].messages, e.sides[1].messages}
	clear := [2]int{clearHeader(all[0]), clearHeader(all[1])}
	if clear != [2]int{} && e.accept(all, clear, 1-e.threshold) {
		return true
	}
	streams := [2][][]byte{{e.sides[0].data}, {e.sides[1].data}}
	for h := 1; h <= maxSearched; h++ {
		for _, header := range [3][2]int{{h, h}, {h, 0}, {0, h}} {
			if len(e.sides[0].data)+len(e.sides[1].data) >= minSearched && e.accept(streams, header, stricter) {
				return true
			}
		}
	}
	return false
}

// minSearched is how many bytes both directions need for a search of the header's length.
const minSearched = 128

// findCompressed names the compressed format that one of the first messages carries, behind at most maxSearched bytes of header.
func (e *examined) findCompressed() string {
	for _, s := range e.sides {
		for _, m := range s.messages[:min(len(s.messages), 3)] {
			for h := 0; h <= maxSearched && h < len(m); h++ {
				if name := compressedFormat(m[h:]); name != "" {
					return name
				}
			}
		}
	}
	return ""
}
