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
	framing    bool // the header at hand is a length field's
	framed     bool // ciphertext was found behind one
	text       bool
	datagrams  bool
	compressed string
	disguise   *disguise
	found      bool             // the bodies are random
	sample     randomness.Stats // of the direction with more bytes to judge
	n          int              // bytes judged in both directions
}

// side is one direction.
type side struct {
	data     []byte   // all of it
	messages [][]byte // distinct ones, as they came
	repeats  bool     // blocks of the messages occur again
	header   int      // clear bytes before the body
	body     []byte   // the bodies of the messages, joined
	stats    randomness.Stats
	columns  float64 // likelihood of the bodies' columns under uniform bytes
}

func examine(c *Conversation, o Options) *examined {
	e := &examined{threshold: o.Threshold, datagrams: c.Transport == UDP}
	if e.threshold <= 0 || e.threshold > 1 {
		e.threshold = DefaultThreshold
	}
	halves := [2]*Half{&c.Client, &c.Server}
	var whole [2][][]byte
	var sides [2]carried
	for i, h := range halves {
		whole[i] = messages(c, h)
		sides[i] = carry(c, h, whole[i])
		kept := distinct(whole[i])
		bytes := min(size(kept), randomness.MaxSample)
		e.sides[i] = side{data: h.Data, messages: kept, repeats: size(novel(kept, randomness.MaxSample)) < bytes}
	}
	if e.text = mostlyText(c.Client.Data, c.Server.Data); e.text {
		e.whole()
		return e
	}
	e.compressed = e.findCompressed()
	if e.compressed != "" || e.disguised(c, sides) || e.behindFields(whole, sides) {
		return e
	}
	if !e.random(0, 0) && !e.behindHeader() {
		e.whole()
	}
	return e
}

// behindFields looks for ciphertext behind a length field in every message, or in each direction's first one only.
func (e *examined) behindFields(whole [2][][]byte, sides [2]carried) bool {
	if f, split, ok := frame(sides); ok && e.behindField(f, split) {
		e.framed = true
		return true
	}
	var first [2]carried
	var streams [2][][]byte
	for i, all := range whole {
		if len(all) > 0 {
			first[i], streams[i] = datagrams(all[:1]), [][]byte{e.sides[i].data}
		}
	}
	if f, _, ok := frame(first); ok {
		base := f.position + f.width
		e.framed = e.accept(streams, [2]int{base, base}, 1-e.threshold)
	}
	return e.framed
}

// disguised looks for a known mask.
func (e *examined) disguised(c *Conversation, sides [2]carried) bool {
	for _, d := range disguises {
		if h, ok := d.hides(c, sides); ok {
			e.whole()
			e.sides[0].header, e.disguise, e.found = h, &d, true
			return true
		}
	}
	return false
}

// whole takes all bytes for the sample.
func (e *examined) whole() {
	for i := range e.sides {
		s := &e.sides[i]
		s.header, s.body = 0, s.data[:min(len(s.data), randomness.MaxSample)]
		s.stats = randomness.Judge(s.body)
	}
	e.measure()
	e.found = false
}

// judge draws the conclusion.
func (e *examined) judge(c *Conversation) Judgement {
	n := len(e.sides[0].data) + len(e.sides[1].data)
	switch {
	case e.compressed != "":
		return Judgement{Verdict: Compressed, Confidence: 0.9, Reasons: []string{"compressed_" + e.compressed}}
	case e.found:
		return e.judgeRandom(c)
	case n >= minText && e.text:
		return Judgement{Verdict: Cleartext, Confidence: 0.9, Reasons: []string{"printable"}}
	case n < minStructured:
		return Judgement{Verdict: Undetermined, Reasons: []string{"few_bytes"}, Sample: e.sample}
	case e.sample.Likelihood >= 1-e.threshold:
		return Judgement{Verdict: e.oneSided(), Confidence: confidence(n) / 2, Reasons: []string{"directions_differ"}, Sample: e.sample}
	}
	return Judgement{Verdict: Structured, Confidence: confidence(n), Reasons: []string{"binary_structure"}, Sample: e.sample}
}

// oneSided is the verdict where the longer direction may be ciphertext, but was not accepted: structure, if the other direction
// says so.
func (e *examined) oneSided() Verdict {
	for _, s := range e.sides {
		if len(s.data) >= minRandom && s.stats.Likelihood < 1-e.threshold {
			return Structured
		}
	}
	return Undetermined
}

