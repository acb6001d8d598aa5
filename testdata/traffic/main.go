// Command traffic carries the demo's conversations over real sockets and says which process each belongs to. make-capture.sh runs it in a network
// namespace of its own, beside tcpdump: the addresses below (RFC 5737, documentation) exist only there.
//
// It prints a line a flow: protocol, local address and port, process name.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rc4" //nolint:staticcheck // what such software uses
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/dns/dnsmessage"
)

// The hosts of the demo.
const (
	mac        = "192.0.2.10"
	aesHost    = "203.0.113.7:8443"
	rc4Host    = "198.51.100.23:443"
	chatHost   = "203.0.113.99:5222"
	backupHost = "203.0.113.40:443"
	webHost    = "203.0.113.80:80"
	sshHost    = "203.0.113.22:22"
	dnsHost    = "203.0.113.53:53"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	for _, step := range []func() error{resolve, web, backup13, backup12, aesClient, rc4Client, messenger, shell} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// facts are the made-up lines that the clients send.
func facts(n int) []byte {
	return bytes.Repeat([]byte("host=demo.example user=ana os=14.2.1 uptime=86400\n"), n)
}

// paced is a connection that waits a little before each write, as a distant host would make it wait, and so that no packet of a burst is lost
// to the capture.
type paced struct{ net.Conn }

func (p paced) Write(b []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return p.Conn.Write(b)
}

// converse runs one TCP conversation: client and server each get their end, and the client's port is printed with its process.
func converse(name, address string, client, server func(net.Conn) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = server(paced{c})
			c.Close()
		}
		served <- err
	}()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(mac)}, Timeout: 5 * time.Second}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("tcp", c.LocalAddr(), name)
	if err := client(paced{c}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.Close()
	return <-served
}

// aesClient sends AES-256-CTR ciphertext, each message behind its length and its nonce; the answers look alike.
func aesClient() error {
	key := make([]byte, 32)
	rand.Read(key)
	send := func(w io.Writer, plain []byte) error {
		iv := make([]byte, aes.BlockSize)
		rand.Read(iv)
		block, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		body := append(iv, plain...)
		cipher.NewCTR(block, iv).XORKeyStream(body[aes.BlockSize:], plain)
		_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
		return err
	}
	receive := func(r io.Reader) error {
		var size uint32
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, r, int64(size))
		return err
	}
	const messages = 6
	return converse("mdsync", aesHost, func(c net.Conn) error {
		for i := range messages {
			if err := errors.Join(send(c, facts(i+2)), receive(c)); err != nil {
				return err
			}
		}
		return nil
	}, func(c net.Conn) error {
		for range messages {
			if err := errors.Join(receive(c), send(c, []byte("sleep 60; continue; no task for this host"))); err != nil {
				return err
			}
		}
		return nil
	})
}

