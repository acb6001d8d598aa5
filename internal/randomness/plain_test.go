package randomness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPasses compares with Judge, on uniform bytes, and on ones that are less and less uniform.
func TestPasses(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 3))
	plain, rarely, all := 0, 0, 0
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
		for _, level := range []float64{1e-9, 1e-4, common.level, 1e-2, 0.5} {
			require.Equal(t, s.Likelihood >= level, Passes(sample, level), "%g of %x", level, sample)
		}
		var c counts
		c.count(sample)
		if c.plain(sample, &rare) {
			require.Less(t, c.unlikelihood(sample, &s, 1e300), tests/rare.p)
		}
		if spoil > 0 {
			continue
		}
		all++
		if c.plain(sample, &rare) {
			rarely++
		}
		if c.plain(sample, &common) {
			plain++
			require.Less(t, c.unlikelihood(sample, &s, 1e300), tests/common.p)
		}
	}
	require.Greater(t, float64(plain), 0.88*float64(all))
	require.Greater(t, float64(rarely), 0.99*float64(all))
}

// TestPlainLevel: p-values of plainness.p and more give the level that they are said to give, and the bounds such p-values.
func TestPlainLevel(t *testing.T) {
	t.Parallel()
	threshold := 0.999 // conformance.DefaultThreshold
	require.LessOrEqual(t, 1-threshold, common.level)
	for n := MinSample; n <= MaxSample; n++ {
		for _, within := range []*plainness{&common, &rare} {
			require.GreaterOrEqual(t, calibrated(n, within.p), within.level, n)
			for _, p := range []float64{0.5, 98.0 / 256, 1.0 / 16} {
				reach := int(within.high * math.Sqrt(float64(n)*p*(1-p)))
				for k := max(0, int(float64(n)*p)-reach); k <= int(float64(n)*p)+reach+1; k += max(1, 2*reach) {
					if near(n, k, p, within.high) {
						require.GreaterOrEqual(t, twoSidedBinomial(n, k, p), within.p, "n %d k %d p %v", n, k, p)
					}
				}
			}
			for zeros := n / 256; fewZeros(n, zeros, within.high); zeros++ {
				require.GreaterOrEqual(t, binomialTail(n, zeros, 1.0/256), within.p)
			}
			places := float64(n - 2)
			for k := 0; fewRepeats(n, k, within.repeats); k++ {
				require.GreaterOrEqual(t, poissonTail(k, places*(places-1)/2/(1<<24)), within.p, n)
			}
			tail := &expected(n).tail
			require.GreaterOrEqual(t, tail.p(within.high), within.p)
			if x := expected(n).pairs + within.low*expected(n).pairsSD; x >= 0 {
				require.GreaterOrEqual(t, 1-tail.p((x+0.5-expected(n).pairs)/expected(n).pairsSD), within.p)
			}
		}
	}
	for _, within := range []*plainness{&common, &rare} {
		require.GreaterOrEqual(t, chiSquareTail(within.planes, 8), within.p)
		require.GreaterOrEqual(t, chiSquareTail(within.nibbles, 15), within.p)
		require.GreaterOrEqual(t, twoSidedNormal(within.high), within.p)
		require.GreaterOrEqual(t, -math.Expm1(-within.runs), within.p)
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