func (e *examined) judgeRandom(c *Conversation) Judgement {
	j := Judgement{Sample: e.sample, Confidence: confidence(e.n), Reasons: []string{"random_body"}}
	j.HeaderBytes = max(e.sides[0].header, e.sides[1].header)
	switch {
	case e.disguise != nil:
		j.Reasons, j.AppProtocol, j.Confidence = []string{e.disguise.name}, e.disguise.app, 0.99
	case e.framed:
		j.Reasons = append(j.Reasons, "length_prefix")
	case j.HeaderBytes > 0:
		j.Reasons = append(j.Reasons, "clear_header")
	}
	switch {
	case startSeen(c):
		j.Verdict = Random
	case c.Client.Total >= midstream && c.Server.Total >= midstream:
		j.Verdict = RandomMidstream
	default:
		j.Verdict, j.Confidence = Undetermined, 0
		j.Reasons = append(j.Reasons, "start_not_seen")
	}
	return j
}

// startSeen doubts the start of a UDP exchange that begins with what must be an answer: from a service's port to an ephemeral one.
func startSeen(c *Conversation) bool {
	const services = 1024
	return c.StartSeen && (c.Transport != UDP || c.ClientPort >= services || c.ServerPort < services)
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

// accept measures the bodies of messages behind headers, and says whether all of them may be uniform: each direction's bytes, and
// their columns, none less likely than level. The directions are only joined where one is too short by itself: a cipher
// that uses one key both ways repeats its keystream.
func (e *examined) accept(all [2][][]byte, header [2]int, level float64) bool {
	headers, bytes := 0, 0
	for i := range e.sides {
		s := &e.sides[i]
		rest := bodies(all[i], header[i])
		headers += header[i] * len(rest)
		bytes += min(size(rest), randomness.MaxSample)
		if s.repeats {
			rest = novel(rest, randomness.MaxSample)
		}
		s.header, s.body = header[i], join(rest, randomness.MaxSample)
		s.stats, s.columns = randomness.Judge(s.body), randomness.Columns(rest)
	}
	e.measure()
	e.found = e.n >= max(e.need(all), headers) && 4*e.n >= bytes && e.sample.Likelihood >= level
	for i := range e.sides {
		s := &e.sides[i]
		if len(s.body) < randomness.MinSample {
			// A side that says much and nothing but headers is not encrypted.
			e.found = e.found && (e.framing || len(s.data) < minRandom)
		} else if s.stats.Likelihood < level || s.columns < level {
			e.found = false
		}
	}
	return e.found
}

// maxDatagramHeader bounds the clear header of a datagram: what has a longer one is structured.
const maxDatagramHeader = 48

// need is how many bytes of ciphertext an alert takes. A longer clear header is likelier to be one of the many datagram protocols
// whose payload merely looks random (media, hashes, keys), and so is a direction that never got an answer.
func (e *examined) need(all [2][][]byte) int {
	header := max(e.sides[0].header, e.sides[1].header)
	if !e.datagrams {
		return minRandom + header
	}
	if header > maxDatagramHeader {
		return math.MaxInt
	}
	need := 3*minRandom + 4*header
	if header > 0 && (len(all[0]) == 0 || len(all[1]) == 0) {
		need += 128
	}
	return need
}

// measure takes the longer body for the sample, or both where neither is long enough.
func (e *examined) measure() {
	a, b := &e.sides[0], &e.sides[1]
	e.n = len(a.body) + len(b.body)
	switch {
	case len(a.body) < randomness.MinSample || len(b.body) < randomness.MinSample:
		e.sample = randomness.Judge(append(a.body[:len(a.body):len(a.body)], b.body...))
	case len(a.body) >= len(b.body):
		e.sample = a.stats
	default:
		e.sample = b.stats
	}
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
	e.framing = true
	defer func() { e.framing = false }()
	base := f.position + f.width
	clear := [2]int{max(base, clearHeader(split[0])), max(base, clearHeader(split[1]))}
	if e.accept(split, clear, 1-e.threshold) || e.accept(split, [2]int{base, base}, 1-e.threshold) {
		return true
	}
	if f.extra > base && e.accept(split, [2]int{f.extra, f.extra}, 1-e.threshold) {
		return true
	}
	if !e.accept(split, [2]int{base + maxSearched, base + maxSearched}, stricter) && e.n >= minSearched {
		return false // what is not random there is not random before
	}
	for h := base + 1; h <= base+maxSearched; h++ {
		if e.accept(split, [2]int{h, h}, stricter) && e.n >= minSearched {
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
	if !e.accept(streams, [2]int{maxSearched, maxSearched}, stricter) && e.n >= minSearched {
		return false // what is not random there is not random before
	}
	for h := 1; h <= maxSearched; h++ {
		for _, header := range [3][2]int{{h, h}, {h, 0}, {0, h}} {
			if e.accept(streams, header, stricter) && e.n >= minSearched && e.n >= 8*h {
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
