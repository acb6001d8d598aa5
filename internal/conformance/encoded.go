package conformance

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

// An encoding writes bytes as text (RFC 4648): each symbol is so many bits.
type encoding struct {
	bits    uint
	wraps   bool // long values are broken into lines
	reasons []string
}

// Encodings, the smallest alphabet first: what is hexadecimal is base64, too.
var encodings = [...]encoding{
	{4, false, []string{"random_body", "encoded_hex"}}, // lower case
	{4, false, []string{"random_body", "encoded_hex"}},
	{5, true, []string{"random_body", "encoded_base32"}},
	{5, true, []string{"random_body", "encoded_base32"}}, // lower case
	{6, true, []string{"random_body", "encoded_base64"}},
	{6, true, []string{"random_body", "encoded_base64url"}},
}

// An alphabet is a set of encodings.
type alphabet uint8

const anyEncoding alphabet = 1<<len(encodings) - 1

// symbols are the encodings that each byte is a symbol of, and its value in each.
var symbols, symbolValue = func() (of [256]alphabet, value [len(encodings)][256]byte) {
	for i, all := range [len(encodings)]string{
		"0123456789abcdef", "0123456789ABCDEF",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz234567",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	} {
		for v, b := range []byte(all) {
			of[b] |= 1 << i
			value[i][b] = byte(v)
		}
	}
	return of, value
}()

const (
	// maxPrefix is the widest length field before an encoded message.
	maxPrefix = 8
	// minEncoded is how many symbols make a message.
	minEncoded = 8
	// leastEncoded is how many decoded bytes make an alert, more than any digest, signature or token has; lonelyEncoded where one side is
	// silent.
	leastEncoded  = 72
	lonelyEncoded = 136
	// decodedSample is how many decoded bytes of each direction are judged.
	decodedSample = randomness.MaxSample
	// encodedLook is how many bytes at the start tell most text from an encoding.
	encodedLook = 48
)

// encodedText looks for ciphertext in text that is an encoding from the first byte to the last, in both directions, but for length fields
// and ends of lines. Datagrams of text are left alone: ids and tokens are what they carry.
func encodedText(c *Conversation, o Options) (Judgement, bool) {
	if c.Transport != TCP {
		return Judgement{}, false
	}
	for _, b := range [...][]byte{c.Client.Data, c.Server.Data} {
		if len(b) > 0 && !beginsEncoded(b) {
			return Judgement{}, false
		}
	}
	e := examinations.Get().(*examined)
	defer examinations.Put(e)
	e.begin(c, o)
	prefix, symbols := 0, uint(8)
	var by *encoding
	even := true
	for i, h := range [...]*Half{&c.Client, &c.Server} {
		s := &e.sides[i]
		d := decoder{to: e.decoded[i][:0], messages: s.room.whole[:0]}
		if len(h.Data) > 0 && !d.decode(h.Data, messages(c, h, s.room.split[:0])) {
			return Judgement{}, false
		}
		if len(h.Data) > 0 {
			even = even && d.even
			by, prefix, symbols = &encodings[d.encoding], max(prefix, d.field.width), min(symbols, encodings[d.encoding].bits)
		}
		s.decoded(&d)
	}
	if !e.encodedRandom(even) {
		return Judgement{}, false
	}
	j := e.judgeRandom(c)
	if j.Verdict != Random {
		return Judgement{}, false
	}
	j.Reasons = by.reasons
	j.HeaderBytes = prefix + (j.HeaderBytes*8+int(symbols)-1)/int(symbols)
	j.Final = c.Ended || full(c)
	return j, true
}

// beginsEncoded is the cheap look at the start of one direction that most text fails.
func beginsEncoded(b []byte) bool {
	if len(b) <= maxPrefix {
		return false
	}
	for _, c := range b[maxPrefix:min(len(b), maxPrefix+encodedLook)] {
		if symbols[c] == 0 && !endsSymbols(c) {
			return len(b) > 2*maxPrefix && c < 0x20 // a length field within, which is looked at later
		}
	}
	return true
}

