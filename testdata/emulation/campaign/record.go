package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/judge"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// record keeps every packet of the link in a pcapng file until ctx ends; started is closed when it has begun.
func record(ctx context.Context, file string, started chan<- struct{}) error {
	source, err := capture.OpenLive(capture.LiveOptions{Interfaces: []string{nearLink}, Snaplen: 64 << 10, Buffer: 64 << 20})
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	close(started)
	err = copyPackets(ctx, source, out, func(*flow.Header) bool { return true })
	return errors.Join(err, out.Flush(), f.Close())
}

// copyPackets writes the packets that keep wants, until the source or ctx ends.
func copyPackets(ctx context.Context, source capture.Source, out io.Writer, keep func(*flow.Header) bool) error {
	w, err := capture.NewAppleWriter(out, capture.AppleSection{Program: "cipherlens emulation"})
	if err != nil {
		return err
	}
	link, err := w.AddInterface(nearLink, capture.LinkEthernet)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		var p capture.Packet
		err := source.Next(&p)
		if errors.Is(err, capture.ErrTimeout) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var h flow.Header
		if flow.Decode(p.LinkType, p.Data, &h) != nil || !keep(&h) {
			continue
		}
		if p.LinkType == capture.LinkRaw { // a live capture; Apple's files are of Ethernet
			p.Data = append([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00"), p.Data...)
			p.Length = len(p.Data)
		}
		p.Interface, p.Direction, p.Process = link, capture.Unknown, nil
		if err := w.Write(capture.ApplePacket{Packet: p}); err != nil {
			return err
		}
	}
	return nil
}

// A talk is the start of one recorded connection.
type talk struct {
	conversation conformance.Conversation
	next         [2]uint32 // TCP sequence number that is due, client's and server's
	total        int
}

// talkBytes is how much of a connection is kept: more than any verdict takes.
const talkBytes = 16 << 10

// talks reads the recorded connections, by the two addresses, the client's first.
func talks(file string) (map[string]*talk, error) {
	source, err := capture.OpenFile(file)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	all := map[string]*talk{}
	for {
		var p capture.Packet
		if err := source.Next(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		var h flow.Header
		if flow.Decode(p.LinkType, p.Data, &h) != nil {
			continue
		}
		near, away, side := h.Source(), h.Destination(), 0
		if near.Addr() != netip.MustParseAddr(nearAddress) {
			near, away, side = away, near, 1
		}
		key := near.String() + " " + away.String()
		t := all[key]
		if t == nil {
			t = &talk{conversation: conformance.Conversation{Transport: h.Transport, ClientPort: near.Port(), ServerPort: away.Port(), StartSeen: true}}
			all[key] = t
		}
		t.add(&h, side)
	}
}

// add takes one packet's payload in order; links of this kind lose and reorder nothing, so what is not due is a repetition.
func (t *talk) add(h *flow.Header, side int) {
	half := &t.conversation.Client
	if side == 1 {
		half = &t.conversation.Server
	}
	if h.Transport == conformance.TCP {
		if h.Flags&2 != 0 { // SYN
			t.next[side] = h.Seq + 1
			return
		}
		if h.Seq != t.next[side] {
			return
		}
		t.next[side] += uint32(len(h.Payload))
	}
	if len(h.Payload) == 0 || t.total > talkBytes {
		return
	}
	half.Segments = append(half.Segments, conformance.Segment{Offset: len(half.Data), Length: len(h.Payload), Order: len(t.conversation.Client.Segments) + len(t.conversation.Server.Segments)})
	half.Data = append(half.Data, h.Payload...)
	half.Total += uint64(len(h.Payload))
	t.total += len(h.Payload)
}

// needed is the least number of payload bytes, of both directions in their order, from which the connection is an alert: where it ends there, and while
// it goes on. 0: never.
func (t *talk) needed() (ended, open int) {
	return t.least(true), t.least(false)
}

func (t *talk) least(ended bool) int {
	for n := 8; n < t.total+step(n); n += step(n) {
		c := t.prefix(min(n, t.total))
		c.Ended = ended
		if judge.Judge(&c, conformance.Options{Threshold: conformance.DefaultThreshold}).Verdict.Alert() {
			return min(n, t.total)
		}
	}
	return 0
}

// step is an eighth of n, at least 8.
func step(n int) int { return max(8, n/8) }

// prefix is the conversation as it was when n bytes had passed.
func (t *talk) prefix(n int) conformance.Conversation {
	c := t.conversation
	c.Client, c.Server = conformance.Half{}, conformance.Half{}
	from := [2]*conformance.Half{&t.conversation.Client, &t.conversation.Server}
	to := [2]*conformance.Half{&c.Client, &c.Server}
	var at [2]int
	for order := 0; n > 0; order++ {
		side := 0
		if at[0] >= len(from[0].Segments) || from[0].Segments[at[0]].Order != order {
			side = 1
		}
		if at[side] >= len(from[side].Segments) {
			break
		}
		s := from[side].Segments[at[side]]
		at[side]++
		length := min(s.Length, n)
		n -= length
		to[side].Segments = append(to[side].Segments, conformance.Segment{Offset: len(to[side].Data), Length: length, Order: order})
		to[side].Data = append(to[side].Data, from[side].Data[s.Offset:s.Offset+length]...)
		to[side].Total += uint64(length)
	}
	return c
}

// keepMiss copies one flow's packets out of the recording.
func keepMiss(recording, dir, name string, server netip.AddrPort) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source, err := capture.OpenFile(recording)
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".pcapng"))
	if err != nil {
		return err
	}
	err = copyPackets(context.Background(), source, f, func(h *flow.Header) bool { return h.Source() == server || h.Destination() == server })
	return errors.Join(err, f.Close())
}
