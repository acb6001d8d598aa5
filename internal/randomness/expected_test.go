package randomness

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSkewedTail compares the series with the incomplete gamma function, for every length's skewness.
func TestSkewedTail(t *testing.T) {
	t.Parallel()
	for n := 2; n <= MaxSample; n += 1 + n/16 {
		_, _, skewness := pairMoments(n)
		tail := newSkewedTail(skewness)
		for z := -8.0; z < 20; z += 0.0937 {
			want := pearsonTail(z, skewness)
			require.InEpsilon(t, want, tail.p(z), 1e-10, "n %d z %v", n, z)
			require.InDelta(t, 1-want, 1-tail.p(z), 1e-10*(1-want)+1e-15, "n %d z %v", n, z)
		}
		require.InDelta(t, 1, tail.p(math.Inf(-1)), 0)
		require.InDelta(t, 0, tail.p(1e300), 1e-300)
	}
}

// TestExclusion: the bound that spares excludes a logarithm holds.
func TestExclusion(t *testing.T) {
	t.Parallel()
	for _, n := range []int{16, 100, 4096} {
		for _, p := range shares {
			for k := 0; k <= n; k++ {
				d := float64(k) - float64(n)*p
				require.GreaterOrEqual(t, chernoff(n, k, p), -d*d/(float64(n)*p*(1-p))-1e-9)
			}
		}
	}
}
