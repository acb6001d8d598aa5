//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"
)

// step is one packet of a conversation: who sends it and what it carries. TCP steps also have flags.
type step struct {
	toServer bool
	flags    byte
	payload  []byte
}

const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagPSH = 0x08
	flagACK = 0x10
)

// script is what one flow says. bulk makes its last step repeat: that many more packets of the stream, with an acknowledgement after every second.
type script struct {
	name      string
	transport byte
	port      uint16
	steps     []step
	bulk      int
	alert     string // the verdict that its flow must get; empty when it must get none
}

// segmentSizes are what bulk packets carry, in turns: with one acknowledgement for two segments a packet has 625 bytes on average, which at
// 20,000 packets a second makes 100 Mbit/s.
var segmentSizes = [...]int{1400, 455}

// catalogue is all that the generator says.
type catalogue struct {
	short    []script // few packets
	long     script   // a download
	implants []script
	stream   []byte // TLS records, for bulk
	around   int    // where the stream begins again: what follows is its beginning once more
}

func newCatalogue() (*catalogue, error) {
	c := &catalogue{}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		said, err := recordTLS(version)
		if err != nil {
			return nil, err
		}
		c.short = append(c.short, tcpScript("tls", 443, said))
	}
	c.long = c.short[0]
	c.long.name, c.long.bulk = "download", 4000
	c.short = append(c.short, tcpScript("http", 80, webPage()))
	for range 3 {
		c.short = append(c.short, script{name: "dns", transport: 17, port: 53, steps: nameLookup()})
	}
	c.implants = []script{
		tcpScript("sealed", 8443, sealedExchange()),
		tcpScript("records", 443, fakeRecords()),
		tcpScript("framed", 4444, framedExchange()),
	}
	c.implants[0].alert, c.implants[1].alert, c.implants[2].alert = "random", "tls_mimic", "random"
	for len(c.stream) < 1<<20 {
		c.stream = append(append(c.stream, 0x17, 3, 3, 0x40, 0), random(0x4000)...)
	}
	c.around = len(c.stream)
	c.stream = append(c.stream, c.stream[:segmentSizes[0]]...)
	return c, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// said is what one side wrote at once.
type said struct {
	toServer bool
	data     []byte
}

// tcpScript makes a connection of what is said.
func tcpScript(name string, port uint16, talk []said) script {
	s := script{name: name, transport: 6, port: port, steps: []step{
		{true, flagSYN, nil}, {false, flagSYN | flagACK, nil}, {true, flagACK, nil},
	}}
	for _, t := range talk {
		for data := t.data; len(data) > 0; {
			n := min(len(data), 1400)
			s.steps = append(s.steps, step{t.toServer, flagACK | flagPSH, data[:n]})
			data = data[n:]
		}
	}
	s.steps = append(s.steps, step{true, flagACK, nil}, step{true, flagACK | flagFIN, nil}, step{false, flagACK | flagFIN, nil}, step{true, flagACK, nil})
	return s
}

// sealedExchange is random from the first byte, both ways.
func sealedExchange() []said {
	return []said{{true, random(700)}, {false, random(900)}, {true, random(1800)}, {false, random(300)}}
}

// framedExchange has each message's length before what is sealed.
func framedExchange() (talk []said) {
	for i, n := range []int{512, 768, 1024, 320, 900, 640} {
		talk = append(talk, said{i%2 == 0, append(binary.BigEndian.AppendUint32(nil, uint32(n)), random(n)...)})
	}
	return talk
}

// fakeRecords are TLS application data without a handshake.
func fakeRecords() (talk []said) {
	for i := range 6 {
		talk = append(talk, said{i%2 == 0, append([]byte{0x17, 3, 3, 0, 200}, random(200)...)})
	}
	return talk
}

func webPage() []said {
	page := strings.Repeat("<p>The quick brown fox jumps over the lazy dog.</p>\n", 60)
	return []said{
		{true, []byte("GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: soak/1.0\r\nAccept: */*\r\n\r\n")},
		{false, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(page), page)},
	}
}

// nameLookup is a DNS query for www.example.com and its answer (RFC 1035).
func nameLookup() []step {
	question := []byte("\x03www\x07example\x03com\x00\x00\x01\x00\x01")
	query := append([]byte{0x5a, 0x5a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	answer := append([]byte{0x5a, 0x5a, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, question...)
	answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80)
	return []step{{true, 0, query}, {false, 0, answer}}
}

// tap records what its side of a connection writes.
type tap struct {
	net.Conn
	toServer bool
	mu       *sync.Mutex
	talk     *[]said
}

func (t tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	*t.talk = append(*t.talk, said{t.toServer, append([]byte(nil), b...)})
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// recordTLS has Go's own client and server talk, and gives what they said.
func recordTLS(version uint16) ([]said, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var talk []said
	near, far := net.Pipe()
	defer near.Close()
	if err := near.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	server := tls.Server(tap{far, false, &mu, &talk}, &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true}) // a ticket would meet the client's data on a pipe without room
	failed := make(chan error, 1)
	go func() {
		b := make([]byte, 1000)
		_, err := server.Read(b)
		if err == nil {
			_, err = server.Write(random(3000))
		}
		failed <- err
	}()
	client := tls.Client(tap{near, true, &mu, &talk}, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if _, err := client.Write(random(400)); err != nil {
		return nil, fmt.Errorf("record TLS: %w", err)
	}
	if _, err := io.ReadFull(client, make([]byte, 3000)); err != nil {
		return nil, fmt.Errorf("record TLS: %w", err)
	}
	return talk, <-failed
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: []string{"www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
