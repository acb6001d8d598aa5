package protocol

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// a said is one message of an example: hexadecimal after "x ", else text.
type said string

func (s said) bytes(t testing.TB) []byte {
	if text, ok := strings.CutPrefix(string(s), "x "); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		require.NoError(t, err)
		return b
	}
	return []byte(s)
}

// talk makes a conversation of messages; every one is a segment of its own, the directions in turn.
func talk(transport uint8, client, server [][]byte) *conformance.Conversation {
	c := &conformance.Conversation{Transport: transport, ClientPort: 40001, ServerPort: 40002, StartSeen: true, Ended: true}
	for i := range max(len(client), len(server)) {
		for k, side := range [2][][]byte{client, server} {
			if i >= len(side) {
				continue
			}
			h := [2]*conformance.Half{&c.Client, &c.Server}[k]
			h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(side[i]), Order: 2*i + k})
			h.Data = append(h.Data, side[i]...)
			h.Total = uint64(len(h.Data))
		}
	}
	return c
}

// example is a conversation that a specification or its makers show.
type example struct {
	name           string // of the protocol
	source         string
	transport      uint8
	client, server []said
	port           uint16
}

const (
	overTCP = conformance.TCP
	overUDP = conformance.UDP
)

var examples = []example{
	{"stun", "RFC 5769, 2.1 and 2.2", overUDP, []said{
		"x 000100582112a442b7e7a701bc34d686fa87dfae 802200105354554e207465737420636c69656e74 002400046e0001ff 80290008932ff9b151263b36" +
			" 000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf"}, []said{
		"x 0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220 002000080001a147e112a643 000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7" +
			" 80280004c07d4c96"}, 0},
	{"rtcp", "RFC 3550, 6.4.2: an empty report and a canonical name", overUDP, []said{"x 80c90001 11223344 81ca0004 11223344 0106 757365724068 0000 0000"}, nil, 0},
	{"wireguard", "wireguard.com/protocol: a handshake and a keepalive", overUDP, []said{
		said("x 01000000 0a0b0c0d" + strings.Repeat("5a", 140)), said("x 04000000 11121314 0000000000000000" + strings.Repeat("c3", 16))},
		[]said{said("x 02000000 11121314 0a0b0c0d" + strings.Repeat("a7", 80))}, 0},
	{"openvpn", "OpenVPN wire protocol (IETF draft), 4.1: resets without authentication", overUDP, []said{"x 38 1122334455667788 00 00000000"},
		[]said{"x 40 99aabbccddeeff00 01 00000000 1122334455667788 00000000"}, 0},
	{"openvpn", "the same with tls-auth of SHA-1", overUDP, []said{
		said("x 38 1122334455667788" + strings.Repeat("e1", 20) + "00000001 65a1b2c3 00 00000000")}, nil, 0},
	{"openvpn", "the same in TCP", overTCP, []said{"x 000e 38 1122334455667788 00 00000000"}, []said{"x 001a 40 99aabbccddeeff00 01 00000000 1122334455667788 00000000"}, 0},
	{"ipsec", "RFC 7296, 3.1: IKE_SA_INIT with a Nonce", overUDP, []said{"x 1122334455667788 0000000000000000 28 20 22 08 00000000 00000030 0000 0014 0102030405060708090a0b0c0d0e0f10"}, nil, 0},
	{"ipsec", "RFC 3948, 2.1: ESP with rising sequence numbers", overUDP, []said{
		said("x c0ffee01 00000001" + strings.Repeat("9d", 64)), said("x c0ffee01 00000002" + strings.Repeat("4e", 64)), "x ff"}, nil, 4500},
	{"l2tp", "RFC 2661, 6.1: SCCRQ", overUDP, []said{"x c802 0014 0000 0000 0000 0000 8008 0000 0000 0001"}, nil, 0},
	{"pptp", "RFC 2637, 2.1: Start-Control-Connection-Request", overTCP, []said{
		said("x 009c 0001 1a2b3c4d 0001 0000 0100 0000 00000003 00000003 0000 0001" + strings.Repeat("00", 128))}, nil, 0},
	{"gtp", "3GPP TS 29.274, 7.1.1: Echo Request with Recovery", overUDP, []said{"x 40 01 0009 000001 00 03 0001 00 0a"}, nil, 0},
	{"teredo", "RFC 4380, 5.2.1: Router Solicitation behind authentication", overUDP, []said{
		"x 0001 0000 1122334455667788 00 60000000 0008 3a ff fe80000000000000 8000f227bec18bf9 ff02000000000000 0000000000000002 8500 7d38 00000000"}, nil, 0},
	{"rtp", "RFC 3550, 5.1: four packets of one source", overUDP, []said{
		said("x 8000 0001 000000a0 11223344" + strings.Repeat("d5", 160)), said("x 8000 0002 00000140 11223344" + strings.Repeat("55", 160)),
		said("x 8000 0003 000001e0 11223344" + strings.Repeat("d5", 160)), said("x 8000 0004 00000280 11223344" + strings.Repeat("55", 160))}, nil, 0},
	{"dnscrypt", "dnscrypt.info/protocol, 9 and 10: the answer repeats the nonce", overUDP, []said{
		said("x 0102030405060708" + strings.Repeat("b1", 32) + "c1c2c3c4c5c6c7c8c9cacbcc" + strings.Repeat("7d", 272))}, []said{
		said("x 7236666e76576a38 c1c2c3c4c5c6c7c8c9cacbcc d1d2d3d4d5d6d7d8d9dadbdc" + strings.Repeat("3b", 272))}, 0},
	{"tailscale", "tailscale.com/disco: magic, key, nonce, box", overUDP, []said{said("x 5453f09f92ac" + strings.Repeat("4f", 32) + strings.Repeat("29", 24) + strings.Repeat("e8", 30))}, nil, 0},
	{"sip", "RFC 3261, 24.1", overUDP, []said{"REGISTER sip:registrar.biloxi.com SIP/2.0\r\nVia: SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bKnashds7\r\nMax-Forwards: 70\r\n\r\n"},
		[]said{"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bKnashds7\r\n\r\n"}, 0},
	{"mgcp", "RFC 3435, 3.5.2", overUDP, []said{"AUEP 1202 aaln/1@rgw-2567.whatever.net MGCP 1.0\n"}, []said{"200 1202 OK\n"}, 0},
	{"diameter", "RFC 6733, 5.5.1: Device-Watchdog-Request", overTCP, []said{"x 01 00001c 80 000118 00000000 00000001 00000002 00000108 4000000861"}, nil, 0},
	{"bittorrent", "BEP 5", overUDP, []said{"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"}, []said{"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"}, 0},
	{"bittorrent", "BEP 3", overTCP, []said{said("\x13BitTorrent protocol" + strings.Repeat("\x00", 8) + "aaaaaaaaaaaaaaaaaaaa-XX0001-123456789012\x00\x00\x00\x01\x02")},
		[]said{said("\x13BitTorrent protocol" + strings.Repeat("\x00", 8) + "aaaaaaaaaaaaaaaaaaaa-YY0001-123456789012\x00\x00\x00\x00")}, 0},
	{"bittorrent", "BEP 15: connect", overUDP, []said{"x 0000041727101980 00000000 11223344"}, []said{"x 00000000 11223344 0102030405060708"}, 0},
	{"bittorrent", "BEP 29: SYN and STATE", overUDP, []said{"x 41 00 1234 00010203 00000000 00100000 0001 0000"}, []said{"x 21 00 1234 00020304 00000203 00100000 5a5a 0001"}, 0},
	{"bitcoin", "en.bitcoin.it/wiki/Protocol_documentation, verack", overTCP, []said{"x f9beb4d9 76657261636b000000000000 00000000 5df6e0e2"}, nil, 0},
	{"gnutella", "Gnutella 0.4 specification: ping", overUDP, []said{"x 11111111222222223333333344444444 00 01 00 00000000"}, nil, 0},
	{"libp2p", "github.com/multiformats/multistream-select", overTCP, []said{"\x13/multistream/1.0.0\n\x07/noise\n"}, []said{"\x13/multistream/1.0.0\n\x07/noise\n"}, 0},
	{"dnp3", "IEEE 1815, link layer: reset link states", overTCP, []said{"x 0564 05 c0 0100 0004 e921"}, nil, 0},
	{"modbus", "MODBUS Messaging Implementation Guide, 3.1.3: read register 5", overTCP, []said{"x 1501 0000 0006 ff 03 0004 0001"}, []said{"x 1501 0000 0005 ff 03 02 0005"}, 0},
	{"iec60870", "IEC 60870-5-104, 5.1: STARTDT", overTCP, []said{"x 680407000000"}, []said{"x 68040b000000"}, 0},
	{"bacnet", "ASHRAE 135, annex F.10.9 in BVLC: Who-Is", overUDP, []said{"x 810b000c 0120ffff00ff 1008"}, nil, 0},
	{"knx", "KNX 3/8/2: SEARCH_REQUEST", overUDP, []said{"x 06100201000e 0801c0a800640e57"}, nil, 0},
	{"coap", "RFC 7252, appendix A, figure 16", overUDP, []said{"x 40017d34bb74656d7065726174757265"}, []said{"x 60457d34ff32322e332043"}, 0},
	{"opcua", "OPC 10000-6, 7.1.2.3: Hello", overTCP, []said{"x 48454c46 20000000 00000000 00000100 00000100 00000000 00000000 00000000"}, nil, 0},
	{"fins", "W421 FINS/TCP: node address", overTCP, []said{"x 46494e53 0000000c 00000000 00000000 00000000"}, nil, 0},
	{"hl7", "HL7 MLLP release 1", overTCP, []said{"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x1c\r"}, nil, 0},
	{"fix", "FIX 4.2 volume 2: heartbeat", overTCP, []said{"8=FIX.4.2\x019=49\x0135=0\x0134=2\x0149=BRKR\x0156=INVMGR\x0152=19980604-07:58:28\x0110=235\x01"}, nil, 0},
	{"smpp", "SMPP 3.4, 4.11.1: enquire_link", overTCP, []said{"x 00000010 00000015 00000000 00000001"}, []said{"x 00000010 80000015 00000000 00000001"}, 0},
	{"source_engine", "developer.valvesoftware.com/wiki/Server_queries", overUDP, []said{"x ffffffff54536f7572636520456e67696e6520517565727900"}, nil, 0},
	{"steam", "SteamKit: ChannelEncryptRequest", overTCP, []said{}, []said{"x 1c000000 56543031 17050000 ffffffffffffffff ffffffffffffffff 01000000 01000000"}, 0},
	{"mosh", "mosh 1.4, crypto.cc: numbers of both directions", overUDP, []said{
		said("x 0000000000000000" + strings.Repeat("6c", 60)), said("x 0000000000000001" + strings.Repeat("0e", 70))}, []said{
		said("x 8000000000000000" + strings.Repeat("f2", 50))}, 0},
	{"raknet", "RakNet: open connection request and reply", overUDP, []said{said("x 05 00ffff00fefefefefdfdfdfd12345678 0b" + strings.Repeat("00", 40))},
		[]said{"x 06 00ffff00fefefefefdfdfdfd12345678 1122334455667788 00 05d4"}, 0},
	{"natpmp", "RFC 6886, 3.3", overUDP, []said{"x 0002 0000 1388 1388 00000e10"}, []said{"x 0082 0000 00000064 1388 1388 00000e10"}, 0},
	{"afp", "Apple Filing Protocol Reference, DSI: tickle", overTCP, []said{"x 00 05 0001 00000000 00000000 00000000"}, []said{"x 01 05 0001 00000000 00000000 00000000"}, 0},
	{"xdmcp", "XDMCP, section 3: Query", overUDP, []said{"x 0001 0002 0001 00"}, nil, 0},
	{"ipmi", "ASF 2.0, 3.2.4.2: presence ping", overUDP, []said{"x 0600ff06 000011be 80000000"}, nil, 0},
	{"h323", "ITU-T Q.931 in TPKT: call proceeding", overTCP, []said{"x 0300 0010 08 02 8001 02 7e 0004 05218006 00"}, nil, 0},
}

