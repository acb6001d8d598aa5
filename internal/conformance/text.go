package conformance

import (
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
		for i := 0; i < len(b); {
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
	return true
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
