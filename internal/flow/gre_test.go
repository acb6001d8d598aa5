package flow

import (
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// TestGREHeaderIsAsLongAsGopacketSays: with every combination of flags, over bytes that hold short source routes, whole and cut.
func TestGREHeaderIsAsLongAsGopacketSays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	whole, cut := 0, 0
	for i := range 20_000 {
		b := make([]byte, r.IntN(48))
		for j := range b {
			b[j] = byte(r.IntN(4) * r.IntN(2))
		}
		if len(b) > 1 {
			b[0], b[1] = byte(i), byte(i>>1)&0x80
		}
		want, known := greByGopacket(b)
		got := greHeader(b)
		if known {
			require.Equal(t, want, got, "%x", b)
			whole++
		} else {
			require.Greater(t, got, len(b), "%x", b)
			cut++
		}
	}
	require.Greater(t, whole, 5000)
	require.Greater(t, cut, 1000)
}

// greByGopacket is gopacket's answer; its reader takes the length of what it reads for granted.
func greByGopacket(b []byte) (size int, known bool) {
	defer func() {
		if recover() != nil {
			known = false
		}
	}()
	var header layers.GRE
	if header.DecodeFromBytes(b[:len(b):len(b)], gopacket.NilDecodeFeedback) != nil {
		return 0, false
	}
	return len(header.LayerContents()), true
}
