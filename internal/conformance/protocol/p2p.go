package protocol

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var p2p = []entry{
	{"bittorrent", conformance.TCP, midstream | turned, []uint16{6881}, asked(of("\x13")), isBitTorrent},
	{"bittorrent", conformance.UDP, midstream, []uint16{6881, 51413}, either(of("d\x01\x11\x21\x31\x41")), isDHT},
	{"bittorrent", conformance.UDP, midstream, []uint16{6881, 51413}, either(of("\x01\x11\x21\x31\x41")), isUTP},
	{"bittorrent", conformance.UDP, midstream, []uint16{6771, 6969, 1337, 80}, asked(of("B\x00")), isBitTorrentHelper},
	{"gnutella", conformance.TCP, turned, []uint16{6346}, spoken(of("G")), isGnutella},
	{"gnutella", conformance.UDP, midstream, []uint16{6346}, anything, datagrams(1, isGnutellaDatagram)},
	{"edonkey", conformance.TCP, turned, []uint16{4662}, starts{of("\xe3"), of("\xe3\xc5\xd4").orNothing()}, isEDonkey},
	{"syncthing", conformance.UDP, midstream, []uint16{21027}, either(of("\x2e")), datagrams(1, isSyncthing)},
	{"libp2p", conformance.TCP, start, []uint16{4001}, either(of("\x13")), isMultistream},
	{"bitcoin", conformance.TCP, midstream, []uint16{8333}, anything, isBitcoin},
	{"ethereum", conformance.UDP, midstream, []uint16{30303}, anything, datagrams(1, isEthereumDiscovery)},
	{"stratum", conformance.TCP, start, []uint16{3333, 4444, 14444}, asked(of("{")), isStratum},
	{"monero", conformance.TCP, start, []uint16{18080}, either(of("\x01")), streams(1, levinSize)},
	{"spotify", conformance.UDP, midstream, []uint16{57621}, either(of("S")), datagrams(1, isSpotify)},
}

const bitTorrentMagic = "\x13BitTorrent protocol"

// isBitTorrent wants the handshake (BEP 3), and the same torrent in the answer; then messages whose lengths fit, unless more was cut.
// The handshake is 160 bits, and few bits of
// extensions are set.
func isBitTorrent(v *view) bool {
	a, b := v.client.data, v.server.data
	if !bytes.HasPrefix(a, []byte(bitTorrentMagic)) || len(a) < 48 || bits.OnesCount64(binary.BigEndian.Uint64(a[20:])) > 12 {
		return false
	}
	if len(b) >= 48 {
		return bytes.HasPrefix(b, []byte(bitTorrentMagic)) && string(a[28:48]) == string(b[28:48]) && isPeerWire(a) && isPeerWire(b)
	}
	return isPeerWire(a)
}

// isPeerWire walks the messages behind the handshake: a length, and one of the kinds of BEP 3, 5, 6, 10 and 52.
func isPeerWire(b []byte) bool {
	_, ok := framed(b[min(68, len(b)):], func(b []byte) int {
		switch {
		case len(b) < 5:
			return 0
		case be32(b) == 0:
			return 4
		case be32(b) > 1<<21 || b[4] > 23:
			return -1
		}
		return 4 + int(be32(b))
	})
	return ok
}

// isDHT wants every datagram to be a dictionary of BEP 5: bencoded to its end, with a kind y of q, r or e. 2^-60. Some clients
// exchange uTP beside it.
func isDHT(v *view) bool {
	s := v.count(isDHTMessage)
	return s.known > 0 && (s.other == 0 || v.all(0, func(m []byte) bool { return isDHTMessage(m) || isUTPHeader(m) }))
}

func isDHTMessage(m []byte) bool {
	if len(m) < 16 || m[0] != 'd' || m[len(m)-1] != 'e' || !bytes.Contains(m, []byte("1:y1:")) {
		return false
	}
	end, ok := bencoded(m)
	return ok && end == len(m)
}

// maxBencoded is how many values and how deep a message may have.
const (
	maxBencoded      = 1024
	maxBencodedDepth = 8
)

// bencoded is where the value that b starts with ends.
func bencoded(b []byte) (end int, ok bool) {
	depth := 0
	for range maxBencoded {
		if end >= len(b) {
			return end, false
		}
		switch c := b[end]; {
		case c == 'd' || c == 'l':
			depth++
			end++
			if depth > maxBencodedDepth {
				return end, false
			}
			continue
		case c == 'e':
			depth--
			end++
		case c == 'i':
			n := bytes.IndexByte(b[end:min(len(b), end+24)], 'e')
			if n < 2 {
				return end, false
			}
			end += n + 1
		default:
			n := bytes.IndexByte(b[end:min(len(b), end+6)], ':')
			size := decimal(b[end : end+max(n, 0)])
			if n < 1 || size < 0 || size > len(b)-end-n-1 {
				return end, false
			}
			end += n + 1 + size
		}
		if depth <= 0 {
			return end, depth == 0
		}
	}
	return end, false
}

