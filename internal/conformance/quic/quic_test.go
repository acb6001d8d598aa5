package quic

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	xquic "golang.org/x/net/quic"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestInitialKeys: RFC 9001 appendix A.1 and RFC 9369 appendix A.1: the IVs, and what the AES keys do to a block of zeros follows from
// the server's packet below.
func TestInitialKeys(t *testing.T) {
	t.Parallel()
	dcid := unhex(t, "8394c8f03e515708")
	tests := []struct {
		version uint32
		client  bool
		iv      string
	}{
		{version1, true, "fa044b2f42a3fd3b46fb255c"},
		{version1, false, "0ac1493ca1905853b0bba03e"},
		{version2, true, "91f73e2351d8fa91660e909f"},
		{version2, false, "dd13c276499c0249d3310652"},
	}
	for _, tt := range tests {
		k, ok := (&derivation{id: dcid}).keys(tt.version, tt.client)
		require.True(t, ok)
		require.Equal(t, tt.iv, hex.EncodeToString(k.iv[:]))
	}
}

// TestServerInitial opens the server's packet of RFC 9001 appendix A.3.
func TestServerInitial(t *testing.T) {
	t.Parallel()
	raw := unhex(t, "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3db"+
		"cba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee")
	p, next, ok := readLong(raw)
	require.True(t, ok)
	require.Empty(t, next)
	k, ok := (&derivation{id: unhex(t, "8394c8f03e515708")}).keys(version1, false)
	require.True(t, ok)
	payload, number, ok := k.open(nil, p.raw, p.pnOff)
	require.True(t, ok)
	require.Equal(t, uint64(1), number)
	var c cryptoStream
	require.True(t, c.readFrames(payload))
	typ, body, ok := c.message()
	require.True(t, ok)
	require.Equal(t, uint8(2), typ)
	require.Len(t, body, 86)
	for i := range raw[p.pnOff:] {
		broken := bytes.Clone(raw)
		broken[p.pnOff+i] ^= 1
		_, _, ok := k.open(nil, broken, p.pnOff)
		require.False(t, ok)
	}
}

// TestRetry checks the packets of RFC 9001 appendix A.4 and RFC 9369 appendix A.4.
func TestRetry(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba",
		"cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6",
	} {
		p, _, ok := readLong(unhex(t, text))
		require.True(t, ok)
		require.Equal(t, typeRetry, p.typ)
		require.True(t, retryVerifies(&p, unhex(t, "8394c8f03e515708")))
		require.False(t, retryVerifies(&p, unhex(t, "8394c8f03e515709")))
	}
}

// tape records the datagrams of both directions.
type tape struct {
	sync.Mutex
	c     conformance.Conversation
	order int
}

func (t *tape) add(client bool, b []byte) {
	t.Lock()
	defer t.Unlock()
	h := &t.c.Server
	if client {
		h = &t.c.Client
	}
	if len(h.Data)+len(b) <= 16<<10 {
		h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(b), Order: t.order})
		h.Data = append(h.Data, b...)
	}
	h.Total += uint64(len(b))
	t.order++
}

// tapped is a client's socket that writes onto a tape.
type tapped struct {
	*net.UDPConn
	tape *tape
}

func (c tapped) WriteTo(b []byte, a net.Addr) (int, error) {
	c.tape.add(true, b)
	return c.UDPConn.WriteTo(b, a)
}

func (c tapped) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.UDPConn.ReadFrom(b)
	if err == nil {
		c.tape.add(false, b[:n])
	}
	return n, a, err
}

