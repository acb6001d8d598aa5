package sensor

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// said is one write of one end of a connection.
type said struct {
	client bool
	data   []byte
}

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	client bool
	mu     *sync.Mutex
	to     *[]said
}

func (r recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	*r.to = append(*r.to, said{r.client, bytes.Clone(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// recordTLS records a TLS connection of Go's own library, with some data each way.
func recordTLS(t *testing.T, version uint16) []said {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	var talk []said
	var mu sync.Mutex
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		server := tls.Server(recorder{b, false, &mu, &talk}, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version})
		buffer := make([]byte, 500)
		_, err := server.Read(buffer)
		if err == nil {
			_, err = server.Write(buffer)
		}
		done <- err
	}()
	client := tls.Client(recorder{a, true, &mu, &talk}, &tls.Config{InsecureSkipVerify: true, ServerName: "example.org", MaxVersion: version})
	_, err = client.Write(make([]byte, 500))
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 500))
	require.NoError(t, err)
	require.NoError(t, <-done)
	return talk
}

// connection is one in a capture.
type connection struct {
	talk []said
	port uint16
	at   time.Time
}

// captureOf writes connections into a capture file.
func captureOf(t *testing.T, connections ...connection) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.pcap")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	w := pcapgo.NewWriter(f)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeRaw))
	for _, c := range connections {
		ends := [2]net.IP{{192, 0, 2, 10}, {203, 0, 113, 7}}
		ports := [2]layers.TCPPort{layers.TCPPort(c.port), 443}
		seq := [2]uint32{1000, 5000}
		packet := func(from int, flags func(*layers.TCP), payload []byte) {
			c.at = c.at.Add(time.Millisecond)
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: ends[from], DstIP: ends[1-from]}
			tcp := &layers.TCP{SrcPort: ports[from], DstPort: ports[1-from], Seq: seq[from], Ack: seq[1-from], ACK: true, Window: 65535}
			flags(tcp)
			require.NoError(t, tcp.SetNetworkLayerForChecksum(ip))
			b := gopacket.NewSerializeBuffer()
			require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp, gopacket.Payload(payload)))
			require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: c.at, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()))
			seq[from] += uint32(len(payload))
			if tcp.SYN || tcp.FIN {
				seq[from]++
			}
		}
		packet(0, func(p *layers.TCP) { p.SYN, p.ACK = true, false }, nil)
		packet(1, func(p *layers.TCP) { p.SYN = true }, nil)
		for _, s := range c.talk {
			from := 1
			if s.client {
				from = 0
			}
			packet(from, func(*layers.TCP) {}, s.data)
		}
		packet(0, func(p *layers.TCP) { p.FIN = true }, nil)
	}
	return name
}

// TestReplayedHandshake: a recording of genuine TLS is told by coming again.
func TestReplayedHandshake(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_790_000_000, 0)
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		one, other := recordTLS(t, version), recordTLS(t, version)
		flows, err := Judge(t.Context(), captureOf(t,
			connection{one, 50001, start},
			connection{one, 50002, start.Add(5 * time.Second)},   // as a NAT on the host shows one connection twice
			connection{other, 50003, start.Add(3 * time.Minute)}, // genuine
			connection{one, 50004, start.Add(5 * time.Minute)},   // the recording
			connection{one, 50005, start.Add(time.Hour)},
		), config.Default(), nil)
		require.NoError(t, err)
		var got []conformance.Verdict
		for _, f := range flows {
			got = append(got, f.Judgement.Verdict)
			if f.Judgement.Verdict == conformance.TLSMimic {
				require.Equal(t, []string{replayed}, f.Judgement.Violations)
			}
		}
		require.Equal(t, []conformance.Verdict{"tls", "tls", "tls", "tls_mimic", "tls_mimic"}, got, name)
	}
}

// The memory of handshakes is bounded: the oldest go first.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHandshakes()
	for i := range uint64(maxHandshakes + 10) {
		h.remember(i, handshake{})
	}
	require.Len(t, h.first, maxHandshakes)
	require.Len(t, h.order, maxHandshakes)
	require.NotContains(t, h.first, uint64(9))
	require.Contains(t, h.first, uint64(10))
	require.Contains(t, h.first, uint64(maxHandshakes+9))
}

// TestProofsOfServers: proofs are of one server and one certificate, and servers on loopback have none.
func TestProofsOfServers(t *testing.T) {
	t.Parallel()
	h := newHandshakes()
	server, other := netip.MustParseAddrPort("203.0.113.7:443"), netip.MustParseAddrPort("203.0.113.7:8443")
	h.proofs.of(server).Add(1)
	require.True(t, h.proofs.of(server).Has(1))
	require.False(t, h.proofs.of(server).Has(2))
	require.False(t, h.proofs.of(other).Has(1))
	require.False(t, newHandshakes().proofs.of(server).Has(1))
	require.Nil(t, h.proofs.of(netip.MustParseAddrPort("127.0.0.1:443")))
	require.Nil(t, h.proofs.of(netip.MustParseAddrPort("[::1]:443")))
}
