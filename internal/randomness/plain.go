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
	if level <= plainLevel && c.plain(sample) {
		return true
	}
	if level <= excludable && c.excludes(level) {
		return false
	}
	s := c.figures()
	return c.likelihood(sample, &s, level) >= level
}

const (
	// plainLevel is a likelihood that samples surely have all of whose p-values are at least plainP, so that their harmonic mean is too.
	plainLevel = 1e-3
	plainP     = 2e-3
	// excludable is a level so low that one odd count rules it out.
	excludable = 1e-2
	// Within plainZ standard deviations p-values are far above plainP, below the mean of a skewed variable within lowZ.
	plainZ = 2.75
	lowZ   = -2
	// plainPlanes and plainNibbles are chi-squares of 8 and 15 degrees of freedom whose tails are 0.005.
	plainPlanes  = 22.0
	plainNibbles = 32.8
)

// plain says that all of unlikelihood's p-values are above plainP; false says nothing.
func (c *counts) plain(sample []byte) bool {
	n := c.n
	ones := 0
	for _, k := range c.planes {
		ones += k
	}
	if !near(8*n, ones, 0.5) || !near(n, c.planes[7], 0.5) || !near(n, c.text, 98.0/256) ||
		!near(n, c.low(), 1.0/16) || !fewZeros(n, int(c.bytes[0])) ||
		c.planesChiSquare() > plainPlanes || c.nibbles[0].chiSquare(n) > plainNibbles || c.nibbles[1].chiSquare(n) > plainNibbles {
		return false
	}
	if o := runs(sample); !near(8*n-1, o.transitions, 0.5) || !shortRuns(n, o.printableRun, o.equalRun) {
		return false
	}
	e := expected(n)
	if z := (c.pairs() - e.pairs) / e.pairsSD; z < lowZ || z > plainZ {
		return false
	}
	if e.entropy-c.entropy() > plainZ*e.entropySD {
		return false
	}
	serial := serialCorrelations(sample)
	return math.Abs(serial[0]) < plainZ && math.Abs(serial[1]) < plainZ && fewRepeats(n, repeats(sample))
}

// near says whether a binomial variable's value is within plainZ standard deviations from its mean.
func near(n, k int, p float64) bool {
	d := float64(k) - float64(n)*p
	return d*d <= plainZ*plainZ*float64(n)*p*(1-p)
}

// fewZeros is near for rare successes, of which only too many are odd.
func fewZeros(n, zeros int) bool { return zeros == 0 || zeros*256 <= n || near(n, zeros, 1.0/256) }

// shortRuns says whether runs of these lengths are expected 0.01 times or more.
func shortRuns(n, text, equal int) bool {
	const expected = 0.01
	return expectedRuns(n, text, printable) >= expected && (equal < 2 || expectedRuns(n-1, equal-1, 1.0/256) >= expected)
}

// expectedRuns is how many runs of k successes or more n trials have, as longestRunTail takes it.
func expectedRuns(n, k int, p float64) float64 {
	return whole(p, k) * (float64(n-k)*(1-p) + 1)
}

// fewRepeats says whether so many repeated triples are likely: none, or one where places are many.
func fewRepeats(n, repeats int) bool {
	places := float64(n - 2)
	return repeats == 0 || repeats == 1 && places*(places-1)/2/(1<<24) > 0.01
}
