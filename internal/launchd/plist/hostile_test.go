package plist

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	howett "howett.net/plist"
)

// bplist builds a binary property list from raw objects, the first on top, with references of two bytes.
func bplist(objects ...[]byte) []byte {
	b := bytes.NewBufferString("bplist00")
	var table []byte
	for _, o := range objects {
		table = binary.BigEndian.AppendUint32(table, uint32(b.Len())) //nolint:gosec // small
		b.Write(o)
	}
	start := b.Len()
	b.Write(table)
	return append(b.Bytes(), trailer(4, 2, uint64(len(objects)), 0, uint64(start))...)
}

func trailer(offsetSize, refSize byte, count, top, start uint64) []byte {
	t := append(make([]byte, 6), offsetSize, refSize)
	t = binary.BigEndian.AppendUint64(t, count)
	t = binary.BigEndian.AppendUint64(t, top)
	return binary.BigEndian.AppendUint64(t, start)
}

// array is an array of object numbers.
func array(refs ...int) []byte {
	b := []byte{0xA0 | byte(len(refs))} //nolint:gosec // below 15
	for _, r := range refs {
		b = binary.BigEndian.AppendUint16(b, uint16(r)) //nolint:gosec // small
	}
	return b
}

// laughs is n arrays, each holding the next one twice: 2^n values in a few bytes.
func laughs(n int) []byte {
	var objects [][]byte
	for i := range n {
		objects = append(objects, array(i+1, i+1))
	}
	return bplist(append(objects, []byte{0x09})...)
}

func chain(n int) []byte {
	var objects [][]byte
	for i := range n {
		objects = append(objects, array(i+1))
	}
	return bplist(append(objects, []byte{0x09})...)
}

// overlapping is an array of 14 strings that are the same half mebibyte.
func overlapping() []byte {
	const size = 500_000
	refs := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
	b := append([]byte("bplist00"), array(refs...)...)
	at := len(b)
	b = append(b, 0x4F, 0x12)
	b = binary.BigEndian.AppendUint32(b, size)
	b = append(b, make([]byte, size)...)
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, 8)
	for range refs {
		b = binary.BigEndian.AppendUint32(b, uint32(at)) //nolint:gosec // small
	}
	return append(b, trailer(4, 2, uint64(len(refs))+1, 0, uint64(start))...) //nolint:gosec // positive
}

func TestBombs(t *testing.T) {
	t.Parallel()
	const mebi = 1 << 20
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"binary laughs", laughs(40), "unfolds to more than"},
		{"binary laughs below the depth", laughs(20), "unfolds to more than"},
		{"binary chain", chain(65), "nested deeper than 64"},
		{"binary self-reference", bplist(array(0)), "object 0 holds itself"},
		{"binary ring", bplist(array(1), array(0)), "object 0 holds itself"},
		{"binary overlap", overlapping(), "objects overlap"},
		{"binary reference to nowhere", bplist(array(7)), "object 7 of 1"},
		{"binary huge count", bplist([]byte{0xAF, 0x13, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), "do not fit"},
		{"binary huge data", bplist([]byte{0x4F, 0x13, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), "end behind the objects"},
		{"binary huge text", bplist([]byte{0x6F, 0x13, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), "do not fit"},
		{"binary keys that are numbers", bplist([]byte{0xD1, 0, 1, 0, 1}, []byte{0x10, 1}), "key 0 is not a string"},
		{"binary without objects", append(append([]byte("bplist00\x09"), 8), trailer(1, 1, 1<<63, 0, 9)...), "do not fit"},
		{"binary sizes of zero", append([]byte("bplist00\x09\x08"), trailer(0, 0, 1, 0, 9)...), "sizes 0 and 0"},
		{"binary table outside", append([]byte("bplist00\x09\x08"), trailer(1, 1, 1, 0, 1<<40)...), "offset table at"},
		{"xml arrays", []byte("<plist>" + strings.Repeat("<array>", mebi/8)), "nested deeper than 64"},
		{"xml dictionaries", []byte("<plist>" + strings.Repeat("<dict><key>a</key>", mebi/20)), "nested deeper than 64"},
		{"xml values", []byte("<plist><array>" + strings.Repeat("<true/>", mebi/8) + "</array></plist>"), "more than 100000 values"},
		{"xml comments", []byte("<plist>" + strings.Repeat("<!---->", mebi/8)), "unexpected end"},
		{"xml open comments", []byte("<plist>" + strings.Repeat("<!--", mebi/8)), "unexpected end"},
		{"xml entities", []byte("<plist><string>" + strings.Repeat("&lt;", mebi/8)), "unexpected end"},
		{"xml document types", []byte("<?xml?>" + strings.Repeat("<!DOCTYPE[", mebi/16)), "unexpected end"},
		{"old-style arrays", bytes.Repeat([]byte("("), mebi), "nested deeper than 64"},
		{"old-style dictionaries", bytes.Repeat([]byte("{a="), mebi/4), "nested deeper than 64"},
		{"old-style values", []byte("(" + strings.Repeat("a,", mebi/4) + ")"), "more than 100000 values"},
		{"old-style escapes", []byte(`"` + strings.Repeat(`\\`, mebi/4)), "a string without end"},
		{"old-style comments", bytes.Repeat([]byte("/**/"), mebi/4-1), "empty"},
		{"too large", make([]byte, mebi+1), "1048577 bytes, at most 1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			value, err := Parse(tt.data)
			require.Less(t, time.Since(start), 2*time.Second)
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, value)
		})
	}
}

// TestDepthIsExact allows 64 and no more, in all forms.
func TestDepthIsExact(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{64: true, 65: false} {
		for _, data := range [][]byte{
			chain(n),
			[]byte("<plist>" + strings.Repeat("<array>", n) + "<true/>" + strings.Repeat("</array>", n) + "</plist>"),
			[]byte(strings.Repeat("(", n) + "a" + strings.Repeat(")", n)),
		} {
			_, err := Parse(data)
			require.Equal(t, ok, err == nil, "%d: %v", n, err)
		}
	}
}

// FuzzPlist wants an end, no panic, and for binary files that both readers take the same values as howett.net/plist, which is asked only
// about what stayed within the limits.
func FuzzPlist(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	f.Add(laughs(40))
	f.Add(overlapping()[:200])
	f.Add(chain(3))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		got, err := Parse(data)
		require.Less(t, time.Since(start), 5*time.Second)
		if err != nil || !bytes.HasPrefix(data, []byte("bplist00")) {
			return
		}
		var want any
		if _, err := howett.Unmarshal(data, &want); err == nil {
			require.Equal(t, spell(fromHowett(want)), spell(got))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, data := range fixtures(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
