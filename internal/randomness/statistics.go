package randomness

import (
	"math"
	"math/bits"
)

// tests is the number of p-values that counts.unlikelihood sums up.
const tests = 16

// isText says whether b is printable ASCII, tab, CR or LF: 98 of the 256 values.
func isText(b byte) bool { return b >= 0x20 && b <= 0x7e || b == '\t' || b == '\r' || b == '\n' }

// printable is the share of uniform bytes in 0x20..0x7e.
const printable = 95.0 / 256

// counts are how often the bytes and bits of a sample occur, in whatever order.
type counts struct {
	n       int
	bytes   [256]uint16
	equal   int     // pairs of equal bytes
	nibbles [2]ways // of the low and of the high nibble
	planes  [8]int  // bytes with bit i set
	text    int     // bytes for which isText holds
}

// ways is how often each value of a nibble occurs.
type ways [16]int

// planesOf spreads the bits of a byte over the bytes of a word, so that one addition counts all eight.
var planesOf = func() (t [256]uint64) {
	for b := range t {
		for i := range 8 {
			t[b] |= uint64(b>>i&1) << (8 * i)
		}
	}
	return t
}()

// count adds a whole sample to c, which must be empty.
func (c *counts) count(sample []byte) {
	c.n = len(sample)
	c.tally(sample)
	var nibbles [2][4]uint64 // four counts in each word, which hold MaxSample
	low := &nibbles[0]
	squares := uint64(0)
	for high := range 16 {
		row := (*[16]uint16)(c.bytes[16*high:])
		k0, k1, k2, k3 := fourOf((*[4]uint16)(row[0:])), fourOf((*[4]uint16)(row[4:])), fourOf((*[4]uint16)(row[8:])), fourOf((*[4]uint16)(row[12:]))
		low[0], low[1], low[2], low[3] = low[0]+k0, low[1]+k1, low[2]+k2, low[3]+k3
		nibbles[1][high/4] |= sumOf(k0+k1+k2+k3) << (16 * (high % 4))
		squares += twoSquares(k0) + twoSquares(k0>>16) + twoSquares(k1) + twoSquares(k1>>16)
		squares += twoSquares(k2) + twoSquares(k2>>16) + twoSquares(k3) + twoSquares(k3>>16)
	}
	c.equal = (int(squares>>32) - c.n) / 2
	for i := range nibbles {
		c.nibbles[i] = waysOf(&nibbles[i])
		planes(&nibbles[i], (*[4]int)(c.planes[4*i:]))
	}
	c.text = int(c.bytes['\t']) + int(c.bytes['\r']) + int(c.bytes['\n']) - int(c.bytes[0x7f])
	for _, k := range c.nibbles[1][2:8] { // 0x20..0x7f
		c.text += k
	}
}

// fourOf puts four counts in a word.
func fourOf(k *[4]uint16) uint64 {
	return uint64(k[0]) | uint64(k[1])<<16 | uint64(k[2])<<32 | uint64(k[3])<<48
}

// sumOf sums up the four counts of a word.
func sumOf(k uint64) uint64 { return k * 0x0001000100010001 >> 48 }

// twoSquares is, in its upper half, the sum of the squares of the first and third count of a word: (a + b<<32)(b + a<<32) has that there,
// and ab in the lower half, which over all counts of a sample sums up to less than 1<<32.
func twoSquares(k uint64) uint64 {
	k &= 0x0000ffff0000ffff
	return k * bits.RotateLeft64(k, 32)
}

// waysOf takes words of four counts apart.
func waysOf(words *[4]uint64) (w ways) {
	for i := range w {
		w[i] = int(words[i/4] >> (16 * (i % 4)) & 0xffff)
	}
	return w
}

// planes counts each bit of a nibble: the upper two tell the words, the lower two the counts within a word.
func planes(words *[4]uint64, to *[4]int) {
	all := words[0] + words[1] + words[2] + words[3]
	to[0] = int(all>>16&0xffff + all>>48)
	to[1] = int(all>>32&0xffff + all>>48)
	to[2] = int(sumOf(words[1] + words[3]))
	to[3] = int(sumOf(words[2] + words[3]))
}

