package tls

import (
	"encoding/binary"
	"math/bits"
)

// fe is a number modulo p = 2^255 - 19, four 64-bit limbs, the lowest first, not always reduced: below 2^256.
type fe [4]uint64

// onCurve25519 says whether an X25519 public key (RFC 7748 section 5) can come from a key generator: it is below p, and
// v^2 = u^3 + 486662*u^2 + u has a solution. Half of all 32-byte strings belong to the curve's twist instead, and half of all have
// their highest bit set.
func onCurve25519(key []byte) bool {
	var u fe
	for i := range u {
		u[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	if u[3]>>63 != 0 || u != u.reduced() {
		return false
	}
	w := u.add(fe{486662}).mul(u).add(fe{1}).mul(u)
	// Euler's criterion: w^((p-1)/2) is 1 for squares, 0 for 0; (p-1)/2 = 2^254 - 10 = 4*(2^252 - 3) + 2.
	r := w.power252m3().squared(2).mul(w.squared(1)).reduced()
	return r == fe{1} || r == fe{}
}

// add returns a+b; b is small or the sum stays below 2^256 after folding.
func (a fe) add(b fe) fe {
	var c uint64
	for i := range a {
		a[i], c = bits.Add64(a[i], b[i], c)
	}
	return a.fold(c)
}

// fold adds carry*2^256, which is carry*38 modulo p.
func (a fe) fold(carry uint64) fe {
	for carry != 0 {
		hi, lo := bits.Mul64(carry, 38)
		var c uint64
		a[0], c = bits.Add64(a[0], lo, 0)
		a[1], c = bits.Add64(a[1], hi, c)
		a[2], c = bits.Add64(a[2], 0, c)
		a[3], carry = bits.Add64(a[3], 0, c)
	}
	return a
}

func (a fe) mul(b fe) fe {
	var t [8]uint64
	for i := range 4 {
		var carry uint64
		for k := range 4 {
			hi, lo := bits.Mul64(a[i], b[k])
			var c uint64
			lo, c = bits.Add64(lo, t[i+k], 0)
			hi += c
			lo, c = bits.Add64(lo, carry, 0)
			t[i+k], carry = lo, hi+c
		}
		t[i+4] = carry
	}
	return folded(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
}

// folded reduces a product below 2^512: its upper half counts 38 times.
func folded(t0, t1, t2, t3, t4, t5, t6, t7 uint64) fe {
	h0, l0 := bits.Mul64(t4, 38)
	h1, l1 := bits.Mul64(t5, 38)
	h2, l2 := bits.Mul64(t6, 38)
	h3, l3 := bits.Mul64(t7, 38)
	var c, d uint64
	t0, c = bits.Add64(t0, l0, 0)
	t1, c = bits.Add64(t1, l1, c)
	t2, c = bits.Add64(t2, l2, c)
	t3, c = bits.Add64(t3, l3, c)
	t1, d = bits.Add64(t1, h0, 0)
	t2, d = bits.Add64(t2, h1, d)
	t3, d = bits.Add64(t3, h2, d)
	return fe{t0, t1, t2, t3}.fold(h3 + c + d)
}

// squared squares a n times. Nearly all of the time is spent here, hence without loops.
func (a fe) squared(n int) fe {
	for range n {
		// Products of different digits, t1 to t6.
		t2, t1 := bits.Mul64(a[0], a[1])
		h02, l02 := bits.Mul64(a[0], a[2])
		h03, l03 := bits.Mul64(a[0], a[3])
		h12, l12 := bits.Mul64(a[1], a[2])
		h13, l13 := bits.Mul64(a[1], a[3])
		t6, t5 := bits.Mul64(a[2], a[3])
		var c uint64
		t2, c = bits.Add64(t2, l02, 0)
		t3, c := bits.Add64(h02, l03, c)
		t4, _ := bits.Add64(h03, 0, c)
		t3, c = bits.Add64(t3, l12, 0)
		t4, c = bits.Add64(t4, l13, c)
		t5, c = bits.Add64(t5, h13, c)
		t6 += c
		t4, c = bits.Add64(t4, h12, 0)
		t5, c = bits.Add64(t5, 0, c)
		t6 += c
		// Each counts twice.
		t7 := t6 >> 63
		t6 = t6<<1 | t5>>63
		t5 = t5<<1 | t4>>63
		t4 = t4<<1 | t3>>63
		t3 = t3<<1 | t2>>63
		t2 = t2<<1 | t1>>63
		t1 <<= 1
		// Squares of the digits.
		h0, t0 := bits.Mul64(a[0], a[0])
		h1, l1 := bits.Mul64(a[1], a[1])
		h2, l2 := bits.Mul64(a[2], a[2])
		h3, l3 := bits.Mul64(a[3], a[3])
		t1, c = bits.Add64(t1, h0, 0)
		t2, c = bits.Add64(t2, l1, c)
		t3, c = bits.Add64(t3, h1, c)
		t4, c = bits.Add64(t4, l2, c)
		t5, c = bits.Add64(t5, h2, c)
		t6, c = bits.Add64(t6, l3, c)
		t7 += h3 + c
		a = folded(t0, t1, t2, t3, t4, t5, t6, t7)
	}
	return a
}

// power252m3 is a^(2^252 - 3), by the usual chain of powers 2^n - 1.
func (a fe) power252m3() fe {
	a2 := a.squared(1)
	a9 := a2.squared(2).mul(a)
	a11 := a9.mul(a2)
	e5 := a11.squared(1).mul(a9)
	e10 := e5.squared(5).mul(e5)
	e20 := e10.squared(10).mul(e10)
	e40 := e20.squared(20).mul(e20)
	e50 := e40.squared(10).mul(e10)
	e100 := e50.squared(50).mul(e50)
	e200 := e100.squared(100).mul(e100)
	e250 := e200.squared(50).mul(e50)
	return e250.squared(2).mul(a)
}

// reduced returns a modulo p, in full.
func (a fe) reduced() fe {
	p := fe{0xffffffffffffffed, ^uint64(0), ^uint64(0), 1<<63 - 1}
	for {
		var r fe
		var borrow uint64
		for i := range a {
			r[i], borrow = bits.Sub64(a[i], p[i], borrow)
		}
		if borrow != 0 {
			return a
		}
		a = r
	}
}