// rc4Client sends an RC4 stream from the first byte on.
func rc4Client() error {
	key := make([]byte, 16)
	rand.Read(key)
	exchange := func(c net.Conn, first bool, plain []byte) error {
		out, err := rc4.NewCipher(key)
		if err != nil {
			return err
		}
		buf := make([]byte, 4096)
		for range 5 {
			if first {
				body := make([]byte, len(plain))
				out.XORKeyStream(body, plain)
				if _, err := c.Write(body); err != nil {
					return err
				}
			}
			if _, err := c.Read(buf); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if !first {
				body := make([]byte, len(plain))
				out.XORKeyStream(body, plain)
				if _, err := c.Write(body); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return converse("telemetryd", rc4Host,
		func(c net.Conn) error { return exchange(c, true, facts(4)) },
		func(c net.Conn) error {
			return exchange(c, false, []byte("ok: interval=60 collect=none ok: interval=60 collect=none"))
		})
}

// messenger sends AES-CBC messages of its own format, random by nature.
func messenger() error {
	key := make([]byte, 32)
	rand.Read(key)
	seal := func(plain []byte) []byte {
		block, _ := aes.NewCipher(key)
		plain = append(plain, bytes.Repeat([]byte{16}, aes.BlockSize-len(plain)%aes.BlockSize)...)
		out := make([]byte, aes.BlockSize+len(plain))
		rand.Read(out[:aes.BlockSize])
		cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], plain)
		return out
	}
	buf := make([]byte, 4096)
	return converse("Messenger", chatHost, func(c net.Conn) error {
		for range 4 {
			if _, err := c.Write(seal(facts(3))); err != nil {
				return err
			}
			if _, err := c.Read(buf); err != nil {
				return err
			}
		}
		return nil
	}, func(c net.Conn) error {
		for range 4 {
			if _, err := c.Read(buf); err != nil {
				return err
			}
			if _, err := c.Write(seal(facts(2))); err != nil {
				return err
			}
		}
		return nil
	})
}

func backup13() error { return backup(tls.VersionTLS13) }
func backup12() error { return backup(tls.VersionTLS12) }

// backup asks an HTTPS server, at most by the given version of TLS.
func backup(version uint16) error {
	cert, err := certificate("backup.example")
	if err != nil {
		return err
	}
	return converse("Backup", backupHost, func(c net.Conn) error {
		t := tls.Client(c, &tls.Config{ServerName: "backup.example", InsecureSkipVerify: true, MaxVersion: version}) // a server of our own
		if _, err := fmt.Fprintf(t, "PUT /archive HTTP/1.1\r\nHost: backup.example\r\nContent-Length: %d\r\n\r\n%s", len(facts(60)), facts(60)); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, t)
		return err
	}, func(c net.Conn) error {
		t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		if _, err := io.ReadAtLeast(t, make([]byte, 8192), len(facts(60))); err != nil {
			return err
		}
		if _, err := io.WriteString(t, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nstored\n"); err != nil {
			return err
		}
		return t.Close()
	})
}

func certificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// web asks an HTTP server in clear text.
func web() error {
	return converse("indexer", webHost, func(c net.Conn) error {
		request, err := http.NewRequest("GET", "http://web.example/index.html", nil)
		if err != nil {
			return err
		}
		request.Close = true
		if err := request.Write(c); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c)
		return err
	}, func(c net.Conn) error {
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return err
		}
		body := strings.Repeat("<p>Nothing to hide here.</p>\n", 40)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		return err
	})
}

// shell logs in to an SSH server and runs one command.
func shell() error {
	hostKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		return err
	}
	server := &ssh.ServerConfig{NoClientAuth: true}
	server.AddHostKey(signer)
	return converse("ssh", sshHost, func(c net.Conn) error {
		conn, channels, requests, err := ssh.NewClientConn(c, sshHost, &ssh.ClientConfig{User: "ana", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err != nil {
			return err
		}
		session, err := ssh.NewClient(conn, channels, requests).NewSession()
		if err != nil {
			return err
		}
		_, err = session.Output("uptime")
		return errors.Join(err, conn.Close())
	}, func(c net.Conn) error {
		_, channels, requests, err := ssh.NewServerConn(c, server)
		if err != nil {
			return err
		}
		go ssh.DiscardRequests(requests)
		for ch := range channels {
			channel, requests, err := ch.Accept()
			if err != nil {
				return err
			}
			go serveExec(channel, requests)
		}
		return nil
	})
}

func serveExec(channel ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		_ = r.Reply(r.Type == "exec", nil)
		if r.Type == "exec" {
			_, _ = io.WriteString(channel, "12:00  up 1 day, 2 users\n")
			_, _ = channel.SendRequest("exit-status", false, make([]byte, 4))
			_ = channel.Close()
		}
	}
}

// resolve asks a DNS server for one name.
func resolve() error {
	server, err := net.ListenPacket("udp", dnsHost)
	if err != nil {
		return err
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := answerTo(buf[:n]); err == nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(mac)}}).DialContext(ctx, "udp", dnsHost)
		if err == nil {
			fmt.Println("udp", c.LocalAddr(), "mDNSResponder")
		}
		return c, err
	}}
	_, err = resolver.LookupNetIP(context.Background(), "ip4", "web.example.")
	return err
}

func answerTo(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
		Body:   &dnsmessage.AResource{A: [4]byte{203, 0, 113, 80}},
	}}
	return m.Pack()
}