// decimal is the number that digits spell, or -1.
func decimal(digits []byte) int {
	if !isDigits(digits) || len(digits) > 6 {
		return -1
	}
	n := 0
	for _, c := range digits {
		n = 10*n + int(c-'0')
	}
	return n
}

// isUTP wants uTP (BEP 29): a SYN with nothing before it and an answer of its connection, or packets of one connection that
// acknowledge what the other side sent. Versions and kinds are 9 bits a packet, the connection 16, the acknowledgement 16.
func isUTP(v *view) bool {
	if !v.all(0, isUTPHeader) {
		return false
	}
	c, s := v.client.first(), v.server.first()
	switch {
	case len(c) >= 20 && len(s) >= 20:
		if c[0]>>4 == 4 { // the connection of a SYN is that of the answers
			return be16(c[2:]) == be16(s[2:]) && be16(s[18:]) == be16(c[16:])
		}
		step := (be16(c[2:]) - be16(s[2:]) + 1) & 0xffff
		ahead := (be16(s[18:]) - be16(c[16:]) + 64) & 0xffff
		return (step == 0 || step == 2) && ahead < 128 && v.client.datagrams()+v.server.datagrams() >= 4
	case v.client.datagrams() >= 4 && v.all(4, utpSeries(c)):
		return true
	case len(c) >= 20: // SYN: no delay was measured, and nothing is acknowledged
		return c[0] == 0x41 && be32(c[8:]) == 0 && be16(c[18:]) == 0 && len(c) <= 32
	}
	return false
}

// utpSeries knows packets of the connection and near the sequence number of the first: 24 bits each.
func utpSeries(first []byte) func(m []byte) bool {
	if len(first) < 20 {
		return func([]byte) bool { return false }
	}
	connection, sequence := be16(first[2:]), be16(first[16:])
	return func(m []byte) bool {
		return len(m) >= 20 && be16(m[2:]) == connection && (be16(m[16:])-sequence)&0xffff < 256
	}
}

func isUTPHeader(m []byte) bool {
	if len(m) < 20 || m[0]&15 != 1 || m[0]>>4 > 4 || m[1] > 3 {
		return false
	}
	next, at := m[1], 20
	for range 4 {
		if next == 0 {
			return true
		}
		if at+2 > len(m) || m[at] > 3 || at+2+int(m[at+1]) > len(m) {
			return false
		}
		next, at = m[at], at+2+int(m[at+1])
	}
	return false
}

// isBitTorrentHelper knows peers looked for in the local network (BEP 14) and trackers over UDP (BEP 15), whose protocol number has 64 bits.
func isBitTorrentHelper(v *view) bool {
	c, s := v.client.first(), v.server.first()
	if bytes.HasPrefix(c, []byte("BT-SEARCH * HTTP/1.")) {
		return true
	}
	if len(c) != 16 || string(c[:12]) != "\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00" {
		return false
	}
	return len(s) == 0 || len(s) >= 16 && be32(s) == 0 && string(s[4:8]) == string(c[12:16])
}

// isGnutella knows the greeting of Gnutella 0.6, which is text; what follows may be compressed.
func isGnutella(v *view) bool {
	c, s := v.client.data, v.server.data
	return bytes.HasPrefix(c, []byte("GNUTELLA CONNECT/0.")) &&
		(len(s) == 0 || bytes.HasPrefix(s, []byte("GNUTELLA/0.")) || bytes.HasPrefix(s, []byte("GNUTELLA OK")))
}

// isGnutellaDatagram knows a message of Gnutella: 16 bytes of identity, a known kind, hops that add up and the length, 2^-45; or the
// numbered parts that gtk-gnutella cuts messages into ("GTA", "GND"): a part that is within their count, 2^-32.
func isGnutellaDatagram(m []byte) bool {
	if len(m) >= 8 && (string(m[:3]) == "GND" || string(m[:3]) == "GTA") {
		return m[3]&0xe0 == 0 && m[6] >= 1 && m[6] <= 32 && (m[7] == 0 || m[6] <= m[7] && m[7] <= 32)
	}
	if len(m) < 23 {
		return false
	}
	switch m[16] {
	case 0, 1, 2, 0x30, 0x31, 0x32, 0x40, 0x44, 0x80, 0x81:
		// The length's upper half is said to be free for flags.
		return m[17] <= 15 && m[18] <= 15 && le16(m[19:])&0x7fff == len(m)-23 && m[21] == 0 && m[22]&0x7f == 0
	}
	return false
}

// isEDonkey wants two messages of eDonkey or eMule: marker, little endian length and a known command for that marker, 2^-20 each
// and more; the first is a hello of a known layout: the length of a hash is 16, or a login.
func isEDonkey(v *view) bool {
	c := v.client.data
	if len(c) < 24 || c[0] != 0xe3 || c[5] != 1 || le32(c[1:]) < 24 || le32(c[1:]) > 1<<12 {
		return false
	}
	n, ok := framed(c, edonkeySize)
	m, answered := framed(v.server.data, edonkeySize)
	return ok && answered && n > 0 && (n+m >= 2 || c[6] == 16)
}

