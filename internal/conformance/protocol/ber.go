package protocol

// ASN.1's basic encoding rules (X.690), as far as LDAP, SNMP and Kerberos need them.

// Universal tags.
const (
	berInteger  = 0x02
	berOctets   = 0x04
	berEnum     = 0x0a
	berSequence = 0x30
)

// berLength reads a definite length of at most four bytes.
func (c *cursor) berLength() int {
	n := int(c.u8())
	if n < 0x80 {
		return n
	}
	if n -= 0x80; n == 0 || n > 4 {
		c.take(-1)
		return 0
	}
	length := 0
	for range n {
		length = length<<8 | int(c.u8())
	}
	if length >= 1<<31 {
		c.take(-1)
		return 0
	}
	return length
}

// enter reads the header of a value with that tag, and gives its content; short when there is none, or not all of it.
func (c *cursor) enter(tag uint8) cursor {
	if c.u8() != tag {
		c.take(-1)
		return cursor{short: true}
	}
	b := c.take(c.berLength())
	return cursor{b: b, short: c.short}
}

// next reads any value.
func (c *cursor) next() (tag uint8, body cursor) {
	tag = c.u8()
	b := c.take(c.berLength())
	return tag, cursor{b: b, short: c.short}
}

// berInt reads an INTEGER of at most four bytes.
func (c *cursor) berInt() int32 {
	r := c.enter(berInteger)
	if n := r.left(); r.short || n < 1 || n > 5 {
		c.take(-1)
		return 0
	}
	value := int32(int8(r.b[0]))
	for _, x := range r.b[1:] {
		value = value<<8 | int32(x)
	}
	return value
}
