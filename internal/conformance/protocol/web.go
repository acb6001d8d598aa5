package protocol

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var web = []entry{
	{"http", conformance.TCP, midstream, []uint16{80, 8080, 3128}, starts{method.orNothing(), of("H").orNothing()}, http1},
	{"grpc", conformance.TCP, start, nil, starts{of("P"), of("\x00").orNothing()}, grpc},
	{"http2", conformance.TCP, start, nil, starts{of("P"), of("\x00").orNothing()}, http2},
	{"rtsp", conformance.TCP, midstream, []uint16{554, 8554}, either(method), rtsp},
	{"ssdp", conformance.UDP, midstream | turned, []uint16{1900}, spoken(method), ssdp},
	{"wsd", conformance.UDP, midstream | turned, []uint16{3702}, spoken(of("< \r\n\xef\xbb\xbf")), wsd},
	{"json-rpc", conformance.TCP, start, nil, spoken(of("{")), jsonRPC},
	{"elasticsearch", conformance.TCP, midstream, []uint16{9300}, either(of("E")), elasticsearch},
	{"memcached", conformance.TCP, start, []uint16{11211}, starts{of("gsarpcditvfm"), of("VSENDOCTR0123456789")}, memcachedText},
	{"memcached", conformance.TCP, start, []uint16{11211}, starts{of("\x80"), of("\x81")}, memcachedBinary},
	{"memcached", conformance.UDP, start, []uint16{11211}, starts{some, some}, memcachedUDP},
	{"fastcgi", conformance.TCP, start, []uint16{9000}, asked(of("\x01")), fastCGI},
	{"ajp", conformance.TCP, start, []uint16{8009}, starts{of("\x12"), of("A").orNothing()}, ajp},
	{"haproxy", conformance.TCP, midstream, nil, asked(of("\rP")), haproxy},
	{"socks", conformance.TCP, start, []uint16{1080}, starts{of("\x05"), of("\x05")}, socks5},
	{"socks", conformance.TCP, start, []uint16{1080}, starts{of("\x04"), of("\x00")}, socks4},
	{"rtmp", conformance.TCP, start, []uint16{1935}, spoken(of("\x03")), rtmp},
}

// http2Frames says whether data is frames of RFC 9113, the first one SETTINGS, after the client's preface. The first frame: 2^-40.
func http2Frames(s side, client bool) bool {
	data := s.data
	if client {
		const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		if len(data) < len(preface) {
			return s.open && has([]byte(preface), string(data))
		}
		if !has(data, preface) {
			return false
		}
		data = data[len(preface):]
	}
	r := read(data)
	for n := 0; r.left() > 0; n++ {
		length, kind, flags, stream := int(r.u24()), r.u8(), r.u8(), r.u32()
		if r.short {
			return s.open
		}
		if n == 0 && (kind != 4 || stream != 0 || length%6 != 0 || length > 6*64 || flags > 1) || !http2Frame(length, kind, stream) {
			return false
		}
		r.skip(length)
		if r.short {
			return s.open
		}
	}
	return true
}

// http2Frame checks one frame's header against RFC 9113, section 6.
func http2Frame(length int, kind uint8, stream uint32) bool {
	if stream>>31 != 0 {
		return false
	}
	switch kind {
	case 0, 1, 5, 9:
		return stream != 0
	case 2:
		return length == 5
	case 3:
		return length == 4 && stream != 0
	case 4:
		return length%6 == 0 && stream == 0
	case 6:
		return length == 8 && stream == 0
	case 7:
		return length >= 8 && stream == 0
	case 8:
		return length == 4
	}
	return kind == 0x0a || kind == 0x0c || kind == 0x10 // ALTSVC, ORIGIN, PRIORITY_UPDATE
}

// http2 is HTTP/2 with prior knowledge, without TLS. The preface alone: 2^-192.
func http2(v *view) bool {
	return len(v.client.data) >= 16 && http2Frames(v.client, true) && http2Frames(v.server, false)
}

// grpc is HTTP/2 whose DATA frames start with gRPC's length-prefixed messages, in the first frame of the client's with any data.
func grpc(v *view) bool {
	return http2(v) && grpcMessage(v.client.data[min(len(v.client.data), 24):])
}

func grpcMessage(data []byte) bool {
	for r := read(data); r.left() > 0; {
		length, kind, flags := int(r.u24()), r.u8(), r.u8()
		r.skip(4)
		b := r.take(length)
		if kind == 0 && flags&8 == 0 && length >= 5 && !r.short {
			m := read(b)
			return m.u8() <= 1 && int(m.u32()) == m.left()
		}
	}
	return false
}

