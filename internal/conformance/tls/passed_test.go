package tls

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPassed checks that only what passed is remembered, by certificate, algorithm and the borders between its parts.
func TestPassed(t *testing.T) {
	t.Parallel()
	p := new(passes)
	asked := 0
	ask := func(sum uint64, answer bool) bool {
		return p.check(sum, func() bool {
			asked++
			return answer
		})
	}
	a := p.sum(7, 29, []byte("one"), []byte("two"))
	require.False(t, ask(a, false))
	require.False(t, ask(a, false))
	require.True(t, ask(a, true))
	require.Equal(t, 3, asked)
	require.True(t, ask(a, false), "known to have passed")
	require.Equal(t, 3, asked)
	for _, other := range []uint64{
		p.sum(8, 29, []byte("one"), []byte("two")), p.sum(7, 23, []byte("one"), []byte("two")),
		p.sum(7, 29, []byte("on"), []byte("etwo")), p.sum(7, 29, []byte("onetwo")),
	} {
		require.False(t, ask(other, false))
	}
}
