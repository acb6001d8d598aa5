package conformance

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
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

// requireDeflate compares isDeflate with compress/flate, which reads all of the stream.
func requireDeflate(t *testing.T, b []byte) {
	used, _, _, err := inflate(b)
	is := len(b) >= minDeflate && (err == nil && used == len(b) || errors.Is(err, io.ErrUnexpectedEOF) && len(b) >= longDeflate)
	if deflateFirst := b[0]>>1&3 == fixedBlock || b[0]>>1&3 == dynamicBlock; deflateFirst {
		require.Equal(t, is, isDeflate(b), "%x", b)
	}
	if fixed := b[0]>>1&3 == fixedBlock; len(b) >= minDeflate && fixed && (fixedFails(b) || len(b) < longDeflate && b[0]&1 != 0 && !endsFixed(b)) {
		require.False(t, is, "%x", b)
	}
}

// TestIsDeflate compares on noise with few bits set, of which codes with few lengths are made.
func TestIsDeflate(t *testing.T) {
	t.Parallel()
	r := source("is deflate")
	for range 100_000 {
		b := noise(r, 1+r.IntN(400))
		for i := range b {
			for range r.IntN(4) {
				b[i] &= byte(r.Uint32())
			}
		}
		b[0] = b[0]&^6 | byte(1+r.IntN(2))<<1
		requireDeflate(t, b)
	}
}

func FuzzIsDeflate(f *testing.F) {
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, level)
		require.NoError(f, err)
		_, _ = w.Write(command(1, 300))
		require.NoError(f, w.Close())
		f.Add(b.Bytes())
	}
	f.Add(append([]byte{0x04}, make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			requireDeflate(t, b)
		}
	})
}