func edonkeySize(b []byte) int {
	switch {
	case len(b) < 6:
		return 0
	case b[0] != 0xe3 && b[0] != 0xc5 && b[0] != 0xd4 || le32(b[1:]) == 0 || le32(b[1:]) > 1<<20:
		return -1
	}
	return 5 + int(le32(b[1:]))
}

// isSyncthing knows the announcement of local discovery (docs.syncthing.net, localdisco v4): magic and a device's key of 32 bytes.
func isSyncthing(m []byte) bool {
	return len(m) >= 38 && be32(m) == 0x2ea7d90b && m[4] == 0x0a && m[5] == 32
}

// isMultistream knows libp2p's choice of protocols: length and name, then the length and name of what is wanted.
func isMultistream(v *view) bool {
	const name = "\x13/multistream/1.0.0\n"
	c, s := v.client.data, v.server.data
	return bytes.HasPrefix(c, []byte(name)) && (len(s) == 0 || bytes.HasPrefix(s, []byte(name))) || len(c) == 0 && bytes.HasPrefix(s, []byte(name))
}

// isBitcoin wants messages of Bitcoin's kind: the same magic in both directions, and commands in letters padded with zeros to twelve
// bytes, 2^-60.
func isBitcoin(v *view) bool {
	a, b := v.client.data, v.server.data
	known := 0
	for _, d := range [2][]byte{a, b} {
		if len(d) < 20 {
			continue
		}
		if !isBitcoinCommand(d[4:16]) || le32(d[16:]) > 32<<20 {
			return false
		}
		known++
	}
	return known > 0 && (known < 2 || string(a[:4]) == string(b[:4]))
}

func isBitcoinCommand(b []byte) bool {
	n := bytes.IndexByte(b, 0)
	if n < 3 || !allZero(b[n:]) {
		return false
	}
	for _, c := range b[:n] {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// isEthereumDiscovery knows a datagram of discovery version 4 (devp2p, discv4): hash, signature, kind, and RLP that fills it. 7 bits
// of recovery number, 5 of kind, 8 of the list's start; then every item's length has to fit, 16 and more.
func isEthereumDiscovery(m []byte) bool {
	if len(m) < 32+65+1+2 || m[96] > 1 || m[97] < 1 || m[97] > 6 || m[98] < 0xc0 {
		return false
	}
	list := m[98:]
	content, end := rlpItem(list)
	if end != len(list) || content == end {
		return false
	}
	items := 0
	for at := content; at < end; items++ {
		_, size := rlpItem(list[at:])
		if size == 0 || at+size > end {
			return false
		}
		at += size
	}
	switch m[97] {
	case 1: // ping: version, from, to, expiration
		return items >= 4 && list[content] <= 5
	case 2:
		return items >= 3
	case 3: // findnode: a public key
		return items == 2 && list[content] == 0xb8 && list[content+1] == 64
	}
	return items >= 1 && items <= 3
}

// rlpItem is where the content of the item that b starts with begins and ends; 0 where it does not fit.
func rlpItem(b []byte) (content, end int) {
	if len(b) == 0 {
		return 0, 0
	}
	c := int(b[0])
	switch {
	case c < 0x80:
		content, end = 0, 1
	case c < 0xb8:
		content, end = 1, 1+c-0x80
	case c == 0xb8 || c == 0xf8:
		if len(b) > 1 {
			content, end = 2, 2+int(b[1])
		}
	case c == 0xb9 || c == 0xf9:
		if len(b) > 2 {
			content, end = 3, 3+be16(b[1:])
		}
	case c >= 0xc0 && c < 0xf8:
		content, end = 1, 1+c-0xc0
	}
	if end > len(b) {
		return 0, 0
	}
	return content, end
}

// isStratum knows JSON-RPC lines of miners: a method of mining, or a login with its answer.
func isStratum(v *view) bool {
	b := v.client.data[:min(len(v.client.data), 1024)]
	if len(b) < 20 || b[0] != '{' || !bytes.Contains(b, []byte(`"method"`)) || !isText(b) {
		return false
	}
	return bytes.Contains(b, []byte(`"mining.`)) || bytes.Contains(b, []byte(`"eth_submitLogin"`)) ||
		bytes.Contains(b, []byte(`"login"`)) && bytes.Contains(b, []byte(`"agent"`))
}

// levinSize wants Monero's Levin: a signature of eight bytes, length, and the protocol's version 1, 2^-90.
func levinSize(b []byte) int {
	const header = 33
	switch {
	case len(b) < header:
		return 0
	case string(b[:8]) != "\x01\x21\x01\x01\x01\x01\x01\x01" || !allZero(b[12:16]) || le32(b[29:]) != 1:
		return -1
	}
	return header + int(le32(b[8:]))
}

// isSpotify knows the announcement of Spotify's local discovery: magic of eight bytes, then counted fields up to the end.
func isSpotify(m []byte) bool { return len(m) >= 40 && string(m[:8]) == "SpotUdp0" }
