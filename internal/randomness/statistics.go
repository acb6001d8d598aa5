package randomness

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync/atomic"
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
	squares := 0
	for high := range 16 {
		row, sum := (*[16]uint16)(c.bytes[16*high:]), 0
		for low, k := range row {
			c.nibbles[0][low] += int(k)
			squares += int(k) * int(k)
			sum += int(k)
		}
		c.nibbles[1][high] = sum
	}
	c.equal = (squares - c.n) / 2
	for i := range c.nibbles {
		c.nibbles[i].planes((*[4]int)(c.planes[4*i:]))
	}
	c.text = int(c.bytes['\t']) + int(c.bytes['\r']) + int(c.bytes['\n']) - int(c.bytes[0x7f])
	for _, k := range c.nibbles[1][2:8] { // 0x20..0x7f
		c.text += k
	}
}

// order is what the order of a sample's bytes yields.
type order struct {
	transitions  int // changes between neighbouring bits, most significant bit first
	printableRun int // longest run of bytes in 0x20..0x7e
	equalRun     int // longest run of one byte value
}

// runs looks at a sample's order.
func runs(sample []byte) order {
	return order{transitions: transitions(sample), printableRun: printableRun(sample), equalRun: equalRun(sample)}
}

// planes counts each bit of a nibble.
func (w *ways) planes(to *[4]int) {
	for v, k := range w {
		for bit := range to {
			to[bit] += k & -(v >> bit & 1)
		}
	}
}