// converse runs golang.org/x/net/quic over loopback and returns what was on the wire.
func converse(t testing.TB, retry bool) *conformance.Conversation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"quic.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	server, err := xquic.Listen("udp", "127.0.0.1:0", &xquic.Config{
		TLSConfig:                &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13},
		RequireAddressValidation: retry,
	})
	require.NoError(t, err)
	defer server.Close(ctx)
	go func() {
		if c, err := server.Accept(ctx); err == nil {
			if s, err := c.AcceptStream(ctx); err == nil {
				_, _ = s.Write(bytes.Repeat([]byte("answer"), 300))
				s.CloseWrite()
			}
		}
	}()
	sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	rec := &tape{c: conformance.Conversation{Transport: udp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true}}
	client, err := xquic.NewEndpoint(tapped{sock, rec}, nil)
	require.NoError(t, err)
	defer client.Close(ctx)
	conn, err := client.Dial(ctx, "udp", server.LocalAddr().String(), &xquic.Config{
		TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "quic.example", NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13},
	})
	require.NoError(t, err)
	s, err := conn.NewStream(ctx)
	require.NoError(t, err)
	_, _ = s.Write([]byte("ask"))
	s.CloseWrite()
	_, _ = s.Read(make([]byte, 100))
	rec.Lock()
	defer rec.Unlock()
	c := rec.c
	return &c
}

func TestGenuine(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{false, true} {
		c := converse(t, retry)
		j, ok := Recognize(c, conformance.Options{})
		require.True(t, ok)
		require.Empty(t, j.Violations)
		require.Equal(t, conformance.QUIC, j.Verdict)
		require.Equal(t, "quic.example", j.SNI)
		require.Equal(t, "h3", j.ALPN)
		require.Equal(t, "1.3", j.TLSVersion)
		require.Equal(t, "http", j.AppProtocol)
		require.Regexp(t, "^q13d", j.JA4)
		require.True(t, j.Final)

		// Captured the other way round, with one direction only, or from any datagram on.
		swapped := *c
		swapped.Client, swapped.Server = c.Server, c.Client
		j, ok = Recognize(&swapped, conformance.Options{})
		require.True(t, ok)
		require.Equal(t, conformance.QUIC, j.Verdict)
		for i := range len(c.Client.Segments) {
			for k := range len(c.Server.Segments) {
				late := *c
				late.Client.Segments, late.Server.Segments = c.Client.Segments[i:], c.Server.Segments[k:]
				j, _ := Recognize(&late, conformance.Options{})
				require.Empty(t, j.Violations, "retry %v from %d, %d", retry, i, k)
			}
		}
	}
}

// TestForged: a long header before bytes that are no Initial packet.
func TestForged(t *testing.T) {
	t.Parallel()
	r := mrand.New(mrand.NewPCG(7, 8))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	initial := func(version string, n int) []byte {
		first := "c3"
		if version == "6b3343cf" {
			first = "d3" // version 2 numbers its types otherwise
		}
		head := unhex(t, first+version+"08"+"0102030405060708"+"00"+"00")
		return append(append(head, 0x40|byte(n>>8), byte(n)), noise(n)...)
	}
	answer := append(unhex(t, "c30000000100080a0b0c0d0e0f1011004075"), noise(0x75)...)
	for _, version := range []string{"00000001", "6b3343cf", "ff00001d"} {
		first := initial(version, 1182)
		c := &conformance.Conversation{
			Transport: udp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true,
			Client: conformance.Half{Data: first, Total: uint64(len(first)), Segments: []conformance.Segment{{Length: len(first)}}},
			Server: conformance.Half{Data: answer, Total: uint64(len(answer)), Segments: []conformance.Segment{{Length: len(answer), Order: 1}}},
		}
		if version != "00000001" {
			c.Server.Data = append([]byte{0x80}, noise(len(answer)-1)...)
		}
		j, ok := Recognize(c, conformance.Options{})
		require.True(t, ok, version)
		require.Equal(t, conformance.TLSMimic, j.Verdict, version)
		require.Equal(t, []string{undecryptable}, j.Violations)
	}
}

// TestNotQUIC: other protocols are not this package's business.
func TestNotQUIC(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"", "\x00\x01\x00\x08\x21\x12\xa4\x42", "GET / HTTP/1.1", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		_, ok := Recognize(&conformance.Conversation{Transport: udp, StartSeen: true, Client: conformance.Half{Data: []byte(first)}}, conformance.Options{})
		require.False(t, ok, "%q", first)
	}
}

