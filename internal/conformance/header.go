package conformance

import "math"

// maxHeader bounds the clear header of a message, in bytes.
const maxHeader = 96

// Columns as odd as these are clear, not ciphertext: with 96 columns, one in a thousand flows shows one by chance.
const clearColumn = 1e-5

// maxClearGap is how many bytes without a pattern (a nonce, a session id) may lie between two clear ones of a header.
const maxClearGap = 16

// clearHeader is how many bytes from the start of each message repeat, count up, or hardly change from message to message.
func clearHeader(all [][]byte) int {
	header := 0
	for k := 0; k < maxHeader && k < header+maxClearGap; k++ {
		var column []byte
		for _, m := range all {
			if len(m) > k {
				column = append(column, m[k])
			}
		}
		if len(column) < 3 {
			break
		}
		if min(equalPairsP(column), stepsP(column)) < clearColumn || allEqual(column) && len(column) >= 3 {
			header = k + 1
		}
	}
	return header
}

func allEqual(column []byte) bool {
	for _, b := range column[1:] {
		if b != column[0] {
			return false
		}
	}
	return true
}

// equalPairsP is the probability of at least so many equal pairs among uniform bytes, by their Poisson approximation's Chernoff
// bound.
func equalPairsP(column []byte) float64 {
	var count [256]int
	pairs := 0
	for _, b := range column {
		pairs += count[b]
		count[b]++
	}
	mean := float64(len(column)*(len(column)-1)) / 2 / 256
	x := float64(pairs)
	if x <= mean {
		return 1
	}
	return math.Exp(x - mean - x*math.Log(x/mean))
}

// stepsP is the probability that the most frequent difference between neighbours occurs so often by chance: a counter has one.
func stepsP(column []byte) float64 {
	var count [256]int
	most := 0
	for i, b := range column[1:] {
		d := b - column[i]
		count[d]++
		most = max(most, count[d])
	}
	steps := len(column) - 1
	// Union bound over the differences and over which steps they are.
	ln, _ := math.Lgamma(float64(steps + 1))
	lk, _ := math.Lgamma(float64(most + 1))
	lr, _ := math.Lgamma(float64(steps - most + 1))
	return min(1, math.Exp(ln-lk-lr-float64(most-1)*math.Log(256)))
}
