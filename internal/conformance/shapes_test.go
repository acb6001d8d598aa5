package conformance

import (
	"bytes"
	"compress/zlib"
	"crypto/rc4"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// longHeader is an 82-byte clear header as OceanLotus has it (magic, session, u32 LE length, command, constant bytes), before body.
func longHeader(session byte, command int, body []byte) []byte {
	h := make([]byte, 82, 82+len(body))
	copy(h, []byte{0x3b, 0x91, 0x01, 0x10, session, 0xb0, 0xcb, 0x10})
	binary.LittleEndian.PutUint32(h[8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(h[14:], uint32(command))
	h[19], h[24], h[29], h[75] = 0xc2, 0xe2, 0xc2, 0xff
	return append(h, body...)
}

// login is a clear login in JSON behind a type and a 64-bit length, as FRP sends it.
func login(typ byte, text string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{typ}, uint64(len(text))), text...)
}

// segmented says a turn in segments of at most 1,400 bytes.
func (t *talk) segmented(client bool, message []byte) {
	for len(message) > 0 {
		n := min(len(message), 1400)
		t.say(client, message[:n])
		message = message[n:]
	}
}

// keep cuts what was said by one side to n bytes, as a flow's sample does: of what was said later only the other side's is kept, whose
// segments then follow each other.
func (t *talk) keep(h, other *Half, n int) {
	var kept []Segment
	for _, s := range h.Segments {
		if s.Offset < n {
			s.Length, s.Order = min(s.Length, n-s.Offset), len(kept)
			kept = append(kept, s)
		}
	}
	h.Data, h.Segments = h.Data[:n], kept
	for i := range other.Segments {
		other.Segments[i].Order = len(kept) + i
	}
}

// TestShapes: ciphertext is found where clear headers outweigh it, where only one side ever speaks, where one message fills the sample, and
// after a login in clear text.
func TestShapes(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(*talk, func(bool, []byte) []byte){
		"header only beacons": func(t *talk, seal func(bool, []byte) []byte) {
			for turn := range 8 {
				t.say(true, longHeader(1, 0x55, nil))
				t.say(false, longHeader(1, 0x1102, seal(false, command(turn, 32))))
				t.say(true, longHeader(1, 0x1102, seal(true, command(turn, 48+16*turn))))
			}
		},
		"header longer than bodies": func(t *talk, seal func(bool, []byte) []byte) {
			for turn := range 12 {
				t.say(turn%2 == 0, longHeader(7, turn%3, seal(turn%2 == 0, command(turn, 16+16*(turn%3)))))
			}
		},
		"two messages each": func(t *talk, seal func(bool, []byte) []byte) {
			for turn := range 4 {
				t.say(turn%2 == 0, longHeader(7, 9, seal(turn%2 == 0, command(turn, 64+16*turn))))
			}
		},
		"key once in one direction": func(t *talk, seal func(bool, []byte) []byte) {
			t.say(true, longHeader(1, 1, nil))
			t.say(false, append(longHeader(1, 1, seal(false, command(1, 128))), seal(false, command(0, 32))...))
			for turn := range 5 {
				t.say(true, longHeader(1, 2, nil))
				t.say(true, longHeader(1, 3, seal(true, command(turn, 400+16*turn))))
				t.say(false, longHeader(1, 3, seal(false, command(turn, 64+16*turn))))
			}
		},
		"one way": func(t *talk, seal func(bool, []byte) []byte) {
			for turn := range 6 {
				body := seal(true, command(turn, 120+77*turn))
				t.say(true, append([]byte{9, 1, 7, 4, 0, 0, byte(len(body) >> 8), byte(len(body)), 0, 0, 0, byte(turn)}, body...))
			}
		},
		"sample filled by one message": func(t *talk, seal func(bool, []byte) []byte) {
			for turn := range 4 {
				t.segmented(true, longHeader(3, turn, seal(true, command(turn, 9000+turn))))
				t.say(false, longHeader(3, turn, seal(false, command(turn, 32))))
			}
			t.keep(&t.c.Client, &t.c.Server, 8192)
		},
		"login, then a stream": func(t *talk, seal func(bool, []byte) []byte) {
			t.say(true, login('o', `{"version":"0.61.0","os":"linux","arch":"amd64","privilege_key":"5f4dcc3b5aa765d6","timestamp":1700000000}`))
			t.say(false, append(login('1', `{"version":"0.61.0","run_id":"7f31a9c055d1e2b4"}`), seal(false, command(0, 40))...))
			for turn := range 6 {
				t.say(true, seal(true, command(turn, 60)))
				t.say(false, seal(false, command(turn, 30)))
			}
		},
		"framed login, then framed ciphertext": func(t *talk, seal func(bool, []byte) []byte) {
			framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
			t.say(true, framed([]byte(`{"id":"ab12","os":"darwin","ver":"1.2","key":"bm90IGEga2V5LCBidXQgaXRzIGxlbmd0aA=="}`)))
			for turn := range 6 {
				t.say(false, framed(seal(false, command(turn, 40+turn))))
				t.say(true, framed(seal(true, command(turn, 90+31*turn))))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := 0
			const tries = 50
			for i := range tries {
				c := talk{c: Conversation{Transport: TCP, ClientPort: 50000, ServerPort: 8443, StartSeen: true, Ended: true}}
				say(&c, sealer(t, source(name+string(rune('a'+i)))))
				if Unexplained(&c.c, Options{}).Verdict == Random {
					found++
				}
			}
			require.GreaterOrEqual(t, found, tries*9/10)
		})
	}
}

// TestShapesInClear: the same shapes around what is not ciphertext are no alert.
func TestShapesInClear(t *testing.T) {
	t.Parallel()
	values := func(turn, n int) []byte {
		var b []byte
		for i := 0; len(b) < n; i++ {
			b = binary.LittleEndian.AppendUint32(b, uint32(turn*7919+i*i*31))
		}
		return b[:n]
	}
	for name, say := range map[string]func(*talk){
		"headers": func(t *talk) {
			for turn := range 10 {
				t.say(turn%2 == 0, longHeader(1, turn, values(turn, 32+4*turn)))
			}
		},
		"one way": func(t *talk) {
			for turn := range 6 {
				body := values(turn, 120+77*turn)
				t.say(true, append([]byte{0, 0, byte(len(body) >> 8), byte(len(body))}, body...))
			}
		},
		"login": func(t *talk) {
			t.say(true, login('o', `{"version":"0.61.0","os":"linux","arch":"amd64"}`))
			t.say(false, login('1', `{"version":"0.61.0","run_id":"7f31a9c055d1e2b4"}`))
			for turn := range 10 {
				t.say(turn%2 == 0, values(turn, 100))
			}
		},
	} {
		c := talk{c: Conversation{Transport: TCP, ClientPort: 50000, ServerPort: 8443, StartSeen: true, Ended: true}}
		say(&c)
		require.False(t, Unexplained(&c.c, Options{}).Verdict.Alert(), name)
	}
}

// TestLostBytes: what a capture lost or cut is no evidence; ciphertext that was seen well before the loss is.
func TestLostBytes(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		transport uint8
		cut       int // bytes of each direction that are seen
		want      Verdict
	}{
		"datagrams cut by the capture":     {UDP, 54, Undetermined},
		"first segment cut by the capture": {TCP, 200, Undetermined},
		"nothing of one direction":         {TCP, 0, Undetermined},
		"loss after two segments":          {TCP, 800, Random},
	} {
		seal := sealer(t, source(name))
		c := converse(v.transport, 8, func(turn int, client bool) []byte { return seal(client, command(turn, 400)) })
		for _, h := range []*Half{&c.Client, &c.Server} {
			if name == "nothing of one direction" && h == &c.Server {
				continue
			}
			h.Data, h.Segments, h.Gap = h.Data[:v.cut], h.Segments[:(v.cut+399)/400], true
			if len(h.Segments) == 1 {
				h.Segments[0].Length = v.cut
			}
		}
		require.Equal(t, v.want, Unexplained(c, Options{}).Verdict, name)
	}
}

