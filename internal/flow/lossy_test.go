package flow

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
)

// lossy reads testdata/lossy.pcap: connections of a real kernel over a link that loses, repeats, delays and reorders.
func lossy(t testing.TB) []capture.Packet {
	t.Helper()
	source, err := capture.OpenFile(filepath.Join("testdata", "lossy.pcap"))
	require.NoError(t, err)
	defer source.Close()
	var all []capture.Packet
	var p capture.Packet
	for source.Next(&p) == nil {
		p.Data = slices.Clone(p.Data)
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

// sent is what one side of a connection sent; testdata/lossy.py computes it in the same way.
func sent(connection int, side string) string {
	var b strings.Builder
	for n := 0; b.Len() < 12000; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", connection, side, n))
		b.Write(sum[:])
	}
	return b.String()[:12000]
}

func TestLossyLink(t *testing.T) {
	t.Parallel()
	w, r := newWire(Config{})
	for _, p := range lossy(t) {
		w.table.Add(&p)
	}
	w.table.Close()
	require.Len(t, r.flows, 4)
	for i, s := range r.flows {
		require.Equal(t, sent(i, "client"), s.client)
		require.Equal(t, sent(i, "server"), s.server)
		require.Equal(t, uint16(41000+i), s.conv.ClientPort)
		require.True(t, s.conv.StartSeen)
		require.False(t, s.conv.Client.Gap || s.conv.Server.Gap)
		require.Equal(t, []uint64{12000, 12000}, []uint64{s.conv.Client.Total, s.conv.Server.Total})
		checkHalf(t, &s.conv.Client)
		checkHalf(t, &s.conv.Server)
	}
	require.Equal(t, uint64(4), w.table.Stats().Opened)
}

// TestLossyCapture loses packets from the capture too, which nobody sends again, cuts some and swaps neighbours: what is
// shown stays a prefix of what was sent, and what is missing is admitted.
func TestLossyCapture(t *testing.T) {
	t.Parallel()
	packets := lossy(t)
	gaps, whole := 0, 0
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		w, r := newWire(Config{})
		seen := slices.Clone(packets)
		for i := 1; i < len(seen); i++ {
			if rnd.IntN(5) == 0 {
				seen[i-1], seen[i] = seen[i], seen[i-1]
			}
		}
		for i := range seen {
			p := seen[i]
			switch rnd.IntN(60) {
			case 0:
				continue
			case 1:
				p.Data = p.Data[:rnd.IntN(len(p.Data)+1)]
			}
			w.table.Add(&p)
		}
		w.table.Close()
		for _, s := range r.flows {
			if !s.conv.StartSeen {
				continue
			}
			i := int(s.conv.ClientPort) - 41000
			client, server := sent(i, "client"), sent(i, "server")
			require.True(t, strings.HasPrefix(client, s.client), "seed %d, connection %d", seed, i)
			require.True(t, strings.HasPrefix(server, s.server), "seed %d, connection %d", seed, i)
			require.Equal(t, s.client != client, s.conv.Client.Gap, "seed %d, connection %d: %d bytes", seed, i, len(s.client))
			require.Equal(t, s.server != server, s.conv.Server.Gap, "seed %d, connection %d: %d bytes", seed, i, len(s.server))
			if s.conv.Client.Gap || s.conv.Server.Gap {
				gaps++
			} else {
				whole++
			}
		}
	}
	t.Logf("%d connections with a gap, %d whole", gaps, whole)
	require.NotZero(t, gaps)
	require.NotZero(t, whole)
}
