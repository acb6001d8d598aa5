package randomness

import "math"

// Passes is Judge(sample).Likelihood >= level, most times by bounds of nearly all p-values, and from no more of them than it takes.
func Passes(sample []byte, level float64) bool {
	sample = sample[:min(len(sample), MaxSample)]
	if len(sample) < MinSample {
		return level <= 0
	}
	var c counts
	c.count(sample)
	if passes, decided := c.decide(sample, level); decided {
		return passes
	}
	s := c.figures()
	return c.likelihood(sample, &s, level) >= level
}

// A weighing sums up the inverse p-values of unlikelihood, or upper bounds of those that are low.
type weighing struct {
	few  float64 // a bound up to that is as good as the value
	sum  float64 // of all, at most
	sure float64 // of those that were computed
}

// low takes a bound, if that is low.
func (w *weighing) low(bound float64) bool {
	if bound > w.few {
		return false
	}
	w.sum += bound
	return true
}

func (w *weighing) p(p float64) {
	x := inverse(p)
	w.sum += x
	w.sure += x
}

func (w *weighing) binomial(n, k int, p float64) {
	if !w.low(oddBinomial(n, k, p)) {
		w.p(twoSidedBinomial(n, k, p))
	}
}

func (w *weighing) chiSquare(table []float64, x float64, freedom int) {
	if !w.low(odd(table, x)) {
		w.p(chiSquareTail(x, freedom))
	}
}

// plainBelow keeps sums away from where rounding decides.
const plainBelow = 0.999

// decide says whether a sample passes, if that needs no exact sum of all inverse p-values. What is cheap to compute comes first.
func (c *counts) decide(sample []byte, level float64) (passes, decided bool) {
	n, e := c.n, expected(c.n)
	enough, tooMuch := plainBelow*tests/combinedAbove(n, level), tests/combinedBelow(n, level)/plainBelow
	w := weighing{few: enough / (2 * tests)}
	ones := 0
	for _, k := range c.planes {
		ones += k
	}
	w.binomial(8*n, ones, 0.5)
	w.binomial(n, c.planes[7], 0.5)
	w.binomial(n, c.text, 98.0/256)
	w.binomial(n, c.low(), 1.0/16)
	if zeros := int(c.bytes[0]); !w.low(oddZeros(n, zeros)) {
		w.p(binomialTail(n, zeros, 1.0/256))
	}
	if w.sure > tooMuch {
		return false, true
	}
	w.chiSquare(planesOdd, c.planesChiSquare(), 8)
	w.chiSquare(nibblesOdd, c.nibbles[0].chiSquare(n), 15)
	w.chiSquare(nibblesOdd, c.nibbles[1].chiSquare(n), 15)
	if !w.low(oddPairs((c.pairs() - e.pairs) / e.pairsSD)) {
		w.p(c.chiSquareTwoSidedP(c.chiSquareP()))
	}
	if w.sure > tooMuch {
		return false, true
	}
	if entropy := c.entropy(); !w.low(oddEntropy((e.entropy - entropy) / e.entropySD)) {
		w.p(entropyP(n, entropy))
	}
	w.order(c, sample, enough/2, tooMuch)
	return w.sum <= enough, w.sum <= enough || w.sure > tooMuch
}

// order adds what the order of the sample's bytes yields, as long as that is not too much. The bound of printable bytes in a row may be as high
// as all others together, since it saves the search for the longest run.
func (w *weighing) order(c *counts, sample []byte, half, tooMuch float64) {
	n := c.n
	transitions, printableWord := glance(sample)
	w.binomial(8*n-1, transitions, 0.5)
	if run := oddRun(n, withoutWord, printable); run <= half && !printableWord {
		w.sum += run
	} else if run := printableRun(sample); !w.low(oddRun(n, run, printable)) {
		w.p(longestRunTail(n, run, printable))
	}
	if w.sure > tooMuch {
		return
	}
	for _, z := range c.serialCorrelations(sample) {
		if !w.low(odd(normalOdd, oddSteps*z*z)) {
			w.p(twoSidedNormal(z))
		}
	}
	if w.sure > tooMuch {
		return
	}
	again := repeats(sample)
	if !w.low(oddRepeats(n, again)) {
		w.p(repeatsTail(n, again))
	}
	if !w.low(oddRun(n-1, again+2, 1.0/256)) { // of four equal bytes, the last three are a repeat
		if run := equalRun(sample); !w.low(oddRun(n-1, run-1, 1.0/256)) {
			w.p(equalRunTail(n, run))
		}
	}
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
