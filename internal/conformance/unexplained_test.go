package conformance

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rc4"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// talk is what both sides say in turn: positive turns are the client's. Each turn is sent as one segment, or one datagram.
type talk struct {
	c     Conversation
	order int
}

func (t *talk) say(client bool, message []byte) {
	h := &t.c.Server
	if client {
		h = &t.c.Client
	}
	h.Segments = append(h.Segments, Segment{Offset: len(h.Data), Length: len(message), Order: t.order})
	h.Data = append(h.Data, message...)
	h.Total += uint64(len(message))
	t.order++
}

// converse lets both sides say what make gives for each turn, client first.
func converse(transport uint8, turns int, make func(turn int, client bool) []byte) *Conversation {
	t := talk{c: Conversation{Transport: transport, ClientPort: 50000, ServerPort: 8443, StartSeen: true, Ended: true}}
	for turn := range turns {
		t.say(turn%2 == 0, make(turn, turn%2 == 0))
	}
	return &t.c
}

func source(seed string) *rand.Rand {
	var s [32]byte
	copy(s[:], seed)
	return rand.New(rand.NewChaCha8(s))
}

// command is a plaintext as implants have it.
func command(turn, n int) []byte {
	b := []byte(fmt.Sprintf(`{"id":%d,"cmd":"ls -la /Users/alice/Library","status":"ok","pad":"`, turn))
	return append(b, bytes.Repeat([]byte{'A'}, n)...)[:n]
}

// sealer gives a fresh stream cipher a direction.
func sealer(t *testing.T, r *rand.Rand) func(bool, []byte) []byte {
	streams := map[bool]cipher.Stream{}
	for _, client := range []bool{true, false} {
		key, iv := make([]byte, 32), make([]byte, 16)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		for i := range iv {
			iv[i] = byte(r.Uint32())
		}
		block, err := aes.NewCipher(key)
		require.NoError(t, err)
		streams[client] = cipher.NewCTR(block, iv)
	}
	return func(client bool, plain []byte) []byte {
		out := make([]byte, len(plain))
		streams[client].XORKeyStream(out, plain)
		return out
	}
}

// implants are ways of own encryption, as the wire formats of real families have them. Each gives a maker of turns.
var implants = []struct {
	name      string
	transport uint8
	turns     int
	header    int  // clear bytes before ciphertext
	vague     bool // what is clear cannot be told exactly: repeated ciphertext, a header sent once
	maker     func(t *testing.T, r *rand.Rand) func(int, bool) []byte
}{
	{"aes-ctr u32 be", TCP, 6, 4, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			body := seal(client, command(turn, 40+r.IntN(300)))
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		}
	}},
	{"aes-ctr u16 le, whole length, type", TCP, 6, 3, true, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			body := seal(client, command(turn, 40+r.IntN(300)))
			return append(append(binary.LittleEndian.AppendUint16(nil, uint16(len(body)+3)), 7), body...)
		}
	}},
	{"rc4 from byte 0, one key both ways", TCP, 6, 0, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		key := fmt.Appendf(nil, "key%d", r.Uint64())
		a, err := rc4.NewCipher(key)
		require.NoError(t, err)
		b, err := rc4.NewCipher(key)
		require.NoError(t, err)
		return func(turn int, client bool) []byte {
			plain := command(turn, 60+r.IntN(100))
			if client {
				a.XORKeyStream(plain, plain)
			} else {
				b.XORKeyStream(plain, plain)
			}
			return plain
		}
	}},
	{"tiny messages", TCP, 8, 0, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte { return seal(client, command(turn, 16+r.IntN(16))) }
	}},
	{"tiny messages behind u16", TCP, 8, 2, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			body := seal(client, command(turn, 16+r.IntN(32)))
			return append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)
		}
	}},
	{"82-byte header with magic and length", TCP, 6, 82, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			body := seal(client, command(turn, 400+r.IntN(400)))
			head := make([]byte, 82)
			copy(head, "\x3b\x91\x01\x10\x4f\xb0\xcb\x10")
			binary.LittleEndian.PutUint32(head[8:], uint32(len(body)))
			head[14], head[19], head[24], head[29], head[75] = byte(turn), 0xc2, 0xe2, 0xc2, 0xff
			return append(head, body...)
		}
	}},
	{"aes-ecb", TCP, 8, 4, true, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		key := make([]byte, 16)
		binary.LittleEndian.PutUint64(key, r.Uint64())
		block, err := aes.NewCipher(key)
		require.NoError(t, err)
		return func(turn int, _ bool) []byte {
			body := fmt.Appendf(nil, "%0*x", 16*(8+r.IntN(4)), noise(r, 60))
			for at := 0; at < len(body); at += 16 {
				block.Encrypt(body[at:], body[at:])
			}
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		}
	}},
	{"session id and counter over udp", UDP, 12, 8, false, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			head := []byte{0xde, 0xad, 0xbe, 0xef, 0, 0, 0, byte(turn / 2)}
			return append(head, seal(client, command(turn, 200+r.IntN(200)))...)
		}
	}},
	{"one header at the start", TCP, 4, 4, true, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		seal := sealer(t, r)
		return func(turn int, client bool) []byte {
			body := seal(client, command(turn, 500+r.IntN(200)))
			if turn < 2 {
				return append([]byte{1, 0, 0, 0}, body...)
			}
			return body
		}
	}},
}

