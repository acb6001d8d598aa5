package conformance

import (
	"math"
	"sync"

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
)

// Settled is how many bytes of each direction make a judgement that more would hardly change. But for handshakes, which end sooner, none is
// final before both have shown them, or have ended.
const Settled = 2048

// Unexplained judges a conversation that no recognizer knows: text, a compressed format, structure, or ciphertext from the start or
// behind a clear header. It does not allocate, and its cost is bounded whatever the bytes are.
func Unexplained(c *Conversation, o Options) Judgement {
	n := len(c.Client.Data) + len(c.Server.Data)
	if n == 0 {
		return Judgement{Verdict: Undetermined, Reasons: noPayload, Final: c.Ended}
	}
	if n >= minText && mostlyText(c.Client.Data, c.Server.Data) {
		if j, ok := encodedText(c, o); ok {
			return j
		}
		return Judgement{Verdict: Cleartext, Confidence: 0.9, Reasons: printable, Final: c.Ended || full(c)}
	}
	e := examinations.Get().(*examined)
	defer examinations.Put(e)
	e.examine(c, o)
	j := e.judge(c)
	j.Final = c.Ended || full(c) && j.Verdict != Undetermined
	return j
}

// Reasons that are given often. Nobody may change them.
var (
	noPayload        = []string{"no_payload"}
	printable        = []string{"printable"}
	fewBytes         = []string{"few_bytes"}
	directionsDiffer = []string{"directions_differ"}
	binaryStructure  = []string{"binary_structure"}
	randomBody       = []string{"random_body"}
	lengthPrefix     = []string{"random_body", "length_prefix"}
	clearPrefix      = []string{"random_body", "clear_header"}
)

// examined is what the unexplained bytes of both directions show.
type examined struct {
	threshold float64
	verdict   bool // is all that is wanted
	sides     [2]side
	framing   bool // the header at hand is a length field's
	framed    bool // ciphertext was found behind one
	datagrams bool
	format    *format // compressed
	disguise  *disguise
	found     bool             // the bodies are random
	sample    randomness.Stats // of the direction with more bytes to judge
	uniform   bool             // all bytes may be
	n         int              // bytes judged in both directions
	raw       int              // of these bodies, with what repeats
	least     int              // bytes that the search at hand needs
	mixed     bool             // the bodies start with what is not uniform, but perhaps is without what repeats

	search search
	seen   blocks
	joined [randomness.MaxSample + randomness.MinSample]byte // both bodies
	head   [excludedBy]byte

	decoded [2][decodedSample]byte
	codes   [2]prefixCode
}

// examinations keeps what was used, since it is large.
var examinations = sync.Pool{New: func() any { return new(examined) }}

// side is one direction.
type side struct {
	data     []byte   // all of it
	whole    [][]byte // messages as they came
	messages [][]byte // distinct ones
	carried  carried
	first    carried // the first message alone
	framed   framed
	repeats  repeating // blocks of the messages
	header   int       // clear bytes before the body
	body     []byte    // the bodies of the messages, joined
	rest     [][]byte  // the bodies
	accepted [][]byte  // the messages that they are of

	failed [maxSearched + 1]bool // behind headers of which lengths the bodies are not uniform

	stream [1][]byte
	ends   [maxMessages]int
	room   struct{ whole, messages, split, rest [maxFramed][]byte }
	bytes  [randomness.MaxSample]byte
}

// framed is what a direction carried, cut into messages by a framing, and whether these are no ciphertext even behind the longest header that
// they may have, once that is judged.
type framed struct {
	by            framing
	messages      [][]byte
	judged, clear bool
}

// repeating says whether blocks of a direction's messages occur again.
type repeating uint8

const (
	unknown repeating = iota
	no
	yes
)

// begin forgets the last examination.
func (e *examined) begin(c *Conversation, o Options) {
	e.threshold, e.datagrams, e.verdict = o.Threshold, c.Transport == UDP, c.VerdictOnly
	if e.threshold <= 0 || e.threshold > 1 {
		e.threshold = DefaultThreshold
	}
	e.framing, e.framed, e.found, e.format, e.disguise, e.sample = false, false, false, nil, nil, randomness.Stats{}
}