// TestClientNeverNegotiates: a header that both sides share is no Version Negotiation, which only servers send (RFC 9000 section 17.2.1).
func TestClientNeverNegotiates(t *testing.T) {
	t.Parallel()
	message := func(order int) conformance.Half {
		b := append(unhex(t, "c3000000000000"), bytes.Repeat([]byte{0x9d, 0x41, 0xe7, 0x22}, 20)...)
		return conformance.Half{Data: b, Total: uint64(len(b)), Segments: []conformance.Segment{{Length: len(b), Order: order}}}
	}
	c := &conformance.Conversation{Transport: udp, StartSeen: true, Server: message(1)}
	j, ok := Recognize(c, conformance.Options{})
	require.True(t, ok)
	require.Equal(t, []string{"version_negotiation"}, j.Reasons)
	c.Client = message(0)
	_, ok = Recognize(c, conformance.Options{})
	require.False(t, ok)
}

func FuzzQUIC(f *testing.F) {
	c := converse(f, false)
	f.Add(c.Client.Data, c.Server.Data, 1200, 1200)
	f.Add(unhex(f, "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"), []byte{}, 36, 0)
	f.Add([]byte("\x0d\x31\xd6\x63\xb6\x0d\x93\x24\x8bQ035\x01\x00\x65\x13\xfc\xda\x66\xf3\x85\x33\x4e\xbb\x26\xa0\x01\x00\x04CHLO\x01\x00\x00\x00SNI\x00\x01\x00\x00\x00a"), []byte{}, 60, 0)
	f.Fuzz(func(t *testing.T, client, server []byte, n, m int) {
		half := func(b []byte, n int) conformance.Half {
			h := conformance.Half{Data: b, Total: uint64(len(b))}
			if n > 0 {
				for off := 0; off < len(b) && len(h.Segments) < 64; off += n {
					h.Segments = append(h.Segments, conformance.Segment{Offset: off, Length: min(n, len(b)-off), Order: off})
				}
			}
			return h
		}
		j, ok := Recognize(&conformance.Conversation{Transport: udp, StartSeen: true, Ended: true, Client: half(client, n), Server: half(server, m)}, conformance.Options{})
		if ok && (j.Verdict == conformance.TLSMimic) != (len(j.Violations) > 0) {
			t.Fatal("a mimic without a violation, or the other way round")
		}
	})
}

// TestShortHeaders: the rest of a real connection after its handshake has a look; random datagrams and fixed magics have not.
func TestShortHeaders(t *testing.T) {
	t.Parallel()
	short := func(flags []byte, id string) (h conformance.Half) {
		for i, f := range flags {
			d := append(append([]byte{f}, id...), bytes.Repeat([]byte{byte(i * 37)}, 30)...)
			h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(d), Order: i})
			h.Data = append(h.Data, d...)
		}
		h.Total = uint64(len(h.Data))
		return h
	}
	tests := []struct {
		flags string
		port  uint16
		want  bool
	}{
		{"\x41\x5c\x47", 443, true},
		{"\x41\x5c\x47", 4500, false},
		{"\x41\x5c\x47\x52\x6f\x7a\x43\x59", 4500, true}, // 16 bits that all are as they must be
		{"\x41\x5c\x47\x52\x6f\x7a\x43\xd9", 4500, false},
		{"\x41\x41\x41", 443, false}, // a magic, as DNSCrypt's
		{"\x41\x9c\x47", 443, false},
	}
	for _, tt := range tests {
		c := &conformance.Conversation{Transport: udp, ServerPort: tt.port, StartSeen: true, Client: short([]byte(tt.flags), "serverid")}
		j, ok := Recognize(c, conformance.Options{})
		require.Equal(t, tt.want, ok, "%q", tt.flags)
		if ok {
			require.Less(t, j.Confidence, 0.7)
		}
	}
}
