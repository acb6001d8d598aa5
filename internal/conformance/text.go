package conformance

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// mostlyText says whether at least four fifths of the bytes are printable ASCII or UTF-8 beyond.
func mostlyText(halves ...[]byte) bool {
	n := 0
	for _, b := range halves {
		n += len(b)
	}
	other := 0 // bytes that are not text
	for _, b := range halves {
		if other += surelyOther(b, n/5-other); 5*other > n {
			return false
		}
	}
	other = 0
	for _, b := range halves {
		for i := 0; i < len(b); {
			if len(b)-i >= 8 {
				if x := binary.LittleEndian.Uint64(b[i:]); x&high == 0 {
					other += 8 - bits.OnesCount64(plainASCII(x))
					i += 8
					continue
				}
			}
			size, text := 1, plain[b[i]]
			if b[i] >= firstLead && i+1 < len(b) && !utf8.RuneStart(b[i+1]) {
				var r rune
				r, size = utf8.DecodeRune(b[i:])
				text = size > 1 && unicode.IsPrint(r)
			}
			if !text {
				if other += size; 5*other > n {
					return false
				}
			}
			i += size
		}
	}
	return 5*other <= n
}

// ones and high have the lowest and the highest bit of each byte of a word set.
const ones, high = 0x0101010101010101, 0x8080808080808080

// plainASCII has the highest bit set of each byte of x that is plain. All of them must be ASCII.
func plainASCII(x uint64) uint64 {
	printable := (x + 0x60*ones) &^ (x + ones)
	tabOrNewline := (x + 0x77*ones) &^ (x + 0x75*ones)
	carriageReturn := (x + 0x73*ones) &^ (x + 0x72*ones)
	return (printable | tabOrNewline | carriageReturn) & high
}

// surelyOther counts bytes that cannot be text, eight at a time until there are more than enough: control characters but those near tab, CR
// and LF, the first byte of a character in UTF-8 without a second one, and a second one behind ASCII. Random bytes have two in five.
func surelyOther(b []byte, enough int) (n int) {
	for ; len(b) >= 10 && n <= enough; b = b[8:] {
		last, x, next := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[2:])
		lead, second := x&(x<<1), x&^(x<<1)
		low := x &^ high
		control := (low+0x70*ones)&^(low+0x60*ones) | ^(low + 0x78*ones) // 16 to 31 and 0 to 7
		n += bits.OnesCount64((lead&^(next&^(next<<1)) | second&^last | control&^x) & high)
	}
	return n
}

// firstLead is the first byte that can begin a character of several bytes in UTF-8.
const firstLead = 0xc2

// plain are the bytes that are text by themselves.
var plain = func() (t [256]bool) {
	for b := range t {
		t[b] = b >= 0x20 && b <= 0x7e || b == '\t' || b == '\r' || b == '\n'
	}
	return t
}()
