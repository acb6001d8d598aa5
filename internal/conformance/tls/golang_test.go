package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// tape records what both sides of a connection wrote, in order.
type tape struct {
	sync.Mutex
	c     conformance.Conversation
	order int
}

func (t *tape) write(client bool, b []byte) {
	t.Lock()
	defer t.Unlock()
	h := &t.c.Server
	if client {
		h = &t.c.Client
	}
	h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(b), Order: t.order})
	h.Data = append(h.Data, b...)
	h.Total += uint64(len(b))
	t.order++
}

// recorder is one end of a connection that writes onto a tape.
type recorder struct {
	net.Conn
	tape   *tape
	client bool
}

func (r recorder) Write(b []byte) (int, error) {
	r.tape.write(r.client, b)
	return r.Conn.Write(b)
}

// certificates are made once: RSA generation is slow.
var certificates = sync.OnceValues(func() (rsaCert, ecCert gotls.Certificate) {
	issue := func(pub, priv any) gotls.Certificate {
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cipherlens test"}, DNSNames: []string{"test.example"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, priv)
		if err != nil {
			panic(err)
		}
		return gotls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
	}
	rk, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return issue(rk.Public(), rk), issue(ek.Public(), ek)
})

// converse runs crypto/tls on both ends of a connection, sends some data each way, and returns what was on the wire.
func converse(client, server *gotls.Config) *conformance.Conversation {
	a, b := loopback()
	t := &tape{c: conformance.Conversation{Transport: tcp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true}}
	cc := gotls.Client(recorder{a, t, true}, client)
	sc := gotls.Server(recorder{b, t, false}, server)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer b.Close()
		if sc.Handshake() != nil {
			return
		}
		buf := make([]byte, 4096)
		for range 3 {
			if _, err := io.ReadFull(sc, buf[:300]); err != nil {
				return
			}
			if _, err := sc.Write(bytes.Repeat([]byte("answer "), 200)); err != nil {
				return
			}
		}
		_ = sc.Close()
	})
	func() {
		defer a.Close()
		if cc.Handshake() != nil {
			return
		}
		buf := make([]byte, 1400)
		for range 3 {
			if _, err := cc.Write(bytes.Repeat([]byte("ask"), 100)); err != nil {
				return
			}
			if _, err := io.ReadFull(cc, buf); err != nil {
				return
			}
		}
		_, _ = cc.Read(buf)
		_ = cc.Close()
	}()
	wg.Wait()
	return &t.c
}

