package capture

import (
	"errors"
	"fmt"
	"time"
)

// PKTAP that could not be had is tried again after a minute, then after twice as long each time, up to an hour. When something has changed (the host
// woke, an interface came or went) it is tried soon, and the waiting starts anew.
const (
	firstReturn   = time.Minute
	longestReturn = time.Hour
	soonestReturn = 10 * time.Second // since the last time: interfaces may come and go all day
)

// tapReturn says when to try PKTAP again.
type tapReturn struct {
	tried int
	last  time.Time
	wait  time.Duration
	soon  bool
}

func newTapReturn(now time.Time) tapReturn { return tapReturn{last: now, wait: firstReturn} }

// after is how long after the last time it is tried again.
func (r *tapReturn) after() time.Duration {
	if r.soon {
		return min(r.wait, soonestReturn)
	}
	return r.wait
}

func (r *tapReturn) due(now time.Time) bool { return now.Sub(r.last) >= r.after() }

// failed notes that it was tried in vain.
func (r *tapReturn) failed(now time.Time) {
	r.wait = min(2*r.wait, longestReturn)
	if r.soon {
		r.wait = firstReturn
	}
	r.tried, r.last, r.soon = r.tried+1, now, false
}

func (r *tapReturn) String() string {
	if r.tried == 0 {
		return fmt.Sprintf("PKTAP is tried again after %v", r.after())
	}
	return fmt.Sprintf("PKTAP was tried again %d times, the last at %s UTC, and is next %v after that", r.tried, r.last.UTC().Format(time.DateTime), r.after())
}

// Retrier is a live source that may have to do with less than it would like.
type Retrier interface {
	// Retry says that something has changed on the host, so that what failed may go now: it is tried soon, and does not wait.
	Retry()
}

// Retry implements Retrier.
func (s *bpfSource) Retry() {
	select {
	case s.retry <- struct{}{}:
	default: // it is on its way
	}
}

var errClosed = errors.New("the source is closed")

// lastReads is how many reads of a device that were begun after the change give all that came before it: the kernel has two buffers, and a
// read may be interrupted.
const lastReads = 3

// changeOver takes the packets from PKTAP from now on, and from each interface by itself up to now. Its kernel buffer holds what comes until the
// others are empty, so that packets stay in order; each is taken from where it belongs by its time, which both have from one clock.
func (s *bpfSource) changeOver(tap *tapInterface, device *bpfDevice, now time.Time) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(errClosed, device.close(), tap.close())
	}
	s.change.Store(now.UnixNano())
	for _, d := range s.devices {
		d.retired.Store(true)
	}
	s.devices[tap.name], s.cleanup = device, tap.close
	s.mu.Unlock()
	s.plain.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fmt.Sprintf("%s until then: %s", s.mode, s.degraded)
	s.mode, s.since, s.degraded, s.err = ModePKTAP, now, "", nil
	s.start(device, tap.name, linkPKTAPDarwin)
	return nil
}

// maxSettling bounds for how long packets of PKTAP are compared with the time of the change: the clock may be set just then.
const maxSettling = time.Second

// elsewhere says whether a packet is one that the other side of the change has.
func (s *bpfSource) elsewhere(p *Packet, tapped bool) bool {
	change := s.change.Load()
	switch {
	case change == 0 || s.settled:
		return false
	case !tapped:
		return p.Time >= change
	case s.settling.IsZero():
		s.settling = time.Now()
	}
	s.settled = p.Time >= change || time.Since(s.settling) > maxSettling
	return !s.settled
}
