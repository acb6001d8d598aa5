package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"
)

// messages are the implants that encrypt message by message, each behind a header or none.
func messages() []Format {
	return []Format{
		{Name: "oceanlotus", Software: "S0352", Cipher: "zlib, AES-256-CBC with a null IV", Port: 443, Class: Random, Open: openOceanLotus, Mac: ccrypt,
			Layout: "82-byte clear header with magic 3B 91 01 10, then key and payload, scrambled by XOR and rotation",
			Source: "CTID adversary_emulation_library, ocean_lotus; Unit 42 2017"},
		{Name: "netwire", Software: "S0198", Cipher: "AES-256-OFB", Port: 443, Class: Random, Open: openNetWire, Mac: inlineAES,
			Layout: "u32 LE length, command byte, payload; first 32-byte seed and 16-byte IV under command 0x99",
			Source: "Unit 42 2014, CIRCL TR-23"},
		{Name: "gh0st", Software: "S0032", Cipher: "zlib, then RC4", Port: 443, Class: Random, Open: openGh0st(func(e *End) Layer { return rc4Message(e.Key[:16]) }), Mac: cryptor,
			Layout: "5-byte tag, u32 length, u32 clear length, payload", Source: "gh0st 3.6's public source; RC4 as in later ports"},
		{Name: "gh0st-xor", Software: "S0032", Cipher: "zlib, then XOR of one byte", Port: 443, Class: Random, Open: openGh0st(func(e *End) Layer { return xor(e.Key[:1]) }), Mac: MacImage{"XOR", ""},
			Layout: "as gh0st", Source: "gh0st 3.6's public source; XOR as in later ports"},
		{Name: "uroburos", Software: "S0022", Cipher: "CAST-128-CFB", Port: 443, Class: Random, Open: openUroburos, Mac: modes,
			Layout: "8 random bytes each way; then u32 BE length, IV and ciphertext", Source: "stated: CAST-128 beneath TCP is published (CISA AA23-129A), its framing is not in full"},
		{Name: "cryptoistic", Software: "S0498", Cipher: "AES-128-CBC", Port: 443, Class: Random, Mac: transform,
			Layout: "u32 LE length, IV and ciphertext", Source: "stated: only custom encryption over TCP is published (SentinelOne 2020)",
			Open: func(e *End) (Link, error) {
				return newFramed(e, behind(binary.LittleEndian), cbc(e.Key[:16], nil, e.Random)), nil
			}},
		{Name: "cobaltstrike-tcp", Software: "S0154", Cipher: "AES-128-CBC, HMAC-SHA256", Port: 4444, Class: Random, Mac: ccrypt,
			Layout: "u32 LE length, ciphertext with a fixed IV, 16 bytes of HMAC", Source: "Cobalt Strike's manual (TCP Beacon) and public parsers",
			Open: func(e *End) (Link, error) {
				return newFramed(e, behind(binary.LittleEndian), chain(cbc(e.Key[:16], []byte("abcdefghijklmnop"), nil), tagged(e.Key[16:32], 16))), nil
			}},
		{Name: "poseidon-tcp", Software: "S0699", Cipher: "AES-256-CBC, HMAC-SHA256, base64", Port: 8443, Class: Random, Dressed: true, Mac: MacImage{"GO", ""},
			Layout: "u32 BE length, base64 of UUID, IV, ciphertext, HMAC", Source: "MythicAgents/poseidon: poseidon_tcp.go; Mythic's message format",
			Open: func(e *End) (Link, error) {
				uuid := []byte("0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9")
				return newFramed(e, behind(binary.BigEndian), chain(cbc(e.Key[:32], nil, e.Random), tagged(e.Key[32:], 32), prefixed(uuid), inBase64)), nil
			}},
	}
}

