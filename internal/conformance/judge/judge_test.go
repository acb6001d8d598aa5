package judge

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// conversation makes one of what either side sent, in segments of the same length, in turn.
func conversation(transport uint8, client, server []byte, cut int) *conformance.Conversation {
	c := &conformance.Conversation{Transport: transport, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true}
	for i, h := range []*conformance.Half{&c.Client, &c.Server} {
		h.Data = [][]byte{client, server}[i]
		h.Total = uint64(len(h.Data))
		for at, order := 0, i; at < len(h.Data); at, order = at+cut, order+2 {
			h.Segments = append(h.Segments, conformance.Segment{Offset: at, Length: min(cut, len(h.Data)-at), Order: order})
		}
	}
	return c
}

func TestJudge(t *testing.T) {
	t.Parallel()
	stream := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 600)
	_, _ = stream.Read(noise)
	for _, c := range []struct {
		name           string
		transport      uint8
		client, server []byte
		want           conformance.Verdict
	}{
		{"http", conformance.TCP, []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), conformance.KnownProtocol},
		{"ciphertext", conformance.TCP, noise[:300], noise[300:], conformance.Random},
		{"application data without a handshake", conformance.TCP, append([]byte("\x17\x03\x03\x01\x00"), noise[:256]...), append([]byte("\x17\x03\x03\x01\x00"), noise[256:512]...), conformance.TLSMimic},
		{"nothing", conformance.TCP, nil, nil, conformance.Undetermined},
	} {
		j := Judge(conversation(c.transport, c.client, c.server, 1400), conformance.Options{Threshold: conformance.DefaultThreshold})
		require.Equal(t, c.want, j.Verdict, "%s: %+v", c.name, j)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(uint8(6), []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), []byte("\x15\x03\x03\x00\x02\x02\x28"), uint16(100))
	f.Add(uint8(17), []byte("\xc0\x00\x00\x00\x01\x08abcdefgh\x00\x00\x44\xd0"), []byte{}, uint16(1200))
	f.Add(uint8(6), []byte("SSH-2.0-x\r\n"), []byte("SSH-2.0-y\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, transport uint8, client, server []byte, cut uint16) {
		j := Judge(conversation(transport, client, server, int(cut)+1), conformance.Options{Threshold: 0.999})
		require.NotEmpty(t, j.Verdict)
		require.True(t, j.Confidence >= 0 && j.Confidence <= 1, "%+v", j)
	})
}
