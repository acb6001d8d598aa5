package randomness

import "math"

// Passes is Judge(sample).Likelihood >= level, most times without any p-value: where bounds of them all suffice.
func Passes(sample []byte, level float64) bool {
	sample = sample[:min(len(sample), MaxSample)]
	if len(sample) < MinSample {
		return level <= 0
	}
	var c counts
	c.count(sample)
	if level <= excludable {
		if c.plain(sample, plainBelow*tests/combinedAbove(c.n, level)) {
			return true
		}
		if c.excludes(level) {
			return false
		}
	}
	s := c.figures()
	return c.likelihood(sample, &s, level) >= level
}

// excludable is a level so low that one odd count rules it out.
const excludable = 1e-2

// plainBelow keeps bounds away from where rounding decides.
const plainBelow = 0.999

// plain says that unlikelihood is at most enough, by bounds of all inverse p-values; false says nothing.
func (c *counts) plain(sample []byte, enough float64) bool {
	n, e := c.n, expected(c.n)
	ones := 0
	for _, k := range c.planes {
		ones += k
	}
	sum := oddBinomial(8*n, ones, 0.5) + oddBinomial(n, c.planes[7], 0.5) + oddBinomial(n, c.text, 98.0/256) + oddBinomial(n, c.low(), 1.0/16) +
		oddZeros(n, int(c.bytes[0])) + oddPairs((c.pairs()-e.pairs)/e.pairsSD) +
		odd(planesOdd, c.planesChiSquare()) + odd(nibblesOdd, c.nibbles[0].chiSquare(n)) + odd(nibblesOdd, c.nibbles[1].chiSquare(n))
	if sum > enough {
		return false
	}
	sum += oddBinomial(8*n-1, transitions(sample), 0.5) + oddEntropy((e.entropy-c.entropy())/e.entropySD)
	for _, z := range serialCorrelations(sample) {
		sum += odd(normalOdd, oddSteps*z*z)
	}
	if sum > enough {
		return false
	}
	run := oddRun(n, 14, printable)
	if sum+run > enough/2 || printableWord(sample) {
		run = oddRun(n, printableRun(sample), printable)
	}
	if sum += run; sum > enough {
		return false
	}
	again := repeats(sample)
	equal := oddRun(n-1, again+2, 1.0/256) // of four equal bytes, the last three are a repeat
	if sum+equal > enough/2 {
		equal = oddRun(n-1, equalRun(sample)-1, 1.0/256)
	}
	return sum+equal+oddRepeats(n, again) <= enough
}

// normalOdd are upper bounds of a two-sided p-value's inverse by oddSteps times the squared number of standard deviations, planesOdd and
// nibblesOdd those of chi-squares of 8 and 15 degrees of freedom, for values below the next whole one.
var (
	normalOdd  = odds(28, func(x float64) float64 { return twoSidedNormal(math.Sqrt(x / oddSteps)) })
	planesOdd  = odds(40, func(x float64) float64 { return chiSquareTail(x, 8) })
	nibblesOdd = odds(56, func(x float64) float64 { return chiSquareTail(x, 15) })
)

const oddSteps = 2

func odds(most int, tail func(x float64) float64) []float64 {
	t := make([]float64, most)
	for i := range t {
		t[i] = 1 / tail(float64(i+1))
	}
	return t
}

// odd is a table's bound of what is at least 0, but for rounding; none where that is too odd.
func odd(table []float64, x float64) float64 {
	if i := int(x); uint(i) < uint(len(table)) {
		return table[i]
	}
	return math.Inf(1)
}

// oddBinomial bounds twoSidedBinomial's inverse, for p up to a half: a skewed variable's lower tail falls faster than the normal one.
func oddBinomial(n, k int, p float64) float64 {
	d := float64(k) - float64(n)*p
	bound := odd(normalOdd, oddSteps*d*d/(float64(n)*p*(1-p)))
	if d < 0 && p < 0.5 {
		return bound * math.Sqrt(bound)
	}
	return bound
}

// oddZeros bounds the inverse of the one-sided p-value of so many zeros. There is one at least with 1 - (1-p)^n, which is np/(1+np) or more.
func oddZeros(n, zeros int) float64 {
	const p = 1.0 / 256
	mean := float64(n) * p
	d := float64(zeros) - mean
	switch {
	case d <= 0:
		return 2
	case zeros == 1:
		return 1 + 1/mean
	}
	return 2 * odd(normalOdd, oddSteps*d*d/(mean*(1-p)))
}

// oddPairs bounds the inverse of the two-sided p-value of z standard deviations more equal pairs than expected.
func oddPairs(z float64) float64 {
	bound := odd(normalOdd, oddSteps*z*z)
	switch {
	case z >= 0:
		return 1.1 * bound
	case z > -2.6:
		return bound * math.Sqrt(bound)
	case z > -3.6:
		return bound * bound
	}
	return math.Inf(1)
}

// oddEntropy bounds entropyP's inverse, z standard deviations below the mean.
func oddEntropy(z float64) float64 {
	z = max(z, 0)
	return 2.5 * odd(normalOdd, oddSteps*z*z)
}

// oddRun bounds longestRunTail's inverse: of x = 1 - exp(-y), 1/x is at most 1 + 1/y.
func oddRun(n, k int, p float64) float64 {
	if k <= 0 {
		return 1
	}
	return 1 + 1/(whole(p, k)*(float64(n-k)*(1-p)+1))
}

// oddRepeats bounds repeatsP's inverse: k or more have at least the probability of k, and the mean of up to a half makes exp(mean) less than 1.65.
func oddRepeats(n, k int) float64 {
	if k == 0 {
		return 1
	}
	places, bound := float64(n-2), 1.65
	for ; k > 0; k-- {
		bound *= float64(k) * (2 << 24) / (places * (places - 1))
	}
	return bound
}
