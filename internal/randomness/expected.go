package randomness

import (
	"math"
	"sync/atomic"
)

// An expectation is what uniform samples of one length show, as far as it takes time to compute.
type expectation struct {
	entropy, entropySD float64 // mean and standard deviation of the plug-in entropy, bits a byte
	pairs, pairsSD     float64 // mean and standard deviation of the number of equal pairs
	tail               skewedTail
	index              int     // of the calibration's last row for samples that are not longer
	row                *logRow // that row
	weight             float64 // of the row after that, 0..1
}

// expectations keeps what expected gave.
var expectations [MaxSample + 1]atomic.Pointer[expectation]

// expected is what uniform samples of n bytes show, for n up to MaxSample.
func expected(n int) *expectation {
	if kept := expectations[n].Load(); kept != nil {
		return kept
	}
	e := &expectation{entropy: meanEntropyOf(n), entropySD: entropySD(n)}
	var skewness float64
	e.pairs, e.pairsSD, skewness = pairMoments(n)
	e.tail = newSkewedTail(skewness)
	e.index, e.weight = gridPlace(n)
	e.row = &logRows[e.index]
	expectations[n].Store(e)
	return e
}

// A skewedTail is pearsonTail for one skewness, by what the distribution is at whole standard deviations.
type skewedTail struct {
	skewness, shape float64
	at              [skewedPoints]struct{ x, q, density float64 } // q is gammaQ(shape, x), density minus its derivative
}

const (
	skewedPoints = 12
	skewedFrom   = -3 // standard deviations of the first point
	// leastShape is from where on the series below converges at once, and gammaQ's does not.
	leastShape = 30
)

func newSkewedTail(skewness float64) skewedTail {
	t := skewedTail{skewness: skewness, shape: 4 / (skewness * skewness)}
	if !(t.shape >= leastShape) {
		return t
	}
	for i := range t.at {
		x := t.shape + 2*float64(i+skewedFrom)/skewness
		lg, _ := math.Lgamma(t.shape)
		t.at[i].x, t.at[i].q, t.at[i].density = x, gammaQ(t.shape, x), math.Exp((t.shape-1)*math.Log(x)-x-lg)
	}
	return t
}

// p is pearsonTail(z, skewness). The density f of the gamma distribution has x f' = (shape-1-x) f, which gives the coefficients of its
// Taylor series around a point, each from the two before; the series is integrated from the nearest point.
func (t *skewedTail) p(z float64) float64 {
	nearest := math.Floor(z + 0.5 - skewedFrom)
	if !(t.shape >= leastShape && nearest >= 0 && nearest < skewedPoints) {
		return pearsonTail(z, t.skewness)
	}
	from := &t.at[int(nearest)]
	h := t.shape + 2*z/t.skewness - from.x
	step, odd := h/from.x, t.shape-1-from.x
	before, term, sum := 0.0, 1.0, 0.0 // terms are those of f(x+h)/f(x)
	for k := 0; k+1 < len(inverses) && math.Abs(before)+math.Abs(term) > 1e-15; k++ {
		sum += term * inverses[k+1]
		before, term = term, ((odd-float64(k))*term-h*before)*(step*inverses[k+1])
	}
	return from.q - from.density*h*sum
}

// inverses are 1/k.
var inverses = func() (t [64]float64) {
	for k := 1; k < len(t); k++ {
		t[k] = 1 / float64(k)
	}
	return t
}()
