package protocol

// socks5 is SOCKS 5 (RFC 1928): offered methods and one of them chosen, a name and password where that is the one (RFC 1929), a request and its
// answer, and then a protocol that is known by itself. 2^-30 without what it carries, and that is asked for.
func socks5(v *view) bool {
	c, s := read(v.client.data), read(v.server.data)
	if c.u8() != 5 {
		return false
	}
	methods := c.take(int(c.u8()))
	if len(methods) == 0 || s.u8() != 5 {
		return false
	}
	method := s.u8()
	offered := false
	for _, m := range methods {
		offered = offered || m == method
	}
	if c.short || s.short || !offered {
		return false
	}
	if method == 2 {
		if c.u8() != 1 || !printable(c.take(int(c.u8()))) || !printable(c.take(int(c.u8()))) || s.u8() != 1 || s.u8() != 0 {
			return false
		}
	} else if method != 0 {
		return false
	}
	version, command, zeros := c.u8(), c.u8(), c.u8()
	if version != 5 || command < 1 || command > 3 || zeros != 0 || !socksAddress(&c) {
		return false
	}
	answer, code, reserved := s.u8(), s.u8(), s.u8()
	if answer != 5 || code > 8 || reserved != 0 || !socksAddress(&s) {
		return false
	}
	return v.tunnels(len(v.client.data)-c.left(), len(v.server.data)-s.left())
}

// socksAddress reads an address of one of three kinds, and a port.
func socksAddress(r *cursor) bool {
	switch r.u8() {
	case 1:
		r.skip(4)
	case 3:
		if name := r.take(int(r.u8())); !ascii(name) {
			return false
		}
	case 4:
		r.skip(16)
	default:
		return false
	}
	r.skip(2)
	return !r.short
}

// socks4 is SOCKS 4 and 4a: a request with a user's name of text, its answer, and what it carries, as in socks5.
func socks4(v *view) bool {
	c, s := read(v.client.data), read(v.server.data)
	version, command := c.u8(), c.u8()
	c.skip(2)
	address := c.u32()
	if version != 4 || command < 1 || command > 2 || !socksText(&c) || address>>8 == 0 && address != 0 && !socksText(&c) {
		return false
	}
	zeros, code := s.u8(), s.u8()
	s.skip(6)
	return zeros == 0 && code >= 90 && code <= 93 && !s.short && v.tunnels(len(v.client.data)-c.left(), len(v.server.data)-s.left())
}

// socksText skips text that ends with a zero.
func socksText(r *cursor) bool {
	for n := 0; n < 256; n++ {
		switch x := r.u8(); {
		case r.short:
			return false
		case x == 0:
			return true
		case x < ' ' || x >= 0x7f:
			return false
		}
	}
	return false
}
