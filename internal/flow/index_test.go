package flow

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIndex does the same to the index and to Go's map.
func TestIndex(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), map[key]*Flow{}
	var all []*Flow
	for i := range 200_000 {
		k := key{2: uint64(rnd.IntN(2)), 4: uint64(rnd.IntN(3000)) << 48}
		switch {
		case i%60_000 > 40_000 || rnd.IntN(3) == 0: // takes most of them out again now and then
			if len(all) == 0 {
				continue
			}
			f := all[rnd.IntN(len(all))]
			x.remove(f)
			if want[f.key] == f {
				delete(want, f.key)
			}
		default:
			f := &Flow{key: k}
			all = append(all, f)
			x.put(f)
			want[k] = f
		}
		if got := x.find(&k); got != want[k] {
			t.Fatalf("step %d: %p, want %p", i, got, want[k])
		}
		require.Equal(t, len(want), x.count)
	}
	for k, f := range want {
		require.Same(t, f, x.find(&k))
	}
	left := 0
	for _, f := range x.flows {
		if f != nil {
			left++
		}
	}
	require.Equal(t, len(want), left)
}
