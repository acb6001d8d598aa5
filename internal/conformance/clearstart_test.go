package conformance

import (
	"crypto/rc4"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// clearStarts are what may be said in clear before ciphertext.
var clearStarts = map[string]func(r *rand.Rand) []byte{
	"line": func(r *rand.Rand) []byte {
		return []byte("HELLO client " + strings.Repeat("v2.", 2+r.IntN(60)) + "\r\n")
	},
	"login": func(r *rand.Rand) []byte {
		return login('v', fmt.Sprintf(`{"name":"host-%d","key":"%x"}`, r.IntN(99), noise(r, 16)))
	},
	"table": func(r *rand.Rand) (b []byte) {
		for i := range 8 + r.IntN(120) {
			b = binary.LittleEndian.AppendUint64(b, uint64(i*8)<<32|uint64(1+r.IntN(3)))
		}
		return b
	},
	"header": func(r *rand.Rand) []byte { return longHeader(byte(r.IntN(256)), 0x55, nil) },
	"wide": func(r *rand.Rand) (b []byte) {
		for _, c := range strings.Repeat("desktop ", 2+r.IntN(10)) {
			b = append(b, byte(c), 0)
		}
		return b
	},
}

// TestClearStart: RC4 streams are found behind a clear start of both sides, or of one, sent with them or before.
func TestClearStart(t *testing.T) {
	t.Parallel()
	found, all := 0, 0
	for name, start := range clearStarts {
		for round := range 400 {
			r := source(fmt.Sprint(name, round))
			said := [2][]byte{start(r), start(r)}
			if round%4 == 1 {
				said[1] = nil
			}
			k := talk{c: Conversation{Transport: TCP, ClientPort: 50000, ServerPort: 8443, StartSeen: true, Ended: true}}
			var seal [2]*rc4.Cipher
			for i := range seal {
				var err error
				seal[i], err = rc4.NewCipher(noise(r, 16))
				require.NoError(t, err)
			}
			together := round%2 == 0
			for turn := range 2 + 2*r.IntN(6) {
				side := turn % 2
				m := command(turn, 90+r.IntN(90))
				seal[side].XORKeyStream(m, m)
				if turn < 2 && together {
					m = append(said[side], m...)
				} else if turn < 2 && len(said[side]) > 0 {
					k.say(side == 0, said[side])
				}
				k.say(side == 0, m)
			}
			all++
			if j := Unexplained(&k.c, Options{}); j.Verdict == Random {
				found++
				require.LessOrEqual(t, j.HeaderBytes, max(len(said[0]), len(said[1]))+clearWindow+maxClearPause)
			}
		}
	}
	t.Logf("%d of %d", found, all)
	require.GreaterOrEqual(t, float64(found), 0.985*float64(all))
}

// TestClearStartBenign: what is no ciphertext is none behind a clear start either.
func TestClearStartBenign(t *testing.T) {
	t.Parallel()
	for _, kind := range benign {
		if kind.transport != TCP {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for name, start := range clearStarts {
				for round := range 25 {
					r := source(fmt.Sprint(kind.name, name, round))
					makes := kind.maker(t, r)
					c := converse(TCP, 4+r.IntN(12), func(turn int, client bool) []byte {
						if turn < 2 {
							return append(start(r), makes(turn, client)...)
						}
						return makes(turn, client)
					})
					require.NotEqual(t, Random, Unexplained(c, Options{}).Verdict, "%s %d", name, round)
				}
			}
		})
	}
	// A key exchange: names of algorithms, a nonce and a key each way.
	for round := range 2000 {
		r := source(fmt.Sprint("exchange", round))
		c := converse(TCP, 2, func(int, bool) []byte {
			return append(clearStarts["wide"](r), noise(r, 32+r.IntN(30))...)
		})
		require.NotEqual(t, Random, Unexplained(c, Options{}).Verdict, round)
	}
}
