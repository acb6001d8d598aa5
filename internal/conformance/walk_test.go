package conformance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFieldsOfEveryKind: messages are walked by fields of each width and order at each position, and lengths that are off by one are not.
func TestFieldsOfEveryKind(t *testing.T) {
	t.Parallel()
	r := source("fields")
	for position := range maxPosition + 1 {
		for width := 1; width <= 4; width++ {
			for _, little := range []bool{false, true} {
				f := framing{position: position, width: width, little: little, extra: position + width}
				for wrong := range 2 {
					var stream []byte
					var ends []int
					for range 12 {
						m := noise(r, f.extra+r.IntN(200))
						n := len(m) - f.extra + wrong
						for i := range width {
							at := position + i
							if !little {
								at = position + width - 1 - i
							}
							m[at] = byte(n >> (8 * i))
						}
						stream = append(stream, m...)
						ends = append(ends, len(stream))
					}
					one := carried{units: [][]byte{stream}, ends: ends, stream: true}
					var s search
					require.Equal(t, wrong == 0, s.holds(f, &one, &nothing), fmt.Sprint(f, wrong))
				}
			}
		}
	}
}
