package tls

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	gotls "crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
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
			require.True(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, sum, sig), "%d bits, %s", bits, hash)

			other := append([]byte(nil), sum...)
			other[len(other)-1] ^= 1
			require.False(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, other, sig))
			require.False(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, sum, sig[1:]))
			require.False(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, sum, append([]byte{0}, sig...)))
			for _, at := range []int{0, len(sig) - 1} {
				sig[at] ^= 1
				require.False(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, sum, sig))
				sig[at] ^= 1
			}
			require.False(t, newRSAKey(&key.PublicKey).verifiesPKCS1(hash, sum, key.N.Bytes()), "not below the modulus")
		}
	}
}

// known are proofs of one server.
type known map[uint64]bool

func (k known) Has(certificate uint64) bool { return k[certificate] }
func (k known) Add(certificate uint64)      { k[certificate] = true }

// TestProofs: who has proved once to hold a certificate's key is not asked again, nobody else is believed, and a forgery proves nothing.
func TestProofs(t *testing.T) {
	t.Parallel()
	client, server := handshakeOf(t, gotls.VersionTLS12, gotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	other, _ := handshakeOf(t, gotls.VersionTLS12, gotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	judged := func(hello []byte, k known) []string {
		c := conversation(join(hello, join(client[1:]...), rec(23, 0x0303, noise(300, 1))), join(join(server...), rec(23, 0x0303, noise(300, 2))))
		c.Proofs = k
		j, ok := Recognize(c, conformance.Options{})
		require.True(t, ok)
		return j.Violations
	}
	forged := []string{"key_exchange_signature"}
	this, that := known{}, known{}
	require.Equal(t, forged, judged(other[0], this))
	require.Empty(t, this)
	require.Empty(t, judged(client[0], this))
	require.Len(t, this, 1)
	require.Empty(t, judged(other[0], this))
	require.Equal(t, forged, judged(other[0], that))
}