// endsSymbols says whether b may follow the last symbol of a message: padding, or the end of a line or string.
func endsSymbols(b byte) bool { return b == '=' || b == '\r' || b == '\n' || b == 0 }

// decoded takes what was decoded of a direction in place of what it carried.
func (s *side) decoded(d *decoder) {
	s.data, s.whole, s.repeats = d.to, d.messages, unknown
	s.carried = s.datagrams(s.whole[:min(len(s.whole), maxMessages)])
	s.messages = distinct(s.whole, s.room.messages[:0])
}

// encodedRandom judges decoded messages: ciphertext from the start, behind a UUID in text, or behind what repeats. Where the symbols are not
// even, only the UUID explains that.
func (e *examined) encodedRandom(even bool) bool {
	a, b := &e.sides[0], &e.sides[1]
	e.least = leastEncoded
	defer func() { e.least = 0 }()
	if len(a.data) == 0 || len(b.data) == 0 {
		e.least = lonelyEncoded
	}
	all := [2][][]byte{a.messages, b.messages}
	header := [2]int{uuids(all[0]), uuids(all[1])}
	if len(a.data)+len(b.data) < e.least || !even && header == [2]int{} || e.onlyDigests() || e.findCompressed() != nil {
		return false
	}
	if even && e.random(0, 0) {
		return true
	}
	if header != [2]int{} && e.accept(all, header, 1-e.threshold) {
		return true
	}
	header = [2]int{clearHeader(all[0]), clearHeader(all[1])}
	return even && header != [2]int{} && e.accept(all, header, 1-e.threshold)
}

// onlyDigests says whether all messages have the length of a digest, an id or a key: a list of these is random and no ciphertext.
func (e *examined) onlyDigests() bool {
	for i := range e.sides {
		for _, m := range e.sides[i].messages {
			switch len(m) {
			case 16, 20, 24, 28, 32, 48, 64:
			default:
				return false
			}
		}
	}
	return true
}

// uuids is the length of the UUID in text form (RFC 9562 section 4) that all messages start with, or 0.
func uuids(all [][]byte) int {
	const length = 36
	for _, m := range all {
		if len(m) < length {
			return 0
		}
		for i, c := range m[:length] {
			dash := i == 8 || i == 13 || i == 18 || i == 23
			if dash != (c == '-') || !dash && symbols[c|0x20]&1 == 0 && symbols[c]&1 == 0 {
				return 0
			}
		}
	}
	return min(len(all), 1) * length
}

// A decoder decodes one direction's messages into to, as far as there is room.
type decoder struct {
	encoding int
	field    framing // its width is 0 where there is none
	to       []byte
	messages [][]byte
	even     bool // all symbols are about as frequent as they should be

	from   int // of to: the message at hand
	bits   uint
	buffer uint
}

// decode finds the encoding and the length field, if any, of one direction, and decodes it; false where any byte is of neither. Without
// a length field messages also end where turns do.
func (d *decoder) decode(b []byte, turns [][]byte) bool {
	if all := alphabetOf(b); all != 0 {
		d.encoding = bits.TrailingZeros8(uint8(all))
		for _, m := range turns {
			d.lines(m)
		}
		d.even = evenlyUsed(b, d.encoding)
		return true
	}
	for _, width := range [...]int{1, 2, 4, maxPrefix} {
		for _, little := range [...]bool{false, true} {
			for _, extra := range [...]int{0, width} {
				d.field = framing{width: width, little: little, extra: extra}
				if all := d.frames(b, false); all != 0 {
					d.encoding = bits.TrailingZeros8(uint8(all))
					d.frames(b, true)
					d.even = evenlyUsed(b, d.encoding)
					return true
				}
			}
		}
	}
	return false
}

// alphabetOf are the encodings that all symbols of b belong to; none where there is anything but symbols and what may follow them, or a
// message is too short.
func alphabetOf(b []byte) alphabet {
	all, run := anyEncoding, 0
	for i, c := range b {
		switch {
		case symbols[c] != 0:
			if i > 0 && b[i-1] == '=' {
				run = 0
			}
			all &= symbols[c]
			run++
		case !endsSymbols(c) || run == 0 && i == 0:
			return 0
		case run > 0 && run < minEncoded:
			return 0
		case c != '=':
			run = 0
		}
		if all == 0 {
			return 0
		}
	}
	return all
}

