package protocol

// chain walks messages that follow one another in a stream. size is given what starts with a message's first head bytes (or fewer,
// where the stream ends) and gives its length, or -1 when it is none. ok is false where a message is none, or is cut although
// all of the stream was seen; n counts the messages whose heads are whole, up to most.
func (s side) chain(most, head int, size func(b []byte) int) (n int, ok bool) {
	rest := s.data
	for len(rest) > 0 && n < most {
		if len(rest) < head {
			return n, s.open
		}
		length := size(rest)
		if length < head {
			return n, false
		}
		n++
		if length > len(rest) {
			return n, s.open
		}
		rest = rest[length:]
	}
	return n, true
}
