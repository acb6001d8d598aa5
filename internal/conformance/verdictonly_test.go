package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// TestVerdictOnly: who does not want figures gets everything else, of ciphertext behind headers and fields, and of what is less and less uniform.
func TestVerdictOnly(t *testing.T) {
	t.Parallel()
	r, got := source("verdict only"), map[Verdict]int{}
	for range 3000 {
		header, field, spoil := r.IntN(12)*r.IntN(2), r.IntN(2), r.IntN(4)*r.IntN(10)
		c := converse([]uint8{TCP, UDP}[r.IntN(2)], 1+r.IntN(8), func(int, bool) []byte {
			b := noise(r, header+2*field+r.IntN(400))
			for i := range b {
				if r.IntN(256) < spoil {
					b[i] = 0
				}
			}
			copy(b, "HEADER HEADER"[:header])
			if field > 0 {
				b[header], b[header+1] = byte(len(b)>>8), byte(len(b))
			}
			return b
		})
		c.VerdictOnly = true
		only := Unexplained(c, Options{})
		c.VerdictOnly = false
		full := Unexplained(c, Options{})
		got[full.Verdict]++
		only.Sample, full.Sample = randomness.Stats{}, randomness.Stats{}
		require.Equal(t, full, only)
	}
	require.Greater(t, got[Random], 300, got)
	require.Greater(t, got[Structured], 300, got)
	require.Greater(t, got[Undetermined], 10, got)
}
