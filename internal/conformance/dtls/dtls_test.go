package dtls

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// recorded is one conversation that testdata/record.py recorded.
type recorded struct {
	name           string
	client, server [][]byte
	order          []bool // true: the client's datagram
}

func load(t testing.TB) (out []recorded) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		f, err := os.Open(path)
		require.NoError(t, err)
		r := recorded{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
		for sc := bufio.NewScanner(f); sc.Scan(); {
			side, text, _ := strings.Cut(sc.Text(), " ")
			b, err := hex.DecodeString(text)
			require.NoError(t, err)
			r.order = append(r.order, side == "C")
			if side == "C" {
				r.client = append(r.client, b)
			} else {
				r.server = append(r.server, b)
			}
		}
		require.NoError(t, f.Close())
		out = append(out, r)
	}
	return out
}

func half(ds [][]byte) (h conformance.Half) {
	for i, d := range ds {
		h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(d), Order: i})
		h.Data = append(h.Data, d...)
	}
	h.Total = uint64(len(h.Data))
	return h
}

func flow(client, server [][]byte) *conformance.Conversation {
	return &conformance.Conversation{Transport: udp, ClientPort: 50000, ServerPort: 4433, StartSeen: true, Ended: true, Client: half(client), Server: half(server)}
}

func TestGenuine(t *testing.T) {
	t.Parallel()
	for _, r := range load(t) {
		j, ok := Recognize(flow(r.client, r.server), conformance.Options{})
		require.True(t, ok, r.name)
		require.Empty(t, j.Violations, r.name)
		require.Equal(t, conformance.DTLS, j.Verdict, r.name)
		require.Regexp(t, "^d", j.JA4, r.name)
		if strings.Contains(r.name, "dtls10") {
			require.Equal(t, "1.0", j.TLSVersion, r.name)
		} else {
			require.Equal(t, "1.2", j.TLSVersion, r.name)
		}
	}
}

// TestGenuineLossy: whatever datagrams a capture lost, in whatever order the rest came, nobody is accused.
func TestGenuineLossy(t *testing.T) {
	t.Parallel()
	r := mrand.New(mrand.NewPCG(5, 6))
	named := 0
	for _, g := range load(t) {
		for range 100 {
			lose := func(ds [][]byte) (out [][]byte) {
				for _, d := range ds {
					if r.IntN(3) > 0 {
						out = append(out, d)
					}
				}
				r.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
				return out
			}
			c := flow(lose(g.client), lose(g.server))
			if r.IntN(2) == 0 {
				c.Client, c.Server = c.Server, c.Client
			}
			j, ok := Recognize(c, conformance.Options{})
			require.Empty(t, j.Violations, g.name)
			if ok && j.Verdict == conformance.DTLS {
				named++
			}
		}
	}
	require.Greater(t, named, 700)
}

// TestBesideSTUN: in WebRTC, STUN comes first on the same ports (RFC 7983).
func TestBesideSTUN(t *testing.T) {
	t.Parallel()
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	g := load(t)[0]
	j, ok := Recognize(flow(append([][]byte{stun}, g.client...), append([][]byte{stun}, g.server...)), conformance.Options{})
	require.True(t, ok)
	require.Equal(t, conformance.DTLS, j.Verdict)
	_, ok = Recognize(flow([][]byte{stun, stun}, [][]byte{stun}), conformance.Options{})
	require.False(t, ok)
}

func noise(n int, seed uint64) []byte {
	r := mrand.New(mrand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func header(typ byte, epoch uint16, seq uint32, n int) []byte {
	h := []byte{typ, 0xfe, 0xfd}
	h = binary.BigEndian.AppendUint16(h, epoch)
	h = append(h, 0, 0)
	h = binary.BigEndian.AppendUint32(h, seq)
	return binary.BigEndian.AppendUint16(h, uint16(n))
}

func TestForged(t *testing.T) {
	t.Parallel()
	// mKCP's disguise: application data with a counter and a length that has nothing to do with the datagram's
	// (v2ray-core transport/internet/headers/tls/dtls.go).
	var kcp [][]byte
	for i := range uint32(8) {
		kcp = append(kcp, append(header(23, 0x4d2f, i, 17*int(i+1)), noise(40+97*int(i), uint64(i))...))
	}
	record := func(typ byte, epoch uint16, body []byte) []byte {
		return append(header(typ, epoch, 0, len(body)), body...)
	}
	xored := bytes.Repeat([]byte("command and control "), 20)
	for i := range xored {
		xored[i] ^= 0x33
	}
	hello := load(t)[0].client[0]
	broken := bytes.Clone(hello)
	broken[recordHeader+handshakeHeader+34] = 33 // a session id longer than there is

	tests := []struct {
		name           string
		client, server [][]byte
		want           string
	}{
		{"mKCP", kcp, kcp, recordLength},
		{"application data of epoch 0", [][]byte{record(23, 0, noise(90, 1))}, nil, appDataFirst},
		{"random bytes as a handshake", [][]byte{record(22, 0, noise(300, 2)), record(22, 0, noise(200, 4))}, nil, "handshake_"},
		{"broken hello", [][]byte{broken}, nil, helloMalformed},
		{"weak cipher", [][]byte{record(23, 1, xored)}, [][]byte{record(23, 1, xored)}, lowEntropyBodies},
		{"random ChangeCipherSpec", [][]byte{hello, record(20, 0, noise(30, 3))}, nil, ccsMalformed},
	}
	for _, tt := range tests {
		j, ok := Recognize(flow(tt.client, tt.server), conformance.Options{})
		require.True(t, ok, tt.name)
		require.Equal(t, conformance.TLSMimic, j.Verdict, tt.name)
		require.Contains(t, strings.Join(j.Violations, " "), tt.want, tt.name)
	}
}

func TestNotDTLS(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{nil, noise(100, 9), []byte("\x16\xfe\xfd"), {0, 1, 2}} {
		_, ok := Recognize(flow([][]byte{b}, nil), conformance.Options{})
		require.False(t, ok)
	}
}

func FuzzDTLS(f *testing.F) {
	for _, g := range load(f) {
		f.Add(bytes.Join(g.client, nil), bytes.Join(g.server, nil), len(g.client[0]), len(g.server[0]))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, n, m int) {
		cut := func(b []byte, n int) (out [][]byte) {
			for n = max(n, 1); len(b) > 0 && len(out) < 64; b = b[min(n, len(b)):] {
				out = append(out, b[:min(n, len(b))])
			}
			return out
		}
		j, ok := Recognize(flow(cut(client, n), cut(server, m)), conformance.Options{})
		if ok && (j.Verdict == conformance.TLSMimic) != (len(j.Violations) > 0) {
			t.Fatal("a mimic without a violation, or the other way round")
		}
	})
}

// TestRepeatedDatagrams: what the network delivers twice is no pattern in the ciphertext.
func TestRepeatedDatagrams(t *testing.T) {
	t.Parallel()
	for _, r := range load(t) {
		var twice [2][][]byte
		for i, ds := range [2][][]byte{r.client, r.server} {
			for _, d := range ds {
				twice[i] = append(twice[i], d, d)
			}
		}
		j, ok := Recognize(flow(twice[0], twice[1]), conformance.Options{})
		require.True(t, ok, r.name)
		require.Equal(t, conformance.DTLS, j.Verdict, "%s: %v", r.name, j.Violations)
	}
}
