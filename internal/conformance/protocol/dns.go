package protocol

// dnsHeader is what the header of a DNS message says (RFC 1035, section 4.1.1).
type dnsHeader struct {
	id       uint16
	response bool
	records  int // of all sections
}

// dnsMessage reads a whole message: header, questions and records must fill it to its last byte. A question without records:
// 2^-50, and what a name's labels add. Multicast DNS and NetBIOS use the same format (RFC 6762, RFC 1002) with bits of their own.
func dnsMessage(b []byte) (h dnsHeader, ok bool) {
	const header = 12
	if len(b) < header {
		return h, false
	}
	flags, questions, records := be16(b[2:]), be16(b[4:]), be16(b[6:])+be16(b[8:])+be16(b[10:])
	opcode := flags >> 11 & 0xf
	h.id, h.response = uint16(be16(b)), flags>>15 != 0
	if opcode == 3 || opcode > 9 || questions > 64 || records > 512 || questions+records == 0 && !h.response {
		return h, false
	}
	r := read(b[header:])
	for range questions {
		if !dnsName(&r, len(b)) {
			return h, false
		}
		kind, class := r.u16(), r.u16()&0x7fff
		if r.short || !dnsClass(class) || kind == 0 {
			return h, false
		}
	}
	for range records {
		if !dnsRecord(&r, len(b)) {
			return h, false
		}
	}
	h.records = questions + records
	return h, r.left() == 0
}

func dnsClass(class uint16) bool { return class >= 1 && class <= 4 || class == 254 || class == 255 }

func dnsRecord(r *cursor, size int) bool {
	if !dnsName(r, size) {
		return false
	}
	kind, class, _, length := r.u16(), r.u16()&0x7fff, r.u32(), int(r.u16())
	if r.short || kind == 0 || kind != 41 && !dnsClass(class) {
		return false
	}
	r.skip(length)
	return !r.short
}

// dnsName skips a name: labels of at most 63 bytes, 255 in all, ended by the root or by a pointer to what came before.
func dnsName(r *cursor, size int) bool {
	for used := 0; used <= 255; {
		at := size - r.left()
		n := r.u8()
		switch {
		case r.short:
			return false
		case n == 0:
			return true
		case n >= 0xc0:
			target := int(n&0x3f)<<8 | int(r.u8())
			return !r.short && target < at
		case n > 63:
			return false
		}
		r.skip(int(n))
		used += int(n) + 1
	}
	return false
}

// dnsConversation says whether all of the first datagrams are DNS, answers to what was asked. Replies without a body (an
// error's header alone) need a question that they echo.
func dnsConversation(v *view) bool {
	asked, fits := dnsMessage(v.client.first())
	if !fits {
		return false
	}
	if asked.records == 0 {
		answered, answers := dnsMessage(v.server.first())
		if !answers || asked.id != answered.id || answered.records == 0 {
			return false
		}
	}
	if !v.client.every(6, isDNS) {
		return false
	}
	if len(v.server.first()) == 0 || v.server.every(6, isDNS) {
		return true
	}
	// An answer that a gateway cut or padded still has the question's id.
	b := v.server.first()
	return len(b) >= 12 && b[0] == byte(asked.id>>8) && b[1] == byte(asked.id) && b[2]&0x80 != 0 && !asked.response
}

func isDNS(b []byte) bool {
	_, ok := dnsMessage(b)
	return ok
}

// dns is DNS over UDP.
func dns(v *view) bool {
	return !v.port(5353) && !v.port(5355) && !v.port(137) && dnsConversation(v)
}

// mdns is Multicast DNS (RFC 6762).
func mdns(v *view) bool { return v.port(5353) && dnsConversation(v) }

// llmnr is Link-Local Multicast Name Resolution (RFC 4795).
func llmnr(v *view) bool { return v.port(5355) && dnsConversation(v) }

// netbiosNames is NetBIOS's name service (RFC 1002): DNS's format, names of 32 letters A to P.
func netbiosNames(v *view) bool {
	return v.port(137) && dnsConversation(v) && netbiosName(v.client.first()[12:])
}

// netbiosName says whether b starts with a name of 16 bytes, of which each is two letters from A to P. 2^-137.
func netbiosName(b []byte) bool {
	if len(b) < 34 || b[0] != 32 {
		return false
	}
	for _, x := range b[1:33] {
		if x < 'A' || x > 'P' {
			return false
		}
	}
	return true
}

// dnsStream is DNS over TCP: each message behind its length (RFC 1035, section 4.2.2).
func dnsStream(v *view) bool {
	n, ok := dnsMessages(v.client)
	m, fits := dnsMessages(v.server)
	return ok && fits && n+m > 0
}

func dnsMessages(s side) (n int, ok bool) {
	for r := read(s.data); r.left() > 0; n++ {
		b := r.take(int(r.u16()))
		if r.short {
			return n, s.open
		}
		if h, ok := dnsMessage(b); !ok || h.records == 0 {
			return n, false
		}
	}
	return n, true
}

// netbiosDatagrams is NetBIOS's datagram service (RFC 1002, section 4.4): type, flags, the sender's port, a length that adds up and
// names. 2^-150.
func netbiosDatagrams(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(6, netbiosDatagram) && v.server.every(6, netbiosDatagram)
}

func netbiosDatagram(b []byte) bool {
	if len(b) < 14 || b[0] < 0x10 || b[0] > 0x16 || b[1] > 0x0f {
		return false
	}
	if b[0] == 0x13 {
		return len(b) == 11
	}
	r := read(b[10:])
	if b[0] >= 0x14 {
		return netbiosName(b[10:])
	}
	length := int(r.u16())
	return (length == len(b)-14 || length == len(b)) && netbiosName(b[14:])
}

// netbiosSession is NetBIOS's session service: a request that names both ends, and its answer (RFC 1002, section 4.3). 2^-200.
func netbiosSession(v *view) bool {
	b := v.client.data
	r := read(b)
	if r.u16() != 0x8100 || r.u16() != 68 || !netbiosName(r.b) {
		return false
	}
	r.skip(34)
	if !netbiosName(r.b) {
		return false
	}
	r.skip(34)
	s := read(v.server.data)
	if s.left() == 0 {
		return r.left() == 0
	}
	kind, length := s.u16(), s.u16()
	switch {
	case kind == 0x8300 && length == 1, kind == 0x8400 && length == 6:
		return true
	case kind != 0x8200 || length != 0:
		return false
	}
	return (r.left() < 8 || smbMessage(r.b)) && (s.left() < 8 || smbMessage(s.b))
}