// tally counts byte values.
func (c *counts) tally(sample []byte) {
	for ; len(sample) >= 8; sample = sample[8:] {
		w := binary.LittleEndian.Uint64(sample)
		c.bytes[byte(w)]++
		c.bytes[byte(w>>8)]++
		c.bytes[byte(w>>16)]++
		c.bytes[byte(w>>24)]++
		c.bytes[byte(w>>32)]++
		c.bytes[byte(w>>40)]++
		c.bytes[byte(w>>48)]++
		c.bytes[byte(w>>56)]++
	}
	for _, b := range sample {
		c.bytes[b]++
	}
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// equalRun is the length of the longest run of one byte value. Eight bytes that all differ from the next are passed at once.
func equalRun(sample []byte) int {
	longest, at := min(len(sample), 1), 0
	for at+1 < len(sample) {
		if at+9 <= len(sample) {
			if x := binary.LittleEndian.Uint64(sample[at:]) ^ binary.LittleEndian.Uint64(sample[at+1:]); (x-ones)&^x&high == 0 {
				at += 8
				continue
			}
		}
		end := at + 1
		for end < len(sample) && sample[end] == sample[at] {
			end++
		}
		longest = max(longest, end-at)
		at = end
	}
	return longest
}

// printableRun is the length of the longest run of bytes in 0x20..0x7e: with a bit for each of 64 bytes, the runs are made shorter by one
// until none is left.
func printableRun(sample []byte) int {
	var rows [MaxSample / 64]uint64
	for i, b := range sample[len(sample)&^7:] {
		if b-0x20 <= 0x5e {
			rows[len(sample)/64] |= 1 << (len(sample)&^7%64 + i)
		}
	}
	for at := 0; at+8 <= len(sample); at += 8 {
		rows[at/64%len(rows)] |= printables(binary.LittleEndian.Uint64(sample[at:])) << (at % 64)
	}
	const usual = 24 // longer ones have text
	all := rows[:(len(sample)+63)/64]
	for run := range usual {
		left := uint64(0)
		for i, row := range all {
			next := uint64(0)
			if i+1 < len(all) {
				next = all[i+1] << 63
			}
			all[i] = row & (row>>1 | next)
			left |= row
		}
		if left == 0 {
			return run
		}
	}
	longest, run := 0, 0
	for _, b := range sample {
		if run++; b-0x20 > 0x5e {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// printables are the printable ones of eight bytes, a bit each.
func printables(w uint64) uint64 {
	low := w & (ones * 0x7f)
	return ((low + ones*0x60) &^ (low + ones) &^ w & high) >> 7 * 0x0102040810204080 >> 56
}

// transitions counts the changes between neighbouring bits, eight bytes at a time.
func transitions(sample []byte) int {
	changes := 0
	for len(sample) > 8 {
		w := binary.BigEndian.Uint64(sample)
		changes += bits.OnesCount64((w^w>>1)&(1<<63-1)) + int((sample[7]^sample[8]>>7)&1)
		sample = sample[8:]
	}
	for i, b := range sample {
		changes += bits.OnesCount8((b ^ b>>1) & 0x7f)
		if i > 0 {
			changes += int((b>>7 ^ sample[i-1]) & 1)
		}
	}
	return changes
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
	serial := serialCorrelations(sample)
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

// surprises is the sum of k log2 k over how often each byte value occurs.
func (c *counts) surprises() float64 {
	var h [4]float64 // several sums do not wait for each other
	for b, k := range c.bytes {
		if int(k) < len(surprise) {
			h[b%len(h)] += surprise[k]
		} else {
			h[b%len(h)] += float64(k) * math.Log2(float64(k))
		}
	}
	return h[0] + h[1] + h[2] + h[3]
}

// entropy is the plug-in Shannon entropy, bits a byte (Shannon, 1948).
func (c *counts) entropy() float64 { return math.Log2(float64(c.n)) - c.surprises()/float64(c.n) }

// means keeps what meanEntropy gave, as bits; 0 where it was not asked yet.
var means [MaxSample + 1]atomic.Uint64

// meanEntropy is the exact mean of the plug-in entropy of n uniform bytes, for n up to MaxSample.
func meanEntropy(n int) float64 {
	if kept := means[n].Load(); kept != 0 {
		return math.Float64frombits(kept)
	}
	mean := meanEntropyOf(n)
	means[n].Store(math.Float64bits(mean))
	return mean
}

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
	z := (meanEntropy(n) - entropy) / entropySD(n)
	_, _, skewness := pairMoments(n)
	return pearsonTail(z, skewness)
}

// entropySD is the standard deviation of the plug-in entropy of n uniform bytes.
func entropySD(n int) float64 {
	i := gridIndex(n)
	if i+1 == len(calibration) || calibration[i].n >= n {
		return calibration[i].entropySD
	}
	lo, hi := &calibration[i], &calibration[i+1]
	w := math.Log(float64(n)/float64(lo.n)) / math.Log(float64(hi.n)/float64(lo.n))
	return lo.entropySD*(1-w) + hi.entropySD*w
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
	mean, deviation, skewness := pairMoments(c.n)
	return pearsonTail((c.pairs()-0.5-mean)/deviation, skewness)
}

// chiSquareTwoSidedP also finds bytes that are too evenly spread, as counters and permutations are; upper is chiSquareP.
func (c *counts) chiSquareTwoSidedP(upper float64) float64 {
	if upper < 0.5 {
		return 2 * upper // both tails hold the value itself, so that the lower one is above a half
	}
	mean, deviation, skewness := pairMoments(c.n)
	lower := 1 - pearsonTail((c.pairs()+0.5-mean)/deviation, skewness)
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

// serialCorrelations are, at lags 1 and 2, the standardised sums of products of bytes that far apart (Knuth, TAOCP 2, 3.3.2 K). The mean
// 127.5 and variance 5461.25 of a uniform byte are known, hence mean 0 and variance 1 are exact.
func serialCorrelations(sample []byte) (z [2]float64) {
	if len(sample) <= len(z) {
		return z
	}
	last, before := 2*int(sample[1])-255, 2*int(sample[0])-255
	sum := [2]int{last * before}
	for _, b := range sample[2:] {
		x := 2*int(b) - 255
		sum[0] += x * last
		sum[1] += x * before
		last, before = x, last
	}
	for i := range z {
		z[i] = float64(sum[i]) / (4 * 5461.25) / math.Sqrt(float64(len(sample)-i-1))
	}
	return z
}

// repeatsP tests how often three bytes in a row have occurred before: among n uniform bytes about as often as there are pairs
// of places, over 2^24, and Poisson distributed.
func repeatsP(sample []byte) float64 {
	places := float64(len(sample) - 2)
	return poissonTail(repeats(sample), places*(places-1)/2/(1<<24))
}

// repeats counts the places where the next three bytes have occurred before, as far as a table of the last three by hash
// remembers it.
func repeats(sample []byte) int {
	if len(sample) <= 512 { // less to clear
		var last [1024]uint32
		return repeatsBy(last[:], 22, sample)
	}
	var last [4096]uint32
	return repeatsBy(last[:], 20, sample)
}

// repeatsBy counts with a table by hash, of 32-shift bits.
func repeatsBy(last []uint32, shift int, sample []byte) int {
	found := 0
	if len(sample) < 3 {
		return 0
	}
	const full = 1 << 24 // unlike an empty slot
	key := uint32(sample[0])<<8 | uint32(sample[1])
	for _, b := range sample[2:] {
		key = key<<8&0xffffff | uint32(b)
		slot := &last[key*0x9e3779b1>>shift]
		if *slot == key|full {
			found++
		}
		*slot = key | full
	}
	return found
}
