package randomness

import (
	"math"
	"sort"
)

// Fewest is how many bytes of each kind, and how many others, samples of at least so many bytes have that an Excluder does not exclude. Data
// with fewer hold no such samples, however they are cut out of it.
type Fewest struct{ with, without [kinds]int }

// Fewest is for one sample of n bytes or more. With ever more bytes, a count below the mean gets ever less likely by Chernoff's bound.
func (e *Excluder) Fewest(n int) (f Fewest) {
	odd := 0.0 // what excludes at any length
	for i := range calibration {
		odd = min(odd, math.Log(calibration[i].below(e.level)/tests/2))
	}
	for kind, p := range shares {
		f.with[kind], f.without[kind] = fewest(n, p, odd), fewest(n, 1-p, odd)
	}
	return f
}

// fewest is the least count of n trials of probability p that is not less likely than odd, a logarithm.
func fewest(n int, p, odd float64) int {
	return sort.Search(int(float64(n)*p), func(k int) bool { return chernoff(n, k, p) >= odd })
}

// FewestOfTwo is for two samples of n bytes or more together, of which one may be shorter than MinSample.
func (e *Excluder) FewestOfTwo(n int) Fewest {
	f := e.Fewest(n - MinSample + 1)
	for one := MinSample; one <= n-MinSample; one++ {
		a, b := e.Fewest(one), e.Fewest(n-one)
		for kind := range f.with {
			f.with[kind] = min(f.with[kind], a.with[kind]+b.with[kind])
			f.without[kind] = min(f.without[kind], a.without[kind]+b.without[kind])
		}
	}
	return f
}

// In says whether the data have as many bytes of each kind that is cheap to tell.
func (f *Fewest) In(data ...[]byte) bool {
	const step = 64
	n, found := 0, [kinds]int{}
	for _, b := range data {
		for len(b) > 0 {
			some := b[:min(len(b), step)]
			high, zero, low := fewKinds(some)
			n, b = n+len(some), b[len(some):]
			found[highBytes], found[zeroBytes], found[lowBytes] = found[highBytes]+high, found[zeroBytes]+zero, found[lowBytes]+low
			if f.reached(n, &found) {
				return true
			}
		}
	}
	return f.reached(n, &found)
}

func (f *Fewest) reached(n int, found *[kinds]int) bool {
	for kind, k := range found[:textBytes] {
		if k < f.with[kind] || n-k < f.without[kind] {
			return false
		}
	}
	return true
}