func (e example) talk(t testing.TB, change func(m []byte)) *conformance.Conversation {
	var halves [2][][]byte
	for i, side := range [2][]said{e.client, e.server} {
		for _, s := range side {
			m := s.bytes(t)
			if change != nil {
				change(m)
			}
			halves[i] = append(halves[i], m)
		}
	}
	c := talk(e.transport, halves[0], halves[1])
	if e.port != 0 {
		c.ServerPort = e.port
	}
	return c
}

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, e := range examples {
		t.Run(e.name+" "+e.source, func(t *testing.T) {
			t.Parallel()
			j, ok := Recognize(e.talk(t, nil), conformance.Options{})
			require.True(t, ok)
			require.Equal(t, conformance.KnownProtocol, j.Verdict)
			require.Equal(t, e.name, j.AppProtocol)
		})
	}
}

// TestDisguise keeps the first four bytes of each message only, as a tunnel does that wears another protocol's header.
func TestDisguise(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 11))
	for _, e := range examples {
		if e.source == "wireguard.com/protocol: a handshake and a keepalive" {
			continue // a handshake of the right size is all that WireGuard shows to others
		}
		if e.name == "coap" {
			continue // four bytes are all of its header, and the rest may be a payload
		}
		for range 2000 {
			c := e.talk(t, func(m []byte) {
				for i := min(4, len(m)); i < len(m); i++ {
					m[i] = byte(random.Uint32())
				}
			})
			if len(c.Client.Data) <= 12 {
				break // too little to hide anything in
			}
			j, ok := Recognize(c, conformance.Options{})
			require.False(t, ok, "%s as %s: %x %x", e.name, j.AppProtocol, c.Client.Data, c.Server.Data)
		}
	}
}

