package randomness

import "math"

// Excludes says, at a fraction of Judge's cost, that a sample's likelihood is below level: one of the counts is so odd that its
// p-value alone, by Chernoff's bound, sinks the harmonic mean. Most of what is not ciphertext (zeros, ASCII, small numbers) is told so.
// False says nothing. Samples shorter than MinSample are never excluded.
func Excludes(sample []byte, level float64) bool {
	sample = sample[:min(len(sample), MaxSample)]
	n := len(sample)
	if n < MinSample {
		return false
	}
	var bytes [256]uint16
	pairs, high, text := 0, 0, 0
	for _, b := range sample {
		pairs += int(bytes[b])
		bytes[b]++
		high += int(b >> 7)
		text += int(textOf[b])
	}
	low := 0
	for _, k := range bytes[:16] {
		low += int(k)
	}
	return excludes(n, pairs, high, int(bytes[0]), low, text, level)
}

// excludes judges by the number of equal pairs, and of bytes with the high bit, zero bytes, bytes below 16, and text.
func excludes(n, pairs, high, zero, low, text int, level float64) bool {
	odd := math.Log(combinedBelow(n, level) / tests / 2)
	if chernoff(n, high, 1.0/2) < odd || chernoff(n, zero, 1.0/256) < odd ||
		chernoff(n, low, 1.0/16) < odd || chernoff(n, text, 98.0/256) < odd {
		return true
	}
	mean, variance, third := pairMoments(n)
	z := (float64(pairs) - 0.5 - mean) / math.Sqrt(variance)
	const far = 4 // standard deviations from which the tail is worth computing
	return z > far && math.Log(pearsonTail(z, third/math.Pow(variance, 1.5))) < odd
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
	i := gridIndex(n)
	p := calibration[i].below(level)
	if i+1 < len(calibration) && calibration[i].n != n {
		p = min(p, calibration[i+1].below(level))
	}
	return p
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
