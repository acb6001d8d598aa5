package flow

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// MaxSample is the most that is kept of one direction: the longest that Config.SampleBytes may be.
const MaxSample = 16 << 10

const (
	halfChunks  = MaxSample / chunkSize
	maxSpans    = 8 // ranges that wait for what is missing between them
	inlineMarks = 16
	markChunks  = 3
	chunkMarks  = chunkSize / 8
	maxMarks    = inlineMarks + markChunks*chunkMarks
)

// How long missing bytes are waited for: a retransmission can take seconds; once the receiver has acknowledged them they
// were only captured late, if at all.
const (
	holePatience      = int64(3 * time.Second)
	ackedHolePatience = int64(200 * time.Millisecond)
)

// span is a range of stream bytes that were received.
type span struct{ from, to uint16 }

// half is the start of one direction's stream: chunks by stream offset, of which the spans are filled.
type half struct {
	progress
	chunks [halfChunks]uint32
}

// progress is what every segment touches: one cache line.
type progress struct {
	spans     [maxSpans]span // in order, neither overlapping nor touching
	count     uint8
	cut       bool   // bytes from limit on are lost: they were not captured, or did not come in time
	waiting   bool   // there is a hole at holeAt since holeSince
	top       uint8  // no chunk is used from here on
	limit     uint16 // no byte is kept from here on
	holeAt    uint16
	high      uint32 // stream offset after the last byte seen
	acked     uint32 // stream offset up to which the receiver has all
	holeSince int64
	total     uint64 // payload bytes, retransmissions not counted
}

// sample is what a flow keeps of its first bytes until it has been judged for good.
type sample struct {
	half [2]half
	course
	marks [inlineMarks]uint64
	more  [markChunks]uint32
}

// course is how far a sample has come.
type course struct {
	judged    int   // bytes in order when last judged; -1 before
	judgeAt   int   // bytes in order that are worth judging
	tornAt    int64 // table clock
	torn      bool  // there was a hole, first at tornAt
	exchanged bool  // both sides have sent
	swapped   bool  // directions in marks are the other way round
	hurried   uint8 // looks that were taken because the judgement was pending
	marked    uint16
	putOff    bool // a look was put off when there was what then says: it is due when the flow ends, unless there is twice as much
	then      [2]extent
}

// extent is how much was seen of one direction at a time.
type extent struct {
	length int // bytes in order
	total  uint64
	gap    bool
}

func (s *sample) extents() (all [2]extent) {
	for i := range s.half {
		h := &s.half[i]
		all[i] = extent{h.inOrder(), h.total, h.gap()}
	}
	return all
}

// inOrder is the number of bytes from the start without a hole.
func (h *half) inOrder() int {
	if h.count > 0 && h.spans[0].from == 0 {
		return int(h.spans[0].to)
	}
	return 0
}

// closed says that no byte will be added.
func (h *half) closed() bool { return h.inOrder() >= int(h.limit) }

// holed says that bytes are missing before others that were seen or acknowledged. A single acknowledged byte is no
// proof: a FIN counts as one.
func (h *half) holed() bool {
	n := uint32(h.inOrder())
	return n < uint32(h.limit) && (h.high > n || h.acked > n+1)
}

// gap says that the bytes after the ones in order are lost.
func (h *half) gap() bool { return h.cut && h.closed() }

// bytes in order of both directions.
func (s *sample) inOrder() int { return s.half[0].inOrder() + s.half[1].inOrder() }

// missing says that a hole is waited for.
func (s *sample) missing() bool { return s.half[0].holed() || s.half[1].holed() }

// covered says whether the byte at offset at was received.
func (h *half) covered(at int) bool {
	for _, s := range h.spans[:h.count] {
		if int(s.from) <= at && at < int(s.to) {
			return true
		}
	}
	return false
}

// room says whether the range can be remembered: it must touch another, or there must be a free span. The last free one is
// kept for the range that starts the stream.
func (h *half) room(from, to int) bool {
	if h.count < maxSpans-1 || from == 0 && h.count < maxSpans {
		return true
	}
	for _, s := range h.spans[:h.count] {
		if int(s.from) <= to && from <= int(s.to) {
			return true
		}
	}
	return false
}

// merge adds the range to the spans. There must be room for it.
func (h *half) merge(from, to int) {
	i := 0
	for i < int(h.count) && int(h.spans[i].to) < from {
		i++
	}
	j := i
	for j < int(h.count) && int(h.spans[j].from) <= to {
		from, to = min(from, int(h.spans[j].from)), max(to, int(h.spans[j].to))
		j++
	}
	if i == j {
		copy(h.spans[i+1:h.count+1], h.spans[i:h.count])
		h.count++
	} else {
		copy(h.spans[i+1:], h.spans[j:h.count])
		h.count -= uint8(j - i - 1)
	}
	h.spans[i] = span{uint16(from), uint16(to)}
}

// truncate ends what is kept at offset at: nothing after it counts.
func (h *half) truncate(at int) {
	if at >= int(h.limit) {
		return
	}
	h.limit, h.cut = uint16(at), true
	for h.count > 0 && int(h.spans[h.count-1].from) >= at {
		h.count--
	}
	if h.count > 0 && int(h.spans[h.count-1].to) > at {
		h.spans[h.count-1].to = uint16(at)
	}
}