// TestTruncated cuts every example anywhere: nothing may fail.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for _, e := range examples {
		whole := e.talk(t, nil)
		for n := range len(whole.Client.Data) {
			c := talk(e.transport, [][]byte{whole.Client.Data[:n]}, [][]byte{whole.Server.Data[:min(n, len(whole.Server.Data))]})
			_, _ = Recognize(c, conformance.Options{})
			c.StartSeen, c.Ended = false, false
			_, _ = Recognize(c, conformance.Options{})
		}
	}
}

// FuzzExamples changes and cuts what the examples say: nothing may fail, and whatever is recognized has a name.
func FuzzExamples(f *testing.F) {
	for _, e := range examples {
		c := e.talk(f, nil)
		first := 0
		if len(c.Client.Segments) > 0 {
			first = c.Client.Segments[0].Length
		}
		f.Add(e.transport == overTCP, c.Client.Data, c.Server.Data, uint16(first))
	}
	f.Fuzz(func(t *testing.T, tcp bool, client, server []byte, cut uint16) {
		transport := uint8(conformance.UDP)
		if tcp {
			transport = conformance.TCP
		}
		split := func(b []byte) [][]byte {
			n := min(int(cut), len(b))
			return [][]byte{b[:n], b[n:]}
		}
		for _, port := range [...]uint16{40002, natTraversalPort} {
			c := talk(transport, split(client), split(server))
			c.ServerPort = port
			j, ok := Recognize(c, conformance.Options{})
			require.Equal(t, ok, j.Verdict == conformance.KnownProtocol && j.AppProtocol != "")
		}
	})
}
