package plist

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// xmlReader reads XML property lists as CoreFoundation does (CFPropertyList.c), which is no XML parser: it knows tags, text, comments,
// five entities and character references, and skips attributes and the document type unread. What it takes, launchd runs, so a
// stricter parser would miss jobs.
type xmlReader struct {
	text   []byte
	pos    int
	budget *budget
}

// elements are the values of a property list; "plist" and "key" stand around them.
var elements = map[string]bool{
	"dict": true, "array": true, "string": true, "integer": true, "real": true, "true": true, "false": true, "date": true, "data": true,
}

var errEnd = errors.New("unexpected end")

func parseXML(text []byte, b *budget) (any, error) {
	x := &xmlReader{text: text, budget: b}
	value, err := x.document()
	if err != nil {
		return nil, fmt.Errorf("xml: offset %d: %w", min(x.pos, len(text)), err)
	}
	return value, nil
}

func (x *xmlReader) document() (any, error) {
	t, err := x.next()
	if err != nil {
		return nil, err
	}
	if t.name != "plist" {
		return x.value(t, 0)
	}
	if t.empty {
		return nil, nil
	}
	if t, err = x.next(); err != nil {
		return nil, err
	}
	if t.end {
		return nil, x.closing(t, "plist")
	}
	value, err := x.value(t, 0)
	if err != nil {
		return nil, err
	}
	return value, x.close("plist")
}

// tag is <name>, </name> (end) or <name/> (empty).
type tag struct {
	name       string
	end, empty bool
}

func (t tag) String() string {
	if t.end {
		return "</" + t.name + ">"
	}
	return "<" + t.name + ">"
}

// next skips white space, comments, processing instructions and the document type, and reads a tag.
func (x *xmlReader) next() (tag, error) {
	if err := x.toTag(); err != nil {
		return tag{}, err
	}
	length := bytes.IndexByte(x.text[x.pos:], '>')
	if length < 0 {
		return tag{}, errEnd
	}
	body := x.text[x.pos+1 : x.pos+length]
	x.pos += length + 1
	var t tag
	body, t.end = bytes.CutPrefix(body, []byte("/"))
	if !t.end {
		body, t.empty = bytes.CutSuffix(body, []byte("/"))
	}
	if cut := bytes.IndexAny(body, " \t\r\n"); cut >= 0 {
		body = body[:cut]
	}
	t.name = string(body[:min(len(body), 16)]) // longer than any that is known
	return t, nil
}

// toTag goes to the next tag, past text that stands between values.
func (x *xmlReader) toTag() error {
	for {
		if err := x.skip(); err != nil {
			return err
		}
		i := bytes.IndexByte(x.text[x.pos:], '<')
		if i <= 0 {
			return endUnless(i == 0)
		}
		x.budget.doubt(fmt.Errorf("xml: offset %d: %w", x.pos, ErrStrayText))
		x.pos += i
	}
}

func endUnless(ok bool) error {
	if ok {
		return nil
	}
	return errEnd
}

func (x *xmlReader) skip() error {
	for {
		for x.pos < len(x.text) && isSpace(x.text[x.pos]) {
			x.pos++
		}
		rest := x.text[x.pos:]
		var ok bool
		switch {
		case bytes.HasPrefix(rest, []byte("<!--")):
			ok = x.past("-->", 4)
		case bytes.HasPrefix(rest, []byte("<?")):
			ok = x.past("?>", 2)
		case bytes.HasPrefix(rest, []byte("<!DOCTYPE")):
			ok = x.doctype()
		default:
			return nil
		}
		if !ok {
			return errEnd
		}
	}
}

// past goes behind the next mark that begins at least from bytes further on.
func (x *xmlReader) past(mark string, from int) bool {
	i := bytes.Index(x.text[x.pos+from:], []byte(mark))
	if i >= 0 {
		x.pos += from + i + len(mark)
	}
	return i >= 0
}

