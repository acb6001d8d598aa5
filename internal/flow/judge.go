package flow

import (
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// When to judge, in bytes in order of both directions.
const (
	firstJudged = 512
	// again is by how many times they must have grown.
	again = 4
	// enough times SampleBytes of payload seen end the sampling also of a flow that speaks in one direction only.
	enough = 8
)

const (
	// patience is how long bytes lie before they are judged although more might come.
	patience = int64(10 * time.Second)
	// hurry is the same where the last judgement was pending: long enough for most handshakes to end. It is taken so many times a flow at
	// most, whatever the sender makes of it.
	hurry, hurries = int64(2 * time.Second), 6
	// linger is how long a reset flow waits for what was reordered.
	linger = int64(5 * time.Second)
)

// sampleOf is the flow's sample, with chunks at hand for one more segment; nil when the flow is not sampled any more.
func (t *Table) sampleOf(f *Flow) *sample {
	if f.sample == nil {
		if f.sampled {
			return nil
		}
		f.sample, f.sampled = t.newSample(f), true
		t.lists.put(f, fresh, t.clock.now)
	}
	// A segment touches at most all chunks of its direction, and marks maxSpans ranges.
	for t.pool.available() < halfChunks+2 && t.shed(f) {
	}
	return f.sample
}

func (t *Table) newSample(f *Flow) *sample {
	for len(t.samples) == 0 && t.made >= t.maxMade && t.shed(f) {
	}
	var s *sample
	if n := len(t.samples); n > 0 {
		s = t.samples[n-1]
		t.samples = t.samples[:n-1]
	} else {
		s = new(sample)
		t.made++
	}
	s.course = course{judged: -1, judgeAt: firstJudged}
	for i := range s.half {
		s.half[i].progress = progress{limit: uint16(t.config.SampleBytes)}
	}
	return s
}

// shed takes the sample from the flow that has waited longest for more bytes, other than not. Flows whose bytes were
// all judged go first.
func (t *Table) shed(not *Flow) bool {
	for _, c := range [...]class{idle, quiet, closing, pressing, fresh} {
		f := t.lists.oldest(c, not)
		if f == nil {
			continue
		}
		if f.sample.inOrder() > f.sample.judged {
			t.stats.Early++
			t.judge(f, false)
		}
		t.settle(f)
		return true
	}
	return false
}

// datagram stores a UDP payload after those before it.
func (t *Table) datagram(f *Flow, dir int, h *Header) {
	if h.Length <= 0 {
		return
	}
	s := t.sampleOf(f)
	if s == nil {
		return
	}
	p := &s.half[dir]
	at := p.inOrder()
	if len(h.Payload) < h.Length {
		p.truncate(at + len(h.Payload))
	}
	added := t.store(s, dir, at, h.Payload, t.clock.now-f.opened)
	p.total += uint64(h.Length)
	t.stored(f, added)
}

// stored judges a flow whose bytes have become more, when that is worth it.
func (t *Table) stored(f *Flow, added int) {
	s := f.sample
	f.Ended = false
	if added > 0 {
		if f.class != closing && f.class != fresh && f.class != pressing {
			t.lists.put(f, t.urgency(f), t.clock.now)
		}
	}
	both := s.half[0].inOrder() > 0 && s.half[1].inOrder() > 0
	n := s.inOrder()
	// What is missing has come a moment later most times; to wait for it longer would let a sender put off its judgement.
	if s.missing() && t.clock.now-s.tornAt < holePatience {
		return
	}
	over := s.half[0].closed() && s.half[1].closed() ||
		f.Bytes[0]+f.Bytes[1] >= enough*uint64(t.config.SampleBytes)
	if !over && n < s.judgeAt && (!both || s.exchanged) {
		return
	}
	s.exchanged = both
	s.judgeAt = max(firstJudged, again*n)
	switch {
	case over:
		t.judge(f, false)
		t.settle(f)
	case n < t.least(s):
	case t.putsOff(s):
		s.then, s.putOff = s.extents(), true
	default:
		t.judge(f, false)
	}
}

// least is how many bytes in order are worth a look where nobody waits for an answer. A TLS handshake with its certificates is as long as what
// tells most other flows, and an answer before a few records of application data would be asked for again.
func (t *Table) least(s *sample) int {
	if t.config.Least > 0 && (t.handshake(&s.half[0]) || t.handshake(&s.half[1])) {
		return 3 * t.config.Least
	}
	return t.config.Least
}

// handshake says whether a stream begins with a TLS handshake.
func (t *Table) handshake(h *half) bool {
	const handshake, tls = 22, 3
	if h.inOrder() < 2 {
		return false
	}
	b := t.pool.bytes(h.chunks[0])
	return b[0] == handshake && b[1] == tls
}

// putsOff says whether a look is put off until the flow ends, or more is seen: nobody waits, and the answer would not be final, unless it were about
// a handshake over UDP, which more bytes do not change either.
func (t *Table) putsOff(s *sample) bool {
	if t.config.Least == 0 || t.handshake(&s.half[0]) || t.handshake(&s.half[1]) {
		return false
	}
	for i := range s.half {
		if h := &s.half[i]; h.inOrder() < conformance.Settled && !h.gap() {
			return true
		}
	}
	return false
}

// urgency is the class of a flow with bytes that were not judged.
func (t *Table) urgency(f *Flow) class {
	if f.Judgement.Pending && f.sample.hurried < hurries && t.config.Least == 0 {
		return pressing
	}
	return fresh
}

// judge asks what the flow is, by all its bytes in order. When that is final, the sample goes.
func (t *Table) judge(f *Flow, ended bool) { t.judgeBy(f, f.sample.extents(), ended) }

// judgeBy is judge by the bytes that there were when the extents were taken.
func (t *Table) judgeBy(f *Flow, of [2]extent, ended bool) {
	s := f.sample
	s.judged, s.putOff = of[ToServer].length+of[ToClient].length, false
	if t.config.Judge != nil {
		c := &t.conversation
		*c = conformance.Conversation{
			Transport:  f.Transport,
			ClientPort: f.key.port(f.clientLow),
			ServerPort: f.key.port(!f.clientLow),
			StartSeen:  f.StartSeen,
			Ended:      ended,
		}
		t.fill(&c.Client, s, ToServer, of[ToServer], ended)
		t.fill(&c.Server, s, ToClient, of[ToClient], ended)
		t.stats.Judged++
		f.Judgement = t.names.compact(t.config.Judge(f, c))
		f.Judged = true
	}
	if f.Judgement.Final {
		t.settle(f)
	} else if f.class == fresh || f.class == pressing {
		t.lists.put(f, quiet, t.clock.now)
	}
}

func (t *Table) fill(to *conformance.Half, s *sample, dir int, of extent, ended bool) {
	h := &s.half[dir]
	to.Data = t.data(h, of.length, t.buffer[dir][:])
	t.segment[dir] = t.segments(s, dir, of.length, t.segment[dir])
	to.Segments = t.segment[dir]
	to.Total = of.total
	to.Gap = of.gap || ended && h.holed()
}

// settle takes the flow's sample and files it by its judgement: no more of its bytes will be looked at.
func (t *Table) settle(f *Flow) {
	t.release(f)
	c := benign
	switch {
	case f.Alert():
		c = alert
	case f.Ended:
		c = done
	}
	t.lists.put(f, c, t.clock.now)
}

// conclude judges a flow of which no more is expected and takes its sample.
func (t *Table) conclude(f *Flow) {
	t.end(f)
	t.settle(f)
}

// end marks a flow as ended and judges it with that knowledge, where that can change anything.
func (t *Table) end(f *Flow) {
	f.Ended = true
	if s := f.sample; s != nil && s.putOff && s.inOrder() < 2*(s.then[ToServer].length+s.then[ToClient].length) {
		t.judgeBy(f, s.then, false)
	}
	switch s := f.sample; {
	case s == nil:
	case f.Judgement.Stable && !s.missing() && !t.grown(s):
		f.Judgement.Final = true
	default:
		t.judge(f, true)
	}
}

// grown says whether a flow that ends has more bytes than were judged, so many that they are worth another look: as many again
// where Config.Least had the first look wait for plenty.
func (t *Table) grown(s *sample) bool {
	if t.config.Least > 0 {
		return s.inOrder() >= 2*s.judged
	}
	return s.inOrder() > s.judged
}

// remove takes a flow from the table.
func (t *Table) remove(f *Flow) {
	if !f.Ended || f.sample != nil {
		t.end(f)
		t.release(f)
	}
	t.lists.remove(f)
	t.flows.remove(f)
	t.count--
	if t.config.Removed != nil {
		t.config.Removed(f)
	}
	if t.config.Recycle {
		t.spare, f.next = f, t.spare
	}
}

// evict makes room for one flow. Of what is over, was judged benign or never said anything, the one that was silent for longest goes first: a flow that has
// just ended is worth more than one that was idle for minutes. What may still turn out to be an alert goes late, and alerts only when there is nothing else.
func (t *Table) evict() {
	if f := t.lists.oldestOf(done, bare, benign); f != nil {
		t.stats.Evicted++
		t.remove(f)
		return
	}
	for _, c := range [...]class{idle, quiet, closing, pressing, fresh} {
		for f := t.lists.oldest(c, nil); f != nil; f = t.lists.oldest(c, nil) {
			if f.sample != nil {
				t.stats.Unjudged++
				t.conclude(f)
				if f.Alert() {
					continue
				}
			}
			t.stats.Evicted++
			t.remove(f)
			return
		}
	}
	t.stats.Evicted++
	t.stats.Alerts++
	t.remove(t.lists.oldest(alert, nil))
}

// sweep does what is due by time: at most once a second.
func (t *Table) sweep() {
	t.swept = t.clock.now
	for i, silent := range [2]time.Duration{t.config.TCPIdle, t.config.UDPIdle} {
		t.each(closing, i, linger, t.suspend)
		t.each(fresh, i, patience, t.review)
		t.each(pressing, i, hurry, t.review)
		for _, c := range [...]class{bare, quiet, benign} {
			t.each(c, i, int64(silent), t.suspend)
		}
		for _, c := range [...]class{idle, done} {
			t.each(c, i, int64(t.config.Keep), t.remove)
		}
		t.each(alert, i, int64(silent), t.retire)
	}
}

// each does do with all flows of a list that were silent for so long; do must take them from the head of the list.
func (t *Table) each(c class, transport int, silent int64, do func(*Flow)) {
	for f := t.lists[c][transport].head; f != nil && t.clock.now-f.queued >= silent; f = t.lists[c][transport].head {
		do(f)
	}
}

// review judges bytes that have lain for a while, unless they are few against those that were judged and the judgement is not pending, or nobody
// waits for an answer.
func (t *Table) review(f *Flow) {
	s := f.sample
	for i := range s.half {
		t.await(s, &s.half[i])
	}
	n, worth := s.inOrder(), 2*s.judged
	if f.class == pressing {
		s.hurried++
		worth = 0
	}
	if n > s.judged && n >= worth && t.config.Least == 0 {
		t.judge(f, false)
		return
	}
	t.lists.put(f, quiet, t.clock.now)
}

// suspend ends an idle flow. TCP may speak again after any time, so its sample stays until there is need of the room.
func (t *Table) suspend(f *Flow) {
	t.end(f)
	if f.sample != nil && f.Transport == TCP {
		t.lists.put(f, idle, t.clock.now)
		return
	}
	t.settle(f)
}

// retire ends an idle alert, and removes it when it was kept long enough.
func (t *Table) retire(f *Flow) {
	f.Ended = true
	if t.clock.now-f.touched >= int64(t.config.Keep) {
		t.remove(f)
		return
	}
	t.lists.put(f, alert, t.clock.now)
}
