package protocol

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// obfuscated makes the first 64 bytes of MTProto's obfuscated transport, as its specification says: random, the inner transport's tag at
// 56, and from there on encrypted with the key and counter before it.
func obfuscated(g randomly, tag string) []byte { return obfuscatedFrom(g.bytes(64), tag) }

func obfuscatedFrom(head []byte, tag string) []byte {
	copy(head[56:], tag)
	block, err := aes.NewCipher(head[8:40])
	if err != nil {
		panic(err)
	}
	encrypted := make([]byte, 64)
	cipher.NewCTR(block, head[40:56]).XORKeyStream(encrypted, head)
	return append(head[:56:56], encrypted[56:]...)
}

func TestName(t *testing.T) {
	t.Parallel()
	g := newRandomly(6)
	// SEC 2, 2.4.1: the base point of secp256k1.
	point, err := hex.DecodeString("0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	require.NoError(t, err)
	off := bytes.Clone(point)
	off[64]++
	for _, c := range []struct {
		name   string
		client []byte
	}{
		{"telegram", obfuscated(g, "\xee\xee\xee\xee")},
		{"telegram", obfuscated(g, "\xef\xef\xef\xef")},
		{"telegram", obfuscatedFrom(append(g.bytes(48), bytes.Repeat([]byte{0xff}, 16)...), "\xdd\xdd\xdd\xdd")}, // a counter that carries
		{"telegram", obfuscatedFrom(bytes.Repeat([]byte{0xff}, 64), "\xdd\xdd\xdd\xdd")},
		{"", obfuscated(g, "\xef\xee\xef\xee")},
		{"whatsapp", append([]byte("WA\x06\x03\x00\x00\x24\x12\x22\x0a\x20"), g.bytes(32)...)},
		{"whatsapp", append([]byte("ED\x00\x01\x00\x00\x04\x08\x08\x0b\x02WA\x06\x03\x00\x00\x24\x12\x22\x0a\x20"), g.bytes(32)...)},
		{"", append([]byte("WA\x06\x03\x00\x00\x24"), g.bytes(36)...)},
		{"rlpx", append(append([]byte{1, 0x94}, point...), g.bytes(404-65)...)},
		{"rlpx", append(bytes.Clone(point), g.bytes(307-65)...)},
		{"", append(append([]byte{1, 0x94}, off...), g.bytes(404-65)...)},
	} {
		talk := talk(conformance.TCP, [][]byte{c.client}, nil)
		require.Equal(t, c.name, Name(talk), "%x", c.client)
		_, known := Recognize(talk, conformance.Options{})
		require.False(t, known, "a name is no excuse")
	}
}

func TestRandomHasNoName(t *testing.T) {
	t.Parallel()
	g := newRandomly(7)
	for range 50_000 {
		c := g.conversation(conformance.TCP, nil, nil)
		require.Empty(t, Name(c))
	}
}