// doctype skips the document type with its internal subset, which CoreFoundation does not read either.
func (x *xmlReader) doctype() bool {
	i := bytes.IndexAny(x.text[x.pos:], "[>")
	if i >= 0 && x.text[x.pos+i] == '[' {
		return x.past("]", i) && x.past(">", 0)
	}
	return x.past(">", 0)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (x *xmlReader) close(name string) error {
	t, err := x.next()
	if err != nil {
		return err
	}
	return x.closing(t, name)
}

func (x *xmlReader) closing(t tag, name string) error {
	if !t.end || t.name != name {
		return fmt.Errorf("%s where </%s> should be", t, name)
	}
	return nil
}

// value reads the value whose first tag is t.
func (x *xmlReader) value(t tag, depth int) (any, error) {
	if err := x.budget.enter(depth); err != nil {
		return nil, err
	}
	switch {
	case t.end || !elements[t.name]:
		return nil, fmt.Errorf("unexpected %s", t)
	case t.name == "dict":
		return x.dict(t, depth)
	case t.name == "array":
		return x.array(t, depth)
	}
	text := ""
	if !t.empty {
		var err error
		if text, err = x.content(t.name); err != nil {
			return nil, err
		}
	}
	value, err := scalarXML(t.name, text)
	if err != nil {
		x.budget.doubt(fmt.Errorf("xml: offset %d: %w: %s: %w", x.pos, ErrBadValue, t, err))
	}
	return value, nil
}

func (x *xmlReader) array(t tag, depth int) (any, error) {
	list := []any{}
	for !t.empty {
		in, err := x.next()
		if err != nil {
			return nil, err
		}
		if in.end {
			return list, x.closing(in, "array")
		}
		value, err := x.value(in, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func (x *xmlReader) dict(t tag, depth int) (any, error) {
	dict := map[string]any{}
	for !t.empty {
		in, err := x.next()
		if err != nil {
			return nil, err
		}
		if in.end {
			return unwrapUID(dict), x.closing(in, "dict")
		}
		if err := x.pair(in, dict, depth); err != nil {
			return nil, err
		}
	}
	return dict, nil
}

// pair reads a key, whose tag is t, and its value.
func (x *xmlReader) pair(t tag, dict map[string]any, depth int) error {
	if t.name != "key" {
		return fmt.Errorf("%s where <key> should be", t)
	}
	if err := x.budget.enter(depth + 1); err != nil {
		return err
	}
	key := ""
	var err error
	if !t.empty {
		if key, err = x.content("key"); err != nil {
			return err
		}
	}
	if t, err = x.next(); err != nil {
		return err
	}
	value, err := x.value(t, depth+1)
	if err != nil {
		return fmt.Errorf("%q: %w", shorten(key), err)
	}
	x.budget.set(dict, key, value)
	return nil
}

// content reads the text of an element and its closing tag.
func (x *xmlReader) content(name string) (string, error) {
	var b strings.Builder
	for {
		i := bytes.IndexAny(x.text[x.pos:], "<&")
		if i < 0 {
			return "", errEnd
		}
		b.Write(x.text[x.pos : x.pos+i])
		x.pos += i
		rest := x.text[x.pos:]
		switch {
		case rest[0] == '&':
			if err := x.entity(&b); err != nil {
				return "", err
			}
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			end := bytes.Index(rest, []byte("]]>"))
			if end < 0 {
				return "", errEnd
			}
			b.Write(rest[len("<![CDATA["):end])
			x.pos += end + len("]]>")
		case bytes.HasPrefix(rest, []byte("<!--")):
			if !x.past("-->", 4) {
				return "", errEnd
			}
		case bytes.HasPrefix(rest, []byte("<?")):
			if !x.past("?>", 2) {
				return "", errEnd
			}
		default:
			return b.String(), x.close(name)
		}
	}
}

var entities = map[string]rune{"lt": '<', "gt": '>', "amp": '&', "apos": '\'', "quot": '"'}

// entity reads a reference. None is longer than &#x10ffff;, give or take leading zeros.
func (x *xmlReader) entity(b *strings.Builder) error {
	rest := x.text[x.pos+1 : min(len(x.text), x.pos+16)]
	i := bytes.IndexByte(rest, ';')
	if i < 0 {
		return errors.New("& without an entity")
	}
	name := string(rest[:i])
	r, ok := entities[name]
	if number, isNumber := strings.CutPrefix(name, "#"); isNumber {
		base := 10
		if hex, isHex := strings.CutPrefix(number, "x"); isHex {
			number, base = hex, 16
		}
		n, err := strconv.ParseUint(number, base, 21)
		r, ok = rune(n), err == nil //nolint:gosec // 21 bits
	}
	if !ok {
		return fmt.Errorf("unknown entity &%s;", name)
	}
	b.WriteRune(r)
	x.pos += i + 2
	return nil
}

// scalarXML gives the value of an element that holds text only.
func scalarXML(name, text string) (any, error) {
	switch name {
	case "true", "false":
		return name == "true", nil
	case "integer":
		return integer(strings.TrimSpace(text))
	case "real":
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, errors.New("not a number")
		}
		return f, nil
	case "date":
		t, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
		if err != nil {
			return nil, errors.New("not a date")
		}
		return t.UTC(), nil
	case "data":
		return base64Data(text), nil
	}
	return text, nil
}

// integer reads decimal or 0x numbers with a sign.
func integer(s string) (any, error) {
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(digits, "+")
	}
	base := 10
	if len(digits) > 2 && (digits[:2] == "0x" || digits[:2] == "0X") {
		digits, base = digits[2:], 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	switch {
	case err != nil, negative && n > -math.MinInt64:
		return nil, errors.New("not a number of 64 bits")
	case negative:
		return -int64(n), nil //nolint:gosec // in range
	case n > math.MaxInt64:
		return n, nil
	}
	return int64(n), nil
}

// base64Data passes over what is not of base64 and over an odd digit at the end, as CoreFoundation does.
func base64Data(text string) []byte {
	digits := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' {
			return r
		}
		return -1
	}, text)
	if len(digits)%4 == 1 {
		digits = digits[:len(digits)-1]
	}
	data, _ := base64.RawStdEncoding.DecodeString(digits) // cannot fail: digits only
	return data
}
