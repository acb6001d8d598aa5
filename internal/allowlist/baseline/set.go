package baseline

import (
	"math/bits"
	"slices"
)

// set is a set of numbers: four in place, more in blocks by their upper 16 bits, each a sorted list or, when that is larger, a bitmap. (Lemire
// and others, "Roaring Bitmaps: Implementation of an Optimized Software Library", 2018, without runs.)
type set struct {
	few    [4]uint32
	n      uint32
	blocks []block // in use when n > len(few)
}

type block struct {
	high uint16
	list []uint16
	bits []uint64 // 1,024 words; nil while list is in use
}

const (
	blockSize = 56      // of a block, in bytes
	maxList   = 4096    // numbers from which a bitmap takes less
	bitmap    = 1 << 13 // bytes
)

// add puts v in; grown is the bytes that the set takes more.
func (s *set) add(v uint32) (grown int) {
	if s.blocks == nil {
		if slices.Contains(s.few[:s.n], v) {
			return 0
		}
		if int(s.n) < len(s.few) {
			s.few[s.n] = v
			s.n++
			return 0
		}
		s.n = 0
		for _, w := range s.few {
			grown += s.insert(w)
		}
	}
	return grown + s.insert(v)
}

// insert puts v into its block.
func (s *set) insert(v uint32) (grown int) {
	high, low := uint16(v>>16), uint16(v)
	at, found := slices.BinarySearchFunc(s.blocks, high, func(b block, h uint16) int { return int(b.high) - int(h) })
	if !found {
		before := cap(s.blocks)
		s.blocks = slices.Insert(s.blocks, at, block{high: high})
		grown += (cap(s.blocks) - before) * blockSize
	}
	b := &s.blocks[at]
	added, more := b.insert(low)
	if added {
		s.n++
	}
	return grown + more
}

func (b *block) insert(low uint16) (added bool, grown int) {
	if b.bits != nil {
		word, bit := &b.bits[low>>6], uint64(1)<<(low&63)
		added = *word&bit == 0
		*word |= bit
		return added, 0
	}
	at, found := slices.BinarySearch(b.list, low)
	if found {
		return false, 0
	}
	if len(b.list) == maxList {
		grown = bitmap - 2*cap(b.list)
		b.bits = make([]uint64, bitmap/8)
		for _, v := range b.list {
			b.bits[v>>6] |= 1 << (v & 63)
		}
		b.list = nil
		b.bits[low>>6] |= 1 << (low & 63)
		return true, grown
	}
	before := cap(b.list)
	b.list = slices.Insert(b.list, at, low)
	return true, 2 * (cap(b.list) - before)
}

// each calls do for every number.
func (s *set) each(do func(uint32)) {
	if s.blocks == nil {
		for _, v := range s.few[:s.n] {
			do(v)
		}
		return
	}
	for _, b := range s.blocks {
		high := uint32(b.high) << 16
		for _, low := range b.list {
			do(high | uint32(low))
		}
		for i, word := range b.bits {
			for ; word != 0; word &= word - 1 {
				do(high | uint32(i<<6+bits.TrailingZeros64(word)))
			}
		}
	}
}

func (s *set) count() int { return int(s.n) }

// days is a set of days: 64 from the first in place, others in a set.
type days struct {
	base Day
	near uint64
	far  *set
}

func (d *days) add(day Day) (grown int) {
	if d.near == 0 {
		d.base = day
	}
	if day < d.base && d.far == nil {
		if shift := uint(d.base - day); shift < 64 && bits.LeadingZeros64(d.near) >= int(shift) {
			d.near <<= shift
			d.base = day
		}
	}
	if offset := day - d.base; offset >= 0 && offset < 64 {
		d.near |= 1 << offset
		return 0
	}
	if d.far == nil {
		d.far = &set{}
		grown = setSize
	}
	return grown + d.far.add(uint32(day))
}

func (d *days) count() int {
	n := bits.OnesCount64(d.near)
	if d.far != nil {
		n += d.far.count()
	}
	return n
}

// setSize is the size of a set, in bytes.
const setSize = 48
