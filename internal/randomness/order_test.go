package randomness

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOrder compares what is computed by words with what plain loops find.
func TestOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		sample := make([]byte, r.IntN(1<<(1+r.IntN(12))))
		mask := byte(0xff >> (r.IntN(4) * r.IntN(3)))
		for i := range sample {
			sample[i] = byte(r.Uint32()) | ^mask
		}
		total, products, changes := 0, [2]int{}, 0
		for i, b := range sample {
			total += int(b)
			for lag := 1; lag <= min(2, i); lag++ {
				products[lag-1] += int(b) * int(sample[i-lag])
			}
			for bit := range 8 {
				if at := 8*i + bit; at > 0 && bitAt(sample, at) != bitAt(sample, at-1) {
					changes++
				}
			}
		}
		var c counts
		c.count(sample)
		require.Equal(t, total, c.total())
		require.Equal(t, products, neighbours(sample))
		require.Equal(t, changes, transitions(sample))
		require.Equal(t, plainRepeats(sample), repeats(sample))
	}
}

func bitAt(sample []byte, at int) byte { return sample[at/8] >> (7 - at%8) & 1 }

// plainRepeats is repeats with places in a map for slots.
func plainRepeats(sample []byte) (found int) {
	shift := 20
	if len(sample) <= 512 {
		shift = 22
	}
	last := map[uint32]uint32{}
	for i := 0; i+3 <= len(sample); i++ {
		key := uint32(sample[i])<<16 | uint32(sample[i+1])<<8 | uint32(sample[i+2])
		slot := key * 0x9e3779b1 >> shift
		if was, ok := last[slot]; ok && was == key {
			found++
		}
		last[slot] = key
	}
	return found
}

// TestCounts compares the counts with those of a plain loop.
func TestCounts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 1000 {
		sample := make([]byte, r.IntN(1<<(1+r.IntN(12)))+round/999*MaxSample)
		sample = sample[:min(len(sample), MaxSample)]
		for i := range sample {
			sample[i] = byte(r.Uint32()) | byte(round%3*0x51)
		}
		if round == 0 || round == 999 {
			clear(sample)
		}
		want := counts{n: len(sample)}
		for _, b := range sample {
			want.equal += int(want.bytes[b])
			want.bytes[b]++
			want.nibbles[0][b&15]++
			want.nibbles[1][b>>4]++
			for i := range want.planes {
				want.planes[i] += int(b >> i & 1)
			}
			if isText(b) {
				want.text++
			}
		}
		var c counts
		c.count(sample)
		require.Equal(t, want, c)
	}
}
