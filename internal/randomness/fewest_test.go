package randomness

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFewest cuts samples out of data that have too few bytes of some kind: an Excluder excludes each, or one of two.
func TestFewest(t *testing.T) {
	t.Parallel()
	e := NewExcluder(1e-6)
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for _, n := range []int{96, 97, 128, 352, 1000} {
		one, two := e.Fewest(n), e.FewestOfTwo(n)
		for range 3000 {
			data := leaning(r, n+r.IntN(n))
			both := append(leaning(r, n/2+r.IntN(n/2)), data[:n/2+r.IntN(n/2)]...)
			seen[one.In(data)]++
			if !one.In(data[:n/3], data[n/3:]) {
				sample := some(r, data, n+r.IntN(len(data)-n+1))
				require.True(t, e.Excludes(sample), "%d of %x", n, sample)
			}
			if len(both) >= n && !two.In(both) {
				sample := some(r, both, n+r.IntN(len(both)-n+1))
				at := r.IntN(len(sample) + 1)
				a, b := sample[:at], sample[at:]
				require.True(t, e.Excludes(a) || e.Excludes(b), "%d of %x and %x", n, a, b)
			}
		}
		require.False(t, one.In(make([]byte, 65535)))
	}
	require.Greater(t, min(seen[true], seen[false]), 3000, "%v", seen)
}

// leaning are bytes of which a share are zeros, letters, small ones or high ones.
func leaning(r *rand.Rand, n int) []byte {
	b, share, kind := make([]byte, n), r.Float64(), r.IntN(4)
	for i := range b {
		if b[i] = byte(r.Uint32()); r.Float64() < share {
			b[i] = [4]byte{0, 'a' + b[i]%26, b[i] % 16, b[i] | 0x80}[kind]
		}
	}
	return b
}

// some are n bytes of b, half of the time those that are most evenly spread.
func some(r *rand.Rand, b []byte, n int) []byte {
	b = slices.Clone(b)
	r.Shuffle(len(b), func(i, k int) { b[i], b[k] = b[k], b[i] })
	if r.IntN(2) == 0 {
		var seen [256]int
		before := make([]int, len(b)) // how often the same byte occurs
		order := make([]int, len(b))
		for i, c := range b {
			before[i], order[i] = seen[c], i
			seen[c]++
		}
		slices.SortFunc(order, func(i, k int) int { return before[i] - before[k] })
		shuffled := slices.Clone(b)
		for i, from := range order {
			b[i] = shuffled[from]
		}
	}
	return b[:n]
}
