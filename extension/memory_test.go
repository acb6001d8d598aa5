package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMemoryLimit: with the default budget full, and with more alive than the budget, there is always room for garbage, or the collector would never rest.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, live := range []int64{0, 4 * mib, 20 * mib, 30 * mib, 40 * mib, 100 * mib} {
		limit := memoryLimit(32*mib, live)
		require.GreaterOrEqual(t, limit, int64(42*mib))
		require.GreaterOrEqual(t, limit-live-goAround, live/garbageShare)
	}
	require.LessOrEqual(t, memoryLimit(32*mib, 30*mib), int64(43*mib), "with code and ring within 64 MiB")
}
