package tls

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	mathrand "math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRSA compares with crypto/rsa: signatures, those with a bit changed, and those of encodings with a bit changed, for moduli of lengths
// with and without bits and bytes left over.
func TestRSA(t *testing.T) {
	t.Parallel()
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	for _, bits := range []int{1024, 1025, 1031, 1033, 1536, 2041, 2048, 2049, 3072} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			key, err := rsa.GenerateKey(rand.Reader, bits)
			require.NoError(t, err)
			ours := newRSAKey(&key.PublicKey)
			random, good, bad := mathrand.New(mathrand.NewPCG(1, uint64(bits))), 0, 0
			same := func(hash crypto.Hash, sum, sig []byte) {
				want := rsa.VerifyPSS(&key.PublicKey, hash, sum, sig, nil) == nil
				require.Equal(t, want, ours.verifiesPSS(hash, sum, sig), "PSS, %d bits, %s: %x", bits, hash, sig)
				simple := rsa.VerifyPKCS1v15(&key.PublicKey, hash, sum, sig) == nil
				require.Equal(t, simple, ours.verifiesPKCS1(hash, sum, sig), "PKCS #1, %d bits, %s: %x", bits, hash, sig)
				if want || simple {
					good++
				} else {
					bad++
				}
			}
			for range 1 << 14 / bits {
				hash := hashes[random.IntN(len(hashes))]
				sum := digest(hash, []byte{byte(random.Uint32())})
				salt := []int{1, 20, hash.Size(), rsa.PSSSaltLengthAuto}[random.IntN(4)]
				if 2*hash.Size()+2 > bits/8 {
					salt = rsa.PSSSaltLengthAuto // as long as there is room for
				}
				pss, err := rsa.SignPSS(rand.Reader, key, hash, sum, &rsa.PSSOptions{SaltLength: salt})
				require.NoError(t, err)
				pkcs, err := rsa.SignPKCS1v15(nil, key, hash, sum)
				require.NoError(t, err)
				for _, sig := range [][]byte{pss, pkcs} {
					same(hash, sum, sig)
					same(hash, sum, sig[1:])
					same(hash, sum, new(big.Int).Add(new(big.Int).SetBytes(sig), key.N).Bytes())
					for _, at := range []int{0, 8 - bits%8, random.IntN(8 * len(sig)), 8*len(sig) - 1} {
						at %= 8 * len(sig)
						other := append([]byte(nil), sig...)
						other[at/8] ^= 0x80 >> (at % 8)
						same(hash, sum, other)

						m := ours.encoded(sig)
						m[at/8] ^= 0x80 >> (at % 8)
						if n := new(big.Int).SetBytes(m); n.Cmp(key.N) < 0 {
							same(hash, sum, n.Exp(n, key.D, key.N).FillBytes(make([]byte, key.Size())))
						}
					}
				}
			}
			require.Positive(t, good)
			require.Greater(t, bad, good)
		})
	}
}

// TestRSAUnusual: other exponents and short keys are judged as crypto/rsa judges them.
func TestRSAUnusual(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	sum := digest(crypto.SHA256, []byte("x"))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum)
	require.NoError(t, err)
	other := newRSAKey(&rsa.PublicKey{N: key.N, E: 3})
	require.False(t, other.verifiesPKCS1(crypto.SHA256, sum, sig))
	require.False(t, other.verifiesPSS(crypto.SHA256, sum, sig))
	short := newRSAKey(&rsa.PublicKey{N: new(big.Int).Rsh(key.N, 512), E: usualRSA})
	require.True(t, short.verifiesPKCS1(crypto.SHA256, sum, sig), "cannot be checked")
}
