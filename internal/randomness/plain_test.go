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
	threshold := 0.999 // conformance.DefaultThreshold
	asked := []float64{1e-9, 1e-4, 1 - threshold, 0.003, 1e-2, 0.5}
	decided, all := map[float64]int{}, 0
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
		for _, level := range asked {
			require.Equal(t, s.Likelihood >= level, Passes(sample, level), "%g of %x", level, sample)
		}
		var c counts
		c.count(sample)
		o := runs(sample)
		changes, printableWord := glance(sample)
		require.Equal(t, o.transitions, changes)
		require.True(t, o.printableRun <= withoutWord || printableWord, "%x", sample)
		require.LessOrEqual(t, o.equalRun, repeats(sample)+3, "%x", sample)
		if spoil > 0 {
			continue
		}
		all++
		for _, level := range asked {
			passes, known := c.decide(sample, level)
			require.False(t, passes && !known)
			if known {
				decided[level]++
			}
		}
	}
	for level, least := range map[float64]float64{1e-9: 0.999, 1 - threshold: 0.995, 1e-2: 0.97} {
		require.Greater(t, float64(decided[level]), least*float64(all), level)
	}
}

// TestCombinedAbove: it gives the level that was asked for, or a higher one.
func TestCombinedAbove(t *testing.T) {
	t.Parallel()
	threshold := 0.999 // conformance.DefaultThreshold
	for n := MinSample; n <= MaxSample; n++ {
		for _, level := range []float64{1e-9, 1e-4, 1 - threshold, 0.0015, 1e-2, 0.3} {
			require.GreaterOrEqual(t, calibrated(n, combinedAbove(n, level)/plainBelow), level, n)
		}
	}
}

// TestOdd: the bounds are not below what they bound.
func TestOdd(t *testing.T) {
	t.Parallel()
	const most = 1e7 // inverse p-values that are looked at
	for n := MinSample; n <= MaxSample; n++ {
		check := func(bound, p float64, k int) {
			if bound < most && bound*p < 1 {
				require.GreaterOrEqual(t, bound*p, 1.0, "n %d k %d p %v", n, k, p)
			}
		}
		for _, p := range []float64{0.5, 98.0 / 256, 1.0 / 16} {
			mean, reach := float64(n)*p, 5*math.Sqrt(float64(n)*p*(1-p))
			for k := max(0, int(mean-reach)); k <= min(n, int(mean+reach)+1); k++ {
				check(oddBinomial(n, k, p), twoSidedBinomial(n, k, p), k)
			}
		}
		for ones := 4*n - int(8*math.Sqrt(float64(n))); ones <= 4*n; ones++ {
			check(oddBinomial(8*n, ones, 0.5), twoSidedBinomial(8*n, ones, 0.5), ones)
			check(oddBinomial(8*n-1, ones, 0.5), twoSidedBinomial(8*n-1, ones, 0.5), ones)
		}
		for zeros := range min(n, 60) {
			check(oddZeros(n, zeros), binomialTail(n, zeros, 1.0/256), zeros)
		}
		for k := range 17 {
			check(oddRun(n, k, printable), longestRunTail(n, k, printable), k)
			check(oddRun(n-1, k, 1.0/256), longestRunTail(n-1, k, 1.0/256), k)
		}
		places := float64(n - 2)
		for k := range 6 {
			check(oddRepeats(n, k), poissonTail(k, places*(places-1)/2/(1<<24)), k)
		}
		e := expected(n)
		var c counts
		c.n = n
		for k := max(0, e.pairs-5*e.pairsSD); k < e.pairs+5*e.pairsSD; k += max(1, math.Floor(e.pairsSD/16)) {
			c.equal = int(k)
			check(oddPairs((c.pairs()-e.pairs)/e.pairsSD), c.chiSquareTwoSidedP(c.chiSquareP()), c.equal)
		}
		for z := -5.0; z < 5; z += 1.0 / 16 {
			check(oddEntropy(z), entropyP(n, e.entropy-z*e.entropySD), int(z))
		}
	}
	for z := -5.0; z < 5; z += 1.0 / 64 {
		require.GreaterOrEqual(t, odd(normalOdd, oddSteps*z*z)*twoSidedNormal(z), 1.0)
	}
	for x := 0.0; x < 60; x += 1.0 / 64 {
		require.GreaterOrEqual(t, odd(planesOdd, x)*chiSquareTail(x, 8), 1.0)
		require.GreaterOrEqual(t, odd(nibblesOdd, x)*chiSquareTail(x, 15), 1.0)
	}
}

func FuzzPasses(f *testing.F) {
	sample := make([]byte, 300)
	_, _ = uniform("fuzz passes", len(sample)).Read(sample)
	for _, seed := range [][]byte{sample, sample[:MinSample], sample[:64], make([]byte, 100), []byte("AAAABBBBCCCCDDDDEEEEFFFF")} {
		f.Add(seed, 1e-3)
	}
	f.Fuzz(func(t *testing.T, sample []byte, level float64) {
		if level < 1e-12 || level >= 1 {
			level = 1e-9
		}
		require.Equal(t, Judge(sample).Likelihood >= level, Passes(sample, level), "%g of %x", level, sample)
	})
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
