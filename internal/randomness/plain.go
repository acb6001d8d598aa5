package randomness

import "math"

// Passes is Judge(sample).Likelihood >= level, most times without any p-value: where each statistic is within what uniform bytes show all
// the time.
func Passes(sample []byte, level float64) bool {
	sample = sample[:min(len(sample), MaxSample)]
	if len(sample) < MinSample {
		return level <= 0
	}
	var c counts
	c.count(sample)
	if level <= rare.level && c.plain(sample, &rare) || rare.level < level && level <= common.level && c.plain(sample, &common) {
		return true
	}
	if level <= excludable && c.excludes(level) {
		return false
	}
	s := c.figures()
	return c.likelihood(sample, &s, level) >= level
}

// excludable is a level so low that one odd count rules it out.
const excludable = 1e-2

// A plainness bounds the statistics of samples that surely have a likelihood of level: all of their p-values are at least p, and so is their
// harmonic mean.
type plainness struct {
	level, p        float64
	low, high       float64 // standard deviations: low where the mean of a skewed variable is above, high of all others
	planes, nibbles float64 // chi-squares of 8 and 15 degrees of freedom
	runs            float64 // how many runs that long are expected
	repeats         [2]int  // where hardly one is expected, and where some are
}

// common is what uniform bytes show all the time, with chi-squares whose tails are 0.005. rare is for levels that hardly any uniform sample
// misses; its chi-squares have tails of 1e-5. The level of common is somewhat above that of the default threshold, as 1-0.999 is above 0.001.
var (
	common = plainness{level: 1.001e-3, p: 1.5e-3, low: -2, high: 2.72, planes: 22, nibbles: 32.8, runs: 0.01, repeats: [2]int{0, 1}}
	rare   = plainness{level: 1e-9, p: 1e-7, low: -3, high: 4, planes: 37, nibbles: 50, runs: 1e-5, repeats: [2]int{1, 2}}
)

// plain says that all of unlikelihood's p-values are within bounds; false says nothing.
func (c *counts) plain(sample []byte, within *plainness) bool {
	n, z := c.n, within.high
	ones := 0
	for _, k := range c.planes {
		ones += k
	}
	if !near(8*n, ones, 0.5, z) || !near(n, c.planes[7], 0.5, z) || !near(n, c.text, 98.0/256, z) ||
		!near(n, c.low(), 1.0/16, z) || !fewZeros(n, int(c.bytes[0]), z) ||
		c.planesChiSquare() > within.planes || c.nibbles[0].chiSquare(n) > within.nibbles || c.nibbles[1].chiSquare(n) > within.nibbles {
		return false
	}
	e := expected(n)
	if pairs := (c.pairs() - e.pairs) / e.pairsSD; pairs < within.low || pairs > z {
		return false
	}
	if o := runs(sample); !near(8*n-1, o.transitions, 0.5, z) || !shortRuns(n, o.printableRun, o.equalRun, within.runs) {
		return false
	}
	if e.entropy-c.entropy() > z*e.entropySD {
		return false
	}
	serial := serialCorrelations(sample)
	return math.Abs(serial[0]) < z && math.Abs(serial[1]) < z && fewRepeats(n, repeats(sample), within.repeats)
}

// near says whether a binomial variable's value is within z standard deviations from its mean.
func near(n, k int, p, z float64) bool {
	d := float64(k) - float64(n)*p
	return d*d <= z*z*float64(n)*p*(1-p)
}

// fewZeros is near for rare successes, of which only too many are odd.
func fewZeros(n, zeros int, z float64) bool {
	return zeros == 0 || zeros*256 <= n || near(n, zeros, 1.0/256, z)
}

// shortRuns says whether runs of these lengths are expected so many times or more.
func shortRuns(n, text, equal int, times float64) bool {
	return expectedRuns(n, text, printable) >= times && (equal < 2 || expectedRuns(n-1, equal-1, 1.0/256) >= times)
}

// expectedRuns is how many runs of k successes or more n trials have, as longestRunTail takes it.
func expectedRuns(n, k int, p float64) float64 {
	return whole(p, k) * (float64(n-k)*(1-p) + 1)
}

// fewRepeats says whether there are at most so many repeated triples: where hardly one is expected, and where places are many.
func fewRepeats(n, repeats int, most [2]int) bool {
	places := float64(n - 2)
	if places*(places-1)/2/(1<<24) > 0.01 {
		return repeats <= most[1]
	}
	return repeats <= most[0]
}
