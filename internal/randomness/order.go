package randomness

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// order is what the order of a sample's bytes yields.
type order struct {
	transitions  int // changes between neighbouring bits, most significant bit first
	printableRun int // longest run of bytes in 0x20..0x7e
	equalRun     int // longest run of one byte value
}

// runs looks at a sample's order.
func runs(sample []byte) order {
	return order{transitions: transitions(sample), printableRun: printableRun(sample), equalRun: equalRun(sample)}
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// equalRun is the length of the longest run of one byte value. Eight bytes that all differ from the next are passed at once.
func equalRun(sample []byte) int {
	longest, at := min(len(sample), 1), 0
	for at+1 < len(sample) {
		if at+9 <= len(sample) {
			if x := binary.LittleEndian.Uint64(sample[at:]) ^ binary.LittleEndian.Uint64(sample[at+1:]); (x-ones)&^x&high == 0 {
				at += 8
				continue
			}
		}
		end := at + 1
		for end < len(sample) && sample[end] == sample[at] {
			end++
		}
		longest = max(longest, end-at)
		at = end
	}
	return longest
}

// printableRun is the length of the longest run of bytes in 0x20..0x7e: with a bit for each of 64 bytes, the runs are made shorter by one
// until none is left.
func printableRun(sample []byte) int {
	var rows [MaxSample / 64]uint64
	for i, b := range sample[len(sample)&^7:] {
		if b-0x20 <= 0x5e {
			rows[len(sample)/64] |= 1 << (len(sample)&^7%64 + i)
		}
	}
	for at := 0; at+8 <= len(sample); at += 8 {
		rows[at/64%len(rows)] |= printables(binary.LittleEndian.Uint64(sample[at:])) << (at % 64)
	}
	const usual = 24 // longer ones have text
	all := rows[:(len(sample)+63)/64]
	for run := range usual {
		left := uint64(0)
		for i, row := range all {
			next := uint64(0)
			if i+1 < len(all) {
				next = all[i+1] << 63
			}
			all[i] = row & (row>>1 | next)
			left |= row
		}
		if left == 0 {
			return run
		}
	}
	longest, run := 0, 0
	for _, b := range sample {
		if run++; b-0x20 > 0x5e {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// printables are the printable ones of eight bytes, a bit each.
func printables(w uint64) uint64 {
	low := w & (ones * 0x7f)
	return ((low + ones*0x60) &^ (low + ones) &^ w & high) >> 7 * 0x0102040810204080 >> 56
}

// transitions counts the changes between neighbouring bits, eight bytes at a time.
func transitions(sample []byte) int {
	changes := 0
	for len(sample) > 8 {
		w := binary.BigEndian.Uint64(sample)
		changes += bits.OnesCount64((w^w>>1)&(1<<63-1)) + int((sample[7]^sample[8]>>7)&1)
		sample = sample[8:]
	}
	for i, b := range sample {
		changes += bits.OnesCount8((b ^ b>>1) & 0x7f)
		if i > 0 {
			changes += int((b>>7 ^ sample[i-1]) & 1)
		}
	}
	return changes
}

// serialCorrelations are, at lags 1 and 2, the standardised sums of products of bytes that far apart (Knuth, TAOCP 2, 3.3.2 K). The mean
// 127.5 and variance 5461.25 of a uniform byte are known, hence mean 0 and variance 1 are exact.
func serialCorrelations(sample []byte) (z [2]float64) {
	n := len(sample)
	if n <= len(z) {
		return z
	}
	total, products := neighbours(sample)
	for i := range z {
		lag := i + 1
		pairs, both := n-lag, 2*total // both: the sum of all first and all second bytes of the pairs
		for k := range lag {
			both -= int(sample[k]) + int(sample[n-1-k])
		}
		// The sum of (2x-255)(2y-255), which is 4 times that of the centred products.
		sum := 4*products[i] - 2*255*both + 255*255*pairs
		z[i] = float64(sum) / (4 * 5461.25) / math.Sqrt(float64(pairs))
	}
	return z
}

// neighbours gives the sum of a sample's bytes, and of the products of those one and two apart.
//
// Of the bytes s0..s9 at a place, s1(s0+s2) + s3(s2+s4) + s5(s4+s6) + s7(s6+s8) are eight products at lag 1, and s2(s0+s4) + s3(s1+s5) +
// s6(s4+s8) + s7(s5+s9) eight at lag 2. Those come in twos from a multiplication of two numbers in the halves of a word each: the upper half
// of (x + y<<32)(v + u<<32) is xu + yv. Neither half ever overflows: MaxSample products of two bytes are below 1<<28.
func neighbours(sample []byte) (total int, products [2]int) {
	const lanes = 0x000000ff000000ff
	at, sums, lag1, lag2 := 0, uint64(0), uint64(0), uint64(0)
	for rest := sample; len(rest) >= 12; rest = rest[8:] {
		w, later := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[4:])
		s04, s15, s26, s37 := w&lanes, w>>8&lanes, w>>16&lanes, w>>24&lanes
		s48, s59 := later&lanes, later>>8&lanes
		s73, even := bits.RotateLeft64(s37, 32), s04+s26
		lag1 += bits.RotateLeft64(s15, 32)*even + s73*(s26+s48)
		lag2 += bits.RotateLeft64(s26, 32)*(s04+s48) + s73*(s15+s59)
		sums += even + s15 + s37
		at += 8
	}
	total, products = int(sums>>32+sums&(1<<32-1)), [2]int{int(lag1 >> 32), int(lag2 >> 32)}
	for ; at < len(sample); at++ {
		x := int(sample[at])
		total += x
		for i := range products {
			if next := at + i + 1; next < len(sample) {
				products[i] += x * int(sample[next])
			}
		}
	}
	return total, products
}

// repeatsP tests how often three bytes in a row have occurred before: among n uniform bytes about as often as there are pairs
// of places, over 2^24, and Poisson distributed.
func repeatsP(sample []byte) float64 {
	places := float64(len(sample) - 2)
	return poissonTail(repeats(sample), places*(places-1)/2/(1<<24))
}

// repeats counts the places where the next three bytes have occurred before, as far as a table of the last three by hash
// remembers it.
func repeats(sample []byte) int {
	if len(sample) <= 512 {
		return repeatsBy(new([1024]uint32), sample) // less to clear
	}
	return repeatsBy(new([4096]uint32), sample)
}

// repeatsBy counts with a table by hash, all 0. It is generic so that the compiler knows the table's size and checks no index.
func repeatsBy[T [1024]uint32 | [4096]uint32](last *T, sample []byte) (found int) {
	const triple = 1<<24 - 1
	shift := 33 - bits.Len(uint(len(*last))) // leaves as many bits as there are slots
	(*last)[0] = 1                           // not 0, which would be three bytes that belong there; 1 does not
	next := func(key uint32) {
		if slot := &(*last)[key*0x9e3779b1>>shift]; *slot == key {
			found++
		} else {
			*slot = key
		}
	}
	for ; len(sample) >= 8; sample = sample[6:] {
		w := binary.BigEndian.Uint64(sample)
		next(uint32(w >> 40))
		next(uint32(w>>32) & triple)
		next(uint32(w>>24) & triple)
		next(uint32(w>>16) & triple)
		next(uint32(w>>8) & triple)
		next(uint32(w) & triple)
	}
	for ; len(sample) >= 3; sample = sample[1:] {
		next(uint32(sample[0])<<16 | uint32(sample[1])<<8 | uint32(sample[2]))
	}
	return found
}
