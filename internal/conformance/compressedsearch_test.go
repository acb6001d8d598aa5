package conformance

import (
	"bytes"
	"compress/flate"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompressedAt: no place is left out where a format is found, be it in noise, in bytes of which many are those that formats begin with,
// or where a stream is.
func TestCompressedAt(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, len(formats), singleFirst)
	r := source("compressed at")
	var often []byte
	for _, f := range formats {
		often = append(append(append(often, f.first[0]), f.second...), f.fifth...)
	}
	streams := [][]byte{unhex(t, zstdLine), unhex(t, lz4Line), unhex(t, bzip2Line), unhex(t, xzLine), unhex(t, lzmaLine)}
	for n := 1; n < 3000; n = n*3/2 + 1 {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			require.NoError(t, err)
			_, err = w.Write(command(1, n))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			streams = append(streams, b.Bytes())
		}
	}
	found := 0
	for range 50_000 {
		m := noise(r, r.IntN(120))
		for i := range m {
			if r.IntN(2) == 0 {
				m[i] = often[r.IntN(len(often))]
			}
		}
		found += requirePlaces(t, m)
		found += requirePlaces(t, append(m[:min(len(m), r.IntN(40))], streams[r.IntN(len(streams))]...))
	}
	require.Greater(t, found, 20_000)
}

// requirePlaces compares compressedAt with asking every format at every place, and counts those found.
func requirePlaces(t *testing.T, m []byte) (found int) {
	places := compressedAt(m)
	for h := 0; h <= maxSearched && h+minCompressed <= len(m); h++ {
		if compressedFormat(m[h:]) != nil {
			require.True(t, places>>h&1 == 1, "%x at %d", m, h)
			found++
		}
	}
	return found
}

func FuzzCompressedAt(f *testing.F) {
	for _, line := range []string{zstdLine, lz4Line, bzip2Line, xzLine, lzmaLine} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, m []byte) { requirePlaces(t, m) })
}
