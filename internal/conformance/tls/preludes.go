package tls

import (
	"bytes"
	"encoding/binary"
)

// proxyProtocol2 is HAProxy's PROXY protocol version 2 (proxy-protocol.txt section 2.2): 12 bytes of signature, version and command,
// family, length, addresses.
func proxyProtocol2(client, _ []byte) (opening, bool) {
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	if len(client) < 16 || string(client[:12]) != signature || client[12]>>4 != 2 {
		return opening{}, false
	}
	n := 16 + int(binary.BigEndian.Uint16(client[14:]))
	return opening{client: n, name: "haproxy"}, n <= len(client)
}

// socks5Prelude is RFC 1928 with RFC 1929's user name and password.
func socks5Prelude(client, server []byte) (opening, bool) {
	if len(client) < 3 || client[0] != 5 || client[1] == 0 || len(client) < 2+int(client[1]) {
		return opening{}, false
	}
	n := 2 + int(client[1])
	m := 0
	if len(server) > 0 {
		if len(server) < 2 || server[0] != 5 || server[1] != 0 && server[1] != 2 {
			return opening{}, false
		}
		m = 2
	}
	if n+2 < len(client) && client[n] == 1 { // user name and password
		n += 2 + int(client[n+1])
		if n >= len(client) {
			return opening{}, false
		}
		n += 1 + int(client[n])
		if m > 0 {
			m += 2
		}
	}
	req, ok := socks5Address(client, n)
	if !ok || client[n+1] != 1 {
		return opening{}, false
	}
	if m == 0 {
		return opening{client: req, name: "socks"}, true
	}
	rep, ok := socks5Address(server, m)
	if !ok || server[m+1] != 0 {
		return opening{}, false
	}
	return opening{client: req, server: rep, name: "socks"}, true
}

// socks5Address returns the end of a request or reply at off: version, command, zero, address type, address, port.
func socks5Address(b []byte, off int) (end int, ok bool) {
	if len(b) < off+5 || b[off] != 5 || b[off+2] != 0 {
		return 0, false
	}
	switch b[off+3] {
	case 1:
		end = off + 4 + 4 + 2
	case 3:
		end = off + 5 + int(b[off+4]) + 2
	case 4:
		end = off + 4 + 16 + 2
	default:
		return 0, false
	}
	return end, end <= len(b)
}

// socks4Prelude is SOCKS 4 and 4a: 4, command, port, address, user, 0, and for 0.0.0.x a host name, 0.
func socks4Prelude(client, server []byte) (opening, bool) {
	if len(client) < 9 || client[0] != 4 || client[1] != 1 {
		return opening{}, false
	}
	i := bytes.IndexByte(client[8:], 0)
	if i < 0 {
		return opening{}, false
	}
	n := 8 + i + 1
	if client[4] == 0 && client[5] == 0 && client[6] == 0 && client[7] != 0 {
		if i = bytes.IndexByte(client[n:], 0); i < 0 {
			return opening{}, false
		}
		n += i + 1
	}
	if len(server) == 0 {
		return opening{client: n, name: "socks"}, true
	}
	if len(server) < 8 || server[0] != 0 || server[1] != 90 {
		return opening{}, false
	}
	return opening{client: n, server: 8, name: "socks"}, true
}

// postgresPrelude is PostgreSQL's SSLRequest, perhaps after a refused GSSENCRequest (its manual, "Message Formats").
func postgresPrelude(client, server []byte) (opening, bool) {
	const sslRequest, gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x08\x04\xd2\x16\x30"
	n, m := 0, 0
	if bytes.HasPrefix(client, []byte(gssRequest)) {
		n = 8
		if len(server) > 0 {
			if server[0] != 'N' {
				return opening{}, false
			}
			m = 1
		}
	}
	if !bytes.HasPrefix(client[n:], []byte(sslRequest)) {
		return opening{}, false
	}
	if len(server) == 0 {
		return opening{client: n + 8, name: "postgresql"}, true
	}
	if len(server) <= m || server[m] != 'S' {
		return opening{}, false
	}
	return opening{client: n + 8, server: m + 1, name: "postgresql"}, true
}

