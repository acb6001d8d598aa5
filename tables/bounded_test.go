package tables

import (
	"context"
	"testing"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// busy is a host with more flows than a call may show.
type busy struct {
	flows []sensor.Flow
	most  int
	left  int
}

func (b *busy) Flows(context.Context, func(*sensor.Flow) bool) ([]sensor.Flow, error) {
	return append([]sensor.Flow(nil), b.flows...), nil
}
func (b *busy) MostRows() int { return b.most }
func (b *busy) LeftOut(n int) { b.left += n }

func TestRowsAreBounded(t *testing.T) {
	t.Parallel()
	b := &busy{most: 3}
	for i, v := range []conformance.Verdict{conformance.Random, conformance.TLS, conformance.TLS, conformance.TLSMimic, conformance.QUIC} {
		b.flows = append(b.flows, sensor.Flow{LastSeen: int64(i), Judgement: conformance.Judgement{Verdict: v}})
	}
	rows, err := SocketTLSConformance(b, config.Default).Rows(t.Context(), Query{table.QueryContext{}})
	require.NoError(t, err)
	var got []string
	for _, r := range rows {
		got = append(got, r["verdict"]+r["last_seen"])
	}
	require.Equal(t, []string{"tls_mimic3", "random0", "quic4"}, got, "alerts, then what was seen last")
	require.Equal(t, 2, b.left)

	b.most = 0
	rows, err = SocketTLSConformance(b, config.Default).Rows(t.Context(), Query{table.QueryContext{}})
	require.NoError(t, err)
	require.Len(t, rows, 5)
	require.Equal(t, 2, b.left)
}
