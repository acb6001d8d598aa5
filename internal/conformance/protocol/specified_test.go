package protocol

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// specified are conversations that specifications show, or that follow them byte by byte.
var specified = []example{
	{"http", "RFC 9112, 2.1 and RFC 9110, 6", overTCP, []said{"GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n\r\n"},
		[]said{"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nContent-Type: text/plain\r\n\r\nHello, World!\n"}, 0},
	{"http", "RFC 9112, 7.1: chunks", overTCP, []said{"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		[]said{"HTTP/1.1 204 No Content\r\n\r\n"}, 0},
	{"http", "RFC 6455, 1.3 and 5.7: WebSocket", overTCP, []said{"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", "x 818537fa213d7f9f4d5158"},
		[]said{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
			"x 810548656c6c6f"}, 0},
	{"http2", "RFC 9113, 3.4: preface and empty SETTINGS", overTCP, []said{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "x 000000040000000000"}, []said{"x 000000040000000000"}, 0},
	{"rtsp", "RFC 2326, 10.1", overTCP, []said{"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nRequire: implicit-play\r\n\r\n"},
		[]said{"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE\r\n\r\n"}, 0},
	{"ssdp", "UPnP Device Architecture 1.1, 1.3.2", overUDP, []said{"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"}, nil, 1900},
	{"memcached", "memcached's binary protocol, 4.1: get", overTCP, []said{"x 80000005 00000000 00000005 00000000 00000000 00000000 48656c6c6f"},
		[]said{"x 81000000 04000000 00000009 00000000 00000000 00000001 deadbeef 576f726c64"}, 0},
	{"memcached", "memcached's protocol.txt", overTCP, []said{"set key 0 0 5\r\nhello\r\n"}, []said{"STORED\r\n"}, 0},
	{"dns", "RFC 1035, 4.1: question and answer with a pointer", overUDP, []said{"x 1a2b 0100 0001 0000 0000 0000 03777777076578616d706c6503636f6d00 0001 0001"},
		[]said{"x 1a2b 8180 0001 0001 0000 0000 03777777076578616d706c6503636f6d00 0001 0001 c00c 0001 0001 0000003c 0004 5db8d822"}, 53},
	{"dns", "RFC 1035, 4.2.2: over TCP", overTCP, []said{"x 0021 1a2b 0100 0001 0000 0000 0000 03777777076578616d706c6503636f6d00 0001 0001"}, nil, 53},
	{"mdns", "RFC 6762, 5.4: question for a unicast answer", overUDP, []said{"x 0000 0000 0001 0000 0000 0000 055f68747470045f746370056c6f63616c00 000c 8001"}, nil, 5353},
	{"netbios", "RFC 1002, 4.2.12: name query for *", overUDP, []said{said("x 8d01 0010 0001 0000 0000 0000 20434b" + strings.Repeat("41", 30) + "00 0021 0001")}, nil, 137},
	{"ntp", "RFC 5905, 7.3: the server repeats the client's transmit time", overUDP, []said{said("x 230006ec" + strings.Repeat("00", 36) + "e8d1a1b2c3d4e5f6")},
		[]said{said("x 240206e9 00000a3d 00000b1f c0a80101 e8d1a0b200000000 e8d1a1b2c3d4e5f6 e8d1a1b2c4000000 e8d1a1b2c4010000")}, 123},
	{"snmp", "RFC 1157, 4.1.2: GetRequest of sysDescr", overUDP, []said{"x 3029 020100 0406 7075626c6963 a01c 0204 05ae5602 020100 020100 300e 300c 0608 2b06010201010100 0500"}, nil, 161},
	{"syslog", "RFC 5424, 6.5", overUDP, []said{"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts."}, nil, 514},
	{"radius", "RFC 2865, 7.1", overUDP, []said{"x 01000038 0f403f9473978057bd83d5cb98f4227a 01066e656d6f 02120dbe708d93d413ce3196e43f782a0aee 0406c0a80110 050600000003"},
		[]said{"x 02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103"}, 0},
	{"service_location_protocol", "RFC 2608, 8.1: request for a service", overUDP, []said{
		"x 02 01 000030 2000 000000 0001 0002 656e 0000 000f 736572766963653a7072696e746572 0007 64656661756c74 0000 0000"}, nil, 427},
	{"tftp", "RFC 1350, 5: a request to read", overUDP, []said{"x 0001 626f6f742e696d67 00 6f63746574 00"}, nil, 69},
	{"tftp", "RFC 1350, 2: blocks and acknowledgements", overUDP, []said{said("x 0003 0001" + strings.Repeat("a5", 512)), said("x 0003 0002" + strings.Repeat("b6", 512))},
		[]said{"x 0004 0001", "x 0004 0002"}, 0},
	{"smtp", "RFC 5321, D.1", overTCP, []said{"EHLO bar.com\r\n", "MAIL FROM:<Smith@bar.com>\r\n"},
		[]said{"220 foo.com Simple Mail Transfer Service Ready\r\n", "250-foo.com greets bar.com\r\n250-8BITMIME\r\n250 HELP\r\n", "250 OK\r\n"}, 0},
	{"ftp", "RFC 959, 7", overTCP, []said{"USER Dumb\r\n"}, []said{"220 Service ready\r\n", "331 User name ok, need password.\r\n"}, 0},
	{"pop3", "RFC 1939, 10", overTCP, []said{"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n"},
		[]said{"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n", "+OK mrose's maildrop has 2 messages (320 octets)\r\n"}, 0},
	{"imap", "RFC 3501, 8", overTCP, []said{"a001 login mrc secret\r\n"}, []said{"* OK IMAP4rev1 Service Ready\r\n", "a001 OK LOGIN completed\r\n"}, 0},
	{"nntp", "RFC 3977, 5.1.3", overTCP, []said{"CAPABILITIES\r\n"}, []said{"200 NNTP Service Ready, posting permitted\r\n", "101 Capability list:\r\n"}, 0},
	{"irc", "RFC 2812, 3.1 and 5.1", overTCP, []said{"NICK Wiz\r\nUSER guest 0 * :Ronnie Reagan\r\n"}, []said{":irc.example.net 001 Wiz :Welcome to the Internet Relay Network Wiz!guest@example.org\r\n"}, 0},
	{"xmpp", "RFC 6120, 4.2", overTCP, []said{"<?xml version='1.0'?><stream:stream from='juliet@im.example.com' to='im.example.com' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"},
		nil, 0},
	{"telnet", "RFC 854 and RFC 1091", overTCP, []said{"x fffb18 fffb1f"}, []said{"x fffd18 fffd1f fffa1801fff0"}, 0},
	{"whois", "RFC 3912, 3", overTCP, []said{"Smith\r\n"}, []said{"Name: Smith, John\r\nContact: Info about Smith\r\n"}, 43},
	{"git", "gitprotocol-pack: git transport", overTCP, []said{"x 30303333 6769742d75706c6f61642d7061636b202f70726f6a6563742e676974 00 686f73743d6d797365727665722e636f6d 00"}, nil, 0},
	{"stomp", "STOMP 1.2: connecting", overTCP, []said{"CONNECT\naccept-version:1.2\nhost:stomp.github.org\n\n\x00"}, []said{"CONNECTED\nversion:1.2\n\n\x00"}, 0},
	{"redis", "Redis serialization protocol specification", overTCP, []said{"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n"}, []said{":48293\r\n"}, 0},
	{"iperf", "iperf3's iperf_util.c, make_cookie: the data connection", overTCP, []said{said("x 6b7a3376 326d7163 6f716e77 62356a6c 6934716b 79673379 76676e34 78657132 67346265 00" + strings.Repeat("c3", 64))}, nil, 0},
	{"iperf", "iperf3's iperf_udp.c: connect, then seconds, microseconds and number", overUDP, []said{"x 39383736", said("x 00001724 00083b46 00000001" + strings.Repeat("d7", 40)),
		said("x 00001724 00086a5e 00000002" + strings.Repeat("e5", 40))}, []said{"x 36373839"}, 0},
	{"openvpn", "OpenVPN's doc/tls-crypt-v2.txt and ssl_pkt.h: control packets of tls-crypt, the resets lost", overUDP, []said{
		said("x 20 8280f0c88b95b9f4 00000002 6b043b30" + strings.Repeat("b5", 60)), said("x 28 8280f0c88b95b9f4 00000003 6b043b30" + strings.Repeat("a3", 49)),
		said("x 20 8280f0c88b95b9f4 00000004 6b043b31" + strings.Repeat("f2", 90))}, []said{said("x 20 0ffe75024f3bd22c 00000002 6b043b30" + strings.Repeat("f4", 80))}, 0},
	{"postgresql", "PostgreSQL manual, 55.7: start and authentication", overTCP, []said{"x 00000018 00030000 75736572 00 706f737467726573 00 0000"}, []said{"x 52 0000000c 00000005 a1b2c3d4"}, 0},
	{"mssql-tds", "MS-TDS, 4.1 and 4.2", overTCP, []said{"x 1201002f00000100 00001a0006 0100200001 0200210001 0300220004 0400260001 ff 090000000000 01 00 b80d0000 01"},
		[]said{"x 0401002b00000100 00001a0006 0100200001 0200210001 0300220000 0400220001 ff 080001550000 02 00 00"}, 0},
	{"mqtt", "MQTT 3.1.1, 3.1 and 3.2", overTCP, []said{"x 100d 0004 4d515454 04 02 003c 0001 61"}, []said{"x 20020000"}, 0},
	{"amqp", "AMQP 0-9-1, 4.2.2: header", overTCP, []said{"x 414d515000000901"}, nil, 0},
	{"mongodb", "MongoDB wire protocol: OP_QUERY of isMaster", overTCP, []said{"x 3a000000 01000000 00000000 d4070000 00000000 61646d696e2e24636d6400 00000000 ffffffff 13000000 10 69734d617374657200 01000000 00"}, nil, 0},
	{"kafka", "Kafka protocol guide: ApiVersions", overTCP, []said{"x 00000015 0012 0000 00000001 000b 72646b61666b615f746573"}, []said{"x 0000000a 00000001 0000 00000000"}, 0},
	{"cassandra", "CQL binary protocol v4, 4.1.5 and 4.1.1", overTCP, []said{"x 04 00 0000 05 00000000", "x 04 00 0001 01 00000016 0001 000b 43514c5f56455253494f4e 0005 332e302e30"}, nil, 0},
	{"ldap", "RFC 4511, 4.2: anonymous bind", overTCP, []said{"x 300c 020101 6007 020103 0400 8000"}, []said{"x 300c 020101 6107 0a0100 0400 0400"}, 0},
	{"kerberos", "RFC 4120, 5.9.1: an error", overUDP, []said{"x 6a1b 3019 a103020105 a20302010a a40d 300b a007 0305 0050800000 a100"},
		[]said{"x 7e24 3022 a003020105 a10302011e a411180f32303233303130313030303030305a a603020119"}, 88},
	{"rpc", "RFC 5531, 9: a null call of the port mapper", overUDP, []said{"x 12345678 00000000 00000002 000186a0 00000002 00000000 00000000 00000000 00000000 00000000"},
		[]said{"x 12345678 00000001 00000000 00000000 00000000 00000000"}, 0},
	{"nfs", "RFC 1813, 3.3.0 in a record of RFC 5531, 11", overTCP, []said{"x 80000028 12345678 00000000 00000002 000186a3 00000003 00000000 00000000 00000000 00000000 00000000"},
		[]said{"x 80000018 12345678 00000001 00000000 00000000 00000000 00000000"}, 0},
	{"rdp", "MS-RDPBCGR, 4.1.1 and 4.1.2", overTCP, []said{"x 0300002c 27e00000000000 436f6f6b69653a206d737473686173683d656c746f6e730d0a 0100080000000000"},
		[]said{"x 03000013 0ed00000123400 0200080000000000"}, 0},
	{"bgp", "RFC 4271, 4.2 and 4.4: OPEN and KEEPALIVE", overTCP, []said{said("x " + strings.Repeat("ff", 16) + "001d 01 04 fde8 00b4 c0000201 00"), said("x " + strings.Repeat("ff", 16) + "0013 04")},
		nil, 0},
	{"vnc", "RFC 6143, 7.1.1", overTCP, []said{"RFB 003.008\n"}, []said{"RFB 003.008\n"}, 0},
	{"x11", "X Window System Protocol, 8", overTCP, []said{"x 6c00 0b00 0000 0000 0000 0000"}, []said{"x 0100 0b00 0000 0100"}, 0},
	{"dcerpc", "C706, 12.6.4.3: bind of the endpoint mapper", overTCP, []said{"x 05000b03 10000000 4800 0000 01000000 b810b810 00000000 01000000 0000 0100" +
		"0883afe11f5dc91191a408002b14a0fa 03000000 045d888aeb1cc9119fe808002b104860 02000000"}, nil, 0},
}

func TestSpecified(t *testing.T) {
	t.Parallel()
	for _, e := range specified {
		t.Run(e.name+" "+e.source, func(t *testing.T) {
			t.Parallel()
			j, ok := Recognize(e.talk(t, nil), conformance.Options{})
			require.True(t, ok)
			require.Equal(t, conformance.KnownProtocol, j.Verdict)
			require.Equal(t, e.name, j.AppProtocol)
		})
	}
}

// TestSpecifiedThenRandom replaces all but the first bytes of every message by uniform ones, as whoever borrows a header does.
func TestSpecifiedThenRandom(t *testing.T) {
	t.Parallel()
	g := newRandomly(5)
	for _, e := range specified {
		if e.name == "tftp" {
			continue // four bytes are all of a block's header, and files may be random
		}
		for range 500 {
			c := e.talk(t, func(m []byte) {
				if len(m) > 16 {
					copy(m[8:], g.bytes(len(m)-8))
				}
			})
			if len(c.Client.Data) <= 24 {
				break
			}
			j, ok := Recognize(c, conformance.Options{})
			require.False(t, ok, "%s as %s: %x %x", e.source, j.AppProtocol, c.Client.Data, c.Server.Data)
		}
	}
}

// FuzzRecognize feeds any two directions, cut into messages anywhere: nothing may fail, and asking twice gives the same.
func FuzzRecognize(f *testing.F) {
	for i, e := range append(specified, examples...) {
		c := e.talk(f, nil)
		f.Add(c.Transport == conformance.UDP, c.ServerPort, uint8(i), c.Client.Data, c.Server.Data)
	}
	f.Fuzz(func(t *testing.T, datagrams bool, port uint16, cut uint8, client, server []byte) {
		c := conformance.Conversation{Transport: conformance.TCP, ClientPort: 40001, ServerPort: port, StartSeen: cut&1 == 0, Ended: cut&2 == 0}
		if datagrams {
			c.Transport = conformance.UDP
		}
		c.Client, c.Server = messagesOf(client, int(cut)), messagesOf(server, int(cut))
		j, ok := Recognize(&c, conformance.Options{})
		again, same := Recognize(&c, conformance.Options{})
		require.Equal(t, ok, same)
		require.Equal(t, j, again)
		Name(&c)
	})
}

// messagesOf cuts data into messages of so many bytes; all in one for fewer than 8.
func messagesOf(data []byte, size int) conformance.Half {
	if size < 8 {
		size = max(len(data), 1)
	}
	h := conformance.Half{Data: data, Total: uint64(len(data))}
	for at := 0; at < len(data); at += size {
		h.Segments = append(h.Segments, conformance.Segment{Offset: at, Length: min(size, len(data)-at), Order: len(h.Segments)})
	}
	return h
}