// mysqlPrelude is MySQL's greeting (protocol version 10) and the client's SSLRequest packet with CLIENT_SSL set.
func mysqlPrelude(client, server []byte) (opening, bool) {
	const clientSSL = 0x0800
	n, ok := mysqlPacket(client, 1)
	if !ok || n != 4+32 && n != 4+4+1 || binary.LittleEndian.Uint16(client[4:])&clientSSL == 0 {
		return opening{}, false
	}
	if len(server) == 0 {
		return opening{client: n, name: "mysql"}, true
	}
	m, ok := mysqlPacket(server, 0)
	if !ok || server[4] != 10 {
		return opening{}, false
	}
	return opening{client: n, server: m, name: "mysql"}, true
}

// mysqlPacket returns the end of the packet at b: a 3-byte length, a sequence number.
func mysqlPacket(b []byte, seq byte) (end int, ok bool) {
	if len(b) < 7 || b[3] != seq {
		return 0, false
	}
	end = 4 + int(b[0]) + int(b[1])<<8 + int(b[2])<<16
	return end, end <= len(b)
}

// rdpPrelude is the X.224 connection request and confirm in TPKT that agree on TLS (MS-RDPBCGR 2.2.1.1, 2.2.1.2).
func rdpPrelude(client, server []byte) (opening, bool) {
	n, ok := tpkt(client, 0xe0)
	if !ok {
		return opening{}, false
	}
	if len(server) == 0 {
		return opening{client: n, name: "rdp"}, true
	}
	m, ok := tpkt(server, 0xd0)
	if !ok {
		return opening{}, false
	}
	return opening{client: n, server: m, name: "rdp"}, true
}

func tpkt(b []byte, code byte) (end int, ok bool) {
	if len(b) < 11 || b[0] != 3 || b[1] != 0 || b[5] != code {
		return 0, false
	}
	end = int(binary.BigEndian.Uint16(b[2:]))
	return end, end >= 11 && end <= len(b)
}

// ldapPrelude is LDAP up to the extended operation StartTLS (RFC 4511 section 4.14).
func ldapPrelude(client, server []byte) (opening, bool) {
	const oid = "1.3.6.1.4.1.1466.20037"
	n := berSequences(client)
	if n == 0 || !bytes.Contains(client[max(0, n-64):n], []byte(oid)) {
		return opening{}, false
	}
	m := berSequences(server)
	if len(server) > 0 && m == 0 {
		return opening{}, false
	}
	return opening{client: n, server: m, name: "ldap"}, true
}

// berSequences is the length of the BER SEQUENCEs at the start of b.
func berSequences(b []byte) int {
	off := 0
	for len(b)-off >= 2 && b[off] == 0x30 {
		n, octets := int(b[off+1]), 0
		if n >= 0x80 {
			octets = n & 0x7f
			if octets == 0 || octets > 4 || len(b) < off+2+octets {
				break
			}
			n = 0
			for _, c := range b[off+2 : off+2+octets] {
				n = n<<8 | int(c)
			}
		}
		if n > len(b)-off-2-octets {
			break
		}
		off += 2 + octets + n
	}
	return off
}

// amqpPrelude is AMQP 1.0's TLS protocol header, sent by both sides (AMQP 1.0 section 5.2.1).
func amqpPrelude(client, server []byte) (opening, bool) {
	const header = "AMQP\x02\x01\x00\x00"
	if !bytes.HasPrefix(client, []byte(header)) || len(server) > 0 && !bytes.HasPrefix(server, []byte(header)) {
		return opening{}, false
	}
	return opening{client: 8, server: min(8, len(server)), name: "amqp"}, true
}
