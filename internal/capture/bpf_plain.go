package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

const (
	plainBuffer = 128 << 10       // bytes an interface
	plainRescan = 5 * time.Second // how often interfaces that have come are looked for
	maxPlain    = 32              // interfaces: each takes a BPF device and two buffers
)

// openBPF captures on macOS: with PKTAP, or without where that fails.
func openBPF(k bpfKernel, o LiveOptions) (Source, error) {
	o = o.withDefaults(maxBPFBuffer)
	o.Buffer = min(o.Buffer, maxBPFBuffer)
	s, err := openPKTAP(k, o)
	if err != nil {
		var plainErr error
		if s, plainErr = openPlain(k, o, err); plainErr != nil {
			return nil, fmt.Errorf("capture: live: pktap: %w; bpf: %w", err, plainErr)
		}
	}
	return s, nil
}

// openPlain captures on each interface by itself, with neither process nor direction. why says what is wrong with PKTAP.
func openPlain(k bpfKernel, o LiveOptions, why error) (*bpfSource, error) {
	s := newBPFSource(ModeBPF, o.Timeout, k.now())
	plain := newPlainCapture(k, o, s, why)
	if err := plain.scan(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.readers.Add(1)
	go plain.follow()
	return s, nil
}

// plainCapture adds the devices of interfaces to a source, also of those that come later, until PKTAP can be had.
type plainCapture struct {
	k    bpfKernel
	o    LiveOptions
	s    *bpfSource
	why  error // what is wrong with PKTAP
	back tapReturn
}

func newPlainCapture(k bpfKernel, o LiveOptions, s *bpfSource, why error) *plainCapture {
	return &plainCapture{k: k, o: o, s: s, why: why, back: newTapReturn(k.now())}
}

// follow looks for new interfaces and for PKTAP until that has taken over or the source is closed.
func (c *plainCapture) follow() {
	defer c.s.readers.Done()
	tick := time.NewTicker(plainRescan)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.s.retry:
			c.back.soon = true
		case <-c.s.done:
			return
		}
		if c.look() {
			return
		}
	}
}

// look tries PKTAP when that is due, and looks for new interfaces; true when PKTAP has taken over.
func (c *plainCapture) look() bool {
	if now := c.k.now(); c.back.due(now) {
		err := c.toTap()
		if err == nil {
			return true
		}
		c.why = err
		c.back.failed(now)
	}
	_ = c.scan() // what failed is in Stats().Degraded
	return false
}

func (c *plainCapture) toTap() error {
	tap, device, err := setUpTap(c.k, c.o)
	if err != nil {
		return err
	}
	return c.s.changeOver(tap, device, c.k.now())
}

// scan opens a device for each interface that has none. It is an error when there is none in the end.
func (c *plainCapture) scan() error {
	all, err := c.k.interfaces()
	if err != nil {
		return fmt.Errorf("interfaces: %w", err)
	}
	var failed []string
	for _, i := range all {
		if !c.wanted(i) || c.s.has(i.name) {
			continue
		}
		if err := c.open(i.name); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", i.name, err))
			if errors.Is(err, fs.ErrPermission) {
				break
			}
		}
	}
	note := fmt.Sprintf("no PKTAP (%v): packets have neither process nor direction; %v", c.why, &c.back)
	if len(failed) > 0 {
		note += "; not captured: " + strings.Join(failed, ", ")
	}
	if c.s.degrade(note) == 0 {
		return fmt.Errorf("no interface could be captured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// wanted says whether to capture on an interface. Those of PKTAP itself are never captured.
func (c *plainCapture) wanted(i bpfInterface) bool {
	if len(c.o.Interfaces) > 0 {
		return slices.Contains(c.o.Interfaces, i.name)
	}
	return i.up && !i.loopback && !strings.HasPrefix(i.name, "pktap")
}

func (c *plainCapture) open(iface string) error {
	if c.s.count() >= maxPlain {
		return fmt.Errorf("more than %d interfaces", maxPlain)
	}
	d, err := openDevice(c.k)
	if err != nil {
		return err
	}
	link, err := c.setUp(d, iface)
	if err != nil {
		return errors.Join(err, d.close())
	}
	c.s.add(d, iface, link)
	return nil
}

func (c *plainCapture) setUp(d *bpfDevice, iface string) (link uint32, err error) {
	if err := d.attach(iface, min(plainBuffer, c.o.Buffer), false); err != nil {
		return 0, err
	}
	if link, err = d.linkType(); err != nil {
		return 0, err
	}
	filter, err := plainFilter(link, uint32(c.o.Snaplen))
	if err != nil {
		return 0, err
	}
	return link, d.start(filter)
}

// has says whether an interface is being captured.
func (s *bpfSource) has(iface string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[iface] != nil
}

// count is how many interfaces are being captured.
func (s *bpfSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.devices)
}

// degrade says why the source is not what it could be, and gives how many interfaces it has.
func (s *bpfSource) degrade(why string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.degraded = why
	return len(s.devices)
}
