package process

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// field puts a value at an offset: the tests write structures by the table in docs of xnu's headers, compiled for both Macs.
type field struct {
	at    int
	value any
}

func structure(t testing.TB, size int, fields ...field) []byte {
	t.Helper()
	b := make([]byte, size)
	for _, f := range fields {
		switch v := f.value.(type) {
		case int:
			binary.LittleEndian.PutUint32(b[f.at:], uint32(v))
		case uint64:
			binary.LittleEndian.PutUint64(b[f.at:], v)
		case uint16: // a port
			binary.BigEndian.PutUint16(b[f.at:], v)
		case uint8:
			b[f.at] = v
		case string:
			copy(b[f.at:], v)
		case netip.Addr:
			copy(b[f.at:], v.AsSlice())
		default:
			require.Fail(t, "unknown kind of field")
		}
	}
	return b
}

func TestParseBSDInfo(t *testing.T) {
	t.Parallel()
	b := structure(t, 136, field{12, 501}, field{16, 1}, field{20, 0}, field{28, 1000}, field{48, "sixteen-bytes-xx"},
		field{64, "a longer name of up to 32 bytes"}, field{120, uint64(1_790_000_000)}, field{128, uint64(250_000)})
	p, started, err := parseBSDInfo(b)
	require.NoError(t, err)
	require.Equal(t, Process{PID: 501, PPID: 1, UID: 1000, StartTime: 1_790_000_000, Name: "a longer name of up to 32 bytes"}, p)
	require.Equal(t, uint64(1_790_000_000_250_000), started)

	clear(b[64:96])
	p, _, err = parseBSDInfo(b)
	require.NoError(t, err)
	require.Equal(t, "sixteen-bytes-xx", p.Name)
	_, _, err = parseBSDInfo(b[:135])
	require.Error(t, err)
}

func TestParseShortBSDInfo(t *testing.T) {
	t.Parallel()
	b := structure(t, 64, field{0, 501}, field{4, 1}, field{16, "mdworker"}, field{36, 0}, field{44, 89})
	p, err := parseShortBSDInfo(b)
	require.NoError(t, err)
	require.Equal(t, Process{PID: 501, PPID: 1, UID: 89, Name: "mdworker"}, p)
	_, err = parseShortBSDInfo(b[:63])
	require.Error(t, err)
}

func TestSocketFDs(t *testing.T) {
	t.Parallel()
	b := structure(t, 32+5, field{0, 0}, field{4, 1}, field{8, 7}, field{12, 2}, field{16, 9}, field{20, 6}, field{24, 12}, field{28, 2})
	require.Equal(t, []int32{7, 12}, socketFDs(b))
	require.Empty(t, socketFDs(nil))
}

