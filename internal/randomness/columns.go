package randomness

import "math"

// Bounds of Columns: offsets and messages beyond are not looked at.
const (
	maxColumns  = 64
	maxMessages = 64
	leastColumn = 3 // messages that an offset takes to say something
)

// Columns says how likely it is that the bytes at the same offset of different messages are independent and uniform, as those of
// ciphertext are: an upper bound of the p-value, 0..1. It finds what repeats from message to message (flags, counters, codec
// frames) though each message alone looks random. Offsets that fewer than three messages reach say nothing.
func Columns(messages [][]byte) float64 {
	messages = messages[:min(len(messages), maxMessages)]
	if len(messages) < leastColumn {
		return 1
	}
	var c columns
	for k := range maxColumns {
		if !c.add(messages, k) {
			break
		}
	}
	if c.number == 0 {
		return 1
	}
	all := pearsonTail((c.pairs-0.5-c.mean)/math.Sqrt(c.variance), c.third/(c.variance*math.Sqrt(c.variance)))
	// A chi-square variable of the same mean and variance: skewness 4/sqrt(2 k) at k = 2 mean^2 / variance.
	freedom := 2 * c.planeMean * c.planeMean / c.planeVariance
	bits := pearsonTail((c.planes-c.planeMean)/math.Sqrt(c.planeVariance), math.Sqrt(8/freedom))
	return min(1, 3*min(all, bits, c.worst()*float64(c.number)))
}

// columns sums up what the columns show.
type columns struct {
	number                           int
	pairs, mean, variance, third     float64
	planes, planeMean, planeVariance float64
	most                             [maxMessages + 1]int // the most pairs in a column of so many bytes, plus 1
	count                            [256]uint8           // all zero between columns
}

// add counts the bytes at offset k; false when too few messages reach it.
func (c *columns) add(messages [][]byte, k int) bool {
	n, pairs, planes := 0, 0, uint64(0)
	for _, m := range messages {
		if k < len(m) {
			b := m[k]
			pairs += int(c.count[b])
			c.count[b]++
			planes += planesOf[b]
			n++
		}
	}
	for _, m := range messages {
		if k < len(m) {
			c.count[m[k]] = 0
		}
	}
	if n < leastColumn {
		return false
	}
	c.number++
	mean, variance, third := pairSums(n)
	c.pairs, c.mean, c.variance, c.third = c.pairs+float64(pairs), c.mean+mean, c.variance+variance, c.third+third
	c.most[n] = max(c.most[n], pairs+1)
	// The square of a standardised sum of n signs has mean 1 and variance 2 - 2/n.
	c.planes += signs(n, planes)
	c.planeMean += 8
	c.planeVariance += 8 * (2 - 2/float64(n))
	return true
}

// signs is the sum over the eight bit positions of the squared standardised number of set bits, which are the bytes of planes.
func signs(n int, planes uint64) float64 {
	x := 0
	for ; planes != 0; planes >>= 8 {
		d := 2*int(planes&0xff) - n
		x += d*d - n*n
	}
	return float64(x+8*n*n) / float64(n)
}

// worst is the smallest p-value of a single column's pairs.
func (c *columns) worst() float64 {
	worst := 1.0
	for n, most := range c.most {
		if most > 1 {
			mean, deviation, skewness := pairMoments(n)
			worst = min(worst, pearsonTail((float64(most)-1.5-mean)/deviation, skewness))
		}
	}
	return worst
}