func (e *examined) examine(c *Conversation, o Options) {
	e.begin(c, o)
	for i, h := range [...]*Half{&c.Client, &c.Server} {
		s := &e.sides[i]
		s.data, s.repeats, s.framed = h.Data, unknown, framed{}
		s.whole = messages(c, h, s.room.whole[:0])
		s.carry(c, h)
		s.messages = distinct(s.whole, s.room.messages[:0])
	}
	if e.format = e.findCompressed(); e.format != nil || e.disguised(c) {
		return
	}
	if e.tooFew() || e.clearDatagrams() || e.tooUneven() {
		e.all()
		return
	}
	if !e.behindFields() && !e.random(0, 0) && !e.behindHeader() && !e.behindClearStart(c) && !e.behindStuffing(c) {
		e.all()
	} else if startSeen(c) && e.packedByBrotli() {
		e.format = brotliFormat
	}
}

// behindFields looks for ciphertext behind a length field in every message, or in each direction's first one only.
func (e *examined) behindFields() bool {
	a, b := &e.sides[0], &e.sides[1]
	if len(a.data)+len(b.data) <= minRandom {
		return false
	}
	if len(a.data) > 0 && len(b.data) > 0 {
		e.search.each(&a.carried, &b.carried)
		e.framed = e.behindFound(bothSides) || e.behindFound(clientAlone) || e.behindFound(serverAlone)
	} else if _, ok := e.search.frame(&a.carried, &b.carried); ok {
		e.framed = e.behindFound(bothSides)
	}
	if e.framed {
		return true
	}
	if e.datagrams && len(a.whole) < 2 && len(b.whole) < 2 {
		return false // that was all of it
	}
	if f, ok := e.frameFirst(); ok {
		base := f.position + f.width
		e.framed = e.accept([2][][]byte{a.asStream(), b.asStream()}, [2]int{base, base}, 1-e.threshold)
	}
	return e.framed
}

// frameFirst looks for the framing of each direction's first message. Where that is all there is, it is the one that was found in both
// directions, and no other if these may be cut.
func (e *examined) frameFirst() (framing, bool) {
	a, b := &e.sides[0], &e.sides[1]
	if t := &e.search.tries[bothSides]; a.onlyFirst() && b.onlyFirst() && (t.open == 0 || !t.found && t.walked < maxWalked) {
		return t.best, t.found
	}
	for i := range e.sides {
		s := &e.sides[i]
		s.first = s.datagrams(s.whole[:min(len(s.whole), 1)])
	}
	return e.search.frame(&a.first, &b.first)
}

// onlyFirst says whether a direction carried nothing but one message.
func (s *side) onlyFirst() bool {
	c := &s.carried
	return len(c.units) == 0 || len(s.whole) == 1 && len(c.units) == 1 && len(c.ends) == 1 && len(c.units[0]) == len(s.whole[0])
}

// behindFound looks for ciphertext behind the length field that was found in some directions. Where it holds in one, the other may send
// something more, a key.
func (e *examined) behindFound(which int) bool {
	t := &e.search.tries[which]
	return t.found && e.behindField(t.best, which != serverAlone, which != clientAlone)
}

// asStream is all of a direction as one message; none where nothing was sent.
func (s *side) asStream() [][]byte {
	s.stream[0] = s.data
	return s.stream[:min(len(s.data), 1)]
}

// disguised looks for a known mask.
func (e *examined) disguised(c *Conversation) bool {
	for i := range disguises {
		d := &disguises[i]
		if h, ok := d.hides(e, c); ok {
			if e.whole(); !e.verdict {
				e.sample, _ = e.weigh(e.shown())
			}
			e.sides[0].header, e.disguise, e.found = h, d, true
			return true
		}
	}
	return false
}

// all takes all bytes for the sample.
func (e *examined) all() {
	e.whole()
	e.sample, e.uniform = e.weigh(e.shown())
	e.found = false
}

// whole takes all bytes for the bodies.
func (e *examined) whole() {
	for i := range e.sides {
		s := &e.sides[i]
		s.header, s.body = 0, s.data[:min(len(s.data), randomness.MaxSample)]
	}
	e.n = len(e.sides[0].body) + len(e.sides[1].body)
}