var (
	v4, v4peer = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	v6, v6peer = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// tcp4 and the like are socket_fdinfo structures: soi_protocol 180, soi_kind 256, foreign and local port 264 and 268, vflag 288,
// foreign and local address 296 and 312 (IPv4 12 bytes later), TCP state 344.
func tcp4(t testing.TB) []byte {
	return structure(t, 792, field{180, 6}, field{256, 2}, field{264, uint16(443)}, field{268, uint16(50000)}, field{288, uint8(1)},
		field{308, v4peer}, field{324, v4}, field{344, 4})
}

func udp6(t testing.TB) []byte {
	return structure(t, 792, field{180, 17}, field{256, 1}, field{264, uint16(53)}, field{268, uint16(50001)}, field{288, uint8(2)},
		field{296, v6peer}, field{312, v6})
}

func TestParseSocketInfo(t *testing.T) {
	t.Parallel()
	port := func(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }
	change := func(b []byte, fields ...field) []byte {
		for _, f := range fields {
			copy(b[f.at:], structure(t, 20, field{0, f.value})[:4])
		}
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want socket
		ok   bool
	}{
		{"tcp4", tcp4(t), socket{protocolTCP, port(v4, 50000), port(v4peer, 443)}, true},
		{"tcp4 listening", change(tcp4(t), field{344, 1}), socket{}, false},
		{"tcp4 closed", change(tcp4(t), field{344, 0}), socket{}, false},
		{"tcp4 connecting", change(tcp4(t), field{344, 2}), socket{protocolTCP, port(v4, 50000), port(v4peer, 443)}, true},
		{"udp6", udp6(t), socket{protocolUDP, port(v6, 50001), port(v6peer, 53)}, true},
		{
			"udp for both, unbound", structure(t, 792, field{180, 17}, field{256, 1}, field{268, uint16(5353)}, field{288, uint8(3)}),
			socket{protocolUDP, port(netip.IPv6Unspecified(), 5353), port(netip.IPv6Unspecified(), 0)}, true,
		},
		{
			"udp4 unbound", structure(t, 792, field{180, 17}, field{256, 1}, field{268, uint16(5353)}, field{288, uint8(1)}),
			socket{protocolUDP, port(netip.IPv4Unspecified(), 5353), port(netip.IPv4Unspecified(), 0)}, true,
		},
		{"icmp", change(udp6(t), field{180, 58}), socket{}, false},
		{"unix", change(udp6(t), field{256, 3}), socket{}, false},
		{"no port", change(udp6(t), field{268, 0}), socket{}, false},
		{"no family", change(udp6(t), field{288, 0}), socket{}, false},
		{"short", udp6(t)[:791], socket{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, ok := parseSocketInfo(tt.b)
			require.Equal(t, tt.ok, ok)
			if ok {
				require.Equal(t, tt.want, s)
			}
		})
	}
}

func TestSocketMatches(t *testing.T) {
	t.Parallel()
	ends := func(local, remote string) (netip.AddrPort, netip.AddrPort) {
		return netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	}
	tests := []struct {
		protocol                uint8
		socketLocal, socketPeer string
		local, remote           string
		want                    bool
	}{
		{6, "192.0.2.1:50000", "198.51.100.7:443", "192.0.2.1:50000", "198.51.100.7:443", true},
		{6, "192.0.2.1:50000", "198.51.100.7:443", "192.0.2.1:50000", "198.51.100.8:443", false},
		{6, "192.0.2.1:50000", "198.51.100.7:443", "192.0.2.2:50000", "198.51.100.7:443", false},
		{6, "0.0.0.0:50000", "0.0.0.0:0", "192.0.2.1:50000", "198.51.100.7:443", false},
		{17, "192.0.2.1:50000", "198.51.100.7:53", "192.0.2.1:50000", "198.51.100.7:53", true},
		{17, "192.0.2.1:50000", "0.0.0.0:0", "192.0.2.1:50000", "198.51.100.7:53", true},
		{17, "0.0.0.0:50000", "0.0.0.0:0", "192.0.2.1:50000", "198.51.100.7:53", true},
		{17, "0.0.0.0:50000", "198.51.100.7:53", "192.0.2.1:50000", "198.51.100.7:53", true},
		{17, "0.0.0.0:50000", "198.51.100.7:53", "192.0.2.1:50000", "198.51.100.9:53", false},
		{17, "[::]:50000", "[::]:0", "192.0.2.1:50000", "198.51.100.7:53", true},
		{17, "[::]:50000", "[::]:0", "[2001:db8::1]:50000", "[2001:db8::2]:53", true},
		{17, "0.0.0.0:50000", "0.0.0.0:0", "[2001:db8::1]:50000", "[2001:db8::2]:53", false},
		{17, "[::]:50001", "[::]:0", "[2001:db8::1]:50000", "[2001:db8::2]:53", false},
	}
	for _, tt := range tests {
		s := socket{protocol: tt.protocol}
		s.local, s.remote = ends(tt.socketLocal, tt.socketPeer)
		local, remote := ends(tt.local, tt.remote)
		require.Equal(t, tt.want, s.matches(tt.protocol, local, remote), "%+v", tt)
		require.False(t, s.matches(23-tt.protocol, local, remote), "%+v", tt)
	}
}

func TestParseProcArgs(t *testing.T) {
	t.Parallel()
	count := string([]byte{3, 0, 0, 0})
	tests := []struct {
		name, text string
		want       []string
		err        string
	}{
		{"usual", count + "/bin/sh\x00\x00\x00\x00sh\x00-c\x00id\x00HOME=/\x00", []string{"sh", "-c", "id"}, ""},
		{"empty argument", count + "/bin/sh\x00\x00sh\x00\x00id\x00HOME=/\x00", []string{"sh", "", "id"}, ""},
		{"cut", count + "/bin/sh\x00sh\x00-c", []string{"sh"}, "1 arguments of 3"},
		{"no path", count + "/bin/sh", nil, "does not end"},
		{"short", "\x01", nil, "1 bytes"},
		{"huge count", "\xff\xff\xff\xff/bin/sh\x00sh\x00", []string{"sh"}, "1 arguments of 4294967295"},
	}
	for _, tt := range tests {
		got, err := parseProcArgs([]byte(tt.text))
		require.Equal(t, tt.want, got, tt.name)
		if tt.err == "" {
			require.NoError(t, err, tt.name)
		} else {
			require.ErrorContains(t, err, tt.err, tt.name)
		}
	}
}

func TestProcEnvironment(t *testing.T) {
	t.Parallel()
	start := "\x01\x00\x00\x00/bin/sh\x00\x00sh\x00"
	for text, want := range map[string]string{
		start + "HOME=/\x00XPC_SERVICE_NAME=com.example.a\x00XPC_SERVICE_NAME=b\x00": "com.example.a",
		start + "HOME=/\x00\x00XPC_SERVICE_NAME=apple string\x00":                    "",
		start + "XPC_SERVICE_NAME_=a\x00":                                            "",
		start + "XPC_SERVICE_NAME=cut":                                               "",
		start:                                                                        "",
		"\x02\x00\x00\x00/bin/sh\x00sh\x00":                                          "",
		"":                                                                           "",
	} {
		require.Equal(t, want, procEnvironment([]byte(text), "XPC_SERVICE_NAME"), "%q", text)
	}
}

func TestParseToken(t *testing.T) {
	t.Parallel()
	for b, want := range map[string]string{
		"\x00\x00\x00\x00\x00\x00\x00\x13ABCDE12345\x00": "ABCDE12345",
		"\x00\x00\x00\x00\x00\x00\x00\x00":               "",
	} {
		got, err := parseToken([]byte(b))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, b := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x07", "\x00\x00\x00\x00\xff\xff\xff\xffABC"} {
		_, err := parseToken([]byte(b))
		require.Error(t, err, "%q", b)
	}
	require.Empty(t, hexHash(make([]byte, 20)))
	require.Equal(t, "00ff", hexHash([]byte{0, 0xff}))
}

func TestAllowance(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	a := newAllowance(0.05, now)
	require.True(t, a.ready(now))
	a.spend(searchBurst + 50*time.Millisecond)
	require.False(t, a.ready(now))
	require.False(t, a.ready(now.Add(900*time.Millisecond)))
	require.True(t, a.ready(now.Add(1100*time.Millisecond)), "50 ms of debt are paid in a second at a share of 5%")
	require.True(t, a.ready(now.Add(time.Hour)))
	require.Equal(t, searchBurst, a.left, "no more is saved up than that")
}

func FuzzProcInfo(f *testing.F) {
	f.Add(tcp4(f))
	f.Add(udp6(f))
	f.Add([]byte("\x01\x00\x00\x00/bin/sh\x00sh\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseSocketInfo(b); ok {
			require.NotZero(t, s.local.Port())
		}
		_, _, _ = parseBSDInfo(b)
		_, _ = parseShortBSDInfo(b)
		_, _ = parseToken(b)
		args, _ := parseProcArgs(b)
		_ = procEnvironment(b, "XPC_SERVICE_NAME")
		require.LessOrEqual(t, len(args), len(b))
		require.LessOrEqual(t, len(socketFDs(b)), len(b)/fdInfoSize)
	})
}
