package tls

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// protocols are the names that STARTTLS conversations are given, where they differ from the client's option.
var protocols = map[string]string{"postgres": "postgresql", "lmtp": "smtp"}

// TestGenuineFixtures: what OpenSSL and GnuTLS put on the wire is TLS of the version that the case's name says.
func TestGenuineFixtures(t *testing.T) {
	t.Parallel()
	cases := fixtures(t)
	require.NotEmpty(t, cases)
	for _, g := range cases {
		j, ok := Recognize(g.c, conformance.Options{})
		require.True(t, ok, g.name)
		require.Empty(t, j.Violations, g.name)
		if proto, found := strings.CutPrefix(g.name, "starttls_"); found {
			require.Equal(t, conformance.StartTLS, j.Verdict, g.name)
			want := proto
			if p, ok := protocols[proto]; ok {
				want = p
			}
			require.Equal(t, want, j.AppProtocol, g.name)
			continue
		}
		require.Equal(t, conformance.TLS, j.Verdict, g.name)
		for _, v := range []string{"10", "11", "12", "13"} {
			if strings.Contains(g.name, "tls"+v) {
				require.Equal(t, "1."+v[1:], j.TLSVersion, g.name)
			}
		}
	}
}
