package flow

// maxAhead is how far a segment may be ahead of a stream's start and still be of that stream: the largest TCP window (RFC 7323).
const maxAhead = 1 << 30

// maxEarly is more than a SYN can carry (TCP Fast Open).
const maxEarly = 1 << 16

// superseded says whether a packet of a flow's 5-tuple starts another flow.
func (t *Table) superseded(f *Flow, fromLow bool, h *Header) bool {
	if f.Transport == UDP {
		return f.Ended || t.clock.now-f.touched >= int64(t.config.UDPIdle)
	}
	if h.Flags&SYN == 0 {
		return false
	}
	dir := f.direction(fromLow)
	if f.based[dir] {
		return f.base[dir] != h.Seq+1 && !sameAnswer(f, dir, h)
	}
	if h.Flags&ACK != 0 { // the answer, or an answer to a SYN of the other side that was not seen
		other := 1 - dir
		return f.Ended || f.based[other] && h.Ack-f.base[other] > maxEarly && f.Packets[dir] > 0
	}
	simultaneous := f.TCPFlags[1-dir]&(SYN|ACK) == SYN && f.Packets[dir] == 0
	return !simultaneous
}

// sameAnswer says whether a SYN-ACK with another sequence number still answers the flow's SYN. SYN cookies and load
// balancers that forgot make such.
func sameAnswer(f *Flow, dir int, h *Header) bool {
	return h.Flags&ACK != 0 && f.based[1-dir] && h.Ack == f.base[1-dir] && f.Bytes[dir] == 0
}

// tcp follows one segment. Who sends the SYN is the client, even if others were seen sending before.
func (t *Table) tcp(f *Flow, dir int, h *Header) {
	if h.Flags&SYN != 0 && (f.TCPFlags[0]|f.TCPFlags[1])&SYN == 0 && (h.Flags&ACK != 0) == (dir == ToServer) {
		t.swap(f)
		dir = 1 - dir
	}
	f.TCPFlags[dir] |= h.Flags
	start := h.Seq
	switch {
	case h.Flags&SYN != 0:
		t.synchronize(f, dir, h)
		start++
	case !f.based[dir] && h.Length > 0:
		// A stream that was not seen from its start begins where it was joined.
		f.base[dir], f.based[dir], f.guessed[dir] = h.Seq, true, true
		f.StartSeen = false
	}
	if h.Length > 0 {
		t.sampleOf(f)
	}
	t.acknowledge(f, dir, h)
	if f.sample != nil {
		t.segmentOf(f, dir, int64(int32(start-f.base[dir])), h)
	}
	if h.Flags&(FIN|RST) != 0 {
		t.finish(f, h)
	}
}

// synchronize takes the sequence numbers of a SYN or SYN-ACK. A SYN-ACK says where both streams start, also when the SYN was
// not captured. It also corrects a SYN that its receiver never saw.
func (t *Table) synchronize(f *Flow, dir int, h *Header) {
	other := 1 - dir
	first := !f.based[dir] || f.guessed[dir]
	f.disputed = f.disputed || !first && f.base[dir] != h.Seq+1
	f.base[dir], f.based[dir], f.guessed[dir] = h.Seq+1, true, false
	if h.Flags&ACK != 0 {
		f.guessed[other] = f.guessed[other] && f.base[other] != h.Ack
	}
	f.StartSeen = !f.guessed[other]
	if h.Flags&ACK == 0 || !first || f.based[other] && h.Ack-f.base[other] <= maxEarly {
		return
	}
	f.base[other], f.based[other] = h.Ack, true
	if f.sample != nil {
		t.release(f)
		f.sampled = false
		t.lists.put(f, bare, t.clock.now)
	}
}

