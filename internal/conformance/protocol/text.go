package protocol

import (
	"bytes"
	"encoding/binary"
)

// maxLine bounds a line of a text protocol, in bytes.
const maxLine = 8 << 10

// line cuts the next line off b, without its LF or CRLF. ok is false where there is no line end within maxLine bytes.
func line(b []byte) (l, rest []byte, ok bool) {
	i := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if i < 0 {
		return nil, b, false
	}
	l, rest = b[:i], b[i+1:]
	if i > 0 && l[i-1] == '\r' {
		l = l[:i-1]
	}
	return l, rest, true
}

// ones has each byte 1.
const ones = ^uint64(0) / 255

// noControl says whether none of eight bytes is below ' ' or 0x7f (S. E. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less
// than n" and "a zero byte").
func noControl(x uint64) bool {
	del := x ^ ones*0x7f
	return ((x-ones*' ')&^x|(del-ones)&^del)&(ones<<7) == 0
}

// printable says whether b has no control characters but tab, CR and LF.
func printable(b []byte) bool {
	rest := b
	for ; len(rest) >= 8 && noControl(binary.LittleEndian.Uint64(rest)); rest = rest[8:] {
	}
	if n := len(b); n >= 8 && len(rest) < 8 && noControl(binary.LittleEndian.Uint64(b[n-8:])) {
		return true
	}
	for _, x := range rest {
		if x < ' ' && x != '\t' && x != '\r' && x != '\n' || x == 0x7f {
			return false
		}
	}
	return true
}

// mostlyPrintable says whether at most one in sixteen bytes is a control character, as in text with escape sequences; of uniform bytes
// it is one in eight.
func mostlyPrintable(b []byte) bool {
	n := 0
	for _, x := range b {
		if x < ' ' && x != '\t' && x != '\r' && x != '\n' || x == 0x7f {
			n++
		}
	}
	return 16*n <= len(b)
}

// ascii says whether b is all printable ASCII, tab, CR and LF.
func ascii(b []byte) bool {
	for len(b) >= 8 {
		if x := binary.LittleEndian.Uint64(b); x&(ones<<7) != 0 || !noControl(x) {
			break
		}
		b = b[8:]
	}
	for _, x := range b {
		if x >= 0x7f || x < ' ' && x != '\t' && x != '\r' && x != '\n' {
			return false
		}
	}
	return true
}

// hasFold says whether b begins with prefix, which is in upper case, in any case.
func hasFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		x := b[i]
		if 'a' <= x && x <= 'z' {
			x -= 'a' - 'A'
		}
		if x != prefix[i] {
			return false
		}
	}
	return true
}

func has(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// word cuts the first word off a line.
func word(l []byte) (w, rest []byte) {
	i := bytes.IndexByte(l, ' ')
	if i < 0 {
		return l, nil
	}
	return l[:i], bytes.TrimLeft(l[i+1:], " ")
}

func digit(x byte) bool  { return '0' <= x && x <= '9' }
func letter(x byte) bool { return 'a' <= x|0x20 && x|0x20 <= 'z' }

// number reads decimal digits; -1 where there are none, or others, or more than nine.
func number(b []byte) int {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	n := 0
	for _, x := range b {
		if !digit(x) {
			return -1
		}
		n = n*10 + int(x-'0')
	}
	return n
}

// hexNumber reads hexadecimal digits; -1 where there are none, or others, or the number is 2^28 or more.
func hexNumber(b []byte) int {
	n := -1
	if len(b) > 0 && len(b) <= 16 {
		n = 0
	}
	for _, x := range b {
		switch {
		case n < 0, n >= 1<<24:
			return -1
		case digit(x):
			n = n<<4 | int(x-'0')
		case 'a' <= x|0x20 && x|0x20 <= 'f':
			n = n<<4 | int(x|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}

// replyCode reads the three digits that a reply of SMTP, FTP or NNTP starts with; 0 where there are none.
func replyCode(l []byte) int {
	if len(l) < 3 || len(l) > 3 && l[3] != ' ' && l[3] != '-' {
		return 0
	}
	return max(0, number(l[:3]))
}
