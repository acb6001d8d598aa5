package tls

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPassed checks that only what passed is remembered, by check, parameter and the borders between its parts.
func TestPassed(t *testing.T) {
	t.Parallel()
	p := &passes{seed: passed.seed}
	asked := 0
	ask := func(sum uint64, answer bool) bool {
		return p.check(sum, func() bool {
			asked++
			return answer
		})
	}
	a := p.sum(passPoint, 29, []byte("one"), []byte("two"))
	require.False(t, ask(a, false))
	require.False(t, ask(a, false))
	require.True(t, ask(a, true))
	require.Equal(t, 3, asked)
	require.True(t, ask(a, false), "known to have passed")
	require.Equal(t, 3, asked)
	for _, other := range []uint64{
		p.sum(passSignature, 29, []byte("one"), []byte("two")), p.sum(passPoint, 23, []byte("one"), []byte("two")),
		p.sum(passPoint, 29, []byte("on"), []byte("etwo")), p.sum(passPoint, 29, []byte("onetwo")),
	} {
		require.False(t, ask(other, false))
	}
}
