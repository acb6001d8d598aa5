package randomness

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChiSquareTail compares with the table of critical values in Abramowitz and Stegun, table 26.8.
func TestChiSquareTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		freedom int
		x, p    float64
	}{
		{1, 3.84146, 0.05}, {1, 6.63490, 0.01}, {8, 15.5073, 0.05}, {8, 20.0902, 0.01}, {8, 26.125, 0.001},
		{15, 24.9958, 0.05}, {15, 30.5779, 0.01}, {15, 37.697, 0.001}, {15, 7.26094, 0.95}, {100, 124.342, 0.05}, {100, 149.449, 0.001},
	} {
		require.InEpsilon(t, c.p, chiSquareTail(c.x, c.freedom), 1e-3, "%+v", c)
	}
}

// TestBinomialTail compares with the exact sum in rational arithmetic.
func TestBinomialTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, k   int
		a, b   int64 // p = a/b
		within float64
	}{
		{16, 0, 1, 2, 1e-12}, {16, 3, 1, 256, 1e-9}, {16, 16, 95, 256, 1e-9}, {64, 20, 95, 256, 1e-9}, {64, 40, 95, 256, 1e-9},
		{256, 1, 1, 256, 1e-9}, {256, 9, 1, 256, 1e-9}, {1024, 4, 1, 256, 1e-9}, {128, 70, 1, 2, 0.01}, {2048, 1100, 1, 2, 0.02},
	} {
		p := big.NewRat(c.a, c.b)
		q := new(big.Rat).Sub(big.NewRat(1, 1), p)
		exact := new(big.Rat)
		for k := c.k; k <= c.n; k++ {
			term := new(big.Rat).SetInt(new(big.Int).Binomial(int64(c.n), int64(k)))
			term.Mul(term, power(p, k))
			term.Mul(term, power(q, c.n-k))
			exact.Add(exact, term)
		}
		want, _ := exact.Float64()
		got := binomialTail(c.n, c.k, float64(c.a)/float64(c.b))
		require.InEpsilon(t, want, got, c.within, "%+v", c)
	}
}

func power(p *big.Rat, k int) *big.Rat {
	e := big.NewInt(int64(k))
	return new(big.Rat).SetFrac(new(big.Int).Exp(p.Num(), e, nil), new(big.Int).Exp(p.Denom(), e, nil))
}

// TestLongestRunTail compares with the exact recursion over the length of the run at the end.
func TestLongestRunTail(t *testing.T) {
	t.Parallel()
	for _, n := range []int{16, 64, 256} {
		for _, k := range []int{3, 6, 10, 14} {
			state := make([]float64, k+1) // probability that the run at the end is so long; k absorbs
			state[0] = 1
			for range n {
				next := make([]float64, k+1)
				next[k] = state[k]
				for i := range k {
					next[0] += state[i] * (1 - printable)
					next[i+1] += state[i] * printable
				}
				state = next
			}
			if state[k] > 0.5 {
				continue // only the tail has to be right
			}
			require.InEpsilon(t, state[k], longestRunTail(n, k, printable), 0.3, "n %d k %d", n, k)
		}
	}
}

// TestMoments compares the exact means and spreads with samples.
func TestMoments(t *testing.T) {
	t.Parallel()
	const samples = 8000
	for _, n := range []int{16, 100, 1000} {
		stream, sample := uniform("moments", n), make([]byte, n)
		var entropy, pairs, pairs2, pairs3, serial2, entropy2 float64
		mean, variance, third := pairSums(n)
		for range samples {
			_, _ = stream.Read(sample)
			var c counts
			c.count(sample)
			h := c.entropy() - meanEntropy(n)
			entropy += h
			entropy2 += h * h
			x := c.pairs() - mean
			pairs += x
			pairs2 += x * x
			pairs3 += x * x * x
			z := c.serialCorrelations(sample)[0]
			serial2 += z * z
		}
		root := math.Sqrt(samples)
		require.InDelta(t, 0, entropy/samples, 4*entropySD(n)/root, n)
		require.InEpsilon(t, entropySD(n), math.Sqrt(entropy2/samples), 0.04, n)
		require.InDelta(t, 0, pairs/samples, 4*math.Sqrt(variance)/root, n)
		require.InEpsilon(t, variance, pairs2/samples, 0.15, n)
		require.InEpsilon(t, third, pairs3/samples, 0.5, n)
		require.InEpsilon(t, 1, serial2/samples, 0.05, n)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	s := Judge(all[:])
	require.InDelta(t, 8, s.Entropy, 1e-9)
	require.InDelta(t, 98.0/256, s.PrintableRatio, 1e-9)
	require.False(t, s.Random(0.999), "a counter is not random")
	require.Zero(t, Judge(nil))
	require.False(t, Judge(all[:15]).Random(1), "too short")
	require.Equal(t, MaxSample, Judge(make([]byte, 2*MaxSample)).N)
	require.False(t, Judge(make([]byte, 64)).Random(0.999))
	// The entropy of "abracadabra" as textbooks have it.
	require.InDelta(t, 2.0404, Judge([]byte("abracadabra")).Entropy, 1e-4)
}

// TestColumns checks the bound on uniform messages, and what a constant byte, a counter and a codec's frames give.
func TestColumns(t *testing.T) {
	t.Parallel()
	const rounds = 2000
	for _, m := range []int{3, 8, 40} {
		below := 0
		for round := range rounds {
			if Columns(randomMessages(fmt.Sprint("columns", m), round, m, 40)) < 0.01 {
				below++
			}
		}
		require.LessOrEqual(t, float64(below)/rounds, 0.01+4*math.Sqrt(0.01*0.99/rounds), m)
	}
	constant := randomMessages("constant", 0, 8, 60)
	for i := range constant {
		constant[i][33] = 7
	}
	require.Less(t, Columns(constant), 1e-6)
	frames := randomMessages("frames", 0, 40, 33)
	for i := range frames {
		for k := 0; k < 33; k += 3 {
			frames[i][k] &= 0x3f
		}
	}
	require.Less(t, Columns(frames), 1e-6)
	require.InDelta(t, 1, Columns(nil), 0)
	require.InDelta(t, 1, Columns(constant[:2]), 0)
}

func randomMessages(name string, round, m, n int) [][]byte {
	stream := uniform(name, round)
	all := make([][]byte, m)
	for i := range all {
		all[i] = make([]byte, n)
		_, _ = stream.Read(all[i])
	}
	return all
}

func TestNoAllocation(t *testing.T) {
	sample := make([]byte, MaxSample)
	_, _ = uniform("allocation", 0).Read(sample)
	require.Zero(t, testing.AllocsPerRun(20, func() { _ = Judge(sample) }))
}

func FuzzRandomness(f *testing.F) {
	f.Add([]byte("hello"), 1)
	f.Add(make([]byte, 300), 7)
	f.Fuzz(func(t *testing.T, sample []byte, cut int) {
		s := Judge(sample)
		for _, v := range []float64{s.Chi2P, s.PrintableRatio, s.Likelihood} {
			require.False(t, math.IsNaN(v) || v < 0 || v > 1, "%+v", s)
		}
		require.False(t, math.IsNaN(s.EntropyRatio))
		cut = max(1, cut&63)
		var all [][]byte
		for at := 0; at < len(sample); at += cut {
			all = append(all, sample[at:min(at+cut, len(sample))])
		}
		p := Columns(all)
		require.False(t, math.IsNaN(p) || p < 0 || p > 1, "%v", p)
	})
}
