package protocol

import (
	"bytes"
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var db = []entry{
	{"postgresql", conformance.TCP, start, []uint16{5432}, starts{of("\x00"), of("RENvSG").orNothing()}, postgres},
	{"mysql", conformance.TCP, start, []uint16{3306}, starts{server: some}, mysql},
	{"mssql-tds", conformance.TCP, midstream, []uint16{1433}, spoken(of("\x01\x02\x03\x04\x06\x07\x0e\x10\x11\x12")), tds},
	{"oracle", conformance.TCP, start, []uint16{1521}, asked(some), tns},
	{"redis", conformance.TCP, start, []uint16{6379}, starts{of("*"), plain.orNothing()}, redis},
	{"mongodb", conformance.TCP, start, []uint16{27017}, asked(some), mongo},
	{"kafka", conformance.TCP, midstream, []uint16{9092}, spoken(span(0, 6)), kafka},
	{"cassandra", conformance.TCP, start, []uint16{9042, 7000}, asked(of("\x03\x04\x05\xca")), cassandra},
	{"amqp", conformance.TCP, midstream | turned, []uint16{5672}, either(of("A\x01\x02\x03\x08")), amqp},
	{"mqtt", conformance.TCP, midstream, []uint16{1883}, spoken(those(mqttKind)), mqtt},
	{"zabbix", conformance.TCP, midstream, []uint16{10050, 10051}, either(of("Z")), zabbix},
}

// postgres is PostgreSQL's protocol 3 (its manual, "Message Formats"): a request for encryption, answered by one letter, or parameters
// by name; then typed messages whose lengths add up. The request: 2^-64; parameters: 2^-60.
func postgres(v *view) bool {
	client, server := v.client, v.server
	for range 2 {
		r := read(client.data)
		length, code := r.u32(), r.u32()
		if length != 8 || code != 80877103 && code != 80877104 {
			break
		}
		if len(server.data) == 0 {
			return r.left() == 0
		}
		answer := server.data[0]
		client.data = r.b
		if answer == 'E' || len(server.data) == 1 && r.left() == 0 {
			return r.left() == 0 && (answer == 'E' || answer == 'N' || answer == 'S' || answer == 'G')
		}
		if answer != 'N' {
			return false
		}
		server.data = server.data[1:]
	}
	return postgresStarts(client) && postgresAnswers(server)
}

// postgresStarts checks the start message and the typed ones after it.
func postgresStarts(s side) bool {
	r := read(s.data)
	length, code := int(r.u32()), r.u32()
	if code == 80877102 { // cancel: process and key
		return length == 16 && r.left() == 8
	}
	b := r.take(length - 8)
	if r.short || code>>16 != 3 || code&0xffff > 9 || len(b) < 7 || b[len(b)-1] != 0 || !bytes.Contains(b, []byte("user\x00")) {
		return false
	}
	s.data = r.b
	_, ok := s.chain(64, 5, postgresMessage)
	return ok
}

func postgresAnswers(s side) bool {
	if len(s.data) > 0 && s.data[0] != 'R' && s.data[0] != 'E' && s.data[0] != 'N' && s.data[0] != 'v' {
		return false
	}
	_, ok := s.chain(64, 5, postgresMessage)
	return ok
}

func postgresMessage(b []byte) int {
	length := int(binary.BigEndian.Uint32(b[1:]))
	if !bytes.ContainsRune([]byte("RKSZTDCEINntsVvABGHWcdfQPXFpH123"), rune(b[0])) || length < 4 || length > 1<<30 {
		return -1
	}
	return 1 + length
}

// mysql is MySQL's and MariaDB's handshake: the server's greeting of protocol 10 that fills a packet numbered 0, or an error, and the
// client's answer in a packet numbered 1. The greeting: 2^-50.
func mysql(v *view) bool {
	r := read(v.server.data)
	length, number := int(r.le24()), r.u8()
	b := read(r.take(length))
	if r.short || number != 0 || length < 8 {
		return false
	}
	switch b.u8() {
	case 0xff:
		code := b.le16()
		return code >= 1000 && code < 5000 && ascii(b.b) && len(v.client.data) == 0 && r.left() == 0
	case 10:
	default:
		return false
	}
	version, rest, ok := bytes.Cut(b.b, []byte{0})
	if !ok || len(version) < 3 || len(version) > 80 || !ascii(version) || !digit(version[0]) || len(rest) < 13 || rest[12] != 0 {
		return false
	}
	if len(v.client.data) == 0 {
		return true
	}
	c := read(v.client.data)
	size, first := int(c.le24()), c.u8()
	capabilities, most := c.le32(), c.le32()
	if first != 1 || size < 32 || size > 1<<16 || capabilities&0x200 == 0 || most > 1<<30 || c.short {
		return false
	}
	c.skip(1)
	if filler := c.take(19); !zero(filler) {
		return false
	}
	return capabilities&0x800 == 0 && (size <= len(v.client.data)-4 || v.client.open)
}

// tds is Tabular Data Stream (MS-TDS): packets with type, status, length and a last byte of zero, which follow one another exactly, and a
// first one with content that is known: options, or text in UTF-16. Header 2^-20, and the content 2^-32.
func tds(v *view) bool {
	n, ok := v.client.chain(16, 8, tdsPacket)
	m, fits := v.server.chain(16, 8, tdsPacket)
	if !ok || !fits || n == 0 || n+m < 2 && v.c.StartSeen {
		return false
	}
	b := v.client.data
	switch b[0] {
	case 0x12:
		return tdsOptions(b[8:]) && (m == 0 || v.server.data[0] == 4)
	case 1, 3:
		return utf16ish(b[8:])
	}
	return n+m >= 3
}

func tdsPacket(b []byte) int {
	length := int(binary.BigEndian.Uint16(b[2:]))
	switch b[0] {
	case 1, 2, 3, 4, 6, 7, 14, 16, 17, 18:
		if b[1] <= 0x1f && b[7] == 0 {
			return length
		}
	}
	return -1
}

// tdsOptions checks the list of options before login: number, offset, length, ended by 255.
func tdsOptions(b []byte) bool {
	r, end := read(b), 0
	for n := uint8(0); ; n++ {
		kind := r.u8()
		if kind == 0xff {
			return n > 0 && end <= len(b)
		}
		offset, length := int(r.u16()), int(r.u16())
		if r.short || kind > 9 || n == 0 && kind != 0 || end > 0 && offset < end {
			return false
		}
		end = offset + length
	}
}

// utf16ish says whether b has at least 8 pairs that are a printable ASCII character in UTF-16LE in a row: 2^-72.
func utf16ish(b []byte) bool {
	run := 0
	for i := 0; i+1 < min(len(b), 512); {
		if b[i+1] == 0 && b[i] >= ' ' && b[i] < 0x7f {
			if run++; run >= 8 {
				return true
			}
			i += 2
			continue
		}
		i += 1 + min(run, 1)
		run = 0
	}
	return false
}

// tns is Oracle's Transparent Network Substrate: a connect packet whose length and offset of its text add up, answered by accept, refuse,
// redirect or resend. 2^-70.
func tns(v *view) bool {
	b := v.client.data
	if len(b) < 34 || len(b) < int(b[0])<<8|int(b[1]) || b[4] != 1 || b[2] != 0 || b[3] != 0 || b[5] > 0x20 || b[6] != 0 || b[7] != 0 {
		return false
	}
	r := read(b)
	length := int(r.u16())
	r = read(b[24:])
	size, offset := int(r.u16()), int(r.u16())
	if offset+size != length && !(offset == length && size > 0) || offset < 34 {
		return false
	}
	s := v.server.data
	return len(s) == 0 || len(s) >= 8 && s[2] == 0 && s[3] == 0 && (s[4] == 2 || s[4] == 4 || s[4] == 5 || s[4] == 11) && s[6] == 0 && s[7] == 0
}

// redis is RESP: the client's arrays of strings behind their lengths, the server's typed answers. One command: 2^-60.
func redis(v *view) bool {
	n, ok := respCommands(v.client)
	if !ok || n == 0 {
		return false
	}
	if len(v.server.data) == 0 {
		return len(v.client.data) >= 14
	}
	return respAnswers(v.server)
}

// respAnswers reads the server's first values, of any type, one after the other; those within others are values as well.
func respAnswers(s side) bool {
	rest := s.data
	for n := 0; len(rest) > 0 && n < 64; n++ {
		l, after, whole := line(rest)
		if !whole {
			return s.open && len(rest) < maxLine && printable(rest)
		}
		if len(l) == 0 || !printable(l) {
			return false
		}
		size := number(l[1:])
		switch l[0] {
		case '+', '-', ':', '_', '#', ',', '(':
		case '*', '%', '~', '>', '|':
			if size < 0 && string(l[1:]) != "-1" {
				return false
			}
		case '$', '=', '!':
			if string(l[1:]) == "-1" {
				break
			}
			if size < 0 {
				return false
			}
			if size+2 > len(after) {
				return s.open
			}
			if after[size] != '\r' {
				return false
			}
			after = after[size+2:]
		default:
			return false
		}
		rest = after
	}
	return true
}

func respCommands(s side) (n int, ok bool) {
	rest := s.data
	for ; len(rest) > 0 && n < 16; n++ {
		l, after, whole := line(rest)
		if !whole {
			return n, s.open && len(rest) < 12 && rest[0] == '*' && ascii(rest)
		}
		if len(l) < 2 || l[0] != '*' {
			return n, false
		}
		count := number(l[1:])
		rest = after
		if count < 1 || count > 1<<20 {
			return n, false
		}
		for ; count > 0; count-- {
			if l, after, whole = line(rest); !whole {
				return n, s.open && len(rest) < 12 && ascii(rest)
			}
			if len(l) < 2 || l[0] != '$' || number(l[1:]) < 0 {
				return n, false
			}
			size := number(l[1:])
			if size+2 > len(after) {
				return n + 1, s.open
			}
			if after[size] != '\r' || after[size+1] != '\n' {
				return n, false
			}
			rest = after[size+2:]
		}
	}
	return n, true
}

// mongo is MongoDB's wire protocol: length, ids, an operation that exists, and a BSON document whose length fits; the answer names the
// question's id. The question: 2^-60.
func mongo(v *view) bool {
	n, ok := v.client.chain(16, 16, mongoMessage)
	m, fits := v.server.chain(16, 16, mongoMessage)
	if !ok || !fits || n == 0 || !mongoBody(v.client.data) {
		return false
	}
	return m == 0 || bytes.Equal(v.client.data[4:8], v.server.data[8:12])
}

func mongoMessage(b []byte) int {
	length, op := int(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[12:])
	if length > 48<<20 || op != 1 && op != 1000 && (op < 2001 || op > 2007) && (op < 2010 || op > 2013) {
		return -1
	}
	return length
}

// mongoBody checks that the first message's document ends where the message does.
func mongoBody(b []byte) bool {
	length := int(binary.LittleEndian.Uint32(b))
	r := read(b)
	r.skip(12)
	switch op := r.le32(); op {
	case 2004: // query: flags, collection, skip, return, document
		flags := r.le32()
		name, rest, ok := bytes.Cut(r.b, []byte{0})
		if !ok || !ascii(name) || flags > 0xff {
			return false
		}
		r.b = rest
		r.skip(8)
	case 2013: // message: flags, sections
		flags := r.le32()
		if kind := r.u8(); flags&0xfffc > 0 || kind > 1 {
			return false
		}
	case 2012: // compressed: what it was, its size, by which of four ways
		was, size, how := r.le32(), r.le32(), r.u8()
		return !r.short && (was == 2013 || was == 2004) && size < 48<<20 && how <= 3
	default:
		return true
	}
	size := int(r.le32())
	return !r.short && size >= 5 && len(b)-r.left()-4+size <= length
}

// kafka is requests with a known key, version and a client's name, whose lengths add up, and answers in order with the same
// correlation ids. One request: 2^-50.
func kafka(v *view) bool {
	n, ok := v.client.chain(16, 14, kafkaRequest)
	if !ok || n == 0 {
		return false
	}
	s := read(v.server.data)
	length := s.u32()
	return s.left() == 0 || length < 100<<20 && length >= 4 && bytes.Equal(s.take(4), v.client.data[8:12])
}

func kafkaRequest(b []byte) int {
	r := read(b)
	length, key, version := int(r.u32()), r.u16(), r.u16()
	r.skip(4)
	size := int(int16(r.u16()))
	if key > 100 || version > 20 || length > 100<<20 || size < -1 || size > length-10 || size > 255 {
		return -1
	}
	if name := r.b[:min(max(size, 0), r.left())]; !ascii(name) || size < 4 && key != 18 && key != 3 {
		return -1
	}
	return 4 + length
}

// cassandra is CQL's binary protocol: frames with version, flags, stream, operation and length; the first asks for options or starts, and
// the answer comes on its stream. 2^-60. Between nodes there is a magic number and a version.
func cassandra(v *view) bool {
	n, ok := v.client.chain(2, 9, func(b []byte) int { return cqlFrame(b, 0) })
	m, fits := v.server.chain(2, 9, func(b []byte) int { return cqlFrame(b, 0x80) })
	b := v.client.data
	if !ok || !fits || n == 0 {
		return len(b) >= 8 && binary.BigEndian.Uint32(b) == 0xca552dfa && b[4]&0x70 == 0 && b[6] <= 16
	}
	if b[4] != 5 && b[4] != 1 || b[4] == 5 && binary.BigEndian.Uint32(b[5:]) != 0 || b[4] == 1 && !bytes.Contains(b, []byte("CQL_VERSION")) {
		return false
	}
	if m == 0 {
		return bytes.Contains(b, []byte("CQL_VERSION"))
	}
	s := v.server.data
	return bytes.Equal(b[2:4], s[2:4]) && (s[4] == 0 || s[4] == 2 || s[4] == 3 || s[4] == 6)
}

func cqlFrame(b []byte, response uint8) int {
	version, length := b[0]^response, int(binary.BigEndian.Uint32(b[5:]))
	if version < 3 || version > 5 || b[1] > 0x1f || b[4] > 16 || length > 256<<20 {
		return -1
	}
	return 9 + length
}

// amqp is AMQP 0-9-1 or 1.0: a header with the version, or, joined late, frames whose lengths lead to their end marks. Header: 2^-64;
// two frames: 2^-60.
func amqp(v *view) bool {
	client, server := v.client, v.server
	if has(client.data, "AMQP") && len(client.data) >= 8 {
		if client.data[4] > 3 || client.data[5] > 1 {
			return false
		}
		if client.data[4] != 0 || client.data[5] == 1 && client.data[6] == 0 { // 1.0 and its security layers
			return len(server.data) == 0 || has(server.data, "AMQP")
		}
		client.data = client.data[8:]
		if has(server.data, "AMQP") { // its refusal
			return len(server.data) == 8
		}
	} else if v.c.StartSeen {
		return false
	}
	n, ok := client.chain(64, 8, amqpFrame)
	m, fits := server.chain(64, 8, amqpFrame)
	return ok && fits && (n+m >= 2 || v.c.StartSeen)
}

func amqpFrame(b []byte) int {
	end := 7 + int(binary.BigEndian.Uint32(b[3:]))
	if end > 1<<24 || end < len(b) && b[end] != 0xce {
		return -1
	}
	switch b[0] {
	case 1, 2: // a method or a header starts with its class: connection, channel, … confirm
		if len(b) >= 9 && (b[7] != 0 || b[8] < 10 || b[8] > 90 || b[8]%5 != 0) || end < 11 {
			return -1
		}
	case 3:
	case 8:
		if end != 7 {
			return -1
		}
	default:
		return -1
	}
	return end + 1
}

// zabbix is Zabbix's header, the body's length, and the other length that is zero unless the body is zlib's. 2^-64.
func zabbix(v *view) bool {
	n, ok := v.client.chain(8, 13, zabbixMessage)
	m, fits := v.server.chain(8, 13, zabbixMessage)
	return ok && fits && n+m > 0
}

func zabbixMessage(b []byte) int {
	length, unpacked := binary.LittleEndian.Uint32(b[5:]), binary.LittleEndian.Uint32(b[9:])
	if !has(b, "ZBXD") || b[4] != 1 && b[4] != 3 || length > 1<<27 {
		return -1
	}
	if packed := b[4] == 3 && unpacked != 0; packed && len(b) >= 15 && (b[13] != 0x78 || b[14]&0x20 != 0) || !packed && unpacked != 0 {
		return -1
	}
	return 13 + int(length)
}
