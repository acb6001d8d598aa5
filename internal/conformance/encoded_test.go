package conformance

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// textForms write bytes as text, with the reason that is to be given.
var textForms = map[string]struct {
	reason string
	write  func([]byte) string
}{
	"std": {"encoded_base64", base64.StdEncoding.EncodeToString},
	"raw": {"encoded_base64", base64.RawStdEncoding.EncodeToString},
	"url": {"encoded_base64url", base64.URLEncoding.EncodeToString},
	"hex": {"encoded_hex", hex.EncodeToString},
	"HEX": {"encoded_hex", func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }},
	"b32": {"encoded_base32", base32.StdEncoding.EncodeToString},
}

// textFrames are what is around a text.
var textFrames = map[string]func(string) []byte{
	"line":  func(s string) []byte { return []byte(s + "\n") },
	"crlf":  func(s string) []byte { return []byte(s + "\r\n") },
	"bare":  func(s string) []byte { return []byte(s) },
	"nul":   func(s string) []byte { return []byte(s + "\x00") },
	"u32be": func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) },
	"u32le": func(s string) []byte { return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...) },
	"u16":   func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) },
	"u64":   func(s string) []byte { return append(binary.BigEndian.AppendUint64(nil, uint64(len(s))), s...) },
	"whole": func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(s))), s...) },
}

// sealed is an IV and AES-CTR of a text of made-up facts.
func sealed(t require.TestingT, r *rand.Rand, n int) []byte {
	block, err := aes.NewCipher(noise(r, 32))
	require.NoError(t, err)
	b := noise(r, 16)
	iv := b[:16:16]
	text := bytes.Repeat([]byte("user=alice host=mac "), n/20+1)[:n]
	cipher.NewCTR(block, iv).XORKeyStream(text, text)
	return append(b, text...)
}

// TestEncoded: ciphertext written as text is found in every form and frame, from few messages on.
func TestEncoded(t *testing.T) {
	t.Parallel()
	const rounds = 40
	found, all := 0, 0
	for form, f := range textForms {
		for around, frame := range textFrames {
			for round := range rounds {
				r := source(fmt.Sprint(form, around, round))
				size, turns := 40+r.IntN(400), 2+r.IntN(8)
				uuid := round%4 == 3
				c := converse(TCP, turns, func(int, bool) []byte {
					b := sealed(t, r, size+r.IntN(60))
					if uuid {
						b = append([]byte("0c291fd7-52f3-4ea1-8d2f-1f9c62a3be55"), b...)
					}
					return frame(f.write(b))
				})
				all++
				if j := Unexplained(c, Options{}); j.Verdict == Random {
					found++
					require.Contains(t, j.Reasons, f.reason, "%s %s %d", form, around, round)
				}
			}
		}
	}
	t.Logf("%d of %d", found, all)
	require.GreaterOrEqual(t, float64(found), 0.99*float64(all))
}

// TestEncodedBenign: texts that merely look like an encoding, and encodings of what is no ciphertext, stay text.
func TestEncodedBenign(t *testing.T) {
	t.Parallel()
	facts := func(r *rand.Rand, n int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, `{"id":%d,"name":"%s","ok":%t},`, r.IntN(1e6), []string{"alice", "bob", "carol"}[r.IntN(3)], r.IntN(2) == 0)
		}
		return b.Bytes()
	}
	kinds := map[string]func(r *rand.Rand) []byte{
		"text":  func(r *rand.Rand) []byte { return facts(r, 100+r.IntN(400)) },
		"small": func(r *rand.Rand) []byte { return noise(r, 8+r.IntN(9)) },
		"gzip": func(r *rand.Rand) []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, err := w.Write(facts(r, 1000))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			return b.Bytes()
		},
		"zlib": func(r *rand.Rand) []byte {
			var b bytes.Buffer
			w := zlib.NewWriter(&b)
			_, err := w.Write(facts(r, 1000))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			return b.Bytes()
		},
		"png": func(r *rand.Rand) []byte {
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, picture(r)))
			return b.Bytes()
		},
		"digest": func(r *rand.Rand) []byte { d := sha256.Sum256(noise(r, 8)); return d[:] },
		"record": func(r *rand.Rand) []byte {
			b := binary.LittleEndian.AppendUint32(nil, r.Uint32N(1000))
			b = append(b, 1, 0, 0, 2, 0, 0, 0, 0)
			return append(append(b, noise(r, 16)...), "sensor-7\x00\x00\x00\x00temperature"...)
		},
	}
	for kind, makes := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for form, f := range textForms {
				for around, frame := range textFrames {
					for round := range 10 {
						r := source(fmt.Sprint(kind, form, around, round))
						turns := 1 + r.IntN(10)
						if kind == "small" {
							turns = 1 + r.IntN(4) // tokens, not a stream of them
						}
						c := converse(TCP, turns, func(int, bool) []byte { return frame(f.write(makes(r))) })
						require.NotEqual(t, Random, Unexplained(c, Options{}).Verdict, "%s %s %d", form, around, round)
					}
				}
			}
		})
	}
	words := strings.Fields("list get status alpha bravo charlie delta echo foxtrot golf hotel india version READY Accepted continue transferComplete")
	for round := range 2000 {
		r := source(fmt.Sprint("words", round))
		c := converse(TCP, 2+r.IntN(30), func(int, bool) []byte { return []byte(words[r.IntN(len(words))] + words[r.IntN(len(words))] + "\n") })
		require.Equal(t, Cleartext, Unexplained(c, Options{}).Verdict)
	}
	for name, turns := range map[string][2]string{
		"pem":    {"-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(noise(source("pem"), 600)) + "\n-----END CERTIFICATE-----\n", "OK\n"},
		"jwt":    {"eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(noise(source("jwt"), 90)) + "." + base64.RawURLEncoding.EncodeToString(noise(source("jws"), 32)), "OK\n"},
		"member": {`{"data":"` + base64.StdEncoding.EncodeToString(noise(source("json"), 600)) + `"}`, "{}\n"},
		"answer": {base64.StdEncoding.EncodeToString(noise(source("answer"), 600)) + "\n", "250 accepted for delivery\n"},
	} {
		c := converse(TCP, 2, func(turn int, _ bool) []byte { return []byte(turns[turn]) })
		require.Equal(t, Cleartext, Unexplained(c, Options{}).Verdict, name)
	}
}

func FuzzEncoded(f *testing.F) {
	for form, write := range textForms {
		for around, frame := range textFrames {
			f.Add(frame(write.write(noise(source(form+around), 90))), frame(write.write(noise(source(around+form), 120))))
		}
	}
	f.Fuzz(func(t *testing.T, client, server []byte) {
		n := 0
		c := converse(TCP, 2, func(int, bool) []byte { n++; return [][]byte{client, server}[n-1] })
		if j, ok := encodedText(c, Options{}); ok {
			require.Equal(t, Random, j.Verdict)
			require.LessOrEqual(t, j.HeaderBytes, max(len(client), len(server)))
		}
	})
}
