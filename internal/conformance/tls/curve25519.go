package tls

import (
	"encoding/binary"
	"math/bits"
)

// fe is a number modulo p = 2^255 - 19, four 64-bit limbs, the lowest first, not always reduced: below 2^256.
type fe [4]uint64

// curveA is the coefficient of v^2 = u^3 + curveA*u^2 + u (RFC 7748 section 4.1).
const curveA = 486662

// made25519 says whether an X25519 public key (RFC 7748 section 5) can come from a key generator, which multiplies the base point: it is below
// p, and on the curve, and in the group of prime order, to which an eighth of the curve's points belongs. Random bytes have their highest bit
// set one time in two; of the rest half belong to the curve's twist; of the curve's points half are not twice another, which a Jacobi symbol
// says, too. What is left, one in 8, is told only where it is doubtful, with square roots: 3 in 4 of it are not eight times another. What is
// of low order never passes but for 0 and 1, which are refused by value, and -1, which is on the twist.
func made25519(key []byte, doubtful bool) bool {
	var u fe
	for i := range u {
		u[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	if u[3]>>63 != 0 || u != u.reduced() || u == (fe{}) || u == (fe{1}) {
		return false
	}
	// On the curve both are squares or neither, and a point is twice another where they are.
	return u.square() && u.quadratic().square() && (!doubtful || primeOrder(u))
}

// quadratic is u^2 + A*u + 1.
func (u fe) quadratic() fe { return u.add(fe{curveA}).mul(u).add(fe{1}).reduced() }

// primeOrder says whether a point of the curve that is twice another is eight times another, so that its order is prime: the curve's order
// is 8 times a prime, and the points of orders 1, 2, 4 and 8 are a cyclic group.
//
// By 2(x, y) = ((x^2-1)^2 / (4 y^2), ..), x + 1/x = 2h for a half's x, with h = u +- sqrt(u^2 + A*u + 1) and the sign by which 2h + A is a
// square, as the product of both is A^2 - 4, which is none. The half is itself twice another if x is a square, which it is where
// (x + 1)^2 / x = 2h + 2 is; and x = h + sqrt(u * (2h + A)).
func primeOrder(u fe) bool {
	h := u.half()
	if !h.twicePlus(2).square() {
		return false
	}
	x := h.add(u.mul(h.twicePlus(curveA)).root())
	return x.half().twicePlus(2).square()
}

// half is primeOrder's h.
func (u fe) half() fe {
	t := u.quadratic().root()
	if h := u.add(t); h.twicePlus(curveA).square() {
		return h
	}
	return u.sub(t)
}

// twicePlus is 2a + b.
func (a fe) twicePlus(b uint64) fe { return a.add(a).add(fe{b}).reduced() }

// rootMinusOne is a square root of -1, 2^((p-1)/4).
var rootMinusOne = fe{0xc4ee1b274a0ea0b0, 0x2f431806ad2fe478, 0x2b4d00993dfbd7a7, 0x2b8324804fc1df0b}

// root is a square root of a square: a^((p+3)/8), or that times the root of -1 (RFC 8032 section 5.1.3).
func (a fe) root() fe {
	const n = 251 // (p+3)/8 = 2 * (2^251 - 1)
	x, have := a, 1
	for bit := bits.Len(n) - 2; bit >= 0; bit-- { // a^(2^have - 1)
		x, have = x.squared(have).mul(x), 2*have
		if n>>bit&1 == 1 {
			x, have = x.squared(1).mul(a), have+1
		}
	}
	x = x.squared(1)
	if x.squared(1).sub(a).reduced() != (fe{}) {
		return x.mul(rootMinusOne)
	}
	return x
}

// sub returns a-b.
func (a fe) sub(b fe) fe {
	var c uint64
	for i := range a {
		a[i], c = bits.Sub64(a[i], b[i], c)
	}
	for c != 0 { // 2^256 too much, which is 38 modulo p
		a[0], c = bits.Sub64(a[0], 38, 0)
		for i := 1; i < len(a); i++ {
			a[i], c = bits.Sub64(a[i], 0, c)
		}
	}
	return a
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
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	c, t0 := bits.Mul64(a0, b[0])
	c, t1 := multiplyAdd(a0, b[1], c, 0)
	c, t2 := multiplyAdd(a0, b[2], c, 0)
	c, t3 := multiplyAdd(a0, b[3], c, 0)
	t4 := c
	c, t1 = multiplyAdd(a1, b[0], 0, t1)
	c, t2 = multiplyAdd(a1, b[1], c, t2)
	c, t3 = multiplyAdd(a1, b[2], c, t3)
	c, t4 = multiplyAdd(a1, b[3], c, t4)
	t5 := c
	c, t2 = multiplyAdd(a2, b[0], 0, t2)
	c, t3 = multiplyAdd(a2, b[1], c, t3)
	c, t4 = multiplyAdd(a2, b[2], c, t4)
	c, t5 = multiplyAdd(a2, b[3], c, t5)
	t6 := c
	c, t3 = multiplyAdd(a3, b[0], 0, t3)
	c, t4 = multiplyAdd(a3, b[1], c, t4)
	c, t5 = multiplyAdd(a3, b[2], c, t5)
	c, t6 = multiplyAdd(a3, b[3], c, t6)
	t7 := c
	t0, t1, t2, t3 = folded(t0, t1, t2, t3, t4, t5, t6, t7)
	return fe{t0, t1, t2, t3}
}

// squared squares n times.
func (a fe) squared(n int) fe {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	for range n {
		// Products of different limbs count twice.
		t2, t1 := bits.Mul64(a0, a1)
		t3, l := bits.Mul64(a0, a2)
		t2, c := bits.Add64(t2, l, 0)
		t4, l := bits.Mul64(a0, a3)
		t3, c = bits.Add64(t3, l, c)
		t4 += c
		h, l := bits.Mul64(a1, a2)
		t3, c = bits.Add64(t3, l, 0)
		t4, c = bits.Add64(t4, h, c)
		t5 := c
		h, l = bits.Mul64(a1, a3)
		t4, c = bits.Add64(t4, l, 0)
		t5, _ = bits.Add64(t5, h, c)
		t6, l := bits.Mul64(a2, a3)
		t5, c = bits.Add64(t5, l, 0)
		t6 += c
		t7 := t6 >> 63
		t6, t5, t4, t3, t2, t1 = t6<<1|t5>>63, t5<<1|t4>>63, t4<<1|t3>>63, t3<<1|t2>>63, t2<<1|t1>>63, t1<<1

		h, t0 := bits.Mul64(a0, a0)
		t1, c = bits.Add64(t1, h, 0)
		h, l = bits.Mul64(a1, a1)
		t2, c = bits.Add64(t2, l, c)
		t3, c = bits.Add64(t3, h, c)
		h, l = bits.Mul64(a2, a2)
		t4, c = bits.Add64(t4, l, c)
		t5, c = bits.Add64(t5, h, c)
		h, l = bits.Mul64(a3, a3)
		t6, c = bits.Add64(t6, l, c)
		t7, _ = bits.Add64(t7, h, c)
		a0, a1, a2, a3 = folded(t0, t1, t2, t3, t4, t5, t6, t7)
	}
	return fe{a0, a1, a2, a3}
}

// multiplyAdd is a*b + c + d, which is below 2^128.
func multiplyAdd(a, b, c, d uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c, 0)
	hi += carry
	lo, carry = bits.Add64(lo, d, 0)
	return hi + carry, lo
}

// folded reduces a product below 2^512 to one below 2^256: its upper half counts 38 times, and so does what is carried.
func folded(t0, t1, t2, t3, t4, t5, t6, t7 uint64) (r0, r1, r2, r3 uint64) {
	h0, l0 := bits.Mul64(t4, 38)
	h1, l1 := bits.Mul64(t5, 38)
	h2, l2 := bits.Mul64(t6, 38)
	h3, l3 := bits.Mul64(t7, 38)
	t0, c := bits.Add64(t0, l0, 0)
	t1, c = bits.Add64(t1, l1, c)
	t2, c = bits.Add64(t2, l2, c)
	t3, c = bits.Add64(t3, l3, c)
	t1, d := bits.Add64(t1, h0, 0)
	t2, d = bits.Add64(t2, h1, d)
	t3, d = bits.Add64(t3, h2, d)
	for carried := h3 + c + d; carried != 0; carried = c {
		h, l := bits.Mul64(carried, 38)
		t0, c = bits.Add64(t0, l, 0)
		t1, c = bits.Add64(t1, h, c)
		t2, c = bits.Add64(t2, 0, c)
		t3, c = bits.Add64(t3, 0, c)
	}
	return t0, t1, t2, t3
}

// square says whether a, below p, is a square modulo p, as 0 is: its Jacobi symbol is not -1. By the binary algorithm: a and n are halved
// and subtracted as for their greatest common divisor, while (2/n) = -1 for n = 3 or 5 modulo 8, and (a/n)(n/a) = -1 where both are 3
// modulo 4 (Cohen, A Course in Computational Algebraic Number Theory, 1.4.2). Keys are public: its time need not be constant.
func (a fe) square() bool {
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	n0, n1, n2, n3 := modulus[0], modulus[1], modulus[2], modulus[3]
	odd := uint64(0) // bit 1: the symbol is negated
	z := uint(bits.TrailingZeros64(a0))
	for a2|a3|n2|n3 != 0 {
		if a0 == 0 {
			if a1|a2|a3 == 0 {
				return true // no common divisor but p itself, of 0
			}
			a0, a1, a2, a3 = a1, a2, a3, 0 // (2/n)^64 = 1
			z = uint(bits.TrailingZeros64(a0))
			continue
		}
		odd ^= uint64(z) << 1 & (n0 ^ n0>>1)
		z &= 63
		a0 = a0>>z | a1<<1<<(63-z)
		a1 = a1>>z | a2<<1<<(63-z)
		a2 = a2>>z | a3<<1<<(63-z)
		a3 >>= z
		// The greater less the lesser is next, and the lesser is its modulus.
		d0, c := bits.Sub64(a0, n0, 0)
		d1, c := bits.Sub64(a1, n1, c)
		d2, c := bits.Sub64(a2, n2, c)
		d3, less := bits.Sub64(a3, n3, c)
		z = uint(bits.TrailingZeros64(d0)) // as many as of the difference's opposite
		swap := -less
		odd ^= a0 & n0 & swap
		n0 ^= (n0 ^ a0) & swap
		n1 ^= (n1 ^ a1) & swap
		n2 ^= (n2 ^ a2) & swap
		n3 ^= (n3 ^ a3) & swap
		a0, c = bits.Add64(d0^swap, less, 0)
		a1, c = bits.Add64(d1^swap, 0, c)
		a2, c = bits.Add64(d2^swap, 0, c)
		a3, _ = bits.Add64(d3^swap, 0, c)
	}
	return squarePair(a0, a1, n0, n1, odd)
}

// squarePair goes on with what fits into two words each.
func squarePair(a0, a1, n0, n1, odd uint64) bool {
	z := uint(bits.TrailingZeros64(a0))
	for a1|n1 != 0 {
		if a0 == 0 { // a1 is not, as there is no common divisor
			a0, a1 = a1, 0
			z = uint(bits.TrailingZeros64(a0))
			continue
		}
		odd ^= uint64(z) << 1 & (n0 ^ n0>>1)
		z &= 63
		a0 = a0>>z | a1<<1<<(63-z)
		a1 >>= z
		d0, c := bits.Sub64(a0, n0, 0)
		d1, less := bits.Sub64(a1, n1, c)
		z = uint(bits.TrailingZeros64(d0))
		swap := -less
		odd ^= a0 & n0 & swap
		n0 ^= (n0 ^ a0) & swap
		n1 ^= (n1 ^ a1) & swap
		a0, c = bits.Add64(d0^swap, less, 0)
		a1, _ = bits.Add64(d1^swap, 0, c)
	}
	return squareWord(a0, n0, odd)
}

// squareWord goes on with what fits into words.
func squareWord(a, n, odd uint64) bool {
	for a != 0 {
		z := uint(bits.TrailingZeros64(a))
		odd ^= uint64(z) << 1 & (n ^ n>>1)
		a >>= z & 63
		d, less := bits.Sub64(a, n, 0)
		swap := -less
		odd ^= a & n & swap
		n ^= (n ^ a) & swap
		a = (d ^ swap) + less
	}
	return odd&2 == 0
}

// modulus is p.
var modulus = fe{0xffffffffffffffed, ^uint64(0), ^uint64(0), 1<<63 - 1}

// reduced returns a modulo p, in full.
func (a fe) reduced() fe {
	for {
		var r fe
		var borrow uint64
		for i := range a {
			r[i], borrow = bits.Sub64(a[i], modulus[i], borrow)
		}
		if borrow != 0 {
			return a
		}
		a = r
	}
}
