package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// brotliMessages are what Google's encoder made (testdata/brotli/make.js): JSON, lines and records in turns.
func brotliMessages(t require.TestingT) (all [][]byte) {
	lines, err := os.ReadFile("testdata/brotli/messages.hex")
	require.NoError(t, err)
	for _, line := range strings.Fields(string(lines)) {
		b, err := hex.DecodeString(line)
		require.NoError(t, err)
		all = append(all, b)
	}
	return all
}

// TestBrotli: every message begins as Brotli, whole or cut, and calls of which several are seen are compressed, never random.
func TestBrotli(t *testing.T) {
	t.Parallel()
	all := brotliMessages(t)
	for i, m := range all {
		require.Positive(t, beginsBrotli(m, new([2]prefixCode)), i)
		require.Positive(t, beginsBrotli(m[:len(m)*3/4], new([2]prefixCode)), i)
	}
	for kind := range 3 {
		for name, frame := range map[string]func(i int, b []byte) []byte{
			"bare":   func(_ int, b []byte) []byte { return b },
			"length": func(_ int, b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) },
			"counted": func(i int, b []byte) []byte {
				return append([]byte{0x4c, 0x50, 1, 0, 0, 0, 0, byte(i), byte(len(b) >> 8), byte(len(b))}, b...)
			},
			"lengths": func(i int, b []byte) []byte {
				return append(binary.LittleEndian.AppendUint64(nil, uint64(len(b))<<32|uint64(3*len(b))), b...)
			},
		} {
			got := map[Verdict]int{}
			for round := range 100 {
				r := source(fmt.Sprint("brotli", kind, name, round))
				c := converse(TCP, 4+r.IntN(8), func(turn int, _ bool) []byte { return frame(turn, all[r.IntN(len(all)/3)*3+kind]) })
				got[Unexplained(c, Options{}).Verdict]++
			}
			require.Zero(t, got[Random], "%d %s: %v", kind, name, got)
		}
	}
}

// TestBeginBrotliAt compares with parsing every message's header, on some that are Brotli and some that are not.
func TestBeginBrotliAt(t *testing.T) {
	t.Parallel()
	all, r := brotliMessages(t), source("begin at")
	e := new(examined)
	found := 0
	for range 20_000 {
		at, begin, other, codes, gaveUp := r.IntN(4), 0, 0, 0, false
		var halves [2][][]byte
		for i := range halves {
			for k := range r.IntN(7) {
				m := noise(r, at+r.IntN(60))
				if r.IntN(3) > 0 {
					m = append(m[:at], all[r.IntN(len(all))]...)
				}
				halves[i] = append(halves[i], m)
				if k >= mostBrotli || len(m) < at+minCompressed {
					continue
				}
				if n := beginsBrotli(m[at:], &e.codes); n > 0 {
					begin, codes = begin+1, codes+n
				} else if other++; other == 2 && begin < minBrotli {
					gaveUp = true
				}
			}
		}
		is := !gaveUp && begin >= minBrotli && codes >= minBrotliCodes && 2*other <= begin
		require.Equal(t, is, e.beginBrotliAt(at, halves[:]))
		if is {
			found++
		}
	}
	require.Greater(t, found, 4000)
}

// TestBrotliByChance: uniform bytes hardly ever begin as Brotli.
func TestBrotliByChance(t *testing.T) {
	t.Parallel()
	r, room, one, more := source("chance"), new([2]prefixCode), 0, 0
	const n = 500_000
	for range n {
		switch codes := beginsBrotli(noise(r, 60), room); {
		case codes == 1:
			one++
		case codes > 1:
			more++
		}
	}
	require.Less(t, one, n/4000)
	require.Less(t, more, n/20_000)
}

func FuzzBrotli(f *testing.F) {
	for _, m := range brotliMessages(f) {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) { require.GreaterOrEqual(t, beginsBrotli(b, new([2]prefixCode)), 0) })
}
