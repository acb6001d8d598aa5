package capture

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// bpfSource gives the packets of one or more BPF devices.
//
// A goroutine for each device reads into two buffers in turn: it fills one while Next walks the other. Reads come back
// every few milliseconds, so that Close need not interrupt them.
type bpfSource struct {
	timeout *time.Timer
	wait    time.Duration
	tap     unwrapper
	current *bpfBuffer
	records bpfRecords

	full    chan *bpfBuffer
	done    chan struct{}
	retry   chan struct{}  // holds one wish to try PKTAP again
	readers sync.WaitGroup // all goroutines
	plain   sync.WaitGroup // those that read an interface by itself

	packets, skipped atomic.Uint64
	closing          atomic.Bool
	change           atomic.Int64 // when PKTAP took over, nanoseconds since 1970; 0 when it did not
	settling         time.Time    // when its first packet came; of Next
	settled          bool         // its packets are all from after the change; of Next

	mu       sync.Mutex // guards what follows
	mode     Mode
	since    time.Time
	before   string
	cleanup  func() error // after the devices are closed; may be nil
	devices  map[string]*bpfDevice
	degraded string
	dropped  uint64 // by devices that are closed
	closed   bool
	err      error // of the last device to end
}

// bpfBuffer is what one read gave.
type bpfBuffer struct {
	data  []byte
	n     int
	link  uint32
	iface [24]byte
	back  chan *bpfBuffer
}

func newBPFSource(mode Mode, timeout time.Duration, now time.Time) *bpfSource {
	return &bpfSource{
		mode: mode, since: now, wait: timeout, timeout: time.NewTimer(timeout), tap: newUnwrapper(),
		full: make(chan *bpfBuffer), done: make(chan struct{}), retry: make(chan struct{}, 1), devices: map[string]*bpfDevice{},
	}
}

// add starts to read from a device that is set up. It is refused, and the device closed, when the source is closed already.
func (s *bpfSource) add(d *bpfDevice, iface string, link uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = d.close()
		return
	}
	s.devices[iface] = d
	s.start(d, iface, link)
}

// start starts to read from a device; the lock must be held.
func (s *bpfSource) start(d *bpfDevice, iface string, link uint32) {
	free := make(chan *bpfBuffer, 2)
	for range cap(free) {
		b := &bpfBuffer{data: make([]byte, d.buffer), link: link, back: free}
		copy(b.iface[:], iface)
		free <- b
	}
	plain := !isPKTAP(linkType(link))
	s.readers.Add(1)
	if plain {
		s.plain.Add(1)
	}
	go func() {
		defer s.readers.Done()
		err := s.read(d, free)
		s.lost(iface, err)
		if plain {
			s.plain.Done()
		}
	}()
}

// read hands over what a device gives until the source is closed, the device is retired or, with an error, it ends.
func (s *bpfSource) read(d *bpfDevice, free chan *bpfBuffer) error {
	for last := 0; last < lastReads; {
		var b *bpfBuffer
		select {
		case b = <-free:
		case <-s.done:
			return nil
		}
		var err error
		for b.n = 0; b.n == 0 && last < lastReads; {
			if s.closing.Load() {
				return nil
			}
			if d.retired.Load() {
				last++
			}
			if b.n, err = d.read(b.data); err != nil {
				return err
			}
		}
		select {
		case s.full <- b:
		case <-s.done:
			return nil
		}
	}
	return nil
}

// lost closes a device whose interface is gone or that is retired, and ends the source when that was the last one.
func (s *bpfSource) lost(iface string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[iface]
	if d == nil || s.closed {
		return
	}
	if err != nil {
		s.err = fmt.Errorf("capture: live: %s: read: %w", iface, err)
	}
	s.dropped += uint64(d.dropped())
	delete(s.devices, iface)
	_ = d.close()
}

// Next implements Source.
func (s *bpfSource) Next(p *Packet) error {
	for !s.closing.Load() {
		if s.current != nil {
			if s.walk(p) {
				return nil
			}
			s.current.back <- s.current
			s.current = nil
		}
		s.timeout.Reset(s.wait)
		select {
		case s.current = <-s.full:
			s.records = bpfRecords{s.current.data[:min(s.current.n, len(s.current.data))]}
		case <-s.timeout.C:
			return s.idle()
		case <-s.done:
		}
	}
	return io.EOF
}

// idle says why no packet came: nothing happened, or no device is left.
func (s *bpfSource) idle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.devices) == 0 && s.err != nil {
		return s.err
	}
	return ErrTimeout
}

// walk gives the next packet of the current buffer.
func (s *bpfSource) walk(p *Packet) bool {
	for s.records.next(p) {
		p.LinkType = linkType(s.current.link)
		tapped := isPKTAP(p.LinkType)
		if s.elsewhere(p, tapped) {
			continue
		}
		if tapped && !s.tap.unwrap(p) {
			s.skipped.Add(1)
			continue
		}
		if !tapped { // by the same numbers as PKTAP's: flows go on after the change
			p.Interface = s.tap.ifaces.named(s.current.iface)
		}
		s.packets.Add(1)
		return true
	}
	return false
}

// InterfaceName implements InterfaceNamer.
func (s *bpfSource) InterfaceName(index int) string { return s.tap.ifaces.name(index) }

// Stats implements Source.
func (s *bpfSource) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped := s.dropped
	for _, d := range s.devices {
		dropped += uint64(d.dropped())
	}
	return Stats{Packets: s.packets.Load(), Dropped: dropped, Skipped: s.skipped.Load(), Mode: s.mode, Since: s.since, Before: s.before, Degraded: s.degraded}
}

// Close implements Source.
func (s *bpfSource) Close() error {
	if s.closing.Swap(true) {
		return nil
	}
	close(s.done)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.readers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, d := range s.devices {
		s.dropped += uint64(d.dropped())
		errs = append(errs, d.close())
	}
	clear(s.devices)
	if s.cleanup != nil {
		errs = append(errs, s.cleanup())
	}
	return errors.Join(errs...)
}
