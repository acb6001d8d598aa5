package flow

import "time"

// leap is how far one packet's time may be from the last one's before it is doubted.
const leap = int64(time.Hour)

// clock is the table's own time: it starts at 0, never goes back, and follows the packets' clock or, live, the host's
// monotonic one. A single packet with a wild time does not move it; a clock that was really set, or a capture that really
// paused, does so at the second packet.
type clock struct {
	now     int64 // table time, nanoseconds
	wall    int64 // packets' time that belongs to now
	started bool
	doubted bool  // the last packet's time was far from wall
	doubt   int64 // and this is what it was

	advanced    bool  // Advance was called
	first, base int64 // its first value, and now at that time
}

// packet takes the time of one packet. A host that tells its own time is believed, and its packets, whose clock can be set, are not.
func (c *clock) packet(wall int64) {
	if c.advanced {
		return
	}
	if !c.started {
		c.started, c.wall = true, wall
		return
	}
	d := wall - c.wall
	if d >= -leap && d <= leap {
		c.doubted = false
		if d > 0 {
			c.now += d
			c.wall = wall
		}
		return
	}
	if !c.doubted || wall < c.doubt-leap {
		c.doubted, c.doubt = true, wall
		return
	}
	c.doubted, c.wall = false, wall
	// A pause longer than any time limit here is as good as the limit: adding it would only invite overflow.
	c.now += min(max(d, 0), 1000*leap)
}

// advance takes a monotonic time of the host.
func (c *clock) advance(at int64) {
	if !c.advanced {
		c.advanced, c.first, c.base = true, at, c.now
	}
	c.now = max(c.now, c.base+at-c.first)
}
