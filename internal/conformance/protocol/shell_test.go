package protocol

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// ciphertext is n bytes of a generator made for that, always the same for a name.
func ciphertext(n int, name string) []byte {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// posted is a request and its answer as net/http writes them.
func posted(t *testing.T, question, answer []byte, header http.Header, chunked bool) *conformance.Conversation {
	t.Helper()
	method := "POST"
	if len(question) == 0 {
		method = "GET"
	}
	q, err := http.NewRequest(method, "http://198.51.100.1/api", bytes.NewReader(question))
	require.NoError(t, err)
	length := int64(len(answer))
	if chunked {
		q.ContentLength, q.TransferEncoding, length = -1, []string{"chunked"}, -1
	}
	for k, v := range header {
		q.Header[k] = v
	}
	var asked, answered bytes.Buffer
	require.NoError(t, q.Write(&asked))
	r := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: header, ContentLength: length, Body: io.NopCloser(bytes.NewReader(answer)), Request: q}
	require.NoError(t, r.Write(&answered))
	return talk(overTCP, [][]byte{asked.Bytes()}, [][]byte{answered.Bytes()})
}

// socket is an upgrade to WebSocket and one frame each way (RFC 6455 section 1.3 and 5.2).
func socket(first byte, question, answer []byte) *conformance.Conversation {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	frame := func(masked byte, mask, b []byte) []byte {
		b = bytes.Clone(b)
		for i := range b {
			if mask != nil {
				b[i] ^= mask[i%4]
			}
		}
		head := binary.BigEndian.AppendUint16([]byte{first, masked | 126}, uint16(len(b)))
		return append(append(head, mask...), b...)
	}
	return talk(overTCP, [][]byte{
		[]byte("GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n\r\n"),
		frame(0x80, []byte{0x37, 0xfa, 0x21, 0x3d}, question),
	}, [][]byte{
		[]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"),
		frame(0, nil, answer),
	})
}

// lookups are queries and answers as golang.org/x/net writes them; each name has the text in labels before the domain.
func lookups(t *testing.T, names, texts []string) *conformance.Conversation {
	t.Helper()
	var asked, answered [][]byte
	for i := range names {
		name, err := dnsmessage.NewName(names[i])
		require.NoError(t, err)
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(i), RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}}
		b, err := m.Pack()
		require.NoError(t, err)
		asked = append(asked, b)
		m.Response = true
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
			Body: &dnsmessage.TXTResource{TXT: []string{texts[i]}}}}
		b, err = m.Pack()
		require.NoError(t, err)
		answered = append(answered, b)
	}
	c := talk(overUDP, asked, answered)
	c.ServerPort = 53
	return c
}

// tunnelled are names and texts that encode ciphertext.
func tunnelled(n int) (names, texts []string) {
	for i := range n {
		id := string(rune('a' + i))
		text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(ciphertext(60, "q"+id))
		names = append(names, text[:48]+"."+strings.ToLower(text[48:])+".t.example.com.")
		texts = append(texts, base64.StdEncoding.EncodeToString(ciphertext(60, "a"+id)))
	}
	return names, texts
}

func TestRandomPayload(t *testing.T) {
	t.Parallel()
	question, answer := ciphertext(300, "question"), ciphertext(200, "answer")
	text := bytes.Repeat([]byte(`{"event":"ping","id":17}`), 12)
	png := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"), answer...)
	names, texts := tunnelled(4)
	in64, inHex := base64.StdEncoding.EncodeToString(question), hex.EncodeToString(answer)
	words64 := base64.StdEncoding.EncodeToString(text)
	plain := []string{"www.example.com.", "mail.example.com.", "static.assets.example.net.", "api.example.org."}
	spf := []string{"v=spf1 include:_spf.example.com ~all", "google-site-verification=abcdefghijklmnopqrstuvwxyz", "v=DMARC1; p=none", "ok"}
	for _, tt := range []struct {
		name   string
		c      *conformance.Conversation
		random bool
	}{
		{"HTTP, both bodies", posted(t, question, answer, http.Header{"Content-Type": {"application/octet-stream"}}, false), true},
		{"HTTP, chunked", posted(t, question, answer, http.Header{}, true), true},
		{"HTTP, in base64 and hexadecimal", posted(t, []byte(in64), []byte(inHex), http.Header{}, false), true},
		{"HTTP, text in base64", posted(t, []byte(words64), []byte(words64), http.Header{}, false), false},
		{"HTTP, the answer alone", posted(t, nil, answer, http.Header{}, false), false},
		{"HTTP, the answer is text", posted(t, question, text, http.Header{}, false), false},
		{"HTTP, the request is text", posted(t, text, answer, http.Header{}, false), false},
		{"HTTP, encoded", posted(t, question, answer, http.Header{"Content-Encoding": {"br"}}, false), false},
		{"HTTP, media", posted(t, question, answer, http.Header{"Content-Type": {"video/mp4"}}, false), false},
		{"HTTP, a picture by its magic", posted(t, question, png, http.Header{}, false), false},
		{"HTTP, too short", posted(t, question[:60], answer[:60], http.Header{}, false), false},
		{"WebSocket, binary", socket(0x82, question, answer), true},
		{"WebSocket, compressed", socket(0xc2, question, answer), false},
		{"WebSocket, text", socket(0x81, text, text), false},
		{"WebSocket, text in binary frames", socket(0x82, text, text), false},
		{"WebSocket, one way", socket(0x82, text, answer), false},
		{"DNS, names and texts", lookups(t, names, texts), true},
		{"DNS, two queries", lookups(t, names[:2], texts[:2]), false},
		{"DNS, names alone", lookups(t, names, spf), false},
		{"DNS, as usual", lookups(t, plain, spf), false},
	} {
		j, ok := Recognize(tt.c, conformance.Options{Threshold: conformance.DefaultThreshold})
		require.True(t, ok, tt.name)
		require.Equal(t, conformance.KnownProtocol, j.Verdict, tt.name)
		want := []string{"protocol_structure"}
		if tt.random {
			want = append(want, "random_payload")
		}
		require.Equal(t, want, j.Reasons, tt.name)
	}
}
