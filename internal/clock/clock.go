// Package clock reads the host's clocks beside each other, so that a sleep and a clock that was set can be told apart from time that passed.
package clock

import "time"

// Reading is one look at all clocks.
type Reading struct {
	Wall       time.Time     // what people go by; anybody with the right to may set it
	Awake      time.Duration // since boot, without the time that the host slept; never set
	Continuous time.Duration // since boot, with that time; never set
	Boot       string        // names this boot; empty where the system has no name for it
}

// Now reads the clocks.
func Now() Reading {
	awake, continuous := sinceBoot()
	return Reading{Wall: time.Now(), Awake: awake, Continuous: continuous, Boot: boot()}
}

// Tolerance is how far clocks may drift apart between two readings before it means anything: more than slewing and a busy host make.
const Tolerance = 2 * time.Second

// Between says how long the host slept between two readings of one boot, and by how much its wall clock was set; 0 for what is within
// Tolerance.
func Between(from, to Reading) (slept, set time.Duration) {
	awake, continuous := to.Awake-from.Awake, to.Continuous-from.Continuous
	wall := time.Duration(to.Wall.UnixNano() - from.Wall.UnixNano()) // not Sub, which goes by a monotonic reading
	if slept = continuous - awake; slept < Tolerance {
		slept = 0
	}
	if set = wall - continuous; set > -Tolerance && set < Tolerance {
		set = 0
	}
	return slept, set
}

// Age is how long ago something happened that was written down with a reading. Within one boot that is the time that the host was awake, which nobody
// can set; else it is the wall clock's word, and 0 where that would be in the future.
func Age(then, now Reading) time.Duration {
	if then.Boot != "" && then.Boot == now.Boot && now.Awake >= then.Awake {
		return now.Awake - then.Awake
	}
	return max(0, time.Duration(now.Wall.UnixNano()-then.Wall.UnixNano()))
}
