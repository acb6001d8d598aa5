package protocol

import (
	"bytes"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// randomly makes conversations of uniform bytes, as ciphertext has them.
type randomly struct{ r *rand.Rand }

func newRandomly(seed uint64) randomly {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return randomly{rand.New(rand.NewChaCha8(key))}
}

func (g randomly) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	return b
}

// half is a direction of messages that each start with prefix.
func (g randomly) half(messages int, prefix []byte, order int) conformance.Half {
	var h conformance.Half
	for i := range messages {
		m := append(bytes.Clone(prefix), g.bytes(16+g.r.IntN(96))...)
		h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(m), Order: order + 2*i})
		h.Data = append(h.Data, m...)
	}
	h.Total = uint64(len(h.Data))
	return h
}

var somePorts = []uint16{22, 53, 80, 88, 123, 137, 161, 389, 443, 500, 1194, 3389, 3478, 4500, 5060, 5353, 6881, 9092, 51820}

func (g randomly) conversation(transport uint8, client, server []byte) *conformance.Conversation {
	return &conformance.Conversation{
		Transport: transport, ClientPort: uint16(g.r.Uint32()), ServerPort: somePorts[g.r.IntN(len(somePorts))],
		StartSeen: g.r.IntN(4) > 0, Ended: g.r.IntN(2) == 0,
		Client: g.half(1+g.r.IntN(3), client, 0), Server: g.half(g.r.IntN(3), server, 1),
	}
}

// TestRandomIsNoProtocol judges more than a million messages of uniform bytes: none may be taken for a protocol.
func TestRandomIsNoProtocol(t *testing.T) {
	t.Parallel()
	n := 300_000
	if testing.Short() {
		n = 20_000
	}
	g := newRandomly(1)
	for i := range n {
		c := g.conversation([...]uint8{conformance.TCP, conformance.UDP}[i%2], nil, nil)
		if j, ok := Recognize(c, conformance.Options{}); ok {
			t.Fatalf("%s: client %x server %x", j.AppProtocol, c.Client.Data, c.Server.Data)
		}
	}
}

// TestDisguisedIsNoProtocol puts fixed headers that real protocols start with before uniform bytes, in one direction and in both.
func TestDisguisedIsNoProtocol(t *testing.T) {
	t.Parallel()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	headers := map[string][]byte{
		"http request":          []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
		"http answer":           []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
		"http2 preface":         []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"dns question's header": unhex("123401000001000000000000"),
		"dns question":          unhex("12340100000100000000000003777777076578616d706c6503636f6d0000010001"),
		"ssh with a packet":     []byte("SSH-2.0-OpenSSH_9.0\r\n\x00\x00"),
		"rtp":                   unhex("8060"),
		"utp":                   unhex("0100"),
		"stun":                  unhex("000100002112a442b7e7a701bc34d686fa87dfaec0ffee00"),
		"srtp of v2ray":         unhex("80600001"),
		"wechat video":          unhex("a10800001234001011182330cc10"),
		"wireguard initiation":  unhex("01000000"),
		"kerberos":              unhex("6a81e83081e5a103020105a20302010a"),
		"smb":                   unhex("00000054fe534d424000"),
		"ldap bind":             unhex("300c0201016007020103"),
		"rdp":                   unhex("0300001306e00000000000"),
		"mysql":                 unhex("4a0000000a382e302e333600"),
		"mqtt connect":          unhex("101100044d51545404"),
		"postgresql":            unhex("0000000804d2162f"),
		"amqp":                  unhex("414d515000000901"),
		"zabbix":                unhex("5a42584401"),
		"tds prelogin":          unhex("1201002f00000100"),
		"ntp client":            unhex("23000620"),
		"snmp":                  unhex("302602010104067075626c6963a019"),
		"dhcp":                  unhex("010106001234567800000000"),
		"kafka":                 unhex("0000002800030002000000a40007"),
		"cassandra":             unhex("040000000500000000"),
		"memcached":             unhex("80000000"),
		"redis":                 []byte("*1\r\n$4\r\nPING\r\n"),
		"telnet":                unhex("fffd18"),
		"mongodb":               unhex("3a0000004c04000000000000d4070000"),
		"bittorrent":            []byte("\x13BitTorrent protocol"),
		"socks 5":               unhex("050100"),
		"rpc":                   unhex("80000028"),
		"nbss":                  unhex("00000040"),
	}
	g, wrong := newRandomly(2), map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		h := headers[name]
		for i := range 2000 {
			back := h
			if i%2 == 0 {
				back = nil
			}
			for _, transport := range []uint8{conformance.TCP, conformance.UDP} {
				c := g.conversation(transport, h, back)
				j, ok := Recognize(c, conformance.Options{})
				if key := name + " is called " + j.AppProtocol; ok && !wrong[key] {
					wrong[key] = true
					t.Errorf("%s: client %x server %x", key, c.Client.Data, c.Server.Data)
				}
			}
		}
	}
}

// TestRecognizeIsCheap holds what the flow table relies on.
func TestRecognizeIsCheap(t *testing.T) {
	g := newRandomly(3)
	for _, transport := range []uint8{conformance.TCP, conformance.UDP} {
		c := g.conversation(transport, g.bytes(256), g.bytes(256))
		require.Zero(t, testing.AllocsPerRun(100, func() { Recognize(c, conformance.Options{}) }))
	}
}

func BenchmarkRecognizeRandom(b *testing.B) {
	g := newRandomly(4)
	for _, transport := range []uint8{conformance.TCP, conformance.UDP} {
		c := g.conversation(transport, g.bytes(256), g.bytes(256))
		b.Run(map[uint8]string{conformance.TCP: "tcp", conformance.UDP: "udp"}[transport], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Recognize(c, conformance.Options{})
			}
		})
	}
}
