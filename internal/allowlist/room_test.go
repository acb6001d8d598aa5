package allowlist

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
)

// TestRoomForRules is not parallel: the limit is the process'.
func TestRoomForRules(t *testing.T) {
	const limit = 1 << 40
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(limit))
	defer debug.SetMemoryLimit(math.MaxInt64)
	dir := t.TempDir()
	file := filepath.Join(dir, "allowlist.d", "a.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o755))
	store := config.NewStore(filepath.Join(dir, "config.yaml"))
	for _, n := range []int{0, 20_000, 100} {
		require.NoError(t, os.WriteFile(file, made(n), 0o600))
		before := debug.SetGCPercent(100)
		s, errs := Load(store, nil)
		require.Equal(t, 100, debug.SetGCPercent(before))
		require.Empty(t, errs)
		require.Len(t, s.Rules(), n)
		require.EqualValues(t, limit+n*ruleSize, debug.SetMemoryLimit(-1))
	}
}
