package randomness

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRuns compares the longest runs with what a regular expression and a plain loop find.
func TestRuns(t *testing.T) {
	t.Parallel()
	text := regexp.MustCompile(`(?s)[ -~]+`)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		sample := make([]byte, r.IntN(1<<(1+r.IntN(9))))
		kind := r.IntN(4)
		for i := range sample {
			switch sample[i] = byte(r.Uint32()); kind {
			case 1:
				sample[i] = "aaaa\x1f \x7e\x7f"[sample[i]%8]
			case 2:
				sample[i] = sample[i]%95 + ' ' - sample[i]/255
			case 3:
				sample[i] /= 255
			}
		}
		longest := 0
		for _, run := range text.FindAll(latin(sample), -1) {
			longest = max(longest, len(run))
		}
		require.Equal(t, longest, printableRun(sample), "%x", sample)
		longest = 0
		for i := range sample {
			k := i
			for k < len(sample) && sample[k] == sample[i] {
				k++
			}
			longest = max(longest, k-i)
		}
		require.Equal(t, longest, equalRun(sample), "%x", sample)
		require.Equal(t, longest >= 3, threeEqual(sample), "%x", sample)
	}
}

// latin replaces what is no ASCII, which the expression would read as UTF-8.
func latin(sample []byte) []byte {
	b := bytes.Clone(sample)
	for i := range b {
		if b[i] >= 0x80 {
			b[i] = 0
		}
	}
	return b
}