// weigh says whether bytes may be uniform, and gives their figures, with a likelihood of 0 where it is plainly too low to matter. There are none
// if the verdict is all that is wanted.
func (e *examined) weigh(b []byte) (sample randomness.Stats, uniform bool) {
	level := 1 - e.threshold
	if !e.verdict {
		sample = randomness.Weigh(b, level)
		return sample, sample.Likelihood >= level
	}
	if head := b[:min(len(b), excludedBy)]; level >= improbableLevel && improbable.Excludes(head) && (len(head) == len(b) || improbable.Excludes(b)) {
		return sample, false
	}
	return sample, randomness.Passes(b, level)
}

// judge draws the conclusion.
func (e *examined) judge(c *Conversation) Judgement {
	n := len(e.sides[0].data) + len(e.sides[1].data)
	switch {
	case e.format != nil:
		return Judgement{Verdict: Compressed, Confidence: 0.9, Reasons: e.format.reasons}
	case e.found:
		return e.judgeRandom(c)
	case n < minStructured:
		return Judgement{Verdict: Undetermined, Reasons: fewBytes, Sample: e.sample}
	case e.uniform:
		return Judgement{Verdict: e.oneSided(), Confidence: confidence(n) / 2, Reasons: directionsDiffer, Sample: e.sample}
	}
	return Judgement{Verdict: Structured, Confidence: confidence(n), Reasons: binaryStructure, Sample: e.sample}
}

// oneSided is the verdict where the longer direction may be ciphertext, but was not accepted: structure, if the other direction
// says so.
func (e *examined) oneSided() Verdict {
	for i := range e.sides {
		s := &e.sides[i]
		if len(s.data) < minRandom {
			continue
		}
		if _, uniform := e.weigh(s.body); !uniform {
			return Structured
		}
	}
	return Undetermined
}

func (e *examined) judgeRandom(c *Conversation) Judgement {
	j := Judgement{Sample: e.sample, Confidence: confidence(e.n), Reasons: randomBody}
	j.HeaderBytes = max(e.sides[0].header, e.sides[1].header)
	switch {
	case e.disguise != nil:
		j.Reasons, j.AppProtocol, j.Confidence = e.disguise.reasons, e.disguise.app, 0.99
	case e.framed:
		j.Reasons = lengthPrefix
	case j.HeaderBytes > 0:
		j.Reasons = clearPrefix
	}
	switch {
	case startSeen(c):
		j.Verdict = Random
	case c.Client.Total >= midstream && c.Server.Total >= midstream:
		j.Verdict = RandomMidstream
	default:
		j.Verdict, j.Confidence = Undetermined, 0
		j.Reasons = append(j.Reasons[:len(j.Reasons):len(j.Reasons)], "start_not_seen")
	}
	return j
}

// startSeen doubts the start of a UDP exchange that begins with what must be an answer: from a service's port to an ephemeral one; of
// datagrams that the capture cut, since no protocol's framing holds in them; and of a stream that lost bytes before much was seen.
func startSeen(c *Conversation) bool {
	const services = 1024
	cut := c.Client.Gap || c.Server.Gap
	switch {
	case !c.StartSeen:
		return false
	case c.Transport == UDP:
		return !cut && (c.ClientPort >= services || c.ServerPort < services)
	case cut:
		return !c.Client.lostStart() && !c.Server.lostStart()
	}
	return true
}

// lostStart says whether bytes were lost before more was seen of a direction than one short segment, or what the capture left of it.
func (h *Half) lostStart() bool { return h.Gap && len(h.Segments) < 2 && len(h.Data) < 8*minRandom }

// confidence grows with the bytes that were judged: 0.5 at 32, 0.75 at 64, 0.94 at 128.
func confidence(n int) float64 { return 1 - math.Exp2(-float64(n)/32) }

// full says whether more bytes would hardly change the verdict: both directions have shown enough, or all that is kept.
func full(c *Conversation) bool {
	for _, h := range [...]*Half{&c.Client, &c.Server} {
		if len(h.Data) < Settled && !h.Gap {
			return false
		}
	}
	return true
}

// stricter is the likelihood that bodies need where the header's length was searched for.
const stricter = 0.01

// maxSearched is the longest header that is found by trying.
const maxSearched = 32

