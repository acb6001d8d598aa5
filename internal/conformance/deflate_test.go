package conformance

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBlocksBegin: what compress/flate writes is never taken for no stream by its first bytes, wherever it is cut.
func TestBlocksBegin(t *testing.T) {
	t.Parallel()
	words := []string{"alpha ", "beta ", "{\"key\":", "12345", "\n", "\x00\x01", "zzzzzzzzzzzzzzzzzz"}
	random := rand.New(rand.NewPCG(1, 2))
	kinds := map[byte]int{}
	for range 3000 {
		var text []byte
		for range 1 + random.IntN(60) {
			text = append(text, words[random.IntN(len(words))]...)
			if random.IntN(8) == 0 {
				text = append(text, byte(random.Uint32()))
			}
		}
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, 1+random.IntN(9))
		require.NoError(t, err)
		_, _ = w.Write(text)
		require.NoError(t, w.Close())
		b := packed.Bytes()
		kind := b[0] >> 1 & 3
		kinds[kind]++
		for _, cut := range [][]byte{b, b[:len(b)/2+1]} {
			require.True(t, blocksBegin(cut, false), "%x", b)
		}
	}
	require.Greater(t, kinds[fixedBlock], 100)
	require.Greater(t, kinds[dynamicBlock], 100)
}
