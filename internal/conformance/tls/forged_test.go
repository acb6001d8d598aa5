package tls

import (
	"bytes"
	"crypto/rc4"
	gotls "crypto/tls"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// noise is n bytes as random as ciphertext, always the same.
func noise(n int, seed uint64) []byte {
	r := mrand.New(mrand.NewPCG(seed, 9))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func rec(typ byte, version uint16, body []byte) []byte {
	return append([]byte{typ, byte(version >> 8), byte(version), byte(len(body) >> 8), byte(len(body))}, body...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func conversation(client, server []byte) *conformance.Conversation {
	return &conformance.Conversation{
		Transport: tcp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true,
		Client: conformance.Half{Data: client, Total: uint64(len(client))},
		Server: conformance.Half{Data: server, Total: uint64(len(server))},
	}
}

// records splits a direction of a genuine conversation.
func records(data []byte) (out [][]byte) {
	for off := 0; off < len(data); {
		_, next, ok := readRecord(data, off)
		if !ok {
			break
		}
		out = append(out, data[off:min(next, len(data))])
		off = next
	}
	return out
}

// handshakeOf returns a genuine conversation's two directions up to and without the first application data.
func handshakeOf(t *testing.T, version uint16, suite uint16) (client, server [][]byte) {
	t.Helper()
	cc, sc := configs(true)
	cc.MaxVersion = version
	if suite != 0 {
		cc.CipherSuites, sc.CipherSuites = []uint16{suite}, []uint16{suite}
	}
	c := converse(cc, sc)
	cut := func(rs [][]byte) [][]byte {
		for i, r := range rs {
			if r[0] == typeAppData {
				return rs[:i]
			}
		}
		return rs
	}
	return cut(records(c.Client.Data)), cut(records(c.Server.Data))
}

func TestForged(t *testing.T) {
	t.Parallel()
	xor := func(b []byte) []byte { // a weak cipher: one key byte
		out := bytes.Clone(b)
		for i := range out {
			out[i] ^= 0x5a
		}
		return out
	}
	weak := xor(bytes.Repeat([]byte("GET /beacon?id=1234 HTTP/1.1 "), 40))
	rc4Body := func(n int) []byte {
		c, err := rc4.NewCipher([]byte("implant key"))
		require.NoError(t, err)
		out := make([]byte, n)
		c.XORKeyStream(out, bytes.Repeat([]byte("whoami "), n/7+1)[:n])
		return out
	}
	c13, s13 := handshakeOf(t, gotls.VersionTLS13, 0)
	c12, s12 := handshakeOf(t, gotls.VersionTLS12, gotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	other, _ := handshakeOf(t, gotls.VersionTLS12, gotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	cCBC, sCBC := handshakeOf(t, gotls.VersionTLS10, gotls.TLS_RSA_WITH_AES_128_CBC_SHA)
	hello, reply := c12[0], s12[0]

	tests := []struct {
		name           string
		client, server []byte
		want           string
	}{
		{"TONESHELL: 17 03 03 and no handshake", rec(23, 0x0303, rc4Body(200)), rec(23, 0x0303, rc4Body(90)), "application_data_before_handshake"},
		{"TONESHELL: 17 03 04", rec(23, 0x0304, weak), rec(23, 0x0304, weak), "record_version_0304"},
		{"prefix that evades the first-packet rule", join([]byte{22, 3, 9}, noise(400, 1)), noise(300, 2), "record_version_unknown"},
		{"handshake header before random bytes", rec(22, 0x0301, noise(400, 3)), noise(300, 4), "handshake_"},
		{"real hello, then not TLS", join(hello, noise(500, 5)), noise(800, 6), "server_not_tls"},
		{"simple-obfs: no client Finished, no certificate",
			join(hello, rec(23, 0x0303, noise(300, 7))),
			join(reply, rec(20, 0x0303, []byte{1}), rec(22, 0x0303, noise(40, 8)), rec(23, 0x0303, noise(500, 9))), "no_client_finished"},
		{"replayed server flight: signature of another connection",
			join(other[0], join(c12[1:]...), rec(23, 0x0303, noise(300, 10))), join(join(s12...), rec(23, 0x0303, noise(300, 11))), "key_exchange_signature"},
		{"replayed TLS 1.0 with RC4 bodies in CBC records",
			join(join(cCBC...), rec(23, 0x0301, rc4Body(301))), join(join(sCBC...), rec(23, 0x0301, rc4Body(77))), "record_size_impossible"},
		{"replayed TLS 1.2, then records of TLS 1.0",
			join(join(c12...), rec(23, 0x0301, noise(301, 22))), join(join(s12...), rec(23, 0x0301, noise(77, 23))), "sealed_record_version"},
		{"replayed TLS 1.3, then records of TLS 1.0",
			join(join(c13...), rec(23, 0x0301, noise(301, 24))), join(join(s13...), rec(23, 0x0301, noise(77, 25))), "sealed_record_version"},
		{"weak cipher in a replayed handshake",
			join(join(c12...), rec(23, 0x0303, weak)), join(join(s12...), rec(23, 0x0303, weak)), "low_entropy_application_data"},
		{"FakeTLS: no server flight", join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(64+53, 12))),
			join(s13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(100, 13))), "server_flight_size"},
		{"FakeTLS: client data where Finished belongs", join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(105, 14)), rec(23, 0x0303, noise(233, 15))),
			join(s13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(2500, 16))), "finished_size"},
		{"FakeTLS: client data as long as a padded Finished", join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(64, 26)), rec(23, 0x0303, noise(233, 27))),
			join(s13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(2500, 28))), "finished_size"},
		{"FakeTLS: client data as long as a certificate without a key", join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(240, 29)), rec(23, 0x0303, noise(233, 30))),
			join(s13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(2500, 31))), "finished_size"},
		{"random key share", join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(53, 17))), join(randomShare(s13[0]), rec(23, 0x0303, noise(2500, 18))), "key_exchange_invalid"},
		{"session id not echoed", join(c13[0], rec(23, 0x0303, noise(53, 17))), join(otherSession(s13[0]), rec(23, 0x0303, noise(2500, 18))), "session_id_not_echoed"},
		{"suite not offered", join(c13[0], rec(23, 0x0303, noise(53, 17))), join(otherSuite(s13[0]), rec(23, 0x0303, noise(2500, 18))), "server_suite_not_offered"},
		{"empty handshake record", rec(22, 0x0303, nil), nil, "zero_length_record"},
		{"long ChangeCipherSpec", join(hello, rec(20, 0x0303, noise(48, 19)), rec(23, 0x0303, noise(99, 20))), join(s12...), "ccs_malformed"},
		{"framing lost", join(join(c12...), noise(400, 21)), join(s12...), "record_framing_lost"},
	}
	for _, tt := range tests {
		j, ok := Recognize(conversation(tt.client, tt.server), conformance.Options{})
		require.True(t, ok, tt.name)
		require.Equal(t, conformance.TLSMimic, j.Verdict, tt.name)
		require.Contains(t, strings.Join(j.Violations, " "), tt.want, tt.name)
		require.True(t, j.Final, tt.name)
	}
}