// loopback returns the two ends of a TCP connection. A pipe without a buffer would not do: both sides may write at once.
func loopback() (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		panic(err)
	}
	if server, err = l.Accept(); err != nil {
		panic(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	_, _ = client.SetDeadline(deadline), server.SetDeadline(deadline)
	return client, server
}

// configs are a client's and a server's settings that work together.
func configs(rsaKey bool) (client, server *gotls.Config) {
	r, e := certificates()
	cert := e
	if rsaKey {
		cert = r
	}
	return &gotls.Config{InsecureSkipVerify: true, ServerName: "test.example", MinVersion: gotls.VersionTLS10},
		&gotls.Config{Certificates: []gotls.Certificate{cert}, MinVersion: gotls.VersionTLS10}
}

// genuine is one named conversation of real stacks.
type genuine struct {
	name    string
	version string
	c       *conformance.Conversation
}

func golangConversations() []genuine {
	var out []genuine
	add := func(name, version string, c *conformance.Conversation) {
		out = append(out, genuine{"go " + name, version, c})
	}
	versions := map[uint16]string{gotls.VersionTLS10: "1.0", gotls.VersionTLS11: "1.1", gotls.VersionTLS12: "1.2", gotls.VersionTLS13: "1.3"}
	for v, name := range versions {
		client, server := configs(true)
		client.MaxVersion = v
		add("version "+name, name, converse(client, server))
	}
	for _, s := range append(gotls.CipherSuites(), gotls.InsecureCipherSuites()...) {
		for _, v := range s.SupportedVersions {
			if v == gotls.VersionTLS13 {
				continue
			}
			for _, rsaKey := range []bool{true, false} {
				client, server := configs(rsaKey)
				client.MaxVersion, client.CipherSuites, server.CipherSuites = v, []uint16{s.ID}, []uint16{s.ID}
				if c := converse(client, server); len(c.Server.Data) > 200 {
					add(fmt.Sprintf("%s %s rsa=%v", s.Name, versions[v], rsaKey), versions[v], c)
				}
			}
		}
	}
	for _, v := range []uint16{gotls.VersionTLS12, gotls.VersionTLS13} {
		client, server := configs(false)
		client.MaxVersion, client.ClientSessionCache = v, gotls.NewLRUClientSessionCache(1)
		converse(client, server)
		add("resumed "+versions[v], versions[v], converse(client, server))

		client, server = configs(true)
		client.MaxVersion, server.ClientAuth = v, gotls.RequireAnyClientCert
		client.Certificates = server.Certificates
		add("client certificate "+versions[v], versions[v], converse(client, server))

		client, server = configs(false)
		client.MaxVersion, server.ClientAuth = v, gotls.RequestClientCert
		add("empty client certificate "+versions[v], versions[v], converse(client, server))

		client, server = configs(false)
		client.NextProtos, server.NextProtos, client.MaxVersion = []string{"h2", "http/1.1"}, []string{"h2"}, v
		add("alpn "+versions[v], versions[v], converse(client, server))
	}
	for _, g := range []gotls.CurveID{gotls.X25519, gotls.CurveP256, gotls.CurveP384, gotls.CurveP521, gotls.X25519MLKEM768,
		gotls.SecP256r1MLKEM768, gotls.SecP384r1MLKEM1024} {
		client, server := configs(false)
		client.CurvePreferences = []gotls.CurveID{g}
		add(fmt.Sprint("group ", g), "1.3", converse(client, server))
	}
	client, server := configs(false)
	server.CurvePreferences = []gotls.CurveID{gotls.CurveP384}
	add("hello retry request", "1.3", converse(client, server))
	client, server = configs(false)
	client.MinVersion, server.MaxVersion = gotls.VersionTLS13, gotls.VersionTLS12
	add("refused version", "1.2", converse(client, server))
	client, server = configs(false)
	client.InsecureSkipVerify = false
	add("certificate refused", "1.3", converse(client, server))
	return out
}

var golang = sync.OnceValue(golangConversations)

func TestGenuineGo(t *testing.T) {
	t.Parallel()
	for _, g := range golang() {
		j, ok := Recognize(g.c, conformance.Options{})
		require.True(t, ok, g.name)
		require.Empty(t, j.Violations, g.name)
		require.Equal(t, conformance.TLS, j.Verdict, g.name)
		require.Equal(t, g.version, j.TLSVersion, g.name)
		require.Equal(t, "test.example", j.SNI, g.name)
	}
}

// TestGenuineCut: whatever a capture cuts off, at any byte, genuine TLS breaks no rule.
func TestGenuineCut(t *testing.T) {
	t.Parallel()
	r := mrand.New(mrand.NewPCG(1, 2))
	for _, g := range append(golang(), fixtures(t)...) {
		for range 200 {
			c := *g.c
			c.Client.Data = c.Client.Data[:r.IntN(len(c.Client.Data)+1)]
			c.Server.Data = c.Server.Data[:r.IntN(len(c.Server.Data)+1)]
			switch r.IntN(3) {
			case 0:
				c.Client.Gap = len(c.Client.Data) < int(c.Client.Total)
			case 1:
				c.Client.Total, c.Server.Total, c.Ended = uint64(len(c.Client.Data)), uint64(len(c.Server.Data)), false
			}
			j, _ := Recognize(&c, conformance.Options{})
			require.Empty(t, j.Violations, "%s cut at %d, %d", g.name, len(c.Client.Data), len(c.Server.Data))
		}
	}
}

// TestGenuineJoinedLate: a capture that starts anywhere in genuine TLS never alerts.
func TestGenuineJoinedLate(t *testing.T) {
	t.Parallel()
	r := mrand.New(mrand.NewPCG(3, 4))
	midstream := 0
	for _, g := range append(golang(), fixtures(t)...) {
		for range 50 {
			c := *g.c
			c.StartSeen = false
			c.Client = dropFront(c.Client, r.IntN(len(c.Client.Data)+1))
			c.Server = dropFront(c.Server, r.IntN(len(c.Server.Data)+1))
			j, _ := Recognize(&c, conformance.Options{})
			require.NotEqual(t, conformance.TLSMimic, j.Verdict, g.name)
			if j.Verdict == conformance.TLSMidstream {
				midstream++
			}
		}
	}
	require.Positive(t, midstream)
}

func dropFront(h conformance.Half, n int) conformance.Half {
	return conformance.Half{Data: h.Data[n:], Total: h.Total - uint64(n)}
}

// TestOneDirection: only one side was captured.
func TestOneDirection(t *testing.T) {
	t.Parallel()
	for _, g := range append(golang(), fixtures(t)...) {
		c := *g.c
		c.Server = conformance.Half{}
		j, _ := Recognize(&c, conformance.Options{})
		require.Empty(t, j.Violations, g.name+" client only")
		c = *g.c
		c.Client = conformance.Half{}
		j, _ = Recognize(&c, conformance.Options{})
		require.Empty(t, j.Violations, g.name+" server only")
	}
}
