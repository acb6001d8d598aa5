package randomness

import (
	"encoding/binary"
	"math"
	"sort"
	"sync/atomic"
)

// An Excluder says, at a fraction of Judge's cost, that a sample's likelihood is below its level: one of the counts is so odd that its
// p-value alone, by Chernoff's bound, sinks the harmonic mean. Most of what is not ciphertext (zeros, ASCII, small numbers) is told so.
type Excluder struct {
	level  float64
	bounds [MaxSample + 1]atomic.Pointer[bounds] // by length, made when first needed
}

// NewExcluder makes one for a level of 0..1.
func NewExcluder(level float64) *Excluder { return &Excluder{level: level} }

// The counts that Excluders look at, and the share of uniform bytes that each has.
const (
	highBytes = iota
	zeroBytes
	lowBytes // below 16
	textBytes
	kinds
)

var shares = [kinds]float64{highBytes: 1.0 / 2, zeroBytes: 1.0 / 256, lowBytes: 1.0 / 16, textBytes: 98.0 / 256}

// Excludes says that the sample's likelihood is below the level; false says nothing. Samples shorter than MinSample are never excluded.
func (e *Excluder) Excludes(sample []byte) bool {
	sample = sample[:min(len(sample), MaxSample)]
	n := len(sample)
	if n < MinSample {
		return false
	}
	of := e.bounds[n].Load()
	if of == nil {
		of = boundsOf(n, e.level)
		e.bounds[n].Store(of)
	}
	high, zero, low := fewKinds(sample)
	if of.odd(highBytes, high) || of.odd(zeroBytes, zero) || of.odd(lowBytes, low) {
		return true
	}
	var bytes [256]uint16
	pairs := 0
	for _, b := range sample {
		pairs += int(bytes[b])
		bytes[b]++
	}
	return pairs > of.pairs || of.odd(textBytes, textIn(&bytes))
}

// textIn is how many of the bytes counted, of which there are MaxSample at most, isText.
func textIn(bytes *[256]uint16) int {
	sum := uint64(0)
	for i := 0x20; i < 0x80; i += 4 {
		sum += fourOf((*[4]uint16)(bytes[i:]))
	}
	return int(sumOf(sum)) - int(bytes[0x7f]) + int(bytes['\t']) + int(bytes['\r']) + int(bytes['\n'])
}

// fewKinds counts the bytes of the kinds that are cheap to tell: of those that are not, the high bit is set by an addition.
func fewKinds(sample []byte) (high, zero, low int) {
	const most = 255 // words, each of which adds up to one to each byte of a sum
	const sevenBits = ones * 0x7f
	for len(sample) >= 8 {
		part := sample[:min(len(sample)&^7, 8*most)]
		sample = sample[len(part):]
		n := len(part)
		var highs, others, larger uint64
		for ; len(part) >= 8; part = part[8:] {
			w := binary.LittleEndian.Uint64(part)
			rest := w & sevenBits
			highs += w >> 7 & ones
			others += (rest + sevenBits | w) >> 7 & ones
			larger += (rest + ones*0x70 | w) >> 7 & ones
		}
		high, zero, low = high+sumOfBytes(highs), zero+n-sumOfBytes(others), low+n-sumOfBytes(larger)
	}
	for _, b := range sample {
		switch {
		case b >= 0x80:
			high++
		case b < 0x10:
			low++
			if b == 0 {
				zero++
			}
		}
	}
	return high, zero, low
}

// sumOfBytes sums up the eight bytes of a word.
func sumOfBytes(w uint64) int {
	const lanes = 0x00ff00ff00ff00ff
	return int(sumOf(w&lanes + w>>8&lanes))
}

// bounds are the counts and the number of equal pairs that do not exclude a sample.
type bounds struct {
	least, most [kinds]int
	pairs       int
}

// odd says whether k bytes of a kind exclude a sample.
func (b *bounds) odd(kind, k int) bool { return k < b.least[kind] || k > b.most[kind] }

func boundsOf(n int, level float64) *bounds {
	b, odd := new(bounds), oddness(n, level)
	for kind, p := range shares {
		mean := int(float64(n) * p)
		b.least[kind] = sort.Search(mean, func(k int) bool { return chernoff(n, k, p) >= odd })
		b.most[kind] = mean + sort.Search(n-mean, func(more int) bool { return chernoff(n, mean+more+1, p) < odd })
	}
	b.pairs = sort.Search(n*(n-1)/2, func(k int) bool { return manyPairs(n, k+1, odd) })
	return b
}

// oddness is the logarithm of a p-value that alone makes a sample of n bytes less likely than level.
func oddness(n int, level float64) float64 { return math.Log(combinedBelow(n, level) / tests / 2) }

// excludes does with one sample's counts what an Excluder does.
func (c *counts) excludes(level float64) bool {
	odd := oddness(c.n, level)
	for kind, k := range [kinds]int{highBytes: c.planes[7], zeroBytes: int(c.bytes[0]), lowBytes: c.low(), textBytes: c.text} {
		// The bound is at least minus the squared number of standard deviations (relative entropy is at most chi-square).
		n, p := float64(c.n), shares[kind]
		if d := float64(k) - n*p; d*d > -odd*n*p*(1-p) && chernoff(c.n, k, p) < odd {
			return true
		}
	}
	return manyPairs(c.n, c.equal, odd)
}

// manyPairs says whether so many equal pairs are less likely than odd, a logarithm.
func manyPairs(n, pairs int, odd float64) bool {
	e := expected(n)
	z := (float64(pairs) - 0.5 - e.pairs) / e.pairsSD
	const far = 4 // standard deviations from which the tail is worth computing
	return z > far && math.Log(e.tail.p(z)) < odd
}

// chernoff bounds the logarithm of the probability that k or further from the mean of n trials of probability p succeed.
func chernoff(n, k int, p float64) float64 {
	bound := 0.0
	if k > 0 {
		bound -= float64(k) * math.Log(float64(k)/(float64(n)*p))
	}
	if k < n {
		bound -= float64(n-k) * math.Log(float64(n-k)/(float64(n)*(1-p)))
	}
	return bound
}

// combinedBelow is a combined p-value whose calibrated level at n bytes is surely at most level.
func combinedBelow(n int, level float64) float64 {
	before, after := around(n)
	return min(before.below(level), after.below(level))
}

// combinedAbove is a combined p-value whose calibrated level at n bytes is surely at least level.
func combinedAbove(n int, level float64) float64 {
	before, after := around(n)
	return max(before.above(level), after.above(level))
}

// around are the calibration's rows between which n is; the same one twice where n is in it, or beyond the last.
func around(n int) (before, after *calibrationRow) {
	e := expected(n)
	before = &calibration[e.index]
	if e.weight == 0 {
		return before, before
	}
	return before, &calibration[e.index+1]
}

// below is the inverse of level, rounded down to a tabulated point.
func (r *calibrationRow) below(level float64) float64 {
	if level <= levels[0] {
		return r.quantiles[0] * level / levels[0]
	}
	p := r.quantiles[0]
	for i, l := range levels {
		if l > level {
			break
		}
		p = r.quantiles[i]
	}
	return p
}

// above is below, rounded up. A level that is above a tabulated one by a rounding error is taken for that.
func (r *calibrationRow) above(level float64) float64 {
	level *= 1 - 1e-9
	if level <= levels[0] {
		return r.quantiles[0] * level / levels[0]
	}
	for i, l := range levels {
		if l >= level {
			return r.quantiles[i]
		}
	}
	return math.Inf(1)
}
