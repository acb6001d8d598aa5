package tls

import (
	"hash/maphash"
	"sync/atomic"
)

// passes remembers which signatures were verified last, so that a connection that is looked at several times within a short time pays for
// its own about once. No two handshakes share a signature, so more would remember nothing but connections that are over. What is
// forgotten is verified again. Its hash is keyed by chance, so that nobody can make one input pass for another.
type passes struct {
	slots [256]atomic.Uint64
}

var (
	passed passes
	seed   = maphash.MakeSeed()
)

// sum is the hash of the input of one signature's verification.
func (p *passes) sum(cert uint64, alg uint16, parts ...[]byte) uint64 {
	sum := cert ^ uint64(alg)
	for _, b := range parts {
		sum = maphash.Comparable(seed, link{sum, maphash.Bytes(seed, b)})
	}
	return sum | 1
}

// link chains the hashes of parts, so that the borders between them count.
type link struct{ before, part uint64 }

// check is what ok gives, which is not asked where it is known to have given true for this input.
func (p *passes) check(sum uint64, ok func() bool) bool {
	slot := &p.slots[sum>>32%uint64(len(p.slots))]
	if slot.Load() == sum {
		return true
	}
	if !ok() {
		return false
	}
	slot.Store(sum)
	return true
}
