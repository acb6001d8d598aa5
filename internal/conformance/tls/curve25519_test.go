package tls

import (
	"crypto/ecdh"
	"crypto/rand"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOnCurve25519 compares with math/big's Jacobi symbol on random strings, and with keys that crypto/ecdh generates.
func TestOnCurve25519(t *testing.T) {
	t.Parallel()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	want := func(key []byte) bool {
		be := slices.Clone(key)
		slices.Reverse(be)
		u := new(big.Int).SetBytes(be)
		if u.Cmp(p) >= 0 {
			return false
		}
		w := new(big.Int).Add(u, big.NewInt(486662))
		w.Mul(w, u).Add(w, big.NewInt(1)).Mul(w, u).Mod(w, p)
		return big.Jacobi(w, p) >= 0
	}
	on := 0
	for i := range uint64(40_000) {
		key := noise(32, i)
		require.Equal(t, want(key), onCurve25519(key), "%x", key)
		if onCurve25519(key) {
			on++
		}
	}
	require.InDelta(t, 10_000, on, 500) // a quarter of all strings
	for i := range 32 {                 // numbers about p, 0 and 2^256
		key := p.FillBytes(make([]byte, 32))
		slices.Reverse(key)
		key[0] += byte(i)
		require.Equal(t, want(key), onCurve25519(key))
		low := make([]byte, 32)
		low[0] = byte(i)
		require.Equal(t, want(low), onCurve25519(low))
	}
	for range 200 {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		require.NoError(t, err)
		require.True(t, onCurve25519(k.PublicKey().Bytes()))
	}
}

func BenchmarkOnCurve25519(b *testing.B) {
	key := noise(32, 3)
	key[31] &= 0x7f
	b.ReportAllocs()
	for b.Loop() {
		onCurve25519(key)
	}
}
