//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// tick is how often packets are sent.
const tick = time.Millisecond

// late is how much the generator may be behind; more is not made up for, since that would be a burst that no line carries.
const late = 50 * time.Millisecond

// implant is a flow that must become an alert.
type implant struct {
	verdict string
	remote  netip.AddrPort
}

// counts are what was sent.
type counts struct {
	packets, bytes uint64 // all, with Ethernet headers
	shown          uint64 // those that the sensor's filter lets through
	flows          uint64
	skipped        uint64 // ticks that were left out because the generator was late
}

// generator plays conversations over both ends of the veth pair.
type generator struct {
	talk   *catalogue
	out    *sender // the host's end: what its clients send
	in     *sender // the other: what servers send
	rate   int     // packets a second
	flows  []*flow // short ones that are not over
	long   []*flow
	turn   int // of the long ones
	opened uint64
	sent   counts

	implants []implant
}

// flow is one conversation that is being played.
type flow struct {
	script         *script
	client, server netip.AddrPort
	at             int
	seq            [2]uint32 // of the client, of the server
	streamed       int       // bulk packets sent
	from           int       // where in the stream of records the next one begins
}

const longFlows = 200

func newGenerator(rate int, there int, hostMAC, otherMAC [6]byte) (*generator, error) {
	talk, err := newCatalogue()
	if err != nil {
		return nil, err
	}
	g := &generator{talk: talk, rate: rate}
	if g.out, err = newSender("soak0", hostMAC, otherMAC); err != nil {
		return nil, err
	}
	err = inNamespaceOf(there, func() (err error) {
		g.in, err = newSender("soak1", otherMAC, hostMAC)
		return err
	})
	for range longFlows {
		g.long = append(g.long, g.open(&g.talk.long))
	}
	for i, f := range g.long { // they do not end at the same time
		f.streamed = f.script.bulk * i / len(g.long)
	}
	return g, err
}

// inNamespaceOf runs do in another process's network namespace.
func inNamespaceOf(pid int, do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer theirs.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	err = do()
	if back := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("setns: %w", back)
	}
	return err
}

// open makes a new flow, with addresses of its own for as long as it matters.
func (g *generator) open(s *script) *flow {
	n := g.opened
	g.opened++
	g.sent.flows++
	f := &flow{script: s, seq: [2]uint32{uint32(n) * 2654435761, uint32(n) * 40503}}
	f.client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(n / 50_000), 10}), uint16(10_000+n%50_000))
	f.server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), s.port)
	if s.alert != "" { // each its own finding
		f.server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n%250 + 1)}), uint16(20_000+len(g.implants)))
		g.implants = append(g.implants, implant{s.alert, f.server})
	}
	return f
}

// renew is how often other handshakes are recorded: one that came again ten seconds later would be a recording, which the sensor calls a mimic.
const renew = 4 * time.Second

// record makes new catalogues until ctx ends.
func record(ctx context.Context, to chan<- *catalogue) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(renew):
		}
		c, err := newCatalogue()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case to <- c:
		}
	}
}

// run plays until ctx ends. flowRate gives how many flows a second are opened, implantsAt whether one is opened, at a time since the start.
func (g *generator) run(ctx context.Context, flowRate func(time.Duration) int, implantEvery time.Duration, publish func(counts)) error {
	fresh := make(chan *catalogue)
	ended := make(chan error, 1)
	go func() { ended <- record(ctx, fresh) }()
	start := time.Now()
	var due, opening float64
	var nextImplant time.Duration
	for n := 0; ctx.Err() == nil; n++ {
		at := time.Duration(n) * tick
		behind := time.Since(start) - at
		if behind < 0 {
			time.Sleep(-behind)
		} else if behind > late {
			skip := int(behind / tick)
			g.sent.skipped += uint64(skip)
			n += skip
		}
		select {
		case g.talk = <-fresh:
		case err := <-ended:
			if err != nil {
				return err
			}
		default:
		}
		opening += float64(flowRate(at)) * tick.Seconds()
		for ; opening >= 1; opening-- {
			g.flows = append(g.flows, g.open(&g.talk.short[int(g.opened)%len(g.talk.short)]))
		}
		if implantEvery > 0 && at >= nextImplant {
			nextImplant += implantEvery
			g.flows = append(g.flows, g.open(&g.talk.implants[len(g.implants)%len(g.talk.implants)]))
		}
		due += float64(g.rate) * tick.Seconds()
		due -= float64(g.packets(int(due)))
		if err := g.flush(); err != nil {
			return err
		}
		publish(g.sent)
	}
	return nil
}

