package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rc4"  // what such software uses
	"crypto/sha1" // what such software uses
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// streams are the implants that encrypt all of a connection.
func streams() []Format {
	return []Format{
		{Name: "sugarloader", Cipher: "RC4", Port: 443, Class: Random, Open: openSugarloader, Mac: inlineRC4,
			Layout: "RC4 over every send from byte 0; handshake of 4-byte numbers, then length, payload, return code",
			Source: "Elastic Security Labs, 2023-11-01 (SUGARLOADER, KANDYKORN)"},
		{Name: "spectralblur", Cipher: "RC4", Port: 443, Class: Random, Open: openRC4(binary.LittleEndian), Mac: inlineRC4,
			Layout: "RC4 over u32 length and payload", Source: "stated: only RC4 over a socket is published"},
		{Name: "xcsset", Software: "S0658", Cipher: "RC4", Port: 443, Class: Random, Open: openRC4(binary.BigEndian), Mac: cryptor,
			Layout: "RC4 over u32 length and payload", Source: "stated: only RC4 over TCP is published (Trend Micro 2020)"},
		{Name: "callme", Software: "S0077", Cipher: "AES-128-CBC", Port: 443, Class: Random, Open: openTinyShell, Mac: ccrypt,
			Layout: "40 random bytes; AES-CBC over u16 length and payload; HMAC-SHA1",
			Source: "Tiny SHell's pel.c, which CallMe is based on (Unit 42, 2016)"},
		{Name: "frp", Software: "S1144", Cipher: "AES-128-CFB", Port: 7000, Class: Random, Dressed: true, Open: openFRP, Mac: MacImage{"GO", ""},
			Layout: "'v', u64 length, JSON in clear and its answer; then IV and AES-CFB in each direction",
			Source: "fatedier/frp: pkg/msg, golib/crypto; STCP with encryption, without TLS and multiplexing"},
	}
}

func openRC4(order binary.ByteOrder) func(*End) (Link, error) {
	return func(e *End) (Link, error) {
		return newFramed(rc4Stream(e, e.Key[:16]), behind(order), clear), nil
	}
}

// openSugarloader plays the handshake of random number, nonce, challenge and constant, every send encrypted anew with the configuration's key.
func openSugarloader(e *End) (Link, error) {
	const proven = 0x41C3372
	number := func(v uint32) error {
		b := binary.LittleEndian.AppendUint32(nil, v)
		must(rc4.NewCipher(e.Key[:16])).XORKeyStream(b, b)
		_, err := e.Write(b)
		return err
	}
	read := func() (uint32, error) {
		b := make([]byte, 4)
		_, err := io.ReadFull(e, b)
		must(rc4.NewCipher(e.Key[:16])).XORKeyStream(b, b)
		return binary.LittleEndian.Uint32(b), err
	}
	mine := uint32(e.Random.Uint64())
	if e.Server {
		theirs, err := read()
		err = errors.Join(err, number(mine))
		proof, err2 := read()
		if err = errors.Join(err, err2); err == nil && proof != theirs^mine {
			err = errors.New("wire: sugarloader: challenge")
		}
		return newFramed(rc4Stream(e, e.Key[16:32]), behind(binary.LittleEndian), clear), errors.Join(err, number(proven))
	}
	err := number(mine)
	nonce, err2 := read()
	err = errors.Join(err, err2, number(mine^nonce))
	if c, err2 := read(); err2 != nil || c != proven {
		return nil, fmt.Errorf("wire: sugarloader: answer %#x: %w", c, errors.Join(err, err2))
	}
	return newFramed(rc4Stream(e, e.Key[16:32]), behind(binary.LittleEndian), clear), err
}

// tinyShell is CBC whose blocks chain over messages, each behind a MAC of its own.
type tinyShell struct {
	e        *End
	out, in  cipher.BlockMode
	macKey   []byte
	outCount uint32
}

const tinyMAC = 20

