package conformance

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestMostlyText compares with counting every character by the standard library, in mixtures near the border.
func TestMostlyText(t *testing.T) {
	t.Parallel()
	r := source("mostly text")
	kinds := []string{"plain words, ", "\t\r\n", "grün ", "日本語", "\x00\x01", "\x08\x0b\x0c\x0f", "\x1b\x7f", "\xff\xfe", "\xe3\x81", "😀", "\u0085"}
	seen := map[bool]int{}
	for range 30_000 {
		var b []byte
		other := r.IntN(70) // of a hundred pieces
		for range r.IntN(120) {
			switch {
			case r.IntN(100) < other:
				b = append(b, noise(r, 1+r.IntN(6))...)
			case r.IntN(100) < other:
				b = append(b, kinds[r.IntN(len(kinds))]...)
			default:
				b = append(b, kinds[r.IntN(4)]...)
			}
		}
		at, bad := r.IntN(len(b)+1), 0
		for _, half := range [][]byte{b[:at], b[at:]} {
			for rest := half; len(rest) > 0; {
				c, size := utf8.DecodeRune(rest)
				if !(c == '\t' || c == '\r' || c == '\n' || unicode.IsPrint(c)) || c == utf8.RuneError && size == 1 {
					bad += size
				}
				rest = rest[size:]
			}
		}
		want := 5*bad <= len(b)
		seen[want]++
		require.Equal(t, want, mostlyText(b[:at], b[at:]), "%q %q", b[:at], b[at:])
	}
	require.Greater(t, min(seen[true], seen[false]), 5000, "%v", seen)
}
