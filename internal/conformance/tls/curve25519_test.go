package tls

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Curve25519 by math/big, without regard to time (RFC 7748 section 4.1 and 5).
var (
	bigP     = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	bigOrder = func() *big.Int { // of the base point: 2^252 + 0x14def9dea2f79cd65812631a5cf5d3ed
		rest, _ := new(big.Int).SetString("14def9dea2f79cd65812631a5cf5d3ed", 16)
		return rest.Add(rest, new(big.Int).Lsh(big.NewInt(1), 252))
	}()
)

func toBig(key []byte) *big.Int {
	be := slices.Clone(key)
	slices.Reverse(be)
	return new(big.Int).SetBytes(be)
}

func fromBig(u *big.Int) []byte {
	le := u.FillBytes(make([]byte, 32))
	slices.Reverse(le)
	return le
}

// bigOnCurve is whether a key is below p and on the curve.
func bigOnCurve(key []byte) bool {
	u := toBig(key)
	if u.Cmp(bigP) >= 0 {
		return false
	}
	w := new(big.Int).Add(u, big.NewInt(curveA))
	w.Mul(w, u).Add(w, big.NewInt(1)).Mul(w, u).Mod(w, bigP)
	return big.Jacobi(w, bigP) >= 0
}

// bigVanishes is whether order times the point is the point at infinity, by the Montgomery ladder of RFC 7748 section 5.
func bigVanishes(u, order *big.Int) bool {
	mul := func(a, b *big.Int) *big.Int { c := new(big.Int).Mul(a, b); return c.Mod(c, bigP) }
	add := func(a, b *big.Int) *big.Int { c := new(big.Int).Add(a, b); return c.Mod(c, bigP) }
	sub := func(a, b *big.Int) *big.Int { c := new(big.Int).Sub(a, b); return c.Mod(c, bigP) }
	x2, z2, x3, z3 := big.NewInt(1), big.NewInt(0), new(big.Int).Set(u), big.NewInt(1)
	for i := order.BitLen() - 1; i >= 0; i-- {
		swap := order.Bit(i) == 1
		if swap {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
		a, b, c, d := add(x2, z2), sub(x2, z2), add(x3, z3), sub(x3, z3)
		aa, bb, da, cb := mul(a, a), mul(b, b), mul(d, a), mul(c, b)
		e := sub(aa, bb)
		x3, z3 = mul(add(da, cb), add(da, cb)), mul(u, mul(sub(da, cb), sub(da, cb)))
		x2, z2 = mul(aa, bb), mul(e, add(aa, mul(big.NewInt((curveA-2)/4), e)))
		if swap {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
	}
	return z2.Sign() == 0
}

// TestMade25519 checks that every key of crypto/ecdh passes and that of random strings as many as should are refused.
func TestMade25519(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		require.NoError(t, err)
		require.True(t, made25519(k.PublicKey().Bytes(), false))
		require.True(t, made25519(k.PublicKey().Bytes(), true))
	}
	const strings = 40_000
	passed, passedDoubt := 0, 0
	for i := range uint64(strings) {
		key := noise(32, i)
		if made25519(key, false) {
			require.True(t, bigOnCurve(key), "%x", key)
			passed++
		}
		if made25519(key, true) {
			passedDoubt++
		}
	}
	for p, n := range map[float64]int{1.0 / 8: passed, 1.0 / 32: passedDoubt} {
		require.InDelta(t, strings*p, n, 5*math.Sqrt(strings*p*(1-p)))
	}
}

// TestMade25519Order compares with the ladder on points of the curve.
func TestMade25519Order(t *testing.T) {
	t.Parallel()
	twice, times := new(big.Int).Lsh(bigOrder, 2), 0
	for i := uint64(0); times < 400; i++ {
		key := noise(32, i+1<<32)
		key[31] &= 0x7f
		if !bigOnCurve(key) {
			require.False(t, made25519(key, false))
			continue
		}
		times++
		u := toBig(key)
		// Twice another is what four times the order of the group of prime order takes to the point at infinity.
		require.Equal(t, bigVanishes(u, twice), made25519(key, false), "%x", key)
		require.Equal(t, bigVanishes(u, bigOrder), made25519(key, true), "%x", key)
	}
	for range 100 { // a key plus the point of order 2 is 1/u
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		require.NoError(t, err)
		inverse := fromBig(new(big.Int).ModInverse(toBig(k.PublicKey().Bytes()), bigP))
		require.True(t, made25519(inverse, false))
		require.False(t, made25519(inverse, true))
	}
}

// TestMade25519Vectors: the public keys of RFC 7748 section 6.1, keys that are not reduced, and the points of low order
// (Bernstein, https://cr.yp.to/ecdh.html#validate).
func TestMade25519Vectors(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
		"0900000000000000000000000000000000000000000000000000000000000000",
	} {
		b, err := hex.DecodeString(key)
		require.NoError(t, err)
		require.True(t, made25519(b, true), key)
		b[31] |= 0x80
		require.False(t, made25519(b, false), "the highest bit is set")
	}
	for _, key := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		b, err := hex.DecodeString(key)
		require.NoError(t, err)
		require.False(t, made25519(b, false), key)
	}
}

func BenchmarkMade25519(b *testing.B) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(b, err)
	key := k.PublicKey().Bytes()
	for name, doubtful := range map[string]bool{"usual": false, "doubtful": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				made25519(key, doubtful)
			}
		})
	}
}

func FuzzMade25519(f *testing.F) {
	for _, seed := range []string{
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", "0900000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		b, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if len(key) != 32 {
			return
		}
		low := toBig(key).Cmp(big.NewInt(1)) <= 0
		if want := !low && bigOnCurve(key) && bigVanishes(toBig(key), bigOrder); want != made25519(key, true) {
			t.Fatalf("%x: want %v", key, want)
		}
	})
}

// TestSquared compares with math/big.
func TestSquared(t *testing.T) {
	t.Parallel()
	random := mathrand.New(mathrand.NewPCG(1, 2))
	value := func(a fe) *big.Int {
		var key []byte
		for _, limb := range a {
			key = binary.LittleEndian.AppendUint64(key, limb)
		}
		return toBig(key)
	}
	for range 20_000 {
		var a fe
		for i := range a {
			if a[i] = random.Uint64(); random.IntN(3) == 0 {
				a[i] = -(a[i] & 1)
			}
		}
		n := random.IntN(4)
		want := value(a)
		for range n {
			want.Mod(want.Mul(want, want), bigP)
		}
		require.Zero(t, want.Mod(want, bigP).Cmp(value(a.squared(n).reduced())), "%x", a)
	}
}
