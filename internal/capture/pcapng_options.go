package capture

import (
	"math"
	"math/bits"
)

// options walks the options of a pcapng block. Options that do not hold together end the walk: they never make a packet unreadable.
type options struct {
	rest  []byte
	order bigEndian
}

// next gives the next option; false at the end.
func (o *options) next() (code uint16, value []byte, ok bool) {
	if len(o.rest) < 4 {
		return 0, nil, false
	}
	code, length := o.order.u16(o.rest), int(o.order.u16(o.rest[2:]))
	o.rest = o.rest[4:]
	if code == 0 || length > len(o.rest) {
		o.rest = nil
		return 0, nil, false
	}
	value = o.rest[:length]
	o.rest = o.rest[min(len(o.rest), (length+3)&^3):]
	return code, value, true
}

// clock turns an interface's time stamps into nanoseconds since 1970 (if_tsresol and if_tsoffset of the pcapng draft).
type clock struct {
	multiply uint64 // nanoseconds a tick, for decimal resolutions down to 10^-9
	divide   uint64 // ticks a nanosecond, for finer ones; 0 when a nanosecond is more than 64 bits of them
	shift    uint   // for resolutions of 2^-shift seconds
	binary   bool
	offset   int64 // nanoseconds
}

// newClock reads if_tsresol, whose top bit tells powers of 2 from powers of 10, and if_tsoffset in seconds.
func newClock(resolution uint8, offset int64) clock {
	c := clock{offset: saturate(offset)}
	power := uint(resolution & 0x7f)
	switch {
	case resolution&0x80 != 0:
		c.binary, c.shift = true, power
	case power <= 9:
		c.multiply = decimal(9 - power)
	case power <= 9+19:
		c.divide = decimal(power - 9)
	}
	return c
}

// decimal is 10^power, for powers up to 19.
func decimal(power uint) uint64 {
	v := uint64(1)
	for range power {
		v *= 10
	}
	return v
}

// saturate gives seconds as nanoseconds, at the most what 64 bits hold (292 years).
func saturate(seconds int64) int64 {
	const limit = math.MaxInt64 / 1_000_000_000
	return max(-limit, min(limit, seconds)) * 1_000_000_000
}

func (c clock) nanoseconds(ticks uint64) int64 {
	var hi, ns uint64
	switch {
	case c.binary:
		hi, ns = bits.Mul64(ticks, 1_000_000_000)
		ns = ns>>c.shift | hi<<(64-c.shift) // Go shifts by 64 and more give 0
		if c.shift >= 64 {
			ns = hi >> (c.shift - 64)
		}
		hi >>= c.shift
	case c.multiply != 0:
		hi, ns = bits.Mul64(ticks, c.multiply)
	case c.divide != 0:
		ns = ticks / c.divide
	}
	if hi != 0 || ns > math.MaxInt64 {
		ns = math.MaxInt64
	}
	t := int64(ns)
	if c.offset > 0 && t > math.MaxInt64-c.offset {
		return math.MaxInt64
	}
	return t + c.offset
}
