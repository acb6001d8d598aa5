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
	var c columns
	c.read(messages)
	if c.number == 0 {
		return 1
	}
	return min(1, 3*min(c.pairsTail(), c.bitsTail(), c.worst()*float64(c.number)))
}

// ColumnsAtLeast is Columns(messages) >= level, most times at less cost.
func ColumnsAtLeast(messages [][]byte, level float64) bool {
	if len(messages) < leastColumn || level > 1 {
		return level <= 1
	}
	var c columns
	if c.read(messages); c.number == 0 {
		return true
	}
	least := level / 3
	return (c.pairsPlain() && least <= plainColumns || c.pairsTail() >= least) &&
		(c.bitsPlain() && least <= plainColumns || c.bitsTail() >= least) && c.worst()*float64(c.number) >= least
}

const (
	// A variable of a skewness up to columnSkew is with probability plainColumns or more above columnZ standard deviations.
	columnZ, columnSkew = 2, 2
	plainColumns        = 0.02
)

// columns sums up what the columns show.
type columns struct {
	number                       int
	pairs                        int
	mean, variance, third        float64 // of the number of equal pairs
	bits, bitsMean, bitsVariance float64 // of the squared standardised numbers of set bits
	by                           [maxMessages + 1]columnsOf

	count [256]uint16 // how often a byte value occurs in a column, plus 256 times the column's number
}

// columnsOf are the columns of one number of bytes.
type columnsOf struct {
	number int
	most   int // the most pairs in a column
	signs  int // sum over the columns and bit positions of the squared sum of signs, where a set bit is one and a clear bit minus one
}

// read sums up all columns.
func (c *columns) read(messages [][]byte) {
	messages = messages[:min(len(messages), maxMessages)]
	if len(messages) < leastColumn {
		return
	}
	for k := 0; k < maxColumns && c.add(messages, k); k++ {
	}
	for n, of := range c.by {
		if of.number == 0 {
			continue
		}
		columns := float64(of.number)
		mean, variance, third := pairSums(n)
		c.mean, c.variance, c.third = c.mean+columns*mean, c.variance+columns*variance, c.third+columns*third
		// The square of a standardised sum of n signs has mean 1 and variance 2 - 2/n.
		c.bits += float64(of.signs) / float64(n)
		c.bitsMean += columns * 8
		c.bitsVariance += columns * 8 * (2 - 2/float64(n))
	}
}

// add counts the bytes at offset k; false when too few messages reach it.
func (c *columns) add(messages [][]byte, k int) bool {
	// Counts of columns before are below those of this one, and count as none.
	none := uint16(k+1) << 8
	n, counted, planes := 0, 0, uint64(0)
	for _, m := range messages {
		if k < len(m) {
			b := m[k]
			count := max(c.count[b], none)
			c.count[b] = count + 1
			counted += int(count)
			planes += planesOf[b]
			n++
		}
	}
	if n < leastColumn {
		return false
	}
	pairs, of := counted-n*int(none), &c.by[n]
	c.number++
	c.pairs += pairs
	of.number++
	of.most = max(of.most, pairs)
	of.signs += signs(n, planes)
	return true
}

// signs is the sum over the eight bit positions of (2k-n) squared, where the numbers k of set bits are the bytes of planes.
func signs(n int, planes uint64) int {
	const lanes = 0x00ff00ff00ff00ff
	even, odd := planes&lanes, planes>>8&lanes
	squares := (twoSquares(even) + twoSquares(even>>16) + twoSquares(odd) + twoSquares(odd>>16)) >> 32
	return 4*int(squares) - 4*n*int(sumOf(even+odd)) + 8*n*n
}

// pairsPlace is the standardised number of equal pairs, and its skewness.
func (c *columns) pairsPlace() (z, skewness float64) {
	deviation := math.Sqrt(c.variance)
	return (float64(c.pairs) - 0.5 - c.mean) / deviation, c.third / (c.variance * deviation)
}

func (c *columns) pairsTail() float64 { return pearsonTail(c.pairsPlace()) }

// pairsPlain says that pairsTail is at least plainColumns.
func (c *columns) pairsPlain() bool {
	z, skewness := c.pairsPlace()
	return z <= columnZ && skewness <= columnSkew
}

// bitsPlace is where a chi-square variable of the same mean and variance would be: its skewness is 4/sqrt(2 k) at k = 2 mean^2 / variance.
func (c *columns) bitsPlace() (z, skewness float64) {
	freedom := 2 * c.bitsMean * c.bitsMean / c.bitsVariance
	return (c.bits - c.bitsMean) / math.Sqrt(c.bitsVariance), math.Sqrt(8 / freedom)
}

func (c *columns) bitsTail() float64 { return pearsonTail(c.bitsPlace()) }

// bitsPlain says that bitsTail is at least plainColumns.
func (c *columns) bitsPlain() bool {
	z, skewness := c.bitsPlace()
	return z <= columnZ && skewness <= columnSkew
}

// worst is the smallest p-value of a single column's pairs.
func (c *columns) worst() float64 {
	worst := 1.0
	for n, of := range c.by {
		if of.most > 0 {
			mean, deviation, skewness := pairMoments(n)
			worst = min(worst, pearsonTail((float64(of.most)-0.5-mean)/deviation, skewness))
		}
	}
	return worst
}
