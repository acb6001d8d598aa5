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

// TestClientLost: where a capture lost all that the client sent, the server's side is TLS still.
func TestClientLost(t *testing.T) {
	t.Parallel()
	for _, g := range fixtures(t) {
		if strings.HasPrefix(g.name, "starttls_") {
			continue
		}
		g.c.Client.Data, g.c.Client.Segments, g.c.Client.Gap = nil, nil, true
		j, ok := Recognize(g.c, conformance.Options{})
		require.True(t, ok, g.name)
		require.Contains(t, []conformance.Verdict{conformance.TLS, conformance.TLSMidstream}, j.Verdict, "%s: %v", g.name, j.Violations)
	}
}

// TestServerUnseen: where only what the client sent was captured, its side is TLS still, renegotiation too.
func TestServerUnseen(t *testing.T) {
	t.Parallel()
	for _, g := range fixtures(t) {
		if strings.HasPrefix(g.name, "starttls_") {
			continue
		}
		g.c.Server = conformance.Half{}
		if strings.Contains(g.name, "java_tls12") {
			// Renegotiation: all of the second handshake is encrypted (RFC 5246 section 7.4.1.1).
			g.c.Client.Data = join(g.c.Client.Data, rec(22, 0x0303, noise(1136, 1)), rec(20, 0x0303, noise(48, 2)), rec(22, 0x0303, noise(64, 3)))
		}
		j, ok := Recognize(g.c, conformance.Options{})
		require.True(t, ok, g.name)
		require.Equal(t, conformance.TLS, j.Verdict, "%s: %v", g.name, j.Violations)
	}
}
