package conformance

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// maxMessages bounds how many messages of one direction are looked at.
const maxMessages = 64

// messages are one direction's application messages as far as packets show them: each UDP datagram, and what TCP carried before the
// other side spoke. A TCP message that was still in flight when the bytes end is cut. They are appended to all, which must be empty.
func messages(c *Conversation, h *Half, all [][]byte) [][]byte {
	end, order, full, heard := 0, -2, false, lastHeard(c, h)
	for _, s := range h.Segments {
		if s.Offset < 0 || s.Length <= 0 || s.Offset < end || s.Length > len(h.Data)-s.Offset {
			continue
		}
		joined := c.Transport != UDP && len(all) > 0 && s.Order == order+1 && s.Offset == end && (order <= heard || full)
		if !joined && len(all) == maxMessages {
			break
		}
		if joined {
			last := &all[len(all)-1]
			*last = h.Data[end-len(*last) : s.Offset+s.Length]
		} else {
			all = append(all, h.Data[s.Offset:s.Offset+s.Length])
		}
		end, order, full = s.Offset+s.Length, s.Order, s.Length >= leastFull
	}
	if len(all) == 0 && len(h.Data) > 0 {
		return append(all, h.Data)
	}
	if c.Transport != UDP && len(all) < maxMessages && end < len(h.Data) {
		all = append(all, h.Data[end:])
	}
	return all
}

// leastFull is the shortest segment that may be full (RFC 9293 section 3.7.1).
const leastFull = 536

// lastHeard is the order of the last segment that the side opposite to h is known to have sent: what it says after its part of the sample is
// full is not seen.
func lastHeard(c *Conversation, h *Half) int {
	other := &c.Server
	if h == other {
		other = &c.Client
	}
	if n := len(other.Segments); n > 0 && other.Total > uint64(len(other.Data)) {
		return other.Segments[n-1].Order
	}
	return math.MaxInt
}

// distinct leaves out messages that are repeated whole: a datagram that was sent again says nothing new. The others are appended to
// kept, which must be empty and may be the start of all.
func distinct(all, kept [][]byte) [][]byte {
	for _, m := range all {
		seen := false
		for _, k := range kept {
			if len(k) == len(m) && bytes.Equal(k, m) {
				seen = true
				break
			}
		}
		if !seen {
			kept = append(kept, m)
		}
	}
	return kept
}

// bodies appends messages without their first header bytes to rest, as long as there is something left.
func bodies(all [][]byte, header int, rest [][]byte) [][]byte {
	for _, m := range all {
		if len(m) > header {
			rest = append(rest, m[header:])
		}
	}
	return rest
}

// join appends messages to b end to end, as far as there is room.
func join(all [][]byte, b []byte) []byte {
	for _, m := range all {
		b = append(b, m[:min(len(m), cap(b)-len(b))]...)
	}
	return b
}

// block is the shortest repeat that is left out of the bodies, in bytes.
const block = 8

// scatter is secret, so that nobody can send blocks that all fall into one place of the table.
var scatter = [2]uint64{rand.Uint64(), rand.Uint64() | 1}

// blocks is a set of blocks that were seen, in a table with open addressing. A slot holds half of a block's hash, never 0: that two blocks
// share it happens once in some hundred thousand samples, and then one block more is left out.
type blocks struct {
	slots [2 * randomness.MaxSample]uint32
	mask  uint64
}

// reset makes room for so many blocks.
func (s *blocks) reset(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	size = min(size, len(s.slots))
	clear(s.slots[:size])
	s.mask = uint64(size - 1)
}

// add says whether the block was new.
func (s *blocks) add(v uint64) bool {
	high, low := bits.Mul64(v^scatter[0], scatter[1])
	hash := high ^ low
	at, half := hash&s.mask, uint32(hash>>32)|1
	for {
		switch slot := &s.slots[at%uint64(len(s.slots))]; *slot {
		case 0:
			*slot = half
			return true
		case half:
			return false
		}
		at = (at + 1) & s.mask
	}
}

// repeats says whether a block of the first limit bytes of messages has occurred in them before.
func repeats(all [][]byte, limit int, seen *blocks) bool {
	seen.reset(min(limit, size(all)))
	for _, m := range all {
		m = m[:min(len(m), limit)]
		limit -= len(m)
		for at := 0; at+block <= len(m); at++ {
			if !seen.add(binary.LittleEndian.Uint64(m[at:])) {
				return true
			}
		}
	}
	return false
}

// novel cuts out of messages what has occurred in them before, block bytes or more at a time. Ciphertext repeats where an IV or a
// session id is sent again, a key is used twice, or blocks are encrypted one by one (ECB); what is left must still be judged. It
// joins what is left in body, of as many bytes of the messages as there is room for, and gives each message's share of it in kept,
// which may be the start of all. It gives up, not ok, as soon as what is left is improbable.
func novel(all, kept [][]byte, body []byte, seen *blocks) (left [][]byte, joined []byte, ok bool) {
	limit, look := cap(body), excludedBy
	seen.reset(min(limit, size(all)))
	for _, m := range all {
		m = m[:min(len(m), limit)]
		limit -= len(m)
		from := len(body)
		if body = appendUnseen(body, m, seen); len(body) > from {
			kept = append(kept, body[from:])
		}
		if len(body) >= look {
			if improbable.Excludes(body) {
				return kept, body, false
			}
			look = 2 * len(body)
		}
	}
	return kept, body, !improbable.Excludes(body)
}

// unrepeated joins what novel leaves of messages, of as many bytes as there is room for.
func unrepeated(all [][]byte, body []byte, seen *blocks) []byte {
	limit := cap(body)
	seen.reset(min(limit, size(all)))
	for _, m := range all {
		m = m[:min(len(m), limit)]
		limit -= len(m)
		body = appendUnseen(body, m, seen)
	}
	return body
}

// appendUnseen appends m without the blocks that are in seen, and adds its own.
func appendUnseen(body, m []byte, seen *blocks) []byte {
	from := 0 // m[from:] is not yet decided
	for at := 0; at+block <= len(m); at++ {
		if seen.add(binary.LittleEndian.Uint64(m[at:])) {
			continue
		}
		if at > from {
			body = append(body, m[from:at]...)
		}
		from = at + block
	}
	return append(body, m[from:]...)
}

// size is the sum of the messages' lengths.
func size(all [][]byte) int {
	n := 0
	for _, m := range all {
		n += len(m)
	}
	return n
}
