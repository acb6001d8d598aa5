package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuestion: what is found later is believed only where it can have been there when the flow was asked for first.
func TestQuestion(t *testing.T) {
	t.Parallel()
	const none = 0
	type look struct {
		socket       uint64
		there, right bool
	}
	for name, c := range map[string]struct {
		outbound bool
		looks    []look
	}{
		"found at once":                                {true, []look{{5, true, true}}},
		"the same socket all the time":                 {true, []look{{5, true, true}, {5, true, true}, {5, true, true}}},
		"closed, and its ports used again":             {true, []look{{5, true, true}, {none, false, false}, {6, true, false}, {6, true, false}}},
		"never seen":                                   {true, []look{{none, false, false}, {none, false, false}}},
		"closed before the first look, used again":     {true, []look{{none, false, false}, {6, true, false}, {6, true, false}}},
		"inbound: accepted after the first look":       {false, []look{{none, false, false}, {5, true, true}, {5, true, true}}},
		"inbound: accepted, closed and used again":     {false, []look{{none, false, false}, {5, true, true}, {6, true, false}}},
		"sockets have no names: found at once":         {true, []look{{none, true, true}, {none, true, true}}},
		"sockets have no names: there is always a one": {false, []look{{none, true, true}, {none, true, true}}},
	} {
		q := &Question{Outbound: c.outbound}
		for i, l := range c.looks {
			require.Equal(t, l.right, q.looked(uint64(100+i), l.socket, l.there), "%s: look %d", name, i)
		}
		require.False(t, q.younger(100), "%s: in the unit of time of the first look", name)
		require.Equal(t, c.outbound, q.younger(101), "%s: what was accepted may be given to a new process", name)
	}
}
