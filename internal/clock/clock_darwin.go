package clock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// clock_gettime(3): CLOCK_UPTIME_RAW stands still while the system sleeps, CLOCK_MONOTONIC does not.
func sinceBoot() (awake, continuous time.Duration) {
	return read(unix.CLOCK_UPTIME_RAW), read(unix.CLOCK_MONOTONIC)
}

func read(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

var boot = sync.OnceValue(func() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
})