// TestNoMaskedOpenVPN: messages that all begin with one byte in each direction are not OpenVPN behind a mask, though the two bytes differ
// by what the two resets do.
func TestNoMaskedOpenVPN(t *testing.T) {
	t.Parallel()
	r := source("mask")
	c := converse(UDP, 20, func(_ int, client bool) []byte {
		m := bytes.Repeat([]byte{'a'}, 40+r.IntN(40))
		if m[0] = 0x0b; !client {
			m[0] ^= (resetClientV2 ^ resetServerV2) << 3
		}
		return m
	})
	require.NotEqual(t, "openvpn", Unexplained(c, Options{}).AppProtocol)
}

// TestGh0st: zlib behind a tag and two lengths is known by undoing the XOR; without it, it is compressed.
func TestGh0st(t *testing.T) {
	t.Parallel()
	for key, want := range map[byte]Verdict{0x5a: Random, 0x86: Random, 0: Compressed} {
		c := converse(TCP, 6, func(turn int, client bool) []byte {
			text := command(turn, 80+40*turn)
			var packed bytes.Buffer
			w := zlib.NewWriter(&packed)
			_, err := w.Write(text)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			b := packed.Bytes()
			for i := range b {
				b[i] ^= key
			}
			head := binary.LittleEndian.AppendUint32([]byte("Gh0st"), uint32(13+len(b)))
			return append(binary.LittleEndian.AppendUint32(head, uint32(len(text))), b...)
		})
		j := Unexplained(c, Options{})
		require.Equal(t, want, j.Verdict, "%#x", key)
		if want == Random {
			require.Equal(t, "gh0st", j.AppProtocol)
		}
	}
}

// TestSealedGh0st: zlib encrypted with one RC4 keystream for every message is found by the layout; what is only compressed is not.
func TestSealedGh0st(t *testing.T) {
	t.Parallel()
	const rounds = 500
	found := 0
	for round := range rounds {
		for _, sealed := range []bool{true, false} {
			r := source(fmt.Sprint("gh0st", round))
			key, tag, size := noise(r, 16), []byte(fmt.Sprintf("%05d", r.IntN(1e5))), 40+r.IntN(300)
			c := converse(TCP, 2+r.IntN(12), func(turn int, client bool) []byte {
				text := []byte(fmt.Sprintf("%x %s", noise(r, 4), command(turn, size+r.IntN(200))))
				var packed bytes.Buffer
				w := zlib.NewWriter(&packed)
				_, err := w.Write(text)
				require.NoError(t, err)
				require.NoError(t, w.Close())
				b := packed.Bytes()
				if sealed {
					stream, err := rc4.NewCipher(key)
					require.NoError(t, err)
					stream.XORKeyStream(b, b)
				}
				head := binary.LittleEndian.AppendUint32(append([]byte{}, tag...), uint32(13+len(b)))
				return append(binary.LittleEndian.AppendUint32(head, uint32(len(text))), b...)
			})
			switch j := Unexplained(c, Options{}); {
			case !sealed:
				require.Equal(t, Compressed, j.Verdict)
			case j.Verdict == Random && j.HeaderBytes == 13:
				found++
			}
		}
	}
	t.Logf("%d of %d", found, rounds)
	require.GreaterOrEqual(t, found, rounds*99/100)
}
