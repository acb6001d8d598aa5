package protocol

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// TestOpenVPNData: data packets are number and tag (OpenVPN's crypto.h, "data channel v2 format"); a home-made header that counts
// in the same place has constants where the tag would be.
func TestOpenVPNData(t *testing.T) {
	t.Parallel()
	g := newRandomly(9)
	order := binary.BigEndian
	tests := []struct {
		name   string
		header func(i uint32) []byte
		want   bool
	}{
		{"P_DATA_V2 of a peer, number, tag", func(i uint32) []byte { return order.AppendUint32([]byte{9 << 3, 0, 0, 1}, i+1) }, true},
		{"P_DATA_V1, number, tag", func(i uint32) []byte { return order.AppendUint32([]byte{6 << 3}, i+1) }, true},
		{"command, number and direction in 32 bits each, little-endian", func(i uint32) []byte {
			return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32([]byte{0x34, 0x12, 0, 0}, i), 1)
		}, false},
		{"magic, number and length", func(i uint32) []byte {
			return order.AppendUint32(order.AppendUint32([]byte("Kimp"), i), 64)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var messages [][]byte
			for i := range uint32(12) {
				messages = append(messages, append(tt.header(i), g.bytes(64)...))
			}
			_, ok := Recognize(talk(conformance.UDP, messages, nil), conformance.Options{})
			require.Equal(t, tt.want, ok)
		})
	}
}
