package baseline

import "encoding/json"

// maxDepth bounds how deep JSON may nest: osquery's lines need six.
const maxDepth = 64

// scanner reads JSON (RFC 8259) in one pass and keeps nothing; it takes what encoding/json takes, up to maxDepth (FuzzScanner compares them).
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// peek gives the next byte that is not space; 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// end says whether nothing is left.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.data)
}

// skip goes over any value.
func (s *scanner) skip(depth int) bool {
	switch s.peek() {
	case '{':
		return s.object(depth, func([]byte) bool { return s.skip(depth + 1) })
	case '[':
		return s.array(depth, func() bool { return s.skip(depth + 1) })
	case '"':
		_, _, ok := s.text()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) word(w string) bool {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		return false
	}
	s.at += len(w)
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

func (s *scanner) is(c byte) bool {
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) number() bool {
	s.is('-')
	if !s.is('0') && !s.digits() {
		return false
	}
	if s.is('.') && !s.digits() {
		return false
	}
	if s.is('e') || s.is('E') {
		if !s.is('+') {
			s.is('-')
		}
		return s.digits()
	}
	return true
}

// text reads a string: what stands between its quotes, and whether that has escapes.
func (s *scanner) text() (raw []byte, escaped, ok bool) {
	if !s.take('"') {
		return nil, false, false
	}
	start := s.at
	for s.at < len(s.data) {
		c := s.data[s.at]
		s.at++
		switch {
		case c == '"':
			return s.data[start : s.at-1], escaped, true
		case c < 0x20:
			return nil, false, false
		case c == '\\':
			escaped = true
			if !s.escape() {
				return nil, false, false
			}
		}
	}
	return nil, false, false
}

// escape reads what follows a backslash.
func (s *scanner) escape() bool {
	if s.at >= len(s.data) {
		return false
	}
	c := s.data[s.at]
	s.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if s.at >= len(s.data) || !hex(s.data[s.at]) {
				return false
			}
			s.at++
		}
		return true
	}
	return false
}

func hex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// object reads an object and calls value for each key, with the scanner at its value.
func (s *scanner) object(depth int, value func(key []byte) bool) bool {
	if depth >= maxDepth || !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		key, escaped, ok := s.text()
		if escaped {
			key = unescape(key)
		}
		if !ok || !s.take(':') || !value(key) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// array reads an array and calls value with the scanner at each element.
func (s *scanner) array(depth int, value func() bool) bool {
	if depth >= maxDepth || !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if !value() {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// scalar reads a string or number as text; other values are skipped and give nothing.
func (s *scanner) scalar(depth int) ([]byte, bool) {
	c := s.peek()
	if c == '"' {
		raw, escaped, ok := s.text()
		if escaped {
			raw = unescape(raw)
		}
		return raw, ok
	}
	start := s.at
	ok := s.skip(depth)
	if c == '-' || c >= '0' && c <= '9' {
		return s.data[start:s.at], ok
	}
	return nil, ok
}

func unescape(raw []byte) []byte {
	var text string
	quoted := append(append([]byte{'"'}, raw...), '"')
	if json.Unmarshal(quoted, &text) != nil {
		return raw
	}
	return []byte(text)
}
