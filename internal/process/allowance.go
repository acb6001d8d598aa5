package process

import "time"

// searchBurst is how much time for searching may be saved up.
const searchBurst = 100 * time.Millisecond

// allowance is the time that a kind of search may take.
type allowance struct {
	share float64 // of one core
	left  time.Duration
	at    time.Time // when left was right
}

func newAllowance(share float64, now time.Time) allowance {
	return allowance{share: share, left: searchBurst, at: now}
}

// ready says whether there is time left.
func (a *allowance) ready(now time.Time) bool {
	a.left = min(a.left+time.Duration(float64(now.Sub(a.at))*a.share), searchBurst)
	a.at = now
	return a.left > 0
}

// spend takes what a search took. A debt is paid back before the next.
func (a *allowance) spend(d time.Duration) { a.left -= d }
