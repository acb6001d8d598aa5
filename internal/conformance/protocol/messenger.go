package protocol

import (
	"crypto/aes"
	"encoding/binary"
	"math/big"
	"math/bits"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// named are protocols that are encrypted by their own means and show it: they stay random, and are named where they can be told.
var named = []struct {
	name  string
	match func(v *view) bool
}{
	{"whatsapp", whatsApp},
	{"telegram", telegram},
	{"rlpx", rlpx},
	{"huawei_push", huaweiPush},
	{"threema", threema},
}

// Name gives the name of a well-known protocol whose traffic is random by nature, where that is sure; else nothing. It is no
// excuse: whether such a flow is wanted is for the site to say.
func Name(c *conformance.Conversation) string {
	if c.Transport != conformance.TCP || !c.StartSeen {
		return ""
	}
	v := kept.Get().(*views)
	defer kept.Put(v)
	v.look(c, false)
	for i := range named {
		if named[i].match(&v.straight) {
			return named[i].name
		}
	}
	return ""
}

// whatsApp is WhatsApp's Noise handshake: optional routing ("ED", version, 24 bit length), "WA" with two version bytes, then a 24 bit length
// and a protobuf whose first field holds an ephemeral key of 32 bytes. 2^-56.
func whatsApp(v *view) bool {
	r := read(v.client.data)
	if has(r.b, "ED") {
		r.skip(4)
		r.skip(int(r.u24()))
	}
	if r.u16() != 0x5741 || r.u8() > 16 || r.u8() > 16 {
		return false
	}
	length := r.u24()
	field := r.u8()
	for n := r.u8(); n >= 0x80; n = r.u8() { // the field's length, a varint
	}
	return length < 1<<16 && field == 0x12 && r.u8() == 0x0a && r.u8() == 0x20 && !r.short
}

// telegram is MTProto's obfuscated transport: bytes 8 to 56 of the client's first 64 are an AES-256-CTR key and counter, under which bytes 56 to
// 60 name the inner transport (https://core.telegram.org/mtproto/mtproto-transports). 2^-30.
func telegram(v *view) bool {
	if len(v.client.data) < 64 {
		return false
	}
	head := v.client.data[:64]
	block, err := aes.NewCipher(head[8:40])
	if err != nil {
		return false
	}
	// The key stream's fourth block is the counter, three on, encrypted.
	stream := v.block[:]
	low, carry := bits.Add64(binary.BigEndian.Uint64(head[48:]), 3, 0)
	binary.BigEndian.PutUint64(stream, binary.BigEndian.Uint64(head[40:])+carry)
	binary.BigEndian.PutUint64(stream[8:], low)
	block.Encrypt(stream, stream)
	switch binary.BigEndian.Uint32(head[56:]) ^ binary.BigEndian.Uint32(stream[8:]) {
	case 0xefefefef, 0xeeeeeeee, 0xdddddddd:
		return true
	}
	return false
}

// The curve y² = x³ + 7 over the field of p elements (SEC 2, secp256k1).
var secp256k1, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", 16)

// onCurve says whether b starts with an uncompressed point of secp256k1. 2^-264.
func onCurve(b []byte) bool {
	if len(b) < 65 || b[0] != 4 {
		return false
	}
	x, y := new(big.Int).SetBytes(b[1:33]), new(big.Int).SetBytes(b[33:65])
	if x.Cmp(secp256k1) >= 0 || y.Cmp(secp256k1) >= 0 {
		return false
	}
	right := new(big.Int).Exp(x, big.NewInt(3), secp256k1)
	right.Add(right, big.NewInt(7)).Mod(right, secp256k1)
	return y.Mul(y, y).Mod(y, secp256k1).Cmp(right) == 0
}

// rlpx is the handshake between nodes of Ethereum: ECIES messages that start with a point on its curve, behind their length (EIP-8) or not.
func rlpx(v *view) bool {
	b := v.client.data
	if len(b) < 67 {
		return false
	}
	length := int(b[0])<<8 | int(b[1])
	return onCurve(b[2:]) && length >= 200 && length <= 2048 || onCurve(b)
}

// huaweiPush is the push service of Huawei's phones (port 5223 of its clouds): messages of a type in steps from 0x16 or 0x25 to 0x30, their length
// in two bytes, and ciphertext, in which each of the server's repeats its first nonce. Two messages of each side: 2^-48.
func huaweiPush(v *view) bool {
	client, ok := v.client.chain(8, 3, huaweiMessage)
	server, fits := v.server.chain(8, 3, huaweiMessage)
	if !ok || !fits || client < 2 || server < 2 {
		return false
	}
	b, s := v.client.data, v.server.data
	next := int(binary.BigEndian.Uint16(s[1:]))
	return (b[0] == 0x25 && s[0] == 0x26 || b[0] == 0x16 && s[0] == 0x17) && next+15 <= len(s) && next >= 16 &&
		s[next] == 0x30 && string(s[4:16]) == string(s[next+3:next+15])
}

func huaweiMessage(b []byte) int {
	switch b[0] {
	case 0x16, 0x17, 0x25, 0x26, 0x30, 0x31:
		return int(binary.BigEndian.Uint16(b[1:]))
	}
	return -1
}

// threema is Threema's chat protocol: hellos of 48 and 80 bytes, a login, an acknowledgement of 32 bytes, and then frames behind
// their little-endian length (Threema's cryptography white paper). 2^-40 with the hellos' sizes and two frames.
func threema(v *view) bool {
	hello, _ := v.client.datagram(0)
	answer, _ := v.server.datagram(0)
	if len(hello) != 48 || len(answer) != 80 || len(v.server.data) < 80+32+38 {
		return false
	}
	s := v.server
	s.data = s.data[80+32:]
	n, ok := s.chain(4, 18, func(b []byte) int { return 2 + int(binary.LittleEndian.Uint16(b)) })
	return ok && n > 0 && int(binary.LittleEndian.Uint16(s.data))+2 <= len(s.data)
}
