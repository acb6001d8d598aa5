package protocol

import "github.com/cipherlens/cipherlens/internal/conformance"

// perf are the recognizers of measuring programs, which fill what they send with random bytes.
var perf = []entry{
	{"iperf", conformance.TCP, start, []uint16{5201}, asked(span('a', 'z').or(span('2', '7'))), isIperfTCP},
	{"iperf", conformance.UDP, turned, []uint16{5201}, asked(of("69")), isIperfUDP},
}

// isIperfTCP knows a connection of iperf3: the client opens each with the test's cookie, 36 characters of base32 and a zero (iperf_util.c,
// make_cookie). 37 bytes have that form by chance once in 2^116.
func isIperfTCP(v *view) bool {
	const cookie = 36
	b := v.client.data
	if len(b) <= cookie || b[cookie] != 0 {
		return false
	}
	for _, c := range b[:cookie] {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// isIperfUDP knows a stream of iperf3 (iperf_udp.c): the client asks with four bytes, "6789" in either byte order, the server answers
// "9876"; then comes who sends, each datagram with seconds, microseconds below a million and a number that counts up. Bits: 64 for both
// words, 12 and 20 more for each datagram.
func isIperfUDP(v *view) bool {
	ask, _ := v.client.datagram(0)
	answer, ok := v.server.datagram(0)
	if !isWord(ask, "6789") || ok && !isWord(answer, "9876") {
		return false
	}
	from, at := v.client, 1
	if m, more := v.client.datagram(1); !more || len(m) == 0 {
		from = v.server
	}
	var last uint32
	n := 0
	for ; n < 4; n++ {
		m, more := from.datagram(at + n)
		if !more {
			break
		}
		if len(m) < 12 || be32(m[4:]) >= 1_000_000 || n > 0 && be32(m[8:])-last-1 > 64 {
			return false
		}
		last = be32(m[8:])
	}
	return ok || n == 4
}

// isWord says whether b is a word of four characters, or the same in the other byte order.
func isWord(b []byte, w string) bool {
	return len(b) == 4 && (string(b) == w || b[0] == w[3] && b[1] == w[2] && b[2] == w[1] && b[3] == w[0])
}
