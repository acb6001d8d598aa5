package process

import "time"

// How much of one core the search for owners may take, and how much of that may be saved up.
const (
	searchShare = 0.05
	searchBurst = 100 * time.Millisecond
)

// allowance is the time that searching may take.
type allowance struct {
	left time.Duration
	at   time.Time // when left was right
}

func newAllowance(now time.Time) allowance { return allowance{left: searchBurst, at: now} }

// ready says whether there is time left.
func (a *allowance) ready(now time.Time) bool {
	a.left = min(a.left+time.Duration(float64(now.Sub(a.at))*searchShare), searchBurst)
	a.at = now
	return a.left > 0
}

// spend takes what a search took. A debt is paid back before the next.
func (a *allowance) spend(d time.Duration) { a.left -= d }