// TestImplants judges 200 conversations of each kind. Stated is the share that may be missed: two directions, each judged at
// the default threshold, and what few bytes cost.
func TestImplants(t *testing.T) {
	t.Parallel()
	for _, implant := range implants {
		t.Run(implant.name, func(t *testing.T) {
			t.Parallel()
			const rounds = 200
			found, headers := 0, 0
			for round := range rounds {
				r := source(fmt.Sprint(implant.name, round))
				c := converse(implant.transport, implant.turns, implant.maker(t, r))
				j := Unexplained(c, Options{})
				if j.Verdict == Random {
					found++
				}
				if j.HeaderBytes == implant.header {
					headers++
				}
			}
			t.Logf("found %d of %d, header right %d", found, rounds, headers)
			require.GreaterOrEqual(t, found, rounds*97/100)
			if implant.header >= 2 && !implant.vague {
				require.GreaterOrEqual(t, headers, rounds*8/10)
			}
		})
	}
}

// benign are conversations that are not encrypted, though some of their bytes are hard to tell from ciphertext.
var benign = []struct {
	name      string
	transport uint8
	verdict   Verdict
	maker     func(t *testing.T, r *rand.Rand) func(int, bool) []byte
}{
	{"json behind a length", TCP, Cleartext, func(_ *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(turn int, _ bool) []byte {
			body := command(turn, 60+r.IntN(200))
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		}
	}},
	{"zlib behind a length", TCP, Compressed, packed(4, func(b *bytes.Buffer) writeCloser { return zlib.NewWriter(b) })},
	{"gzip behind a header", TCP, Compressed, packed(16, func(b *bytes.Buffer) writeCloser { return gzip.NewWriter(b) })},
	{"deflate behind a header", UDP, Compressed, packed(8, func(b *bytes.Buffer) writeCloser {
		w, err := flate.NewWriter(b, flate.BestCompression)
		if err != nil {
			panic(err)
		}
		return w
	})},
	{"gob", TCP, Structured, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(turn int, _ bool) []byte {
			var b bytes.Buffer
			type record struct {
				ID    int
				Hash  []byte
				Price float64
				Count uint16
			}
			require.NoError(t, gob.NewEncoder(&b).Encode([]record{{turn, noise(r, 20), r.Float64(), 5}, {turn + 1, noise(r, 20), r.Float64(), 6}}))
			return b.Bytes()
		}
	}},
	{"counters and floats", UDP, Structured, func(_ *testing.T, r *rand.Rand) func(int, bool) []byte {
		x := 100.0
		return func(turn int, _ bool) []byte {
			b := binary.LittleEndian.AppendUint32(nil, uint32(turn))
			for range 20 {
				x += r.NormFloat64()
				b = binary.LittleEndian.AppendUint64(b, uint64(x*1e6))
			}
			return b
		}
	}},
	{"jpeg", TCP, Compressed, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(int, bool) []byte {
			var b bytes.Buffer
			require.NoError(t, jpeg.Encode(&b, picture(r), nil))
			return b.Bytes()
		}
	}},
	{"png", TCP, Compressed, func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(int, bool) []byte {
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, picture(r)))
			return b.Bytes()
		}
	}},
	{"random only one way", TCP, Structured, func(_ *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(turn int, client bool) []byte {
			if client {
				return noise(r, 300)
			}
			return append(make([]byte, 40), 1, 2, 3, byte(turn))
		}
	}},
	{"codec frames over udp", UDP, Structured, func(_ *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(int, bool) []byte {
			b := noise(r, 33)
			for i := range b { // a speech codec's important bits hardly change from frame to frame
				if i%3 == 0 {
					b[i] &= 0x3f
				}
			}
			return b
		}
	}},
}

