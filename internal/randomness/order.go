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

// withoutWord is the longest run of printable bytes where there is no printableWord.
const withoutWord = 14

// glance is transitions, and whether eight bytes in 0x20..0x7e are next to each other, at a multiple of eight.
func glance(sample []byte) (changes int, printableWord bool) {
	rest := sample
	for ; len(rest) >= 9; rest = rest[8:] {
		w := binary.BigEndian.Uint64(rest)
		changes += bits.OnesCount64(w ^ (w<<1 | uint64(rest[8]>>7)))
		if w&high == 0 && printables(w) == high {
			printableWord = true
		}
	}
	if len(rest) == 8 && printables(binary.BigEndian.Uint64(rest)) == high {
		printableWord = true
	}
	return changes + transitions(rest), printableWord
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// equalRun is the length of the longest run of one byte value. Most samples have no three equal bytes in a row, which is found out first.
func equalRun(sample []byte) int {
	first := firstEqual(sample)
	if first == len(sample) {
		return min(len(sample), 1)
	}
	if rest := sample[first:]; threeEqual(rest) {
		return longestEqual(rest)
	}
	return 2
}

// firstEqual is where the first pair of equal neighbours is, or 7 places before at most; len(sample) if there is none.
func firstEqual(sample []byte) int {
	at := 0
	for rest := sample; len(rest) >= 9; rest = rest[8:] {
		// A byte of x that is 0 shows in the high bit, and none does where all differ.
		if x := binary.LittleEndian.Uint64(rest) ^ binary.LittleEndian.Uint64(rest[1:]); (x-ones)&^x&high != 0 {
			return at
		}
		at += 8
	}
	for ; at+1 < len(sample); at++ {
		if sample[at] == sample[at+1] {
			return at
		}
	}
	return len(sample)
}

// threeEqual says whether three bytes in a row are equal anywhere.
func threeEqual(sample []byte) bool {
	found := uint64(0)
	rest := sample
	for ; len(rest) >= 10; rest = rest[8:] {
		middle := binary.LittleEndian.Uint64(rest[1:])
		x := (binary.LittleEndian.Uint64(rest) ^ middle) | (middle ^ binary.LittleEndian.Uint64(rest[2:]))
		found |= (x - ones) &^ x
	}
	for ; len(rest) >= 3; rest = rest[1:] {
		if rest[0] == rest[1] && rest[1] == rest[2] {
			return true
		}
	}
	return found&high != 0
}

// longestEqual is equalRun in full. Eight bytes that all differ from the next are passed at once.
func longestEqual(sample []byte) int {
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

// A row has a bit for each of 64 bytes in order, at the end of a run of 1, 2, 4 and 8 printable ones or more.
type row struct{ one, two, four, eight uint64 }

// rowAfter makes a row: where a run of k ends, and one of k has ended k bytes before, one of 2k ends.
func rowAfter(r *row, one uint64) row {
	two := one & (one<<1 | r.one>>63)
	four := two & (two<<2 | r.two>>62)
	return row{one: one, two: two, four: four, eight: four & (four<<4 | r.four>>60)}
}

// has says whether a run of k printable bytes ends in a row, 0 < k <= 16: one of half as many or more, and one that ended before, together.
func (now *row) has(k int, before *row) bool {
	switch {
	case k > 8:
		return now.eight&(now.eight<<(k-8)|before.eight>>(72-k)) != 0
	case k > 4:
		return now.four&(now.four<<(k-4)|before.four>>(68-k)) != 0
	case k > 2:
		return now.two&(now.two<<(k-2)|before.two>>(66-k)) != 0
	case k == 2:
		return now.two != 0
	}
	return now.one != 0
}

// printableRun is the length of the longest run of bytes in 0x20..0x7e.
func printableRun(sample []byte) int {
	const most = 16 // longer ones have text
	longest, before := 0, row{}
	for rest := sample; len(rest) > 0; {
		var now row
		if len(rest) >= 64 {
			now, rest = rowAfter(&before, printableRow((*[64]byte)(rest))), rest[64:]
		} else {
			var last [64]byte
			copy(last[:], rest)
			now, rest = rowAfter(&before, printableRow(&last)), nil
		}
		for now.has(longest+1, &before) {
			if longest++; longest == most {
				return longestPrintable(sample)
			}
		}
		before = now
	}
	return longest
}

// longestPrintable is printableRun byte by byte.
func longestPrintable(sample []byte) int {
	longest, run := 0, 0
	for _, b := range sample {
		if run++; b-0x20 > 0x5e {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// printableRow has a bit for each byte that is printable.
func printableRow(b *[64]byte) (row uint64) {
	for i := 0; i < len(b); i += 8 {
		// The multiplication puts bit 8i+7 at 56+i: no two terms of it meet.
		row = row>>8 | printables(binary.LittleEndian.Uint64(b[i:]))*0x0002040810204081&(0xff<<56)
	}
	return row
}

// printables are the printable ones of eight bytes, by their high bits. Without its high bit, a byte gets it by the addition of 0x60 from 0x20 on,
// and of 1 at 0x7f only.
func printables(w uint64) uint64 {
	low := w & (ones * 0x7f)
	return ((low + ones*0x60) ^ (low + ones)) &^ w & high
}

// transitions counts the changes between neighbouring bits, eight bytes at a time.
func transitions(sample []byte) int {
	changes := 0
	for ; len(sample) >= 9; sample = sample[8:] {
		w := binary.BigEndian.Uint64(sample)
		changes += bits.OnesCount64(w ^ (w<<1 | uint64(sample[8]>>7)))
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
func (c *counts) serialCorrelations(sample []byte) (z [2]float64) {
	n := c.n
	if n <= len(z) {
		return z
	}
	total, products := c.total(), neighbours(sample)
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

// neighbours gives the sums of the products of a sample's bytes one and two apart.
//
// Of the bytes s0..s9 at a place, s1(s0+s2) + s3(s2+s4) + s5(s4+s6) + s7(s6+s8) are eight products at lag 1, and s2(s0+s4) + s3(s1+s5) +
// s6(s4+s8) + s7(s5+s9) eight at lag 2. Those come in twos from a multiplication of two numbers in the halves of a word each: the upper half
// of (x + y<<32)(v + u<<32) is xu + yv. Neither half ever overflows: MaxSample products of two bytes are below 1<<28.
func neighbours(sample []byte) (products [2]int) {
	const step, lanes = 13, 0x000000ff000000ff
	lag1, lag2 := uint64(0), uint64(0)
	var last [8 + step]byte // what is left, and zeros
	for _, rest := range [2][]byte{sample, last[:]} {
		for ; len(rest) >= step; rest = rest[8:] {
			s04, s15 := binary.LittleEndian.Uint64(rest)&lanes, binary.LittleEndian.Uint64(rest[1:])&lanes
			s26, s37 := binary.LittleEndian.Uint64(rest[2:])&lanes, binary.LittleEndian.Uint64(rest[3:])&lanes
			s48, s59 := binary.LittleEndian.Uint64(rest[4:])&lanes, binary.LittleEndian.Uint64(rest[5:])&lanes
			s73 := bits.RotateLeft64(s37, 32)
			lag1 += bits.RotateLeft64(s15, 32)*(s04+s26) + s73*(s26+s48)
			lag2 += bits.RotateLeft64(s26, 32)*(s04+s48) + s73*(s15+s59)
		}
		copy(last[:], rest)
	}
	return [2]int{int(lag1 >> 32), int(lag2 >> 32)}
}

// repeatsP tests how often three bytes in a row have occurred before: among n uniform bytes about as often as there are pairs
// of places, over 2^24, and Poisson distributed.
func repeatsP(sample []byte) float64 { return repeatsTail(len(sample), repeats(sample)) }

func repeatsTail(n, k int) float64 {
	places := float64(n - 2)
	return poissonTail(k, places*(places-1)/2/(1<<24))
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
