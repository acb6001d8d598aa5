package conformance

import "bytes"

// maxMessages bounds how many messages of one direction are looked at.
const maxMessages = 64

// messages are one direction's application messages as far as packets show them: each UDP datagram, and what TCP carried before the
// other side spoke. A TCP message that was still in flight when the bytes end is cut.
func messages(c *Conversation, h *Half) [][]byte {
	var all [][]byte
	end, order := 0, -2
	for _, s := range h.Segments {
		if s.Offset < 0 || s.Length <= 0 || s.Offset < end || s.Length > len(h.Data)-s.Offset {
			continue
		}
		joined := c.Transport != UDP && len(all) > 0 && s.Order == order+1 && s.Offset == end
		if !joined && len(all) == maxMessages {
			break
		}
		if joined {
			last := &all[len(all)-1]
			*last = h.Data[end-len(*last) : s.Offset+s.Length]
		} else {
			all = append(all, h.Data[s.Offset:s.Offset+s.Length])
		}
		end, order = s.Offset+s.Length, s.Order
	}
	if len(all) == 0 && len(h.Data) > 0 {
		return [][]byte{h.Data}
	}
	if c.Transport != UDP && len(all) < maxMessages && end < len(h.Data) {
		all = append(all, h.Data[end:])
	}
	return all
}

// distinct leaves out messages that are repeated whole: a datagram that was sent again says nothing new.
func distinct(all [][]byte) [][]byte {
	var kept [][]byte
	for _, m := range all {
		seen := false
		for _, k := range kept {
			if bytes.Equal(k, m) {
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

// bodies are messages without their first header bytes, as long as there is something left.
func bodies(all [][]byte, header int) [][]byte {
	var rest [][]byte
	for _, m := range all {
		if len(m) > header {
			rest = append(rest, m[header:])
		}
	}
	return rest
}

// join puts messages end to end, up to limit bytes.
func join(all [][]byte, limit int) []byte {
	var b []byte
	for _, m := range all {
		b = append(b, m[:min(len(m), limit-len(b))]...)
	}
	return b
}

// block is the shortest repeat that is left out of the bodies, in bytes.
const block = 8

// novel cuts out of messages what has occurred in them before, block bytes or more at a time. Ciphertext repeats where an IV or a
// session id is sent again, a key is used twice, or blocks are encrypted one by one (ECB); what is left must still be judged. At
// most limit bytes are kept.
func novel(all [][]byte, limit int) [][]byte {
	seen := make(map[[block]byte]struct{}, min(limit, size(all)))
	kept := make([][]byte, 0, len(all))
	for _, m := range all {
		m = m[:min(len(m), limit)]
		limit -= len(m)
		if fresh := unseen(m, seen); len(fresh) > 0 {
			kept = append(kept, fresh)
		}
	}
	return kept
}

// unseen is m without the blocks that are in seen, and adds its own. It is m itself where nothing repeats.
func unseen(m []byte, seen map[[block]byte]struct{}) []byte {
	var fresh []byte
	from, repeats := 0, false // m[from:] is not yet decided
	for at := 0; at+block <= len(m); at++ {
		window := [block]byte(m[at:])
		if _, again := seen[window]; !again {
			seen[window] = struct{}{}
			continue
		}
		repeats = true
		if at > from {
			fresh = append(fresh, m[from:at]...)
		}
		from = at + block
	}
	if !repeats {
		return m
	}
	return append(fresh, m[from:]...)
}

// size is the sum of the messages' lengths.
func size(all [][]byte) int {
	n := 0
	for _, m := range all {
		n += len(m)
	}
	return n
}