// tally counts byte values.
func (c *counts) tally(sample []byte) {
	for ; len(sample) >= 8; sample = sample[8:] {
		b := (*[8]byte)(sample)
		c.bytes[b[0]]++
		c.bytes[b[1]]++
		c.bytes[b[2]]++
		c.bytes[b[3]]++
		c.bytes[b[4]]++
		c.bytes[b[5]]++
		c.bytes[b[6]]++
		c.bytes[b[7]]++
	}
	for _, b := range sample {
		c.bytes[b]++
	}
}

// total is the sum of all bytes.
func (c *counts) total() (sum int) {
	for i, k := range c.planes {
		sum += k << i
	}
	return sum
}

// low is the number of bytes below 16.
func (c *counts) low() int { return c.nibbles[1][0] }

// unlikelihood sums up the inverse p-values of all statistics under uniform bytes: of a value at least as odd, two-sided where both sides
// are odd. It stops, with cheaper statistics first, where the sum is above enough. s is what figures gives.
func (c *counts) unlikelihood(sample []byte, s *Stats, enough float64) float64 {
	n, o := c.n, runs(sample)
	ones := 0
	for _, k := range c.planes {
		ones += k
	}
	sum := inverse(
		c.chiSquareTwoSidedP(s.Chi2P),
		twoSidedBinomial(8*n, ones, 0.5),
		chiSquareTail(c.planesChiSquare(), 8),
		twoSidedBinomial(8*n-1, o.transitions, 0.5),
		twoSidedBinomial(n, c.planes[7], 0.5),
		twoSidedBinomial(n, c.text, 98.0/256),
		longestRunTail(n, o.printableRun, printable),
		equalRunTail(n, o.equalRun),
	)
	if sum > enough {
		return sum
	}
	sum += inverse(
		entropyP(n, s.Entropy),
		chiSquareTail(c.nibbles[1].chiSquare(n), 15),
		chiSquareTail(c.nibbles[0].chiSquare(n), 15),
		binomialTail(n, int(c.bytes[0]), 1.0/256),
		twoSidedBinomial(n, c.low(), 1.0/16),
	)
	if sum > enough {
		return sum
	}
	serial := c.serialCorrelations(sample)
	if sum += inverse(twoSidedNormal(serial[0]), twoSidedNormal(serial[1])); sum > enough {
		return sum
	}
	return sum + inverse(repeatsP(sample))
}

// inverse sums up the inverse p-values.
func inverse(all ...float64) float64 {
	sum := 0.0
	for _, p := range all {
		sum += 1 / max(p, 1e-200)
	}
	return sum
}

// surprise is k log2 k for the counts that are common.
var surprise = func() (t [128]float64) {
	for k := 2; k < len(t); k++ {
		t[k] = float64(k) * math.Log2(float64(k))
	}
	return t
}()

// surprises2 is the sum of two surprises below 32, at the one and 32 times the other.
var surprises2 = func() (t [32 * 32]float64) {
	for i := range t {
		t[i] = surprise[i%32] + surprise[i/32]
	}
	return t
}()

// surprises is the sum of k log2 k over how often each byte value occurs.
func (c *counts) surprises() float64 {
	var h0, h1, h2, h3 float64 // several sums do not wait for each other
	for i := 0; i < len(c.bytes); i += 8 {
		a, b := fourOf((*[4]uint16)(c.bytes[i:])), fourOf((*[4]uint16)(c.bytes[i+4:]))
		if (a|b)&^0x001f001f001f001f != 0 {
			for _, k := range c.bytes[i : i+8] {
				h0 += surpriseOf(k)
			}
			continue
		}
		a, b = a|a>>11, b|b>>11 // moves the second and fourth count to 32 times the first and third
		h0 += surprises2[a&0x3ff]
		h1 += surprises2[a>>32&0x3ff]
		h2 += surprises2[b&0x3ff]
		h3 += surprises2[b>>32&0x3ff]
	}
	return h0 + h1 + h2 + h3
}

func surpriseOf(k uint16) float64 {
	if int(k) < len(surprise) {
		return surprise[k]
	}
	return float64(k) * math.Log2(float64(k))
}