// evenlyUsed says whether small letters, capitals and digits are about as frequent as in an encoding of uniform bytes: words are not.
func evenlyUsed(b []byte, by int) bool {
	const most = 4.5 // standard deviations
	b = b[:min(len(b), decodedSample)]
	var count [4]int
	for _, c := range b {
		count[symbolKind[c]]++
	}
	n := float64(len(b) - count[0])
	for kind, in := range kindShare[by] {
		mean := n * in
		if d := float64(count[kind+1]) - mean; d*d > most*most*mean*(1-in)+most {
			return false
		}
	}
	return true
}

// symbolKind is 1 for small letters, 2 for capitals, 3 for digits and 0 for others; kindShare is how much of each alphabet each kind is.
var symbolKind, kindShare = func() (kind [256]uint8, share [len(encodings)][3]float64) {
	for b := range kind {
		switch {
		case b >= 'a' && b <= 'z':
			kind[b] = 1
		case b >= 'A' && b <= 'Z':
			kind[b] = 2
		case b >= '0' && b <= '9':
			kind[b] = 3
		}
		for i := range share {
			if symbols[b]>>i&1 != 0 && kind[b] > 0 {
				share[i][kind[b]-1] += 1 / math.Exp2(float64(encodings[i].bits))
			}
		}
	}
	return kind, share
}()

// frames walks through messages behind length fields, and says which encodings they may be, or decodes them.
func (d *decoder) frames(b []byte, decode bool) alphabet {
	const most = 1 << 24
	all := anyEncoding
	for first := true; len(b) > 0; first = false {
		n, width := d.length(b), d.field.width
		if n < width+minEncoded || n > most || n > len(b) && first && width < 4 {
			return 0
		}
		body := b[min(width, len(b)):min(n, len(b))]
		b = b[min(n, len(b)):]
		switch {
		case decode:
			d.lines(body)
		case len(body) > 0:
			all &= alphabetOf(body)
		}
		if all == 0 {
			return 0
		}
	}
	return all
}

// length is how long the message that b starts with is, its length field included; a field that is cut says nothing of it.
func (d *decoder) length(b []byte) int {
	f := &d.field
	if len(b) < f.width {
		return f.width + minEncoded
	}
	v := 0
	switch {
	case f.width < 8:
		v = f.value(b)
	case f.little:
		v = int(min(binary.LittleEndian.Uint64(b), 1<<30))
	default:
		v = int(min(binary.BigEndian.Uint64(b), 1<<30))
	}
	return v + f.width - f.extra
}

// lines decodes messages that end with a line, with padding, or where b ends; lines of one of the usual widths go on in the next.
func (d *decoder) lines(b []byte) {
	run := 0
	for i, c := range b {
		if symbols[c] == 0 {
			wrapped := c == '\n' || c == '\r'
			if !wrapped || run > 0 && !d.wrap(run) {
				d.end()
			}
			run = 0
			continue
		}
		if i > 0 && b[i-1] == '=' {
			d.end()
		}
		run++
		d.symbol(symbolValue[d.encoding][c])
	}
	d.end()
}

// wrap says whether a line of so many symbols may go on in the next (RFC 7468, RFC 2045 and OpenSSL's).
func (d *decoder) wrap(run int) bool { return encodings[d.encoding].wraps && (run == 64 || run == 76) }

func (d *decoder) symbol(v byte) {
	size := encodings[d.encoding].bits
	d.buffer, d.bits = d.buffer<<size|uint(v), d.bits+size
	if d.bits >= 8 {
		d.bits -= 8
		if len(d.to) < cap(d.to) {
			d.to = append(d.to, byte(d.buffer>>d.bits))
		}
	}
}

// end ends a message.
func (d *decoder) end() {
	if len(d.to) > d.from && len(d.messages) < min(cap(d.messages), maxMessages) {
		d.messages = append(d.messages, d.to[d.from:])
	}
	d.from, d.bits = len(d.to), 0
}