// packets queues one packet of each short flow and fills up with the long ones', so that no flow has two in one tick.
func (g *generator) packets(budget int) int {
	sent := 0
	rest := g.flows[:0]
	for _, f := range g.flows {
		if sent < budget {
			g.step(f)
			sent++
		}
		if f.at < len(f.script.steps) {
			rest = append(rest, f)
		}
	}
	clear(g.flows[len(rest):])
	g.flows = rest
	for range min(budget-sent, len(g.long)) {
		f := g.long[g.turn]
		g.step(f)
		if f.at >= len(f.script.steps) {
			g.long[g.turn] = g.open(&g.talk.long)
		}
		g.turn = (g.turn + 1) % len(g.long)
		sent++
	}
	return sent
}

// step queues the next packet of a flow.
func (g *generator) step(f *flow) {
	s := &f.script.steps[f.at]
	payload, flags, toServer := s.payload, s.flags, s.toServer
	if bulk := f.script.bulk; bulk > 0 && f.at == len(f.script.steps)-4 && f.streamed < bulk {
		f.streamed++
		toServer, flags, payload = true, flagACK, nil
		if n := f.streamed % 3; n != 0 {
			size := segmentSizes[n-1]
			toServer, payload = false, g.talk.stream[f.from:f.from+size]
			f.from = (f.from + size) % g.talk.around
		}
	} else {
		f.at++
	}
	from, to, by, side := f.client, f.server, g.out, 0
	if !toServer {
		from, to, by, side = f.server, f.client, g.in, 1
	}
	n := by.add(from, to, f.script.transport, flags, f.seq[side], f.seq[1-side], payload)
	f.seq[side] += uint32(len(payload))
	if flags&(flagSYN|flagFIN) != 0 {
		f.seq[side]++
	}
	g.sent.packets++
	g.sent.bytes += uint64(n)
	if len(payload) > 0 || flags&(flagSYN|flagFIN) != 0 {
		g.sent.shown++
	}
}

func (g *generator) flush() error {
	if err := g.out.flush(); err != nil {
		return err
	}
	return g.in.flush()
}

// frame writes an Ethernet frame with IPv4 and TCP or UDP into b and gives its length. The checksum of TCP and UDP is left to hardware that is
// not there, as it is on a sending host.
func frame(b []byte, src, dst [6]byte, from, to netip.AddrPort, transport, flags byte, seq, ack uint32, payload []byte) int {
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := b[14:]
	header := 20
	if transport == 17 {
		header = 8
	}
	total := 20 + header + len(payload)
	copy(ip, []byte{0x45, 0, byte(total >> 8), byte(total), 0, 0, 0x40, 0, 64, transport, 0, 0})
	a, z := from.Addr().As4(), to.Addr().As4()
	copy(ip[12:], a[:])
	copy(ip[16:], z[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	l4 := ip[20:]
	binary.BigEndian.PutUint16(l4, from.Port())
	binary.BigEndian.PutUint16(l4[2:], to.Port())
	if transport == 17 {
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(payload)))
		binary.BigEndian.PutUint16(l4[6:], 0)
	} else {
		binary.BigEndian.PutUint32(l4[4:], seq)
		binary.BigEndian.PutUint32(l4[8:], ack)
		copy(l4[12:], []byte{5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0})
	}
	copy(l4[header:], payload)
	return 14 + total
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