func openTinyShell(e *End) (Link, error) {
	ivs := make([]byte, 40) // two of 20 bytes, as wide as the SHA1 that keys are made with
	if e.Server {
		if _, err := io.ReadFull(e, ivs); err != nil {
			return nil, err
		}
	} else if _, err := e.Write(append(ivs[:0], take(e.Random, 40)...)); err != nil {
		return nil, err
	}
	block := must(aes.NewCipher(e.Key[:16]))
	up, down := ivs[:aes.BlockSize], ivs[20:20+aes.BlockSize]
	if e.Server {
		up, down = down, up
	}
	return &tinyShell{e: e, out: cipher.NewCBCEncrypter(block, up), in: cipher.NewCBCDecrypter(block, down), macKey: e.Key[16:36]}, nil
}

func (t *tinyShell) Send(message []byte) error {
	b := append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	b = append(b, bytes.Repeat([]byte{0}, (aes.BlockSize-len(b)%aes.BlockSize)%aes.BlockSize)...)
	t.out.CryptBlocks(b, b)
	mac := hmac.New(sha1.New, t.macKey)
	mac.Write(binary.BigEndian.AppendUint32(b[:len(b):len(b)], t.outCount))
	t.outCount++
	_, err := t.e.Write(mac.Sum(b))
	return err
}

func (t *tinyShell) Receive() ([]byte, error) {
	first := make([]byte, aes.BlockSize)
	if _, err := io.ReadFull(t.e, first); err != nil {
		return nil, err
	}
	t.in.CryptBlocks(first, first)
	n := int(binary.BigEndian.Uint16(first))
	rest := make([]byte, (n+2+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize-aes.BlockSize+tinyMAC)
	if _, err := io.ReadFull(t.e, rest); err != nil {
		return nil, err
	}
	body := rest[:len(rest)-tinyMAC]
	t.in.CryptBlocks(body, body)
	return append(first[2:], body...)[:n], nil
}

// openFRP asks for a secret tunnel in clear and encrypts from then on.
func openFRP(e *End) (Link, error) {
	say := func(kind byte, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = e.Write(append(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(b))), b...))
		return err
	}
	hear := func() error {
		head := make([]byte, 9)
		if _, err := io.ReadFull(e, head); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, e, int64(min(binary.BigEndian.Uint64(head[1:]), maxMessage)))
		return err
	}
	var err error
	if e.Server {
		err = errors.Join(hear(), say('3', map[string]string{"proxy_name": "ana.secret_ssh", "error": ""}))
	} else {
		err = errors.Join(say('v', map[string]any{"proxy_name": "ana.secret_ssh", "sign_key": fmt.Sprintf("%x", take(e.Random, 16)),
			"timestamp": 1700000000, "use_encryption": true, "use_compression": false}), hear())
	}
	if err != nil {
		return nil, err
	}
	return newFramed(&lateCFB{e: e, block: must(aes.NewCipher(e.Key[:16]))}, behind(binary.BigEndian), clear), nil
}

// lateCFB sends its IV with the first write, and takes the other side's with the first read.
type lateCFB struct {
	e       *End
	block   cipher.Block
	out, in cipher.Stream
}

func (l *lateCFB) Write(b []byte) (int, error) {
	var sealed []byte
	if l.out == nil {
		sealed = take(l.e.Random, aes.BlockSize)
		l.out = cfb(l.block, sealed[:aes.BlockSize:aes.BlockSize], true)
	}
	body := make([]byte, len(b))
	l.out.XORKeyStream(body, b)
	_, err := l.e.Write(append(sealed, body...))
	return len(b), err
}

func (l *lateCFB) Read(b []byte) (int, error) {
	if l.in == nil {
		iv := make([]byte, aes.BlockSize)
		if _, err := io.ReadFull(l.e, iv); err != nil {
			return 0, err
		}
		l.in = cfb(l.block, iv, false)
	}
	n, err := l.e.Read(b)
	l.in.XORKeyStream(b[:n], b[:n])
	return n, err
}
