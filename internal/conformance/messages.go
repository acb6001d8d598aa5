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
