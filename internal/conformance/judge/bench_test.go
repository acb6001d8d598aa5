package judge

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// talk is a conversation of messages by turns, the client's first.
func talk(transport uint8, port uint16, messages ...[]byte) *conformance.Conversation {
	c := &conformance.Conversation{Transport: transport, ClientPort: 50000, ServerPort: port, StartSeen: true}
	for i, m := range messages {
		h := &c.Client
		if i%2 == 1 {
			h = &c.Server
		}
		h.Segments = append(h.Segments, conformance.Segment{Offset: len(h.Data), Length: len(m), Order: i})
		h.Data = append(h.Data, m...)
		h.Total += uint64(len(m))
	}
	return c
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// telemetry is a binary record as many programs send it: small numbers, flags, a counter, a name.
func telemetry(i int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(i))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)*0.37))
	b = append(b, 1, 0, 0, 2, byte(i%3), 0, 0, 0)
	return append(b, "sensor-7\x00\x00\x00\x00temperature\x00\xff\xff\x00\x00"...)
}

func repeated(n int, message func(i int) []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = message(i)
	}
	return all
}

// usual are the kinds of flow that a host has most, none with a handshake to parse.
func usual() map[string]*conformance.Conversation {
	query := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01")
	answer := append([]byte("\x12\x34\x81\x80\x00\x01\x00\x01"), query[8:]...)
	answer = append(answer, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x5d\xb8\xd8\x22"...)
	return map[string]*conformance.Conversation{
		"dns": talk(conformance.UDP, 53, query, answer),
		"http": talk(conformance.TCP, 80, []byte("GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n"),
			append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"), bytes.Repeat([]byte("text "), 80)...)),
		"text":           talk(conformance.TCP, 7000, repeated(6, func(int) []byte { return []byte("a line of a protocol nobody knows\n") })...),
		"structured tcp": talk(conformance.TCP, 7000, repeated(20, telemetry)...),
		"structured udp": talk(conformance.UDP, 7000, repeated(20, telemetry)...),
		"one datagram":   talk(conformance.UDP, 7000, telemetry(1)),
		"random tcp":     talk(conformance.TCP, 7000, noise(700), noise(1300)),
		"random udp":     talk(conformance.UDP, 7000, noise(700), noise(1300)),
	}
}

func BenchmarkJudge(b *testing.B) {
	for name, c := range usual() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Judge(c, conformance.Options{})
			}
		})
	}
	for name, c := range hostile() {
		b.Run("hostile "+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Judge(c, conformance.Options{})
			}
		})
	}
}

// TestAllocations: a flow without a handshake costs at most one allocation to judge.
func TestAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector changes what is measured")
	}
	for name, c := range usual() {
		n := testing.AllocsPerRun(200, func() { Judge(c, conformance.Options{}) })
		require.LessOrEqual(t, n, 1.0, name)
	}
}

// hostile are the longest samples that a flow can have, made to keep every search busy.
func hostile() map[string]*conformance.Conversation {
	const sample, segments = 16 << 10, 256
	cut := func(transport uint8, b []byte) *conformance.Conversation {
		return talk(transport, 7000, repeated(segments, func(i int) []byte {
			size := 2 * sample / segments
			return b[i/2*size : (i/2+1)*size]
		})...)
	}
	fill := func(make func(i int) byte) []byte {
		b := noise(sample)
		for i := range b {
			b[i] = make(i)
		}
		return b
	}
	mixed := func(every int) []byte { // ciphertext but for every so many bytes
		b := noise(sample)
		for i := 0; i < len(b); i += every {
			b[i] = 0
		}
		return b
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(bytes.Repeat(noise(300), 400))
	_ = w.Close()
	deflated := bytes.Repeat(packed.Bytes()[2:], sample/packed.Len()+1)[:sample]
	all := map[string]*conformance.Conversation{}
	for name, b := range map[string][]byte{
		"zeros": make([]byte, sample), "ones": fill(func(int) byte { return 1 }), "counter": fill(func(i int) byte { return byte(i) }),
		"noise": noise(sample), "mixed 20": mixed(20), "mixed 128": mixed(128), "deflate": deflated,
		"fixed codes": fill(func(i int) byte { return byte(i*7)&^6 | 2 }), "high text": bytes.Repeat([]byte("\xc3\xa9\x01\x02\xc3"), sample)[:sample],
		"records": bytes.Repeat([]byte{0x17, 3, 3, 0, 1, 0}, sample)[:sample], "pairs": fill(func(i int) byte { return byte(i & 1 * 2) }),
	} {
		all["tcp "+name] = cut(conformance.TCP, b)
		all["udp "+name] = cut(conformance.UDP, b)
	}
	return all
}

// TestCostIsBounded: whatever the bytes are, a look at 32 KiB of them takes about a millisecond; there is room for slow machines.
func TestCostIsBounded(t *testing.T) {
	if race {
		t.Skip("the race detector changes what is measured")
	}
	const most, tries = 4 * time.Millisecond, 20
	for name, c := range hostile() {
		best := time.Hour
		for range tries {
			start := time.Now()
			Judge(c, conformance.Options{})
			best = min(best, time.Since(start))
		}
		require.Less(t, best, most, name)
	}
}
