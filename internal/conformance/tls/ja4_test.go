package tls

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// TestJA4 compares with fingerprints that FoxIO published: the raw lists in original order and the fingerprint of the same hello, from
// FoxIO-LLC/ja4 python/test/testdata/latest.pcapng.json and the example of technical_details/JA4.md.
func TestJA4(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, want string }{
		{"t13d1516h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035_0023,ff01,0000,001b,0012,4469,002d,002b,000d,0010,0033,000a,0005,0017,000b,0015_0403,0804,0401,0503,0805,0501,0806,0601",
			"t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"t13d1516h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035_000d,0010,0000,000b,0023,4469,ff01,0033,000a,002d,002b,0005,0017,0012,001b,0029_0403,0804,0401,0503,0805,0501,0806,0601",
			"t13d1516h2_8daaf6152771_9b887d9acb53"},
		{"t12d190800_c02c,c02b,c030,c02f,c024,c023,c028,c027,c00a,c009,c014,c013,009d,009c,003d,003c,0035,002f,000a_0000,0005,000a,000b,000d,0023,0017,ff01_0804,0805,0806,0401,0501,0201,0403,0503,0203,0202,0601,0603",
			"t12d190800_d83cc789557e_7af1ed941c26"},
	}
	for _, tt := range tests {
		for _, grease := range []bool{false, true} {
			h, err := ParseClientHello(helloFrom(t, tt.raw, grease), false)
			require.NoError(t, err)
			require.Equal(t, tt.want, JA4(h, tt.raw[0]))
		}
	}
}

func TestJA4ALPN(t *testing.T) {
	t.Parallel()
	// JA4.md, "ALPN Extension Value".
	for name, want := range map[string]string{"": "00", "h2": "h2", "http/1.1": "h1", "\xab": "ab", "\xab\xcd": "ad", "\x30\xab": "3b", "\x30\x31\xab\xcd": "3d", "\x30\xab\xcd\x31": "01"} {
		require.Equal(t, want, ja4ALPN([]byte(name)), "%x", name)
	}
}

func hexes(t *testing.T, list string) (out []uint16) {
	t.Helper()
	for _, s := range strings.Split(list, ",") {
		v, err := strconv.ParseUint(s, 16, 16)
		require.NoError(t, err)
		out = append(out, uint16(v))
	}
	return out
}

// helloFrom builds a ClientHello's body from the raw form of a fingerprint.
func helloFrom(t *testing.T, raw string, grease bool) []byte {
	t.Helper()
	parts := strings.Split(raw, "_")
	list := func(vs []uint16) []byte {
		if grease {
			vs = append([]uint16{0x7a7a}, vs...)
		}
		var b []byte
		for _, v := range vs {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	with16 := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	var exts []byte
	ids := hexes(t, parts[2])
	if grease {
		ids = append([]uint16{0xcaca}, ids...)
	}
	for _, id := range ids {
		var body []byte
		switch id {
		case extServerName:
			body = with16(append([]byte{0}, with16([]byte("example.com"))...))
		case extALPN:
			body = with16(append([]byte{2}, "h2"...))
		case extSupportedVersions:
			v := list([]uint16{0x0304, 0x0303})
			body = append([]byte{byte(len(v))}, v...)
		case extSignatureAlgs:
			body = with16(list(hexes(t, parts[3])))
		}
		exts = append(binary.BigEndian.AppendUint16(exts, id), with16(body)...)
	}
	out := append([]byte{3, 3}, make([]byte, 32)...)
	out = append(out, 0)
	out = append(out, with16(list(hexes(t, parts[1])))...)
	out = append(out, 1, 0)
	return append(out, with16(exts)...)
}

// TestVerdictOnly: who does not want JA4 gets everything else.
func TestVerdictOnly(t *testing.T) {
	t.Parallel()
	for _, g := range fixtures(t) {
		want, ok := Recognize(g.c, conformance.Options{})
		g.c.VerdictOnly = true
		got, okOnly := Recognize(g.c, conformance.Options{})
		want.JA4 = ""
		require.Equal(t, ok, okOnly)
		require.Equal(t, want, got, g.name)
	}
}