// records23 are those whose messages look like TLS application data, without any handshake.
func records23() []Format {
	return []Format{
		{Name: "toneshell", Software: "S1239", Cipher: "RC4", Port: 443, Class: Mimic, Mac: inlineRC4,
			Layout: "17 03 03, u16 length, ciphertext; no handshake", Source: "Zscaler and Trend Micro on Mustang Panda",
			Open: func(e *End) (Link, error) { return newFramed(e, records(0x0303), rc4Message(e.Key[:16])), nil }},
		{Name: "toneshell-0304", Software: "S1239", Cipher: "XOR, 32-byte key", Port: 443, Class: Mimic, Mac: MacImage{"XOR", ""},
			Layout: "17 03 04, u16 length, body; no handshake", Source: "Zscaler on StarProxy and TONESHELL",
			Open: func(e *End) (Link, error) { return newFramed(e, records(0x0304), xor(e.Key[:32])), nil }},
	}
}

// openOceanLotus: the constants are those of OSX_OCEANLOTUS.D; a register or heartbeat command stands in the header.
func openOceanLotus(e *End) (Link, error) {
	const size, keyLength = 0x52, 32
	session := take(e.Random, 4)
	registered := false
	header := frame{size, func(h, body, _ []byte) {
		copy(h, "\x3b\x91\x01\x10")
		copy(h[4:], session)
		binary.LittleEndian.PutUint32(h[8:], uint32(len(body)-keyLength))
		binary.LittleEndian.PutUint16(h[12:], keyLength)
		copy(h[14:], map[bool]string{false: "\x21\x70\x27\x20", true: "\x55\x00\x00\x00"}[registered])
		registered = true
		h[19], h[24], h[29], h[75] = 0xc2, 0xe2, 0xc2, 0xff
	}, func(h []byte) int {
		return int(binary.LittleEndian.Uint32(h[8:])) + int(binary.LittleEndian.Uint16(h[12:]))
	}}
	key, err := rolled(0x13, 6).Seal(e.Key[:keyLength])
	if err != nil {
		return nil, err
	}
	return newFramed(e, header, chain(deflated, cbc(e.Key[:32], make([]byte, aes.BlockSize), nil), rolled(0x7e, 3), prefixed(key))), nil
}

// openNetWire exchanges a seed and an IV, then sends every payload in one OFB stream a direction.
func openNetWire(e *End) (Link, error) {
	command := func(code byte) frame {
		return frame{5, func(h, body, _ []byte) {
			binary.LittleEndian.PutUint32(h, uint32(len(body)))
			h[4] = code
		}, func(h []byte) int { return int(binary.LittleEndian.Uint32(h)) }}
	}
	const hello, data = 0x99, 0x97
	greeting := newFramed(e, command(hello), clear)
	var err error
	if e.Server {
		if _, err = greeting.Receive(); err == nil {
			err = greeting.Send(take(e.Random, 48))
		}
	} else if err = greeting.Send(take(e.Random, 48)); err == nil {
		_, err = greeting.Receive()
	}
	stream := func() Layer {
		//lint:ignore SA1019 what such software uses
		s := cipher.NewOFB(must(aes.NewCipher(e.Key[:32])), e.Key[32:48])
		return mirror(func(b []byte) []byte {
			out := make([]byte, len(b))
			s.XORKeyStream(out, b)
			return out
		})
	}
	out, in := stream(), stream()
	return &framed{w: e, r: greeting.r, frame: command(data), layer: layer{out.Seal, in.Open}}, err
}

// openGh0st masks the zlib stream behind gh0st's header; the header stays clear.
func openGh0st(mask func(*End) Layer) func(*End) (Link, error) {
	return func(e *End) (Link, error) {
		const size = 13
		header := frame{size, func(h, body, message []byte) {
			copy(h, "Gh0st")
			binary.LittleEndian.PutUint32(h[5:], uint32(size+len(body)))
			binary.LittleEndian.PutUint32(h[9:], uint32(len(message)))
		}, func(h []byte) int { return int(binary.LittleEndian.Uint32(h[5:])) - size }}
		return newFramed(e, header, chain(deflated, mask(e))), nil
	}
}

func openUroburos(e *End) (Link, error) {
	if _, err := e.Write(take(e.Random, 8)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(e, make([]byte, 8)); err != nil {
		return nil, err
	}
	return newFramed(e, behind(binary.BigEndian), cast(e.Key[:16], e.Random)), nil
}
