package conformance

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompressedFormats names what standard programs and Go's encoders wrote.
func TestCompressedFormats(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog, "), 9)
	encode := func(write func(*bytes.Buffer) error) []byte {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		return b.Bytes()
	}
	stream := func(open func(*bytes.Buffer) writeCloser) []byte {
		return encode(func(b *bytes.Buffer) error {
			w := open(b)
			if _, err := w.Write(text); err != nil {
				return err
			}
			return w.Close()
		})
	}
	r := source("formats")
	for want, b := range map[string][]byte{
		"gzip": stream(func(b *bytes.Buffer) writeCloser { return gzip.NewWriter(b) }),
		"zlib": stream(func(b *bytes.Buffer) writeCloser { return zlib.NewWriter(b) }),
		"deflate": stream(func(b *bytes.Buffer) writeCloser {
			w, err := flate.NewWriter(b, flate.DefaultCompression)
			require.NoError(t, err)
			return w
		}),
		"png":  encode(func(b *bytes.Buffer) error { return png.Encode(b, picture(r)) }),
		"jpeg": encode(func(b *bytes.Buffer) error { return jpeg.Encode(b, picture(r), nil) }),
		"gif":  encode(func(b *bytes.Buffer) error { return gif.Encode(b, picture(r), nil) }),
		// Debian's zstd 1.5.4, lz4 1.9.4, bzip2 1.0.8 and xz 5.4.1 on a line of text; Python 3.11's lzma, FORMAT_ALONE.
		"zstd":  unhex(t, zstdLine),
		"lz4":   unhex(t, lz4Line),
		"bzip2": unhex(t, bzip2Line),
		"xz":    unhex(t, xzLine),
		"lzma":  unhex(t, lzmaLine),
		"ogg":   []byte("OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04"),
		"mp4":   []byte("\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"),
		"riff":  []byte("RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00"),
		"zip":   []byte("PK\x03\x04\x14\x00\x08\x00\x08\x00\x00\x00\x21\x00"),
		"pdf":   []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
	} {
		f := compressedFormat(b)
		require.NotNil(t, f, want)
		require.Equal(t, want, f.name)
		if want == "deflate" {
			continue // a bare stream is known by its end
		}
		f = compressedFormat(b[:max(minCompressed, len(b)-len(b)/8)])
		require.NotNil(t, f, "cut: %s", want)
		require.Equal(t, want, f.name)
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestCompressedByChance counts how often uniform bytes are taken for a compressed format, at all the places that are tried.
func TestCompressedByChance(t *testing.T) {
	t.Parallel()
	r := source("chance")
	for _, n := range []int{40, 200, 1000} {
		found := 0
		for range 1000 {
			b := noise(r, n)
			for h := 0; h <= maxSearched; h++ {
				if compressedFormat(b[h:]) != nil {
					found++
				}
			}
		}
		require.LessOrEqual(t, found, 3, "%d bytes", n)
	}
}

// TestLZMAHeader tells sane dictionaries and sizes from others.
func TestLZMAHeader(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"5d00008000ffffffffffffffff00": true,
		"5d0000c000000100000000000000": true,
		"5d00000000ffffffffffffffff00": false,
		"5d00008100ffffffffffffffff00": false,
		"5d00008000ffffffffffffff0000": false,
		"5d00008000ffffffffffffffff01": false,
	} {
		require.Equal(t, want, isLZMA(unhex(t, header)), header)
	}
}

// TestDeflateBegins checks that what is left out without inflating is what inflating refuses, on noise and on what Go's encoder makes.
func TestDeflateBegins(t *testing.T) {
	t.Parallel()
	r := source("deflate begins")
	left := 0
	for range 60000 {
		b := noise(r, 24+r.IntN(100))
		b[0] = b[0]&^6 | 2<<(r.IntN(2)) // fixed or dynamic
		used, _, _, err := inflate(b)
		if !blocksBegin(b, true) {
			require.False(t, err == nil && used == len(b), "%x", b)
		}
		if blocksBegin(b, false) {
			left++
			continue
		}
		if err != nil || used == len(b) {
			require.ErrorAs(t, err, new(flate.CorruptInputError), "%x", b)
		}
	}
	require.Less(t, left, 600)
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		for n := 1; n < 3000; n = n*3/2 + 1 {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			require.NoError(t, err)
			_, err = w.Write(command(1, n))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			if b.Bytes()[0]&6 != 0 {
				require.True(t, blocksBegin(b.Bytes(), false), "%d bytes at level %d", n, level)
				require.True(t, blocksBegin(b.Bytes(), true), "%d bytes at level %d", n, level)
			}
		}
	}
}

const (
	zstdLine  = "28b52ffd0458bd0100d40274686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672c0a0200503560b4b30cc77cd2f1"
	lz4Line   = "04224d186440a738000000f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00916c617a7920646f672c0e00072d005020666f780a0000000096e03a62"
	bzip2Line = "425a68393141592653590d6ec9b800001b5180001040043ffffff0200050a0006800004a86a01a1a3430d11792d111f3693d61e3c88d8b15c4aac513d1aeb124e099543aa0a852c5a0c2f7fc5dc914e1424035bb26e0"
	xzLine    = "fd377a585a000004e6d6b4460200210116000000742fe5a3e0004000335d003a1a08ce76c7e5e9d60734c3d10ebfce55e1aabde0e48f9801dd8de507549e65255f273a6a7eb4d34903384021cae8334000000000a5db4c8ae9f556e500014f41e797bc561fb6f37d010000000004595a"
	lzmaLine  = "5d00008000ffffffffffffffff003a1a08ce76c7e5e9d60734c3d10ebfce55e1aabde0e48f9801dd8de507549e65255f273a6a7eb4d349033841487d3c27604ef3ffffb5d00000"
)
