package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// evasions are RC4 or AES dressed so as to be missed.
func evasions() []Format {
	rc4Framed := func(wrap func(*End) io.ReadWriter) func(*End) (Link, error) {
		return func(e *End) (Link, error) {
			return newFramed(rc4Stream(wrap(e), e.Key[:16]), behind(binary.BigEndian), clear), nil
		}
	}
	return stated([]Format{
		{Name: "printable-prefix", Cipher: "RC4", Layout: "24 to 40 printable bytes, then an RC4 stream", Open: openPrefixed},
		{Name: "base64-body", Cipher: "AES-256-CTR", Layout: "lines of base64", Open: func(e *End) (Link, error) {
			return &lines{e, bufio.NewReader(e), chain(ctr(e.Key[:32], e.Random), inBase64)}, nil
		}},
		{Name: "hex-body", Cipher: "AES-256-CTR", Layout: "lines of hexadecimal digits", Open: func(e *End) (Link, error) {
			return &lines{e, bufio.NewReader(e), chain(ctr(e.Key[:32], e.Random), inHex)}, nil
		}},
		{Name: "bits-padded", Cipher: "AES-256-CTR", Layout: "ciphertext with bytes of ff strewn in, more than 4.6 bits set a byte; u32 length", Open: func(e *End) (Link, error) {
			return newFramed(e, behind(binary.BigEndian), chain(ctr(e.Key[:32], e.Random), heavy(e.Key[32:48]))), nil
		}},
		{Name: "low-entropy-first", Cipher: "RC4", Layout: "256 bytes of a binary table in clear each way, then an RC4 stream", Open: openLowFirst},
		{Name: "tiny-messages", Cipher: "RC4", Layout: "an RC4 stream of messages of 16 to 48 bytes", Shape: "tiny", Open: rc4Framed(func(e *End) io.ReadWriter { return e })},
		{Name: "byte-a-packet", Cipher: "RC4", Layout: "an RC4 stream, each byte a packet of its own", Shape: "check-in", Open: rc4Framed(func(e *End) io.ReadWriter { return dripping{e.Conn} })},
		{Name: "dns-shell", Cipher: "AES-256-CTR", Port: 53, UDP: true, Layout: "queries whose name is base32 of ciphertext; TXT answers of base64", Open: openDNS},
		{Name: "dlsym", Cipher: "RC4", Shape: "interactive", Layout: "an RC4 stream; macOS: CommonCrypto reached by dlsym", Mac: MacImage{"DLSYM", ""}, Open: rc4Framed(func(e *End) io.ReadWriter { return e })},
		{Name: "static-crypto", Cipher: "AES-256-CTR", Shape: "interactive", Layout: "u32 length and ciphertext; macOS: AES linked in, no import", Mac: inlineAES, Open: func(e *End) (Link, error) {
			return newFramed(e, behind(binary.BigEndian), ctr(e.Key[:32], e.Random)), nil
		}},
		{Name: "script", Cipher: "RC4", Shape: "interactive", Layout: "an RC4 stream; macOS: a script that Apple's interpreter runs", Mac: MacImage{"SCRIPT", ""}, Open: rc4Framed(func(e *End) io.ReadWriter { return e })},
		{Name: "renamed-apple", Cipher: "AES-256-CTR", Shape: "interactive", Layout: "u32 length and ciphertext; macOS: a copy of an Apple binary under another name", Mac: MacImage{"RENAMED", ""}, Open: func(e *End) (Link, error) {
			return newFramed(e, behind(binary.BigEndian), ctr(e.Key[:32], e.Random)), nil
		}},
	})
}

// stated fills in what all evasions have alike.
func stated(all []Format) []Format {
	for i := range all {
		f := &all[i]
		f.Class, f.Source = Evades, "stated"
		if f.Mac.API == "" {
			f.Mac = cryptor
		}
		if f.Port == 0 {
			f.Port = 443
		}
	}
	return all
}

func openPrefixed(e *End) (Link, error) {
	prefix := []byte("SSH-like banner, build 2026.11 ready;;")
	if e.Server {
		if _, err := io.ReadFull(e, prefix); err != nil {
			return nil, err
		}
	} else if _, err := e.Write(prefix); err != nil {
		return nil, err
	}
	return newFramed(rc4Stream(e, e.Key[:16]), behind(binary.BigEndian), clear), nil
}

func openLowFirst(e *End) (Link, error) {
	table := make([]byte, 256)
	for i := 0; i < len(table); i += 8 {
		binary.LittleEndian.PutUint32(table[i:], uint32(i))
		table[i+4] = byte(e.Random.Uint64() % 3)
	}
	_, err := e.Write(table)
	_, err2 := io.ReadFull(e, table)
	return newFramed(rc4Stream(e, e.Key[:16]), behind(binary.BigEndian), clear), errors.Join(err, err2)
}
