package randomness

import "math"

// Bounds of Columns: offsets and messages beyond are not looked at.
const (
	maxColumns  = 64
	maxMessages = 64
)

// Columns says how likely it is that the bytes at the same offset of different messages are independent and uniform, as those of
// ciphertext are: an upper bound of the p-value, 0..1. It finds what repeats from message to message (flags, counters, codec
// frames) though each message alone looks random. Offsets that fewer than three messages reach say nothing.
func Columns(messages [][]byte) float64 {
	messages = messages[:min(len(messages), maxMessages)]
	pairs, mean, variance, third := 0.0, 0.0, 0.0, 0.0
	planes, planeMean, planeVariance := 0.0, 0.0, 0.0
	worst, columns := 1.0, 0
	for k := range maxColumns {
		c := column(messages, k)
		if c.n < 3 {
			break
		}
		columns++
		x, m, v, t := columnPairs(&c)
		pairs, mean, variance, third = pairs+x, mean+m, variance+v, third+t
		worst = min(worst, pearsonTail((x-0.5-m)/math.Sqrt(v), t/math.Pow(v, 1.5)))
		// The square of a standardised sum of n signs has mean 1 and variance 2 - 2/n.
		planes += c.planesChiSquare()
		planeMean += 8
		planeVariance += 8 * (2 - 2/float64(c.n))
	}
	if columns == 0 {
		return 1
	}
	all := pearsonTail((pairs-0.5-mean)/math.Sqrt(variance), third/math.Pow(variance, 1.5))
	// A chi-square variable of the same mean and variance: skewness 4/sqrt(2 k) at k = 2 mean^2 / variance.
	freedom := 2 * planeMean * planeMean / planeVariance
	bits := pearsonTail((planes-planeMean)/math.Sqrt(planeVariance), math.Sqrt(8/freedom))
	return min(1, 3*min(all, bits, worst*float64(columns)))
}

// column counts the bytes at offset k.
func column(messages [][]byte, k int) counts {
	var c counts
	for _, m := range messages {
		if k < len(m) {
			c.bytes[m[k]]++
			c.n++
		}
	}
	for b, v := range c.bytes {
		for i := range c.planes {
			c.planes[i] += int(v) * (b >> i & 1)
		}
	}
	return c
}

func columnPairs(c *counts) (pairs, mean, variance, third float64) {
	mean, variance, third = pairMoments(c.n)
	return c.pairs(), mean, variance, third
}