// rtsp is RTSP/1.0 (RFC 2326), whose messages may have interleaved media between them ('$', channel, length). The first line: 2^-80.
func rtsp(v *view) bool {
	return (len(v.client.data) > 0 || len(v.server.data) > 0) && rtspSide(v.client) && rtspSide(v.server)
}

func rtspSide(s side) bool {
	if l, _, whole := line(s.data); len(s.data) > 0 && (!whole || !rtspLine(l)) {
		return false
	}
	for n, rest := 0, s.data; len(rest) > 0; n++ {
		if n > 0 && rest[0] == '$' && len(rest) >= 4 {
			size := 4 + int(rest[2])<<8 + int(rest[3])
			if rest[1] > 31 {
				return false
			}
			rest = rest[min(size, len(rest)):]
			continue
		}
		if n > 0 && (rest[0] == '\r' || rest[0] == '\n') {
			rest = rest[1:]
			continue
		}
		if n > 0 && partial(rest, s.open) {
			return true
		}
		h, after, ok := readHead(rest)
		if !ok || !rtspLine(h.first) {
			return false
		}
		if !h.ended {
			return true
		}
		var cut bool
		if rest, cut, ok = h.body(after, false); !ok || cut {
			return ok
		}
	}
	return true
}

// rtspLine says whether l is a request or a status.
func rtspLine(l []byte) bool {
	_, request := requestLine(l, "RTSP/1.")
	return request || statusLine(l, "RTSP/1.") != 0
}

// ssdp is HTTP over UDP with a fixed set of requests (UPnP Device Architecture 1.1). The first line: 2^-100.
func ssdp(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(8, ssdpMessage) && v.server.every(8, ssdpMessage)
}

func ssdpMessage(b []byte) bool {
	h, body, ok := readHead(b)
	method, request := requestLine(h.first, "HTTP/1.")
	return ok && ascii(bytes.TrimRight(body, "\x00")) && (request && (has(method, "M-SEARCH") || has(method, "NOTIFY") || has(method, "SEARCH")) || statusLine(h.first, "HTTP/1.") > 0)
}

// wsd is WS-Discovery: a SOAP envelope in each datagram (OASIS WS-Discovery 1.1). Text of that kind: 2^-100.
func wsd(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(8, soapEnvelope) && v.server.every(8, soapEnvelope)
}

func soapEnvelope(b []byte) bool {
	head := b[:min(len(b), 1024)]
	return has(bytes.TrimLeft(head, " \r\n\xef\xbb\xbf"), "<") && bytes.Contains(head, []byte("Envelope")) && printable(b)
}

// jsonRPC is JSON-RPC without HTTP: text that begins with an object naming a method or the version. 2^-100.
func jsonRPC(v *view) bool {
	b := v.client.data
	head := b[:min(len(b), 512)]
	return has(b, "{") && ascii(b) && bytes.Contains(head, []byte(`"method"`)) &&
		(bytes.Contains(head, []byte(`"id"`)) || bytes.Contains(head, []byte(`"jsonrpc"`))) && (len(v.server.data) == 0 || has(v.server.data, "{"))
}

// elasticsearch is the transport protocol between its nodes: "ES", a length, a request id, a status of six bits and a version.
// Each direction's first message: 2^-37; two of any direction are asked for.
func elasticsearch(v *view) bool {
	n, ok := elasticMessages(v.client)
	m, fits := elasticMessages(v.server)
	return ok && fits && n+m > 0
}

func elasticMessages(s side) (n int, ok bool) {
	for r := read(s.data); r.left() > 0; n++ {
		if !has(r.b, "ES") && r.left() >= 2 {
			return n, false
		}
		r.skip(2)
		length := int32(r.u32())
		b := r.b
		r.skip(int(length))
		if length == -1 { // a ping has no more
			r = read(b)
			continue
		}
		m := read(b)
		id, status, version := m.u64(), m.u8(), m.u32()
		if m.short {
			return n, s.open
		}
		if length < 13 || id>>48 != 0 || status > 0x1f || version < 1000000 || version > 99999999 {
			return n, false
		}
		if r.short {
			return n + 1, s.open
		}
	}
	return n, true
}

// memcachedText is the text protocol's commands and answers (memcached's doc/protocol.txt). A command line and its answer: 2^-60.
func memcachedText(v *view) bool {
	l, _, ok := line(v.client.data)
	if !ok || !ascii(l) {
		return false
	}
	w, rest := word(l)
	switch string(w) {
	case "get", "gets", "set", "add", "replace", "append", "prepend", "cas", "delete", "incr", "decr", "touch", "gat":
		if len(rest) == 0 {
			return false
		}
	case "stats", "version", "flush_all", "verbosity", "mg", "ms", "mn":
	default:
		return false
	}
	return memcachedAnswer(v.server.data)
}

