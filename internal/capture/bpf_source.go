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
	mode    Mode
	timeout *time.Timer
	wait    time.Duration
	tap     unwrapper
	current *bpfBuffer
	records bpfRecords

	full    chan *bpfBuffer
	done    chan struct{}
	readers sync.WaitGroup
	cleanup func() error // after the devices are closed; may be nil

	packets, skipped atomic.Uint64
	closing          atomic.Bool

	mu       sync.Mutex // guards what follows
	devices  map[string]*bpfDevice
	names    []string // by index; of the devices' interfaces
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
	index int
	back  chan *bpfBuffer
}

func newBPFSource(mode Mode, timeout time.Duration) *bpfSource {
	return &bpfSource{
		mode: mode, wait: timeout, timeout: time.NewTimer(timeout), tap: newUnwrapper(),
		full: make(chan *bpfBuffer), done: make(chan struct{}), devices: map[string]*bpfDevice{},
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
	index := len(s.names)
	s.names = append(s.names, iface)
	free := make(chan *bpfBuffer, 2)
	for range cap(free) {
		free <- &bpfBuffer{data: make([]byte, d.buffer), link: link, index: index, back: free}
	}
	s.readers.Add(1)
	go s.read(d, iface, free)
}

// read hands over what a device gives until the source is closed or the device ends.
func (s *bpfSource) read(d *bpfDevice, iface string, free chan *bpfBuffer) {
	defer s.readers.Done()
	for {
		var b *bpfBuffer
		select {
		case b = <-free:
		case <-s.done:
			return
		}
		var err error
		for b.n = 0; b.n == 0 && err == nil && !s.closing.Load(); {
			b.n, err = d.read(b.data)
		}
		if err != nil {
			s.lost(iface, err)
			return
		}
		select {
		case s.full <- b:
		case <-s.done:
			return
		}
	}
}

// lost closes a device whose interface is gone, and ends the source when that was the last one.
func (s *bpfSource) lost(iface string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[iface]
	if d == nil {
		return
	}
	s.err = fmt.Errorf("capture: live: %s: read: %w", iface, err)
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
		p.LinkType, p.Interface = linkType(s.current.link), s.current.index
		if isPKTAP(p.LinkType) && !s.tap.unwrap(p) {
			s.skipped.Add(1)
			continue
		}
		s.packets.Add(1)
		return true
	}
	return false
}

// InterfaceName implements InterfaceNamer.
func (s *bpfSource) InterfaceName(index int) string {
	if s.mode == ModePKTAP {
		return s.tap.ifaces.name(index)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < 0 || index >= len(s.names) {
		return ""
	}
	return s.names[index]
}

// Stats implements Source.
func (s *bpfSource) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped := s.dropped
	for _, d := range s.devices {
		dropped += uint64(d.dropped())
	}
	return Stats{Packets: s.packets.Load(), Dropped: dropped, Skipped: s.skipped.Load(), Mode: s.mode, Degraded: s.degraded}
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
