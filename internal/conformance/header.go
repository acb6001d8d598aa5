package conformance

import (
	"math"
	"sort"
	"sync"
)

// maxHeader bounds the clear header of a message, in bytes.
const maxHeader = 96

// Columns as odd as these are clear, not ciphertext: with 96 columns, one in a thousand flows shows one by chance.
const (
	clearColumn = 1e-5
	leastColumn = 3 // messages that reach it
)

// maxClearGap is how many bytes without a pattern (a nonce, a session id) may lie between two clear ones of a header.
const maxClearGap = 16

// clearHeader is how many bytes from the start of each message repeat, count up, or hardly change from message to message.
func clearHeader(messages [][]byte) int {
	if len(messages) < leastColumn {
		return 0
	}
	header, leasts := 0, leastsClear()
	var c columnCounts
	for k := 0; k < maxHeader && k < header+maxClearGap; k++ {
		if !c.count(messages, k) {
			break
		}
		if least := &leasts[c.n]; c.equal || c.pairs >= least.pairs || c.most >= least.most {
			header = k + 1
		}
	}
	return header
}

// columnCounts are the counts over one column, the bytes at one offset of all messages.
type columnCounts struct {
	n     int
	equal bool // all bytes are the same
	pairs int  // of equal bytes
	most  int  // how often the most frequent difference between neighbours occurs

	bytes, steps [256]tick
}

// A tick is a count in one column: its lower half, where the upper one is the column's number.
type tick uint32

// next counts once more in a column, and gives how often before.
func (t *tick) next(column tick) int {
	if *t>>16 != column {
		*t = column << 16
	}
	*t++
	return int(*t&0xffff) - 1
}

// count reads the column at offset k; false when too few messages reach it.
func (c *columnCounts) count(messages [][]byte, k int) bool {
	c.n, c.pairs, c.most, c.equal = 0, 0, 0, true
	column, last := tick(k+1), byte(0)
	for _, m := range messages {
		if len(m) <= k {
			continue
		}
		b := m[k]
		c.pairs += c.bytes[b].next(column)
		if c.n > 0 {
			step := b - last
			c.equal = c.equal && step == 0
			c.most = max(c.most, c.steps[step].next(column)+1)
		}
		last = b
		c.n++
	}
	return c.n >= leastColumn
}

// A leastClear is from how many equal pairs on, and from how many equal differences between neighbours, a column is clear.
type leastClear struct{ pairs, most int }

// leastsClear are by the number of messages that reach the column.
var leastsClear = sync.OnceValue(func() *[2*maxFramed + 1]leastClear {
	var all [2*maxFramed + 1]leastClear
	for n := leastColumn; n < len(all); n++ {
		all[n].pairs = sort.Search(n*n, func(k int) bool { return pairsP(n, k) < clearColumn })
		all[n].most = sort.Search(n, func(k int) bool { return stepsP(n, k) < clearColumn })
	}
	return &all
})

// pairsP is the probability of at least so many equal pairs among n uniform bytes, by their Poisson approximation's Chernoff bound.
func pairsP(n, pairs int) float64 {
	mean := float64(n*(n-1)) / 2 / 256
	x := float64(pairs)
	if x <= mean {
		return 1
	}
	return math.Exp(x - mean - x*math.Log(x/mean))
}

// stepsP is the probability that the most frequent of the differences between n neighbours occurs so often by chance: a counter has one.
func stepsP(n, most int) float64 {
	if most <= 3 { // 256^-2 at least
		return 1
	}
	steps := n - 1
	// Union bound over the differences and over which steps they are.
	ln, _ := math.Lgamma(float64(steps + 1))
	lk, _ := math.Lgamma(float64(most + 1))
	lr, _ := math.Lgamma(float64(steps - most + 1))
	return min(1, math.Exp(ln-lk-lr-float64(most-1)*math.Log(256)))
}