type writeCloser interface {
	Write([]byte) (int, error)
	Close() error
}

// packed makes messages of header bytes and a compressed text.
func packed(header int, open func(*bytes.Buffer) writeCloser) func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
	return func(t *testing.T, r *rand.Rand) func(int, bool) []byte {
		return func(turn int, _ bool) []byte {
			var b bytes.Buffer
			w := open(&b)
			for i := range 20 {
				fmt.Fprintf(w, "line %d of message %d: %x %s\n", i, turn, r.Uint32(), []string{"red", "green", "blue"}[r.IntN(3)])
			}
			require.NoError(t, w.Close())
			head := make([]byte, header)
			binary.BigEndian.PutUint32(head, uint32(b.Len()))
			return append(head, b.Bytes()...)
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func picture(r *rand.Rand) image.Image {
	m := image.NewGray(image.Rect(0, 0, 64, 64))
	for x := range 64 {
		for y := range 64 {
			m.Set(x, y, color.Gray{Y: uint8(2*x + y + r.IntN(9))})
		}
	}
	return m
}

func TestBenign(t *testing.T) {
	t.Parallel()
	for _, kind := range benign {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			got := map[Verdict]int{}
			for round := range 40 {
				c := converse(kind.transport, 24, kind.maker(t, source(fmt.Sprint(kind.name, round))))
				got[Unexplained(c, Options{}).Verdict]++
			}
			t.Log(got)
			require.Zero(t, got[Random]+got[RandomMidstream])
			require.GreaterOrEqual(t, got[kind.verdict], 36)
		})
	}
}

func TestMidstream(t *testing.T) {
	t.Parallel()
	r := source("midstream")
	c := converse(TCP, 2, func(int, bool) []byte { return noise(r, 4096) })
	c.StartSeen = false
	require.Equal(t, Undetermined, Unexplained(c, Options{}).Verdict)
	c.Client.Total, c.Server.Total = midstream, midstream-1
	require.Equal(t, Undetermined, Unexplained(c, Options{}).Verdict)
	c.Server.Total = midstream
	require.Equal(t, RandomMidstream, Unexplained(c, Options{}).Verdict)
}

func TestFewBytes(t *testing.T) {
	t.Parallel()
	r := source("few")
	require.Equal(t, Undetermined, Unexplained(&Conversation{Transport: TCP, StartSeen: true}, Options{}).Verdict)
	for n := 1; n < minRandom; n++ {
		c := converse(TCP, 1, func(int, bool) []byte { return noise(r, n) })
		require.NotEqual(t, Random, Unexplained(c, Options{}).Verdict, n)
	}
}

func FuzzJudge(f *testing.F) {
	for _, implant := range implants {
		f.Add(converse(implant.transport, 2, implant.maker(&testing.T{}, source("fuzz"))).Client.Data, []byte("HTTP/1.1 200 OK\r\n\r\n"), uint16(40), true)
	}
	for _, kind := range benign {
		c := converse(kind.transport, 2, kind.maker(&testing.T{}, source("fuzz")))
		f.Add(c.Client.Data, c.Server.Data, uint16(100), false)
	}
	f.Fuzz(func(t *testing.T, client, server []byte, cut uint16, tcp bool) {
		c := Conversation{Transport: UDP, StartSeen: true}
		if tcp {
			c.Transport = TCP
		}
		for i, h := range []*Half{&c.Client, &c.Server} {
			h.Data = [][]byte{client, server}[i]
			h.Total = uint64(len(h.Data))
			for at, order := 0, i; at < len(h.Data); at, order = at+int(cut)+1, order+2 {
				h.Segments = append(h.Segments, Segment{Offset: at, Length: min(int(cut)+1, len(h.Data)-at), Order: order})
			}
		}
		j := Unexplained(&c, Options{})
		require.NotEmpty(t, j.Verdict)
		require.LessOrEqual(t, j.HeaderBytes, len(client)+len(server))
		require.GreaterOrEqual(t, j.Confidence, 0.0)
		require.LessOrEqual(t, j.Confidence, 1.0)
	})
}
