package randomness

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExcludes checks that nothing is excluded which Judge finds likely enough, on uniform samples and on ones that lean to small
// bytes ever more, and that what no cipher puts out is.
func TestExcludes(t *testing.T) {
	t.Parallel()
	levels := []float64{1e-30, 1e-4, 1e-3, 0.01}
	excluders := map[float64]*Excluder{}
	for _, level := range levels {
		excluders[level] = NewExcluder(level)
	}
	for _, n := range []int{16, 31, 64, 100, 256, 1000, 4096} {
		stream, sample := uniform("excludes", n), make([]byte, n)
		excluded := 0
		for i := range 2000 {
			_, _ = stream.Read(sample)
			for k := range sample[:n*(i%50)/50] {
				sample[k] >>= i % 5
			}
			for _, level := range levels {
				s, ok := Likely(sample, level)
				want, weighed := Judge(sample), Weigh(sample, level)
				if ok {
					require.Equal(t, want, s)
				} else {
					require.Less(t, want.Likelihood, max(level, 1e-12), "n %d level %v: %x", n, level, sample)
				}
				if weighed.Likelihood == 0 {
					require.False(t, ok)
					weighed.Likelihood = want.Likelihood
				}
				require.Equal(t, want, weighed, "only the likelihood may be left out")
				if excluders[level].Excludes(sample) {
					excluded++
					// That far out, Judge's normal approximations are not exact.
					require.Less(t, Judge(sample).Likelihood, max(level, 1e-12), "n %d level %v: %x", n, level, sample)
				}
			}
		}
		require.Greater(t, excluded, 500, n)
	}
	require.True(t, excluders[1e-3].Excludes(make([]byte, 64)))
	require.True(t, excluders[1e-3].Excludes(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 4)))
	require.False(t, NewExcluder(1).Excludes(make([]byte, MinSample-1)))
}

// TestFewKinds compares with counting byte by byte.
func TestFewKinds(t *testing.T) {
	t.Parallel()
	for n := 0; n <= MaxSample; n = n*9/8 + 1 {
		sample := make([]byte, n)
		_, _ = uniform("few kinds", n).Read(sample)
		for range 3 {
			high, zero, low := 0, 0, 0
			for _, b := range sample {
				if b >= 0x80 {
					high++
				}
				if b == 0 {
					zero++
				}
				if b < 16 {
					low++
				}
			}
			gotHigh, gotZero, gotLow := fewKinds(sample)
			require.Equal(t, []int{high, zero, low}, []int{gotHigh, gotZero, gotLow}, n)
			for i := range sample {
				sample[i] &= byte(i * n)
			}
		}
	}
	for _, b := range []byte{0, 1, 0x0f, 0x10, 0x7f, 0x80, 0xff} {
		high, zero, low := fewKinds(bytes.Repeat([]byte{b}, MaxSample))
		require.Equal(t, []bool{b >= 0x80, b == 0, b < 16}, []bool{high == MaxSample, zero == MaxSample, low == MaxSample}, b)
		require.Equal(t, []bool{b < 0x80, b != 0, b >= 16}, []bool{high == 0, zero == 0, low == 0}, b)
	}
}

// TestTextIn compares with asking of each byte.
func TestTextIn(t *testing.T) {
	t.Parallel()
	for b := range 256 {
		text := 0
		if isText(byte(b)) {
			text = MaxSample
		}
		var counts [256]uint16
		counts[b] = MaxSample
		require.Equal(t, text, textIn(&counts), b)
	}
}
