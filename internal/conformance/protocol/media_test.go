package protocol

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// TestOnlyALookOfRTP: a version, a number that counts and an id that stays are not yet RTP. Its clock goes on too, and the sources that a
// mixer lists stay (RFC 3550, 5.1); what is encrypted there does neither.
func TestOnlyALookOfRTP(t *testing.T) {
	t.Parallel()
	stream := rand.NewChaCha8([32]byte{7})
	for _, c := range []struct {
		name                string
		first               byte
		clock, contributors bool
		rtp                 bool
	}{
		{"ciphertext for a clock", 0x80, false, false, false},
		{"ciphertext for contributors", 0x82, true, false, false},
		{"both as they should be", 0x82, true, true, true},
		{"no contributors", 0x80, true, false, true},
	} {
		var datagrams [][]byte
		for i := range 12 {
			m := make([]byte, 172)
			_, _ = stream.Read(m)
			m[0], m[1] = c.first, 0xde
			binary.BigEndian.PutUint16(m[2:], uint16(1000+i))
			if c.clock {
				binary.BigEndian.PutUint32(m[4:], uint32(160*i))
			}
			copy(m[8:], "\x11\x22\x33\x44")
			if c.contributors {
				copy(m[12:], "\x55\x66\x77\x88\x99\xaa\xbb\xcc")
			}
			datagrams = append(datagrams, m)
		}
		j, _ := Recognize(talk(conformance.UDP, datagrams, nil), conformance.Options{})
		require.Equal(t, c.rtp, j.AppProtocol == "rtp", c.name)
	}
}
