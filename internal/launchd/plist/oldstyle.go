package plist

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// oldStyleReader reads the text form of NeXTSTEP, as CFOldStylePList.c does: strings, data, arrays and dictionaries only.
type oldStyleReader struct {
	text   []byte
	pos    int
	budget *budget
}

func parseOldStyle(text []byte, b *budget) (any, error) {
	o := &oldStyleReader{text: text, budget: b}
	value, err := o.document()
	if err != nil {
		return nil, fmt.Errorf("old-style: offset %d: %w", o.pos, err)
	}
	return value, nil
}

func (o *oldStyleReader) document() (any, error) {
	if err := o.skip(); err != nil {
		return nil, err
	}
	if o.pos == len(o.text) {
		return nil, errors.New("empty")
	}
	value, err := o.value(0)
	if err != nil {
		return nil, err
	}
	if err := o.skip(); err != nil {
		return nil, err
	}
	if o.pos < len(o.text) {
		return nil, errors.New("text behind the value")
	}
	return value, nil
}

// skip goes past white space and comments.
func (o *oldStyleReader) skip() error {
	for o.pos < len(o.text) {
		rest := o.text[o.pos:]
		switch {
		case rest[0] <= ' ':
			o.pos++
		case bytes.HasPrefix(rest, []byte("//")):
			if end := bytes.IndexAny(rest, "\r\n"); end >= 0 {
				o.pos += end
			} else {
				o.pos = len(o.text)
			}
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest[2:], []byte("*/"))
			if end < 0 {
				return errors.New("a comment without end")
			}
			o.pos += end + 4
		default:
			return nil
		}
	}
	return nil
}

// peek gives the next character after white space, 0 at the end.
func (o *oldStyleReader) peek() (byte, error) {
	if err := o.skip(); err != nil || o.pos == len(o.text) {
		return 0, err
	}
	return o.text[o.pos], nil
}

func (o *oldStyleReader) value(depth int) (any, error) {
	if err := o.budget.enter(depth); err != nil {
		return nil, err
	}
	c, err := o.peek()
	if err != nil {
		return nil, err
	}
	switch c {
	case '{':
		return o.dict(depth)
	case '(':
		return o.array(depth)
	case '<':
		return o.data()
	}
	return o.string()
}

func (o *oldStyleReader) array(depth int) (any, error) {
	o.pos++
	list := []any{}
	for {
		c, err := o.peek()
		if err != nil {
			return nil, err
		}
		if c == ')' {
			o.pos++
			return list, nil
		}
		value, err := o.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
		if c, err = o.peek(); err != nil {
			return nil, err
		}
		switch c {
		case ',':
			o.pos++
		case ')':
		default:
			return nil, errors.New("neither , nor ) in an array")
		}
	}
}

func (o *oldStyleReader) dict(depth int) (any, error) {
	o.pos++
	dict := map[string]any{}
	for {
		c, err := o.peek()
		if err != nil {
			return nil, err
		}
		if c == '}' {
			o.pos++
			return unwrapUID(dict), nil
		}
		if err := o.pair(dict, depth); err != nil {
			return nil, err
		}
	}
}

func (o *oldStyleReader) pair(dict map[string]any, depth int) error {
	if err := o.budget.enter(depth + 1); err != nil {
		return err
	}
	key, err := o.string()
	if err != nil {
		return err
	}
	var value any = key // "key;" alone has itself as its value
	c, err := o.peek()
	if err != nil {
		return err
	}
	if c == '=' {
		o.pos++
		if value, err = o.value(depth + 1); err != nil {
			return err
		}
		if c, err = o.peek(); err != nil {
			return err
		}
	}
	if c != ';' {
		return fmt.Errorf("no ; behind %q", shorten(key))
	}
	o.pos++
	o.budget.set(dict, key, value)
	return nil
}

func (o *oldStyleReader) data() (any, error) {
	o.pos++
	end := bytes.IndexByte(o.text[o.pos:], '>')
	if end < 0 {
		return nil, errors.New("data without end")
	}
	digits := bytes.Join(bytes.Fields(o.text[o.pos:o.pos+end]), nil)
	data := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(data, digits); err != nil {
		return nil, errors.New("data that is not hexadecimal")
	}
	o.pos += end + 1
	return data, nil
}

func (o *oldStyleReader) string() (string, error) {
	if c := o.text[o.pos:]; len(c) > 0 && (c[0] == '"' || c[0] == '\'') {
		return o.quoted(c[0])
	}
	start := o.pos
	for o.pos < len(o.text) && isBare(o.text[o.pos]) {
		o.pos++
	}
	if start == o.pos {
		return "", errors.New("a value is missing")
	}
	return string(o.text[start:o.pos]), nil
}

// isBare says which characters a string without quotes may have.
func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_$/:.-", c) >= 0
}

func (o *oldStyleReader) quoted(quote byte) (string, error) {
	o.pos++
	var b strings.Builder
	for o.pos < len(o.text) {
		c := o.text[o.pos]
		o.pos++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			o.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a string without end")
}

var escapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// escape reads what follows a backslash.
func (o *oldStyleReader) escape(b *strings.Builder) {
	if o.pos >= len(o.text) {
		return
	}
	c := o.text[o.pos]
	switch {
	case c == 'U':
		o.pos++
		b.WriteRune(o.number(16, 4))
	case c >= '0' && c <= '7':
		b.WriteRune(o.number(8, 3))
	case escapes[c] != 0:
		b.WriteByte(escapes[c])
		o.pos++
	default:
		b.WriteByte(c)
		o.pos++
	}
}

// number reads at most so many digits of a character's code.
func (o *oldStyleReader) number(base, digits int) rune {
	end := o.pos
	for end < min(len(o.text), o.pos+digits) && isDigit(o.text[end], base) {
		end++
	}
	n, err := strconv.ParseUint(string(o.text[o.pos:end]), base, 16)
	o.pos = end
	if err != nil {
		return utf8.RuneError
	}
	return rune(n) //nolint:gosec // 16 bits
}

func isDigit(c byte, base int) bool {
	_, err := strconv.ParseUint(string(rune(c)), base, 8)
	return err == nil
}
