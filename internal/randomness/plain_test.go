package randomness

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPasses compares with Judge, on uniform bytes, and on ones that are less and less uniform.
func TestPasses(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 3))
	plain, all := 0, 0
	for range 30_000 {
		sample := make([]byte, MinSample+r.IntN(1<<(1+r.IntN(11))))
		spoil := r.IntN(4) * r.IntN(8)
		for i := range sample {
			sample[i] = byte(r.Uint32())
			if r.IntN(256) < spoil {
				sample[i] &= 0x7f
			}
			if i > 8 && r.IntN(512) < spoil {
				copy(sample[i-3:i+1], sample[i-8:])
			}
		}
		s := Judge(sample)
		for _, level := range []float64{1e-9, 1e-4, plainLevel, 1e-2, 0.5} {
			require.Equal(t, s.Likelihood >= level, Passes(sample, level), "%g of %x", level, sample)
		}
		if spoil > 0 {
			continue
		}
		all++
		var c counts
		c.count(sample)
		if c.plain(sample) {
			plain++
			require.Less(t, c.unlikelihood(sample, &s, 1e300), tests/plainP)
		}
	}
	require.Greater(t, float64(plain), 0.88*float64(all))
}

// TestPlainLevel: p-values of plainP and more give the level that they are said to give.
func TestPlainLevel(t *testing.T) {
	t.Parallel()
	for n := MinSample; n <= MaxSample; n++ {
		require.GreaterOrEqual(t, calibrated(n, plainP), plainLevel, n)
	}
}

func BenchmarkPasses(b *testing.B) {
	for _, n := range []int{64, 512, 4096} {
		sample := make([]byte, n)
		_, _ = uniform("bench", n).Read(sample)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				_ = Passes(sample, 1e-3)
			}
		})
	}
}
