//go:build !plain

package wire

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"
)

const (
	seeTLS  = "server names, certificates and JA4 of known frameworks, beacon timing (RITA), EDR"
	seeHTTP = "an HTTP proxy's content and URL rules, Suricata or Zeek, beacon timing (RITA), EDR"
	seeHost = "the front's own logs, TLS inspection, beacon timing (RITA), EDR"
)

// web are the implants inside of genuine HTTP or TLS: blind by principle.
func web() []Format {
	plain := func(shell httpShell, l func(*End) Layer) func(*End) (Link, error) {
		return func(e *End) (Link, error) { return newHTTP(e, e, shell, l(e)), nil }
	}
	return []Format{
		{Name: "komplex", Software: "S0162", Cipher: "XOR, 11-byte key", Port: 80, Class: Blind, Blind: seeHTTP, ReconnectBeacons: true, Mac: MacImage{"XOR", ""},
			Layout: "HTTP POST, the masked body in base64", Source: "Unit 42 2016",
			Open: plain(httpShell{path: "/search/?itwm=", agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_6)"}, func(e *End) Layer { return chain(xor(e.Key[:11]), inBase64) })},
		{Name: "havoc", Software: "S1229", Cipher: "AES-256-CTR", Port: 80, Class: Blind, Blind: seeHTTP, ReconnectBeacons: true, Mac: ccrypt,
			Layout: "HTTP POST: u32 size, DEADBEEF, agent, command and request ids, then ciphertext", Source: "HavocFramework/Havoc: teamserver/pkg/agent, Demon's Package.c",
			Open: plain(httpShell{path: "/", agent: "Mozilla/5.0 (Windows NT 6.1; WOW64)", binary: true}, func(e *End) Layer {
				return chain(ctr(e.Key[:32], e.Random), prefixed([]byte("\x00\x00\x01\x00\xde\xad\xbe\xef\x1c\x2d\x3e\x4f\x00\x00\x00\x01\x00\x00\x00\x00")))
			})},
		{Name: "sliver-http", Software: "S0633", Cipher: "ChaCha20-Poly1305 or AES-GCM", Port: 80, Class: Blind, Blind: seeHTTP, ReconnectBeacons: true, Mac: MacImage{"GO", ""},
			Layout: "HTTP GET and POST to .php and .js paths, body encoded", Source: "BishopFox/sliver: implant/sliver/transports/httpclient",
			Open: plain(httpShell{path: "/oauth/api.php?k=", agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"}, func(e *End) Layer { return chain(gcm(e.Key[:32], e.Random), inBase64) })},
		{Name: "cobaltstrike-http", Software: "S0154", Cipher: "AES-128-CBC, HMAC-SHA256", Port: 80, Class: Blind, Blind: seeHTTP, ReconnectBeacons: true, Mac: ccrypt,
			Layout: "HTTP GET with metadata in a cookie, POST to submit.php with ciphertext", Source: "Cobalt Strike's default profile",
			Open: plain(httpShell{path: "/submit.php?id=", agent: "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1)", binary: true, cookie: true}, func(e *End) Layer {
				return chain(cbc(e.Key[:16], []byte("abcdefghijklmnop"), nil), tagged(e.Key[16:32], 16))
			})},
		{Name: "sliver-mtls", Software: "S0633", Cipher: "TLS 1.3, both sides with certificates", Port: 8888, Class: Blind, Blind: seeTLS, Mac: MacImage{"GO", ""},
			Layout: "genuine TLS, then u32 LE length and an envelope", Source: "BishopFox/sliver: implant/sliver/transports/mtls",
			Open: func(e *End) (Link, error) {
				c, err := openTLS(e, "", true)
				return newFramed(c, behind(binary.LittleEndian), clear), err
			}},
		{Name: "cobaltstrike-https", Software: "S0154", Cipher: "TLS 1.3", Port: 443, Class: Blind, Blind: seeTLS, ReconnectBeacons: true, Mac: MacImage{"TLS", ""},
			Layout: "cobaltstrike-http in genuine TLS", Source: "Cobalt Strike's default profile", Open: fronted("updates.example.com", "updates.example.com")},
		{Name: "domain-fronting", Software: "S0154", Cipher: "TLS 1.3", Port: 443, Class: Blind, Blind: seeHost, ReconnectBeacons: true, Mac: MacImage{"TLS", ""},
			Layout: "genuine TLS to a front's name, another Host inside", Source: "ATT&CK T1090.004", Open: fronted("cdn.example.net", "hidden.example.org")},
	}
}

// gcm is AES-GCM behind its 12-byte nonce.
func gcm(key []byte, random io.Reader) Layer {
	aead := must(cipher.NewGCM(must(aes.NewCipher(key))))
	return layer{func(b []byte) ([]byte, error) {
		nonce := take(random, aead.NonceSize())
		return aead.Seal(nonce, nonce, b, nil), nil
	}, func(b []byte) ([]byte, error) {
		if len(b) < aead.NonceSize() {
			return nil, io.ErrUnexpectedEOF
		}
		return aead.Open(nil, b[:aead.NonceSize()], b[aead.NonceSize():], nil)
	}}
}

func fronted(sni, host string) func(*End) (Link, error) {
	return func(e *End) (Link, error) {
		c, err := openTLS(e, sni, false)
		return newHTTP(e, c, httpShell{path: "/submit.php?id=", agent: "Mozilla/5.0", host: host, binary: true}, cbc(e.Key[:16], nil, e.Random)), err
	}
}

// openTLS makes a genuine TLS connection, on request with a client certificate.
func openTLS(e *End, sni string, mutual bool) (*tls.Conn, error) {
	cert, err := Certificate(sni)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: sni, InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}} // servers of our own
	if mutual {
		c.ClientAuth = tls.RequireAnyClientCert
	}
	if e.Server {
		t := tls.Server(e, c)
		return t, t.Handshake()
	}
	t := tls.Client(e, c)
	return t, t.Handshake()
}

// Certificate makes a self-signed one.
func Certificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// httpShell is what the requests look like.
type httpShell struct {
	path, agent, host string
	binary, cookie    bool
}

// overHTTP sends each message as a POST and gets the answer as its response.
type overHTTP struct {
	e       *End
	w       io.Writer
	r       *bufio.Reader
	shell   httpShell
	layer   Layer
	request *http.Request
}

func newHTTP(e *End, rw io.ReadWriter, shell httpShell, l Layer) *overHTTP {
	return &overHTTP{e: e, w: rw, r: bufio.NewReader(rw), shell: shell, layer: l}
}

func (h *overHTTP) Send(message []byte) error {
	body, err := h.layer.Seal(message)
	if err != nil {
		return err
	}
	kind := "text/plain"
	if h.shell.binary {
		kind = "application/octet-stream"
	}
	if h.e.Server {
		r := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {kind}, "Server": {"nginx"}},
			ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)), Request: h.request}
		return r.Write(h.w)
	}
	host := h.shell.host
	if host == "" {
		host, _, _ = strings.Cut(h.e.RemoteAddr().String(), ":")
	}
	path := h.shell.path
	if strings.HasSuffix(path, "=") {
		path += fmt.Sprint(h.e.Random.Uint64() % 1e6)
	}
	r, err := http.NewRequest("POST", "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", h.shell.agent)
	r.Header.Set("Content-Type", kind)
	if h.shell.cookie {
		r.Header.Set("Cookie", "SESSIONID="+base64.StdEncoding.EncodeToString(take(h.e.Random, 128)))
	}
	return r.Write(h.w)
}

func (h *overHTTP) Receive() ([]byte, error) {
	var body io.ReadCloser
	if h.e.Server {
		r, err := http.ReadRequest(h.r)
		if err != nil {
			return nil, err
		}
		h.request, body = r, r.Body
	} else {
		r, err := http.ReadResponse(h.r, nil)
		if err != nil {
			return nil, err
		}
		body = r.Body
	}
	defer body.Close()
	sealed, err := io.ReadAll(io.LimitReader(body, maxMessage))
	if err != nil {
		return nil, err
	}
	return h.layer.Open(sealed)
}
