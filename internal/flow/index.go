package flow

import "math/rand/v2"

// minSlots is an index's first size; sizes are powers of two.
const minSlots = 64

// index finds flows by key: open addressing with linear probing. Beside Go's own map it saves the second copy of each key,
// which is more than a tenth of what a flow may cost, and one cache miss.
type index struct {
	salt   [11]uint64 // drawn for each index, so that nobody outside can choose ports that collide
	hashes []uint32
	flows  []*Flow // nil: free
	last   *Flow   // what was found or put last: packets of one flow come in trains
	count  int
}

func newIndex() index {
	x := index{hashes: make([]uint32, minSlots), flows: make([]*Flow, minSlots)}
	for i := range x.salt {
		x.salt[i] = rand.Uint64()
	}
	return x
}

// hash is Multilinear-HM of Lemire and Kaser, "Strongly universal string hashing is fast" (The Computer Journal 57, 2014): whatever
// two keys a sender chooses, they collide with a chance of 1 in 2^32, since the salt is secret.
func (x *index) hash(k *key) uint32 {
	sum := x.salt[10]
	for i, w := range k {
		sum += (x.salt[2*i] + w>>32) * (x.salt[2*i+1] + w&0xffffffff)
	}
	return uint32(sum >> 32)
}

// find is the flow of key k, or nil.
func (x *index) find(k *key) *Flow {
	if x.last != nil && x.last.key.is(k) {
		return x.last
	}
	h := x.hash(k)
	mask := len(x.flows) - 1
	for i := int(h) & mask; x.flows[i] != nil; i = (i + 1) & mask {
		if x.hashes[i] == h && x.flows[i].key.is(k) {
			x.last = x.flows[i]
			return x.last
		}
	}
	return nil
}

// put makes f the flow of its key, in place of another.
func (x *index) put(f *Flow) {
	if (x.count+1)*4 > len(x.flows)*3 {
		x.grow()
	}
	if x.insert(f, x.hash(&f.key)) {
		x.count++
	}
	x.last = f
}

// insert says whether a free slot was taken.
func (x *index) insert(f *Flow, h uint32) bool {
	mask := len(x.flows) - 1
	i := int(h) & mask
	for ; x.flows[i] != nil; i = (i + 1) & mask {
		if x.hashes[i] == h && x.flows[i].key == f.key {
			x.flows[i] = f
			return false
		}
	}
	x.hashes[i], x.flows[i] = h, f
	return true
}

func (x *index) grow() {
	hashes, flows := x.hashes, x.flows
	x.hashes, x.flows = make([]uint32, 2*len(flows)), make([]*Flow, 2*len(flows))
	for i, f := range flows {
		if f != nil {
			x.insert(f, hashes[i])
		}
	}
}

// remove takes f out, unless another flow has its key by now. Flows after it move up, so that no probe ends too early.
func (x *index) remove(f *Flow) {
	if x.last == f {
		x.last = nil
	}
	mask := len(x.flows) - 1
	i := int(x.hash(&f.key)) & mask
	for ; x.flows[i] != f; i = (i + 1) & mask {
		if x.flows[i] == nil {
			return
		}
	}
	x.count--
	for j := (i + 1) & mask; x.flows[j] != nil; j = (j + 1) & mask {
		home := int(x.hashes[j]) & mask
		if (j-home)&mask >= (j-i)&mask { // its probe passes i
			x.hashes[i], x.flows[i] = x.hashes[j], x.flows[j]
			i = j
		}
	}
	x.flows[i] = nil
}
