package flow

import (
	"iter"
	"time"
	"unsafe"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// Defaults of Config.
const (
	DefaultMemory  = 32 << 20
	DefaultTCPIdle = 5 * time.Minute
	DefaultUDPIdle = 3 * time.Minute
	DefaultKeep    = 15 * time.Minute
)

// MaxFlowBytes is what one judged flow may cost, its share of the table's index included.
const MaxFlowBytes = 512

// minMemory leaves room for a few flows' full samples.
const minMemory = 1 << 20

// Config says how a table works. The zero value of each field is a usable default.
type Config struct {
	// Judge says what a flow is. It is called when a flow has new bytes worth a look (the first answer, then each time
	// the bytes in order have grown fourfold, to 512 at least, when bytes have lain for ten seconds, and a few times two seconds
	// after those that a Pending judgement waits for), and when it ends. The conversation's slices are only valid during the call. Nil leaves every flow undetermined.
	Judge func(f *Flow, c *conformance.Conversation) conformance.Judgement
	// Opened is called with each new flow, after its first packet was counted.
	Opened func(f *Flow)
	// Removed is called with each flow that leaves the table, after its last judgement. The flow may be kept, unless Recycle is set.
	Removed func(f *Flow)
	// Recycle uses the memory of removed flows for new ones.
	Recycle bool

	// Memory bounds all flow state, in bytes: half for flows, at MaxFlowBytes each, half for their first bytes. At least 1 MiB.
	Memory int
	// Least is how many bytes in order, of both directions, a flow must have shown to be judged before it ends or has to make room:
	// for captures, where nobody waits for an early answer. A look that could not be final is put off there, and left out where the flow grows
	// to twice that. 0, for live sources, judges from the first bytes on.
	Least int
	// SampleBytes are kept of each direction until a flow is judged for good; at most MaxSample.
	SampleBytes int
	// TCPIdle and UDPIdle end a flow that was silent for so long. TCP goes on where it was if it speaks again.
	TCPIdle, UDPIdle time.Duration
	// Keep is how long a flow stays in the table after its last packet once it has ended.
	Keep time.Duration
	// Outer leaves tunnels over UDP closed, see DecodeOuter.
	Outer bool
}

// Stats are a table's counters since it was made, but for the ones in the present tense.
type Stats struct {
	Packets  uint64 // put to a flow
	Opened   uint64 // flows
	Judged   uint64 // calls of Config.Judge
	Early    uint64 // flows judged before their time because the sample pool was full
	Evicted  uint64 // flows dropped because the table was full
	Unjudged uint64 // of these, those that could still have become something else
	Alerts   uint64 // alerts dropped because the table was full of nothing else

	Duplicates uint64 // datagrams seen again on another interface
	Reordered  uint64 // segments dropped because too many others before them were missing

	NotIP, NoTransport, Fragments, Truncated, Malformed, UnknownLink uint64 // packets without a flow

	Flows                 int // now in the table
	SampleBytes           int // now in use for first bytes
	SampleBytesMax        int // the most there was
	SampleBytesMaxAllowed int
}

// Table holds flows. It is not safe for concurrent use: one lock must be held around each call, and while its iterator runs.
type Table struct {
	config   Config
	clock    clock
	swept    int64
	flows    index
	lists    lists
	spare    *Flow // removed ones to be used again, by next
	count    int
	maxFlows int
	pool     pool
	samples  []*sample // free ones
	made     int       // samples, ever
	maxMade  int
	header   Header // of the packet at hand
	key      key    // its flow's
	stats    Stats
	names    names

	conversation conformance.Conversation
	buffer       [2][MaxSample]byte
	segment      [2][]conformance.Segment
}

// New makes a table. Settings out of range are brought into it.
func New(c Config) *Table {
	orDefault(&c.Memory, DefaultMemory)
	orDefault(&c.SampleBytes, MaxSample)
	orDefault(&c.TCPIdle, DefaultTCPIdle)
	orDefault(&c.UDPIdle, DefaultUDPIdle)
	orDefault(&c.Keep, DefaultKeep)
	c.Memory = max(c.Memory, minMemory)
	c.SampleBytes = min(c.SampleBytes, MaxSample)
	half := c.Memory / 2
	// A quarter of the samples' half is for their tables, the rest for the bytes.
	t := &Table{
		config:   c,
		flows:    newIndex(),
		maxFlows: half / MaxFlowBytes,
		maxMade:  half / 4 / int(unsafe.Sizeof(sample{})),
	}
	t.pool.max = (half - half/4) / chunkSize
	for i := range t.segment {
		t.segment[i] = make([]conformance.Segment, 0, maxMarks)
	}
	return t
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// SetKeep changes Config.Keep.
func (t *Table) SetKeep(d time.Duration) {
	orDefault(&d, DefaultKeep)
	t.config.Keep = d
}

// Add puts one packet to its flow. It keeps no reference to the packet's data.
func (t *Table) Add(p *capture.Packet) {
	t.clock.packet(p.Time)
	t.add(p)
	if t.clock.now-t.swept >= int64(time.Second) {
		t.sweep()
	}
}

func (t *Table) add(p *capture.Packet) {
	h := &t.header
	if err := t.decode(p, h); err != nil {
		t.skip(err)
		return
	}
	k := &t.key
	fromLow := k.of(h)
	f := t.flows.find(k)
	if f != nil && t.superseded(f, fromLow, h) {
		t.conclude(f)
		f = nil
	}
	opened := f == nil
	if opened {
		f = t.open(*k, fromLow, h, p)
	}
	dir := f.direction(fromLow)
	if f.Transport == UDP && t.duplicate(f, dir, p) {
		t.stats.Duplicates++
		return
	}
	t.stats.Packets++
	f.LastSeen = max(f.LastSeen, p.Time)
	f.Packets[dir]++
	f.Bytes[dir] += uint64(h.Length)
	f.attribute(p, dir)
	t.touch(f)
	if f.Ended && (f.TCPFlags[0]|f.TCPFlags[1])&(FIN|RST) == 0 {
		t.wake(f)
	}
	if opened && t.config.Opened != nil {
		t.config.Opened(f)
	}
	if f.Transport == UDP {
		t.datagram(f, dir, h)
	} else {
		t.tcp(f, dir, h)
	}
}

func (t *Table) decode(p *capture.Packet, h *Header) error {
	if t.config.Outer {
		return DecodeOuter(p.LinkType, p.Data, h)
	}
	return Decode(p.LinkType, p.Data, h)
}

// skip counts a packet that has no flow.
func (t *Table) skip(err error) {
	s := &t.stats
	switch err {
	case ErrNotIP:
		s.NotIP++
	case ErrTransport:
		s.NoTransport++
	case ErrFragment:
		s.Fragments++
	case ErrTruncated:
		s.Truncated++
	case ErrLinkType:
		s.UnknownLink++
	default:
		s.Malformed++
	}
}

// open makes a flow of its first packet. The sender of the first packet is the client, unless that is a SYN-ACK.
func (t *Table) open(k key, fromLow bool, h *Header, p *capture.Packet) *Flow {
	if t.count >= t.maxFlows {
		t.evict()
	}
	f := t.newFlow()
	f.key, f.clientLow, f.Transport, f.FirstSeen, f.LastSeen = k, fromLow, h.Transport, p.Time, p.Time
	if h.Transport == TCP && h.Flags&(SYN|ACK) == SYN|ACK {
		f.clientLow = !fromLow
	}
	f.StartSeen = h.Transport == UDP
	f.Judgement.Verdict = conformance.Undetermined
	f.opened, f.touched = t.clock.now, t.clock.now
	t.flows.put(f)
	t.count++
	t.stats.Opened++
	t.lists.put(f, bare, t.clock.now)
	return f
}

func (t *Table) newFlow() *Flow {
	f := t.spare
	if f == nil {
		return new(Flow)
	}
	t.spare = f.next
	*f = Flow{}
	return f
}

// touch keeps the lists in order of the last packet, to within a second: that saves most packets the trouble. Only fresh
// and pressing flows are in order of the first byte that was not judged.
func (t *Table) touch(f *Flow) {
	f.touched = t.clock.now
	if t.clock.now-f.queued >= int64(time.Second) && f.class != fresh && f.class != pressing {
		t.lists.put(f, f.class, t.clock.now)
	}
}

// wake takes back the end of a flow that was only idle.
func (t *Table) wake(f *Flow) {
	f.Ended = false
	switch {
	case f.class != done:
	case f.sampled:
		t.lists.put(f, benign, t.clock.now)
	default:
		t.lists.put(f, bare, t.clock.now)
	}
}

// duplicate says whether a datagram was already seen on its way through another interface. A direction is followed on one
// interface as long as that shows anything.
func (t *Table) duplicate(f *Flow, dir int, p *capture.Packet) bool {
	if f.Packets[dir] == 0 || f.iface[dir] == int32(p.Interface) {
		f.iface[dir] = int32(p.Interface)
		return false
	}
	if t.clock.now-f.touched < int64(time.Second) {
		return true
	}
	f.iface[dir] = int32(p.Interface)
	return false
}

// Advance moves the table's time without a packet. It takes the host's monotonic time in nanoseconds, from any start, and ends
// what is idle. Live sources need it, from before the first packet on; for files, the packets' times do.
func (t *Table) Advance(now int64) {
	t.clock.advance(now)
	if t.clock.now-t.swept >= int64(time.Second) {
		t.sweep()
	}
}

// Silent is how long ago a flow's last packet was put to it, by the table's time.
func (t *Table) Silent(f *Flow) time.Duration { return time.Duration(t.clock.now - f.touched) }

// Age is how long ago a flow's first packet was put to it, by the table's time.
func (t *Table) Age(f *Flow) time.Duration { return time.Duration(t.clock.now - f.opened) }

// Flush ends all flows and judges what was not judged yet. They stay in the table.
func (t *Table) Flush() {
	for c := range classes {
		if c == done || c == alert {
			continue
		}
		for f := t.lists.oldest(c, nil); f != nil; f = t.lists.oldest(c, nil) {
			t.conclude(f)
		}
	}
	for i := range t.lists[alert] {
		for f := t.lists[alert][i].head; f != nil; f = f.next {
			f.Ended = true
		}
	}
}

// Close ends, judges and removes all flows.
func (t *Table) Close() {
	t.Flush()
	for c := range classes {
		for f := t.lists.oldest(c, nil); f != nil; f = t.lists.oldest(c, nil) {
			t.remove(f)
		}
	}
}

// Flows are all flows in the table, in no particular order. The loop must not call the table, and must copy what it wants
// to look at after the table's lock was given up.
func (t *Table) Flows() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		for c := range t.lists {
			for i := range t.lists[c] {
				for f := t.lists[c][i].head; f != nil; f = f.next {
					if !yield(f) {
						return
					}
				}
			}
		}
	}
}

// Stats are the counters now.
func (t *Table) Stats() Stats {
	s := t.stats
	size := int(unsafe.Sizeof(sample{}))
	s.Flows = t.count
	s.SampleBytes = t.pool.inUse*chunkSize + (t.made-len(t.samples))*size
	s.SampleBytesMax = t.pool.inUseMax*chunkSize + t.made*size
	s.SampleBytesMaxAllowed = t.pool.max*chunkSize + t.maxMade*size
	return s
}