// behindField looks for ciphertext behind a length field, and whatever else is clear behind that. Directions that the field does not hold
// in are split where the other side speaks.
func (e *examined) behindField(f framing, holds ...bool) bool {
	var split [2][][]byte
	for i := range e.sides {
		s := &e.sides[i]
		if split[i] = s.messages; holds[i] {
			if s.frame(f); s.framed.clear {
				return false
			}
			split[i] = s.framed.messages
		}
	}
	e.framing = true
	defer func() { e.framing = false }()
	split[0], split[1] = afterGreeting(split[0]), afterGreeting(split[1])
	base := f.position + f.width
	longest := max(base+maxSearched, maxHeader, f.extra)
	for i := range e.sides {
		s := &e.sides[i]
		if holds[i] && s.framed.judged {
			continue
		}
		s.rest = bodies(split[i], longest, s.room.rest[:0])
		clear := e.hopelessSide(s)
		if holds[i] {
			s.framed.judged, s.framed.clear = true, clear
		}
		if clear {
			return false
		}
	}
	clear := [2]int{max(base, clearHeader(split[0])), max(base, clearHeader(split[1]))}
	// Both sides speak one protocol: where one shows too few messages to tell, its header is as long as the other's.
	const half = maxFramed / 2
	all := append(e.sides[0].room.rest[:0], split[0][:min(len(split[0]), half)]...)
	all = append(all, split[1][:min(len(split[1]), half)]...)
	both := max(clear[0], clear[1], clearHeader(all))
	tried := [2]int{-1, -1}
	for _, header := range [...][2]int{clear, {both, both}, {base, base}} {
		if header != tried && e.accept(split, header, 1-e.threshold) {
			return true
		}
		tried = header
	}
	if f.extra > base && e.accept(split, [2]int{f.extra, f.extra}, 1-e.threshold) {
		return true
	}
	e.least = minSearched
	defer func() { e.least = 0 }()
	if !e.accept(split, [2]int{base + maxSearched, base + maxSearched}, stricter) && e.searched() {
		return false // what is not random there is not random before
	}
	for h := base + 1; h <= base+maxSearched; h++ {
		if e.accept(split, [2]int{h, h}, stricter) {
			return true
		}
		if e.raw < max(e.need(split), e.least) {
			return false // a longer one leaves still less
		}
	}
	return false
}

// frame cuts what a direction carried into messages, unless that has just been done.
func (s *side) frame(f framing) {
	if s.framed.by == f {
		return
	}
	parts := f.split(&s.carried, s.room.split[:0])
	s.framed = framed{by: f, messages: distinct(parts, parts[:0])}
}

// behindHeader looks for ciphertext behind what repeats in every message, or behind one header at the start of each direction.
func (e *examined) behindHeader() bool {
	all := [2][][]byte{e.sides[0].messages, e.sides[1].messages}
	clear := [2]int{clearHeader(all[0]), clearHeader(all[1])}
	both := max(clear[0], clear[1])
	if both > 0 && (e.accept(all, clear, 1-e.threshold) || clear != [2]int{both, both} && e.accept(all, [2]int{both, both}, 1-e.threshold)) {
		return true
	}
	a, b := &e.sides[0], &e.sides[1]
	a.stream[0], b.stream[0] = a.data, b.data
	streams := [2][][]byte{a.stream[:], b.stream[:]}
	e.least = minSearched
	defer func() { e.least = 0 }()
	if len(a.data)+len(b.data) < minSearched ||
		!e.accept(streams, [2]int{maxSearched, maxSearched}, stricter) && e.searched() {
		return false // what is not random there is not random before
	}
	a.failed, b.failed = [maxSearched + 1]bool{}, [maxSearched + 1]bool{}
	for h := 1; h <= maxSearched; h++ {
		for _, header := range [3][2]int{{h, h}, {h, 0}, {0, h}} {
			if a.failed[header[0]] || b.failed[header[1]] {
				continue
			}
			if e.least = max(minSearched, 8*h); e.accept(streams, header, stricter) {
				return true
			}
		}
	}
	return false
}

// searched says whether bodies that were not accepted behind the longest header that is tried rule out all shorter ones: there was enough
// to judge, or enough that repeats, or they are no ciphertext though they are few.
func (e *examined) searched() bool {
	return e.n >= minSearched || e.raw >= enoughSearched || e.hopeless()
}

const (
	// minSearched is how many bytes both directions need for a search of the header's length.
	minSearched = 128
	// enoughSearched is how many rule out shorter headers, whatever repeats in them.
	enoughSearched = 4 * minSearched
)
