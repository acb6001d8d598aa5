package randomness

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestColumnsAtLeast compares with Columns, and what the columns show with plain loops.
func TestColumnsAtLeast(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	refused := 0
	for range 10_000 {
		messages := make([][]byte, r.IntN(1<<(1+r.IntN(7))))
		spoil := r.IntN(2) * r.IntN(64)
		for i := range messages {
			messages[i] = make([]byte, r.IntN(1<<(1+r.IntN(7))))
			for k := range messages[i] {
				if messages[i][k] = byte(r.Uint32()); r.IntN(256) < spoil {
					messages[i][k] = byte(k)
				}
			}
		}
		p := Columns(messages)
		for _, level := range []float64{0, 1e-9, 1e-3, 0.05, 0.5, 1, 2, p} {
			// p/3 times 3 may be rounded.
			if ok := ColumnsAtLeast(messages, level); level != p || p == 0 || p == 1 {
				require.Equal(t, p >= level, ok, "%v %v", p, level)
			}
		}
		if p < 1e-3 {
			refused++
		}
		var c columns
		c.read(messages)
		pairs, bits := plainColumnsOf(messages)
		require.Equal(t, pairs, c.pairs)
		require.InDelta(t, bits, c.bits, 1e-9*(1+bits))
	}
	require.Greater(t, refused, 500)
}

// plainColumnsOf gives the pairs of equal bytes in columns, and the sum of the squared standardised numbers of set bits.
func plainColumnsOf(messages [][]byte) (pairs int, bits float64) {
	for k := range maxColumns {
		var column []byte
		for _, m := range messages[:min(len(messages), maxMessages)] {
			if k < len(m) {
				column = append(column, m[k])
			}
		}
		if len(column) < leastColumn {
			break
		}
		for i, b := range column {
			for _, other := range column[:i] {
				if b == other {
					pairs++
				}
			}
		}
		for bit := range 8 {
			sum := 0.0
			for _, b := range column {
				sum += 2*float64(b>>bit&1) - 1
			}
			bits += sum * sum / float64(len(column))
		}
	}
	return pairs, bits
}

// TestPlainColumns: what is called plain is.
func TestPlainColumns(t *testing.T) {
	t.Parallel()
	for skewness := 0.001; skewness <= columnSkew; skewness *= 1.01 {
		require.GreaterOrEqual(t, pearsonTail(columnZ, skewness), plainColumns, skewness)
	}
}