func memcachedAnswer(b []byte) bool {
	for _, w := range [...]string{
		"VALUE ", "STAT ", "END\r", "STORED", "NOT_", "EXISTS", "DELETED", "OK\r", "VERSION ", "ERROR", "CLIENT_", "SERVER_", "TOUCHED", "RESET",
	} {
		if has(b, w) {
			return true
		}
	}
	l, _, ok := line(b)
	return ok && number(l) >= 0
}

// memcachedBinary is the binary protocol: 24 byte headers whose lengths add up. Request and answer with the same command
// and opaque: 2^-90.
func memcachedBinary(v *view) bool {
	a, ok := memcachedHeader(v.client.data, 0x80)
	b, fits := memcachedHeader(v.server.data, 0x81)
	return ok && fits && a == b
}

// memcachedHeader gives what an answer repeats of its question.
func memcachedHeader(b []byte, magic uint8) (echo uint64, ok bool) {
	r := read(b)
	first, op, key, extras := r.u8(), r.u8(), int(r.u16()), int(r.u8())
	dataType := r.u8()
	r.skip(2)
	total, opaque := int(r.u32()), r.u32()
	r.skip(8)
	return uint64(op)<<32 | uint64(opaque), first == magic && op <= 0x48 && dataType == 0 && extras <= 32 && key <= 250 && total >= key+extras && !r.short
}

// memcachedUDP has a frame header of eight bytes before the text protocol: request id, sequence, datagrams, zero. 2^-80.
func memcachedUDP(v *view) bool {
	ask, answer := v.client.first(), v.server.first()
	if len(ask) < 12 || ask[6] != 0 || ask[7] != 0 || ask[2] != 0 || ask[3] != 0 {
		return false
	}
	l, _, ok := line(ask[8:])
	return ok && len(l) > 0 && ascii(l) && letter(l[0]) && len(answer) > 8 && answer[0] == ask[0] && answer[1] == ask[1] && memcachedAnswer(answer[8:])
}

// fastCGI is records of FastCGI 1.0: the first begins a request with a role, all others have its id. 2^-80.
func fastCGI(v *view) bool {
	r := read(v.client.data)
	version, kind, id, length, padding := r.u8(), r.u8(), r.u16(), r.u16(), r.u8()
	r.skip(1)
	role, flags := r.u16(), r.u8()
	reserved := r.u32()<<8 | uint32(r.u8())
	r.skip(int(padding))
	if r.short || version != 1 || kind != 1 || length != 8 || role < 1 || role > 3 || flags > 1 || reserved != 0 {
		return false
	}
	params, next := r.u8(), r.u8()
	return params == 1 && next == 4 && r.u16() == id && !r.short
}

// ajp is Apache JServ Protocol 1.3: packets with a magic and a length that add up, the first a request or a ping. The first
// request: 2^-50.
func ajp(v *view) bool {
	r := read(v.client.data)
	magic, length, kind := r.u16(), int(r.u16()), r.u8()
	if magic != 0x1234 || r.short {
		return false
	}
	s := read(v.server.data)
	if len(v.server.data) > 0 && s.u16() != 0x4142 {
		return false
	}
	if kind == 10 { // CPing, answered by CPong
		return length == 1 && s.u16() == 1 && s.u8() == 9
	}
	method, size := r.u8(), int(r.u16())
	return kind == 2 && method >= 1 && method <= 27 && length < 8192 && has(r.b, "HTTP/1.") && size == 8
}

// haproxy is a PROXY header before another protocol, which must be known or not have begun. The header: 2^-96.
func haproxy(v *view) bool {
	b := v.client.data
	n := 0
	switch {
	case has(b, "\r\n\r\n\x00\r\nQUIT\n") && len(b) >= 16:
		n = 16 + int(b[14])<<8 + int(b[15])
		if b[12]>>4 != 2 || b[12]&0xf > 1 || b[13]>>4 > 3 || b[13]&0xf > 2 {
			return false
		}
	case has(b, "PROXY TCP4 "), has(b, "PROXY TCP6 "), has(b, "PROXY UNKNOWN"):
		l, _, ok := line(b)
		if n = len(l) + 2; !ok || !ascii(l) || len(l) > 107 {
			return false
		}
	default:
		return false
	}
	if n >= len(b) {
		return len(v.server.data) == 0
	}
	return has(b[n:], "\x16\x03") && !v.c.StartSeen || v.tunnels(n, 0)
}
