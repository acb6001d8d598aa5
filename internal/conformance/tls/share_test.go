package tls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	gotls "crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// TestSharesMade: what Go's generators make passes, random bytes do not.
func TestSharesMade(t *testing.T) {
	t.Parallel()
	point := func(curve ecdh.Curve) func() []byte {
		return func() []byte {
			k, err := curve.GenerateKey(rand.Reader)
			require.NoError(t, err)
			return k.PublicKey().Bytes()
		}
	}
	kem768 := func() []byte {
		k, err := mlkem.GenerateKey768()
		require.NoError(t, err)
		return k.EncapsulationKey().Bytes()
	}
	kem1024 := func() []byte {
		k, err := mlkem.GenerateKey1024()
		require.NoError(t, err)
		return k.EncapsulationKey().Bytes()
	}
	p256, p384, x := point(ecdh.P256()), point(ecdh.P384()), point(ecdh.X25519())
	after := func(a, b func() []byte) func() []byte { return func() []byte { return append(a(), b()...) } }
	for id, c := range map[uint16]struct {
		keys int
		make func() []byte
	}{
		23: {10_000, p256}, 24: {10_000, p384}, 25: {10_000, point(ecdh.P521())}, 29: {1000, x}, 0x0201: {10_000, kem768}, 0x0202: {10_000, kem1024},
		0x11eb: {100, after(p256, kem768)}, 0x11ec: {10_000, after(kem768, x)}, 0x11ed: {100, after(p384, kem1024)}, 0x6399: {100, after(x, kem768)},
	} {
		parts := groups[id].client
		for range c.keys {
			require.True(t, made(parts, c.make(), true), "%#x", id)
		}
		refused := 0
		for i := range uint64(400) {
			share := noise(size(parts), i+uint64(id)<<32)
			if parts[0].size%2 == 1 {
				share[0] = 4 // the form of the point is right
			}
			if !made(parts, share, true) {
				refused++
			}
		}
		if id != 29 {
			require.Equal(t, 400, refused, "%#x", id)
		}
	}
}

// TestSharesBeyondQ: one coefficient of an ML-KEM key that is not reduced is enough.
func TestSharesBeyondQ(t *testing.T) {
	t.Parallel()
	k, err := mlkem.GenerateKey768()
	require.NoError(t, err)
	for _, at := range []int{0, 1, 766, 767} {
		key := k.EncapsulationKey().Bytes()
		if at%2 == 0 { // 3329 = 0xd01
			key[at/2*3], key[at/2*3+1] = 0x01, key[at/2*3+1]&0xf0|0xd
		} else {
			key[at/2*3+1], key[at/2*3+2] = key[at/2*3+1]&15|0x10, 0xd0
		}
		_, err := mlkem.NewEncapsulationKey768(key)
		require.Error(t, err)
		require.False(t, reducedMLKEM(key, false), at)
	}
}

// TestRandomShares fills the key shares of a genuine TLS 1.3 handshake with random bytes, one after the other.
func TestRandomShares(t *testing.T) {
	t.Parallel()
	cc, sc := configs(true)
	cc.MinVersion, cc.CurvePreferences = gotls.VersionTLS13, []gotls.CurveID{gotls.X25519MLKEM768, gotls.X25519}
	c := converse(cc, sc)
	client, server := records(c.Client.Data), records(c.Server.Data)
	h, err := ParseClientHello(client[0][9:], false)
	require.NoError(t, err)
	hybrid, ok := h.share(0x11ec)
	require.True(t, ok)
	own, ok := h.share(29)
	require.True(t, ok)
	// fill returns a record with other bytes in place of a share's; the X25519 key is in the hybrid before, too.
	fill := func(record, share []byte, seed uint64) []byte {
		out := bytes.Clone(record)
		copy(out[bytes.LastIndex(record, share):], noise(len(share), seed))
		return out
	}
	judge := func(first []byte, finished int) conformance.Judgement {
		rest := join(rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(finished, 1)), rec(23, 0x0303, noise(300, 2)))
		j, ok := Recognize(conversation(join(first, rest), join(server...)), conformance.Options{})
		require.True(t, ok)
		return j
	}
	const exact, certificate = 4 + 32 + 17, 1500
	if s, _ := ParseServerHello(server[0][9:]); s.Suite == 0x1302 {
		t.Skip("SHA-384 was chosen")
	}
	require.Empty(t, judge(client[0], exact).Violations)
	require.Empty(t, judge(client[0], certificate).Violations)
	require.Equal(t, []string{"key_exchange_invalid"}, judge(fill(client[0], hybrid, 3), exact).Violations)
	// What was not chosen is looked at where the client's flight is not Finished alone.
	refused := 0
	for seed := range uint64(100) {
		forged := fill(client[0], own, seed+10)
		require.Empty(t, judge(forged, exact).Violations)
		if len(judge(forged, certificate).Violations) > 0 {
			refused++
		}
	}
	require.Greater(t, refused, 88, "31 of 32 expected, less 5 standard deviations")
}

// TestSharesAlone: a client whose server was not captured.
func TestSharesAlone(t *testing.T) {
	t.Parallel()
	cc, sc := configs(true)
	c := converse(cc, sc)
	client := records(c.Client.Data)
	h, err := ParseClientHello(client[0][9:], false)
	require.NoError(t, err)
	j, ok := Recognize(conversation(c.Client.Data, nil), conformance.Options{})
	require.True(t, ok)
	require.Empty(t, j.Violations)
	copy(c.Client.Data[bytes.Index(c.Client.Data, h.KeyShares)+4:], noise(1152, 5))
	j, ok = Recognize(conversation(c.Client.Data, nil), conformance.Options{})
	require.True(t, ok)
	require.Equal(t, []string{"key_exchange_invalid"}, j.Violations)
}