// store keeps the bytes b of direction dir from stream offset at on, those that are new: of bytes seen twice the first win.
// It gives how many were new. Enough chunks must be available.
func (t *Table) store(s *sample, dir, at int, b []byte, since int64) (added int) {
	h := &s.half[dir]
	end := min(at+len(b), int(h.limit))
	if at >= end {
		return 0
	}
	b = b[:end-at]
	if at == h.inOrder() && h.count < 2 && (at > 0 || h.count == 0) { // next in order, and nothing is there already
		t.write(s, dir, at, b, since)
		h.spans[0], h.count = span{0, uint16(end)}, 1
		return len(b)
	}
	if !h.room(at, end) {
		t.stats.Reordered++
		return 0
	}
	pos := at
	for _, have := range h.spans[:h.count] {
		from, to := int(have.from), int(have.to)
		if to <= pos {
			continue
		}
		if from >= end {
			break
		}
		if pos < from {
			added += t.write(s, dir, pos, b[pos-at:from-at], since)
		}
		pos = max(pos, to)
	}
	if pos < end {
		added += t.write(s, dir, pos, b[pos-at:], since)
	}
	h.merge(at, end)
	return added
}

// write copies b to the chunks from stream offset at on, and marks it as one segment.
func (t *Table) write(s *sample, dir, at int, b []byte, since int64) int {
	h := &s.half[dir]
	t.mark(s, dir, at, len(b), since)
	for from, rest := uint(at), b; len(rest) > 0; {
		c := &h.chunks[from/chunkSize]
		if *c == none {
			*c = t.pool.get()
			h.top = max(h.top, uint8(from/chunkSize)+1)
		}
		n := copy(t.pool.bytes(*c)[from%chunkSize:], rest)
		from, rest = from+uint(n), rest[n:]
	}
	return len(b)
}

// mark remembers one segment: its direction, offset, length and time in one word.
func (t *Table) mark(s *sample, dir, at, length int, since int64) {
	if s.marked == maxMarks {
		return
	}
	if s.swapped {
		dir = 1 - dir
	}
	micros := uint64(min(max(since, 0)/1000, math.MaxUint32))
	word := uint64(at)<<49 | uint64(dir)<<48 | uint64(length)<<32 | micros
	n := int(s.marked)
	s.marked++
	if n < inlineMarks {
		s.marks[n] = word
		return
	}
	n -= inlineMarks
	c := &s.more[n/chunkMarks]
	if *c == none {
		*c = t.pool.get()
	}
	binary.LittleEndian.PutUint64(t.pool.bytes(*c)[n%chunkMarks*8:], word)
}

func (t *Table) markAt(s *sample, n int) uint64 {
	if n < inlineMarks {
		return s.marks[n]
	}
	n -= inlineMarks
	return binary.LittleEndian.Uint64(t.pool.bytes(s.more[n/chunkMarks])[n%chunkMarks*8:])
}

// data gives the first n bytes of a direction, in buf where they are in more than one chunk.
func (t *Table) data(h *half, n int, buf []byte) []byte {
	if n == 0 {
		return nil
	}
	if n <= chunkSize {
		return t.pool.bytes(h.chunks[0])[:n:n]
	}
	for i := 0; i < n; i += chunkSize {
		copy(buf[i:n], t.pool.bytes(h.chunks[i/chunkSize]))
	}
	return buf[:n:n]
}

// segments gives the marks of one direction within its first n bytes, in order of offset.
func (t *Table) segments(s *sample, dir, n int, to []conformance.Segment) []conformance.Segment {
	to = to[:0]
	if s.swapped {
		dir = 1 - dir
	}
	for i := range int(s.marked) {
		word := t.markAt(s, i)
		seg := conformance.Segment{
			Offset: int(word >> 49),
			Length: int(word >> 32 & 0xffff),
			Order:  i,
			Time:   int64(word&math.MaxUint32) * 1000,
		}
		if int(word>>48&1) != dir || seg.Offset >= n {
			continue
		}
		seg.Length = min(seg.Length, n-seg.Offset)
		// Nearly in order already, and bounded by maxMarks.
		j := len(to)
		to = append(to, seg)
		for ; j > 0 && to[j-1].Offset > seg.Offset; j-- {
			to[j] = to[j-1]
		}
		to[j] = seg
	}
	return to
}

// giveBack empties a table of chunks.
func (t *Table) giveBack(chunks []uint32) {
	for i, c := range chunks {
		if c != none {
			t.pool.put(c)
			chunks[i] = none
		}
	}
}

// release gives the sample's chunks back and takes it from the flow. A free sample's tables of chunks are empty.
func (t *Table) release(f *Flow) {
	s := f.sample
	if s == nil {
		return
	}
	for i := range s.half {
		h := &s.half[i]
		t.giveBack(h.chunks[:h.top])
		h.top = 0
	}
	if s.marked > inlineMarks {
		t.giveBack(s.more[:])
	}
	f.sample = nil
	t.samples = append(t.samples, s)
}
