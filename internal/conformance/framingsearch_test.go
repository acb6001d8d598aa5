package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNarrow: fields that are too narrow to be looked at are the ones that need more lengths than ends are known.
func TestNarrow(t *testing.T) {
	t.Parallel()
	r := source("narrow")
	for range 5000 {
		a := attempt{known: 1 + r.IntN(2*maxMessages), evidence: minEvidence, narrowest: 1}
		for position := 0; position <= maxPosition; position++ {
			if r.IntN(8) == 0 {
				f := framing{position: r.IntN(maxPosition + 1), width: 1 + r.IntN(maxWidth), extra: r.IntN(maxExtra)}
				a.evidence = max(a.evidence, f.evidence(1+r.IntN(a.known)))
			}
			narrowest := a.narrow(position)
			for width := 1; width <= maxWidth; width++ {
				f := framing{position: position, width: width}
				require.Equal(t, width >= narrowest, f.needed(a.evidence) <= a.known, "%+v %+v", a, f)
			}
		}
	}
}

// TestFrameFirst compares what is known of the first messages, from a search of all, with a search of these.
func TestFrameFirst(t *testing.T) {
	t.Parallel()
	r, e, seen := source("frame first"), new(examined), map[bool]int{}
	for range 3000 {
		position, extra := r.IntN(6), r.IntN(4)
		c := converse(TCP, r.IntN(5), func(int, bool) []byte {
			var b []byte
			for range 1 + r.IntN(4) {
				m := noise(r, position+3+r.IntN(300))
				m[position], m[position+1], m[position+2] = 0, byte((len(m)-extra)>>8), byte(len(m)-extra)
				b = append(b, m...)
			}
			return b[:len(b)-r.IntN(8)/7*min(r.IntN(20), len(b)-1)]
		})
		c.Ended = r.IntN(3) > 0
		if len(c.Client.Data)+len(c.Server.Data) == 0 {
			continue
		}
		e.examine(c, Options{})
		a, b := &e.sides[0], &e.sides[1]
		e.search.each(&a.carried, &b.carried)
		got, ok := e.frameFirst()
		for i := range e.sides {
			s := &e.sides[i]
			s.first = s.datagrams(s.whole[:min(len(s.whole), 1)])
		}
		want, found := new(search).frame(&a.first, &b.first)
		require.Equal(t, found, ok)
		if seen[found]++; found {
			require.Equal(t, want, got)
		}
	}
	require.Greater(t, min(seen[true], seen[false]), 200, "%v", seen)
}

// TestTooUneven: nothing is found in datagrams that are not searched for their bytes' sake.
func TestTooUneven(t *testing.T) {
	t.Parallel()
	r, e, seen := source("too uneven"), new(examined), map[bool]int{}
	for range 4000 {
		uneven, kind, header := r.IntN(300), r.IntN(3), r.IntN(12)
		c := converse(UDP, 1+r.IntN(6), func(int, bool) []byte {
			b := noise(r, header+r.IntN(200))
			for i := range b {
				if i < header || r.IntN(256) < uneven {
					b[i] = [3]byte{0, b[i] % 16, 'a' + b[i]%26}[kind]
				}
			}
			return b
		})
		e.examine(c, Options{})
		if uneven := e.tooUneven(); !e.tooFew() {
			seen[uneven]++
			e.sides[0].repeats, e.sides[1].repeats = unknown, unknown
			require.False(t, uneven && (e.behindFields() || e.random(0, 0) || e.behindHeader()), "%x %x", c.Client.Data, c.Server.Data)
		}
	}
	require.Greater(t, min(seen[true], seen[false]), 300, "%v", seen)
}