// In a ServerHello record the session id's length is at 43, the id follows, then the suite; the key share ends the X25519 extension.
func otherSession(r []byte) []byte {
	out := bytes.Clone(r)
	out[44] ^= 0xff
	return out
}

func otherSuite(r []byte) []byte {
	out := bytes.Clone(r)
	at := 44 + int(out[43])
	out[at], out[at+1] = 0x13, 0x05
	return out
}

// randomShare overwrites the X25519 part of the server's hybrid share with a point of the curve's twist.
func randomShare(r []byte) []byte {
	var h serverHello
	h.read(r[9:])
	at := bytes.Index(r, h.share)
	out := bytes.Clone(r)
	for seed := uint64(30); ; seed++ {
		copy(out[at+len(h.share)-32:], noise(32, seed))
		if !made25519(out[at+len(h.share)-32:at+len(h.share)], false) {
			return out
		}
	}
}

// TestNotTLS: other protocols are not this package's business.
func TestNotTLS(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\x16\x00\x84\x00" + string(noise(128, 40)), string(noise(200, 41)), ""} {
		_, ok := Recognize(conversation([]byte(first), nil), conformance.Options{})
		require.False(t, ok, "%q", first)
	}
}

// TestPlainAnswer: a server that does not speak TLS is no fault of the client's.
func TestPlainAnswer(t *testing.T) {
	t.Parallel()
	c12, _ := handshakeOf(t, gotls.VersionTLS12, 0)
	for _, answer := range []string{"220 mail.example ESMTP ready, please say hello before anything else, thank you very much\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "E"} {
		j, ok := Recognize(conversation(c12[0], []byte(answer)), conformance.Options{})
		require.True(t, ok)
		require.Equal(t, conformance.TLS, j.Verdict, answer)
	}
}

// TestPaddedFinished: a stack that pads all its records to 16 bytes, as mbed TLS does, is no forgery; nor is a Finished that stands alone so far.
func TestPaddedFinished(t *testing.T) {
	t.Parallel()
	c13, s13 := handshakeOf(t, gotls.VersionTLS13, 0)
	server := join(s13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(2500, 1)))
	for _, rest := range [][]byte{nil, join(rec(23, 0x0303, noise(16*9+16, 2)), rec(23, 0x0303, noise(16*40+16, 3)))} {
		client := join(c13[0], rec(20, 0x0303, []byte{1}), rec(23, 0x0303, noise(64, 4)), rest)
		j, ok := Recognize(conversation(client, server), conformance.Options{})
		require.True(t, ok)
		require.Equal(t, conformance.TLS, j.Verdict, j.Violations)
	}
}
