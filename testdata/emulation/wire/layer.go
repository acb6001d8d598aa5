package wire

import (
	"bytes"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rc4" // what such software uses
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"

	//lint:ignore SA1019 what such software uses
	"golang.org/x/crypto/cast5"
)

// A Layer changes a whole message, and back.
type Layer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// layer is a Layer made of two functions.
type layer struct {
	seal, open func([]byte) ([]byte, error)
}

func (l layer) Seal(b []byte) ([]byte, error) { return l.seal(b) }
func (l layer) Open(b []byte) ([]byte, error) { return l.open(b) }

// chain puts layers one after the other: the first is nearest to the message.
func chain(layers ...Layer) Layer {
	return layer{func(b []byte) (_ []byte, err error) {
		for _, l := range layers {
			if b, err = l.Seal(b); err != nil {
				return nil, err
			}
		}
		return b, nil
	}, func(b []byte) (_ []byte, err error) {
		for i := len(layers) - 1; i >= 0; i-- {
			if b, err = layers[i].Open(b); err != nil {
				return nil, err
			}
		}
		return b, nil
	}}
}

var clear = chain()

// mirror is a Layer whose two functions are the same.
func mirror(f func([]byte) []byte) Layer {
	g := func(b []byte) ([]byte, error) { return f(b), nil }
	return layer{g, g}
}

// xor masks with a repeated key.
func xor(key []byte) Layer {
	return mirror(func(b []byte) []byte {
		out := make([]byte, len(b))
		for i := range b {
			out[i] = b[i] ^ key[i%len(key)]
		}
		return out
	})
}

// rolled is OceanLotus's scrambling: each byte XORed and rotated left by n.
func rolled(mask byte, n int) Layer {
	each := func(f func(byte) byte) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) {
			out := make([]byte, len(b))
			for i := range b {
				out[i] = f(b[i])
			}
			return out, nil
		}
	}
	return layer{each(func(c byte) byte { return bits.RotateLeft8(c^mask, n) }), each(func(c byte) byte { return bits.RotateLeft8(c, -n) ^ mask })}
}

// rc4Message encrypts each message anew with one key.
func rc4Message(key []byte) Layer {
	return mirror(func(b []byte) []byte {
		out := make([]byte, len(b))
		must(rc4.NewCipher(key)).XORKeyStream(out, b)
		return out
	})
}

// cbc is AES-CBC with PKCS #7 padding; with a nil iv each message bears a random one in front.
func cbc(key, iv []byte, random io.Reader) Layer {
	block := must(aes.NewCipher(key))
	return layer{func(b []byte) ([]byte, error) {
		pad := aes.BlockSize - len(b)%aes.BlockSize
		b = append(bytes.Clone(b), bytes.Repeat([]byte{byte(pad)}, pad)...)
		start, front := iv, 0
		if iv == nil {
			start, front = take(random, aes.BlockSize), aes.BlockSize
			b = append(bytes.Clone(start), b...)
		}
		cipher.NewCBCEncrypter(block, start).CryptBlocks(b[front:], b[front:])
		return b, nil
	}, func(b []byte) ([]byte, error) {
		start := iv
		b = bytes.Clone(b)
		if iv == nil && len(b) >= aes.BlockSize {
			start, b = b[:aes.BlockSize], b[aes.BlockSize:]
		}
		if len(b) == 0 || len(b)%aes.BlockSize != 0 {
			return nil, fmt.Errorf("wire: AES-CBC: %d bytes", len(b))
		}
		cipher.NewCBCDecrypter(block, start).CryptBlocks(b, b)
		if pad := int(b[len(b)-1]); pad <= len(b) {
			return b[:len(b)-pad], nil
		}
		return nil, errors.New("wire: AES-CBC: padding")
	}}
}

// streamed prefixes a random IV of n bytes and encrypts with the stream that it starts.
func streamed(n int, random io.Reader, start func(iv []byte, sealing bool) cipher.Stream) Layer {
	return layer{func(b []byte) ([]byte, error) {
		iv := take(random, n)
		out := append(iv, b...)
		start(iv[:n:n], true).XORKeyStream(out[n:], b)
		return out, nil
	}, func(b []byte) ([]byte, error) {
		if len(b) < n {
			return nil, io.ErrUnexpectedEOF
		}
		out := make([]byte, len(b)-n)
		start(b[:n], false).XORKeyStream(out, b[n:])
		return out, nil
	}}
}

func ctr(key []byte, random io.Reader) Layer {
	block := must(aes.NewCipher(key))
	return streamed(aes.BlockSize, random, func(iv []byte, _ bool) cipher.Stream { return cipher.NewCTR(block, iv) })
}

// cast is CAST-128 in CFB mode behind its 8-byte IV.
func cast(key []byte, random io.Reader) Layer {
	block := must(cast5.NewCipher(key))
	return streamed(cast5.BlockSize, random, func(iv []byte, sealing bool) cipher.Stream { return cfb(block, iv, sealing) })
}

func cfb(block cipher.Block, iv []byte, sealing bool) cipher.Stream {
	if sealing {
		//lint:ignore SA1019 what such software uses
		return cipher.NewCFBEncrypter(block, iv)
	}
	//lint:ignore SA1019 what such software uses
	return cipher.NewCFBDecrypter(block, iv)
}

// tagged appends an HMAC-SHA256, cut to n bytes.
func tagged(key []byte, n int) Layer {
	mac := func(b []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(b)
		return h.Sum(nil)[:n]
	}
	return layer{func(b []byte) ([]byte, error) { return append(bytes.Clone(b), mac(b)...), nil },
		func(b []byte) ([]byte, error) {
			if len(b) < n || !hmac.Equal(mac(b[:len(b)-n]), b[len(b)-n:]) {
				return nil, errors.New("wire: HMAC")
			}
			return b[:len(b)-n], nil
		}}
}

// prefixed puts fixed bytes in front.
func prefixed(p []byte) Layer {
	return layer{func(b []byte) ([]byte, error) { return append(bytes.Clone(p), b...), nil },
		func(b []byte) ([]byte, error) { return bytes.TrimPrefix(b, p), nil }}
}

var deflated = layer{func(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, err := w.Write(b)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}, func(b []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 1<<24))
}}

var inBase64 = layer{func(b []byte) ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, b), nil },
	func(b []byte) ([]byte, error) { return base64.StdEncoding.DecodeString(string(b)) }}

var inHex = layer{func(b []byte) ([]byte, error) { return hex.AppendEncode(nil, b), nil },
	func(b []byte) ([]byte, error) { return hex.DecodeString(string(b)) }}

// heavy strews bytes of 0xff between the others, at places that the key says, until the mean of bits set is above 4.6 a byte.
func heavy(key []byte) Layer {
	marks := func() cipher.Stream { return must(rc4.NewCipher(key)) }
	padding := func(s cipher.Stream) bool {
		b := []byte{0}
		s.XORKeyStream(b, b)
		return b[0] < 46 // 18 % of the bytes: 4 + 0.18 * 4 bits on average
	}
	return layer{func(b []byte) (out []byte, _ error) {
		s := marks()
		for _, c := range b {
			for padding(s) {
				out = append(out, 0xff)
			}
			out = append(out, c)
		}
		return out, nil
	}, func(b []byte) (out []byte, _ error) {
		s := marks()
		for _, c := range b {
			if !padding(s) {
				out = append(out, c)
			}
		}
		return out, nil
	}}
}

func take(r io.Reader, n int) []byte {
	b := make([]byte, n)
	must(io.ReadFull(r, b))
	return b
}

// must is for what fails only by a mistake in this program.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