// swap makes the client the server: the first packets that were captured were not the first that were sent.
func (t *Table) swap(f *Flow) {
	f.clientLow = !f.clientLow
	f.Packets[0], f.Packets[1] = f.Packets[1], f.Packets[0]
	f.Bytes[0], f.Bytes[1] = f.Bytes[1], f.Bytes[0]
	f.TCPFlags[0], f.TCPFlags[1] = f.TCPFlags[1], f.TCPFlags[0]
	f.based[0], f.based[1] = f.based[1], f.based[0]
	f.guessed[0], f.guessed[1] = f.guessed[1], f.guessed[0]
	f.base[0], f.base[1] = f.base[1], f.base[0]
	switch f.Local {
	case LocalClient:
		f.Local = LocalServer
	case LocalServer:
		f.Local = LocalClient
	}
	if s := f.sample; s != nil {
		s.half[0], s.half[1] = s.half[1], s.half[0]
		s.then[0], s.then[1] = s.then[1], s.then[0]
		s.swapped = !s.swapped
	}
}

// acknowledge uses what a segment says of the other direction: where it starts, when its SYN-ACK was not captured, and what
// of it has arrived.
func (t *Table) acknowledge(f *Flow, dir int, h *Header) {
	if h.Flags&(ACK|SYN|RST) != ACK {
		return
	}
	other := 1 - dir
	unknown := !f.based[other] && f.StartSeen && f.Bytes[dir] == uint64(h.Length)
	if (unknown || f.disputed && dir == ToServer) && f.Bytes[other] == 0 {
		f.base[other], f.based[other], f.disputed = h.Ack, true, false
	}
	if f.sample == nil || !f.based[other] {
		return
	}
	o := &f.sample.half[other]
	if has := h.Ack - f.base[other]; has < maxAhead && f.TCPFlags[other]&FIN == 0 {
		o.acked = max(o.acked, has)
	}
	t.await(f.sample, o)
}

// segmentOf stores a segment's payload, which starts at stream offset at. Offsets before the start are keep-alives,
// or older than what was seen.
func (t *Table) segmentOf(f *Flow, dir int, at int64, h *Header) {
	b, length := h.Payload, h.Length
	if at < 0 {
		skip := int(min(-at, int64(length)))
		b, length, at = b[min(skip, len(b)):], length-skip, 0
	}
	if at >= maxAhead {
		return
	}
	s := f.sample
	p := &s.half[dir]
	end := uint32(at) + uint32(max(length, 0))
	if length <= 0 {
		if h.Flags&FIN != 0 { // says where the stream ends, and so what is missing
			p.high = max(p.high, end)
		}
		return
	}
	captured := int(at) + len(b)
	if len(b) < length && captured < int(p.limit) && !p.covered(captured) {
		p.truncate(captured)
	}
	added := 0
	if int(at) < int(p.limit) {
		added = t.store(s, dir, int(at), b, t.clock.now-f.opened)
	}
	// Beyond what is kept, bytes are new when they are past the last ones.
	beyond := max(uint32(at), p.high, uint32(p.limit))
	p.total += uint64(added)
	if end > beyond {
		p.total += uint64(end - beyond)
	}
	p.high = max(p.high, end)
	t.await(s, p)
	t.stored(f, added)
}

// await watches over a hole: how long it has been there, and when to give up on it.
func (t *Table) await(s *sample, p *half) {
	if !p.holed() {
		p.waiting = false
		return
	}
	if !s.torn {
		s.torn, s.tornAt = true, t.clock.now
	}
	at := uint16(p.inOrder())
	if !p.waiting || p.holeAt != at {
		p.waiting, p.holeAt, p.holeSince = true, at, t.clock.now
		return
	}
	waited := t.clock.now - p.holeSince
	if waited >= holePatience || waited >= ackedHolePatience && p.acked > uint32(at)+1 {
		// The stream is cut here. Chunks after the hole stay until the sample goes.
		p.truncate(int(at))
		p.waiting = false
	}
}

// finish ends a flow at once when all was seen, and lets it linger where segments may still be on their way.
func (t *Table) finish(f *Flow, h *Header) {
	both := f.TCPFlags[0]&FIN != 0 && f.TCPFlags[1]&FIN != 0
	reset := h.Flags&RST != 0
	switch {
	case f.Ended || !both && !reset:
	case f.sample == nil, both && !f.sample.missing():
		t.conclude(f)
	default:
		t.lists.put(f, closing, t.clock.now)
	}
}