// entropy is the plug-in Shannon entropy, bits a byte (Shannon, 1948).
func (c *counts) entropy() float64 { return math.Log2(float64(c.n)) - c.surprises()/float64(c.n) }

// meanEntropy is the exact mean of the plug-in entropy of n uniform bytes, for n up to MaxSample.
func meanEntropy(n int) float64 { return expected(n).entropy }

// meanEntropyOf is 256 times the mean of -k/n log2(k/n) over the binomial number k of occurrences of one value.
func meanEntropyOf(n int) float64 {
	const p = 1.0 / 256
	pmf := math.Exp(float64(n) * math.Log1p(-p)) // k = 0
	sum := 0.0
	for k := 1; k <= n; k++ {
		pmf *= float64(n-k+1) / float64(k) * p / (1 - p)
		sum -= pmf * float64(k) / float64(n) * math.Log2(float64(k)/float64(n))
		if float64(k) > float64(n)*p && pmf < 1e-18 {
			break
		}
	}
	return 256 * sum
}

// entropyP tests the entropy of n bytes against its exact mean and spread. Its skewness is taken to be that of the number of equal pairs,
// of which it is a linear function while no value occurs three times.
func entropyP(n int, entropy float64) float64 {
	e := expected(n)
	return e.tail.p((e.entropy - entropy) / e.entropySD)
}

// entropySD is the standard deviation of the plug-in entropy of n uniform bytes.
func entropySD(n int) float64 {
	i, weight := gridPlace(n)
	if weight == 0 {
		return calibration[i].entropySD
	}
	return calibration[i].entropySD*(1-weight) + calibration[i+1].entropySD*weight
}

// pairs is the number of pairs of equal bytes, X. Pearson's chi-square is 512/n X + 256 - n, so that both are one test.
func (c *counts) pairs() float64 { return float64(c.equal) }

// pairMoments are the exact mean, standard deviation and skewness of the number of equal pairs among n uniform bytes: any two pairs are
// independent, of three only those that form a triangle are not.
func pairMoments(n int) (mean, deviation, skewness float64) {
	mean, variance, third := pairSums(n)
	deviation = math.Sqrt(variance)
	return mean, deviation, third / (variance * deviation)
}

// pairSums are the mean, variance and third central moment, which columns that are independent add up.
func pairSums(n int) (mean, variance, third float64) {
	const q = 1.0 / 256
	two := float64(n) * float64(n-1) / 2
	three := two * float64(n-2) / 3
	return two * q, two * q * (1 - q), two*q*(1-q)*(1-2*q) + 6*three*q*q*(1-q)
}

// chiSquareP is the p-value of the chi-square test (upper tail), from the exact first three moments, since the chi-square
// distribution itself fits only where every value is expected five times (Cochran, 1954), i.e. from 1280 bytes on.
func (c *counts) chiSquareP() float64 {
	if c.n < 2 {
		return 1
	}
	e := expected(c.n)
	return e.tail.p((c.pairs() - 0.5 - e.pairs) / e.pairsSD)
}

// chiSquareTwoSidedP also finds bytes that are too evenly spread, as counters and permutations are; upper is chiSquareP.
func (c *counts) chiSquareTwoSidedP(upper float64) float64 {
	if upper < 0.5 {
		return 2 * upper // both tails hold the value itself, so that the lower one is above a half
	}
	e := expected(c.n)
	lower := 1 - e.tail.p((c.pairs()+0.5-e.pairs)/e.pairsSD)
	return min(1, 2*min(upper, lower))
}

// planesChiSquare is the sum over the eight bit positions of the squared standardised number of set bits: about chi-square with
// 8 degrees of freedom. It sees ASCII, whose high bit is never set, from 16 bytes on.
func (c *counts) planesChiSquare() float64 {
	x := 0.0
	for _, k := range c.planes {
		d := float64(2*k - c.n)
		x += d * d / float64(c.n)
	}
	return x
}

// chiSquare is Pearson's chi-square over the 16 values of a nibble: 15 degrees of freedom.
func (w *ways) chiSquare(n int) float64 {
	x := 0
	for _, k := range w {
		x += k * k
	}
	return 16*float64(x)/float64(n) - float64(n)
}
