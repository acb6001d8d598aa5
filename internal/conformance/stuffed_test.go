package conformance

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// stuffed has bytes of one value strewn in, one in three to five.
func stuffed(r *rand.Rand, b []byte, value byte) (out []byte) {
	every := 3 + r.IntN(2)
	for _, c := range b {
		if out = append(out, c); r.IntN(every) == 0 {
			out = append(out, value)
		}
	}
	return out
}

func behindLength(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// TestStuffed: ciphertext with ff strewn in is found behind a length field; numbers whose upper bytes are alike are not.
func TestStuffed(t *testing.T) {
	t.Parallel()
	const rounds = 1000
	found := 0
	for round := range rounds {
		r := source(fmt.Sprint("stuffed", round))
		c := converse(TCP, 2+2*r.IntN(8), func(int, bool) []byte { return behindLength(stuffed(r, sealed(t, r, 70+r.IntN(200)), 0xff)) })
		if Unexplained(c, Options{}).Verdict == Random {
			found++
		}
	}
	t.Logf("%d of %d", found, rounds)
	require.GreaterOrEqual(t, found, rounds*98/100)
	for name, number := range map[string]func(r *rand.Rand) uint64{
		"negative":  func(r *rand.Rand) uint64 { return uint64(-int64(r.Uint64N(1 << 30))) },
		"small":     func(r *rand.Rand) uint64 { return r.Uint64N(1 << 30) },
		"id":        func(r *rand.Rand) uint64 { return r.Uint64N(1 << 40) },
		"float":     func(r *rand.Rand) uint64 { return math.Float64bits(r.Float64()) },
		"colour":    func(r *rand.Rand) uint64 { return r.Uint64() | 0xff000000ff000000&^(uint64(r.IntN(2))<<31) | 0x80<<16 },
		"normal":    func(r *rand.Rand) uint64 { return math.Float64bits(r.NormFloat64()) },
		"timestamp": func(r *rand.Rand) uint64 { return 1795440000000 + r.Uint64N(1<<30) },
	} {
		for round := range 500 {
			r := source(fmt.Sprint(name, round))
			c := converse(TCP, 2+2*r.IntN(8), func(int, bool) []byte {
				var b []byte
				for range 10 + r.IntN(60) {
					b = binary.LittleEndian.AppendUint64(b, number(r))
				}
				return behindLength(b)
			})
			require.NotEqual(t, Random, Unexplained(c, Options{}).Verdict, "%s %d", name, round)
		}
	}
}
