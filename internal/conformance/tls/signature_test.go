package tls

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerifiesPKCS1 compares with crypto/rsa: what it signs verifies, whatever the length of the modulus, and nothing else does.
func TestVerifiesPKCS1(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{2048, 2056, 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		for _, hash := range []crypto.Hash{crypto.MD5SHA1, crypto.MD5, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			sum := digest(hash, []byte(hash.String()))
			sig, err := rsa.SignPKCS1v15(nil, key, hash, sum)
			require.NoError(t, err)
			require.True(t, verifiesPKCS1(&key.PublicKey, hash, sum, sig), "%d bits, %s", bits, hash)

			other := append([]byte(nil), sum...)
			other[len(other)-1] ^= 1
			require.False(t, verifiesPKCS1(&key.PublicKey, hash, other, sig))
			require.False(t, verifiesPKCS1(&key.PublicKey, hash, sum, sig[1:]))
			require.False(t, verifiesPKCS1(&key.PublicKey, hash, sum, append([]byte{0}, sig...)))
			for _, at := range []int{0, len(sig) - 1} {
				sig[at] ^= 1
				require.False(t, verifiesPKCS1(&key.PublicKey, hash, sum, sig))
				sig[at] ^= 1
			}
			require.False(t, verifiesPKCS1(&key.PublicKey, hash, sum, key.N.Bytes()), "not below the modulus")
		}
	}
}
