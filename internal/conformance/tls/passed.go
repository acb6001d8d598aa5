package tls

import (
	"hash/maphash"
	"sync/atomic"
)

// passes remembers which inputs have passed a check that takes long, so that a connection that is looked at several times pays for it
// once. What is forgotten is checked again. Its hash is keyed by chance, so that nobody can make one input pass for another.
type passes struct {
	seed  maphash.Seed
	slots [4096]atomic.Uint64
}

var passed = passes{seed: maphash.MakeSeed()}

// Kinds of checks, so that the same bytes are not taken for another check's.
const (
	passSignature = iota
	passPoint
)

// sum is the hash of one check's input.
func (p *passes) sum(kind, parameter uint16, parts ...[]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	for _, b := range parts {
		n := len(b)
		_, _ = h.Write([]byte{byte(kind), byte(parameter >> 8), byte(parameter), byte(n >> 16), byte(n >> 8), byte(n)})
		_, _ = h.Write(b)
	}
	return h.Sum64() | 1
}

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
