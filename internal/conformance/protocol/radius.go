package protocol

// radius is RADIUS (RFC 2865, RFC 2866, RFC 5176): a length that equals the datagram's, attributes that fill it, those of integers and
// addresses six bytes long, and answers with the request's identifier. One message: 2^-27 with an attribute of fixed length, 2^-20
// without.
func radius(v *view) bool {
	fixed := 0
	for _, s := range [...]side{v.client, v.server} {
		for i := range min(s.datagrams(), 4) {
			b, whole := s.datagram(i)
			if !whole {
				continue
			}
			n, ok := radiusMessage(b)
			if !ok {
				return false
			}
			fixed += n
		}
	}
	ask, answer := v.client.first(), v.server.first()
	return fixed > 0 || len(ask) > 20 && len(answer) >= 20 && ask[1] == answer[1]
}

func radiusMessage(b []byte) (fixed int, ok bool) {
	r := read(b)
	code := r.u8()
	r.skip(1)
	length := int(r.u16())
	r.skip(16)
	if r.short || length != len(b) || length > 4096 || code < 1 || code > 5 && (code < 11 || code > 13) && (code < 40 || code > 45) {
		return 0, false
	}
	for r.left() > 0 {
		kind, n := r.u8(), int(r.u8())
		if kind == 0 || n < 2 {
			return 0, false
		}
		if radiusFixed(kind) {
			if n != 6 && n != 7 {
				return 0, false
			}
			fixed++
		}
		r.skip(n - 2)
	}
	return fixed, !r.short
}

// radiusFixed says whether an attribute is an integer or an IPv4 address.
func radiusFixed(kind uint8) bool {
	switch kind {
	case 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 23, 27, 28, 29, 37, 38, 40, 41, 42, 43, 45, 46, 47, 48, 49, 51, 52, 53, 55, 61, 62, 76, 85:
		return true
	}
	return false
}
