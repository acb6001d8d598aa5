package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
)

// Versions on the wire.
const (
	version1     = 0x00000001
	version2     = 0x6b3343cf
	draftPrefix  = 0xff000000
	facebook     = 0xfaceb000
	negotiation  = 0
	googleQ050   = 0x51303530
	googleT050   = 0x54303530
	googleT051   = 0x54303531
	initialTag   = 16
	headerSample = 16
)

// The salts that Initial secrets are extracted with: RFC 9001 section 5.2, RFC 9369 section 3.3.1, and the same section of the
// drafts; Google's are in Chromium's quic_utils / crypto_utils.cc and in Wireshark's packet-quic.c.
const (
	saltV1   = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
	saltV2   = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
	saltD29  = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
	saltD23  = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"
	saltD22  = "\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a"
	saltQ050 = "\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45"
	saltT050 = "\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10"
	saltT051 = "\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d"
)

// salt returns the Initial salt of version v; ok is false for versions whose salt is not known.
func salt(v uint32) (s string, ok bool) {
	switch {
	case v == version1, v == draftPrefix|33, v == draftPrefix|34:
		return saltV1, true
	case v == version2:
		return saltV2, true
	case v >= draftPrefix|29 && v <= draftPrefix|32:
		return saltD29, true
	case v >= draftPrefix|23 && v <= draftPrefix|28, v == facebook|2, v == facebook|0xe:
		return saltD23, true
	case v == draftPrefix|22, v == facebook|1:
		return saltD22, true
	case v == googleQ050:
		return saltQ050, true
	case v == googleT050:
		return saltT050, true
	case v == googleT051:
		return saltT051, true
	}
	return "", false
}

// keys protect one direction's Initial packets.
type keys struct {
	aead cipher.AEAD
	iv   [12]byte
	hp   cipher.Block
}

// derivation is what follows from a connection id that the client first addressed: the initial secret, and each side's keys as they are
// asked for.
type derivation struct {
	id             []byte
	version        uint32 // that the rest is for, 0 before
	known          bool   // the version's salt is
	initial        [sha256.Size]byte
	client, server *keys
}

// keys are one side's; ok is false for versions whose salt is not known.
func (d *derivation) keys(version uint32, client bool) (k *keys, ok bool) {
	if d.version != version {
		*d = derivation{id: d.id, version: version}
		d.initial, d.known = initialSecret(version, d.id)
	}
	if !d.known {
		return nil, false
	}
	side, label := &d.server, "server in"
	if client {
		side, label = &d.client, "client in"
	}
	if *side == nil {
		*side = sideKeys(version, d.initial, label)
	}
	return *side, *side != nil
}

// initialSecret is extracted from the connection id that the client first addressed (RFC 9001 section 5.2).
func initialSecret(version uint32, dcid []byte) (secret [sha256.Size]byte, ok bool) {
	s, ok := salt(version)
	if !ok {
		return secret, false
	}
	return mac(s, dcid), true // HKDF-Extract (RFC 5869 section 2.2)
}

// sideKeys derives the keys of the side with that label (RFC 9001 section 5.2), nil if there are none.
func sideKeys(version uint32, initial [sha256.Size]byte, label string) *keys {
	key, iv, hp := "quic key", "quic iv", "quic hp"
	if version == version2 {
		key, iv, hp = "quicv2 key", "quicv2 iv", "quicv2 hp"
	}
	secret := expand(initial, label, sha256.Size)
	sealing, nonce, protecting := expand(secret, key, 16), expand(secret, iv, 12), expand(secret, hp, 16)
	block, err := aes.NewCipher(sealing[:16])
	if err != nil {
		return nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil
	}
	mask, err := aes.NewCipher(protecting[:16])
	if err != nil {
		return nil
	}
	return &keys{aead: aead, iv: [12]byte(nonce[:12]), hp: mask}
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1, RFC 5869 section 2.3); of the result n bytes count, at most all.
func expand(secret [sha256.Size]byte, label string, n int) [sha256.Size]byte {
	const prefix = "tls13 "
	var room [64]byte
	info := binary.BigEndian.AppendUint16(room[:0], uint16(n))
	info = append(info, byte(len(prefix)+len(label)))
	info = append(info, prefix...)
	info = append(info, label...)
	return mac(string(secret[:]), append(info, 0, 1))
}

// The blocks that a key is put into (RFC 2104), and room for what follows.
var innerPad, outerPad = padding(0x36), padding(0x5c)

func padding(b byte) (block [2 * sha256.BlockSize]byte) {
	for i := range sha256.BlockSize {
		block[i] = b
	}
	return block
}

// mac is HMAC-SHA256 (RFC 2104) of few bytes with a key of at most one block, without what crypto/hmac allocates.
func mac(key string, message []byte) [sha256.Size]byte {
	inner, outer := innerPad, outerPad
	for i := range len(key) {
		inner[i] ^= key[i]
		outer[i] ^= key[i]
	}
	sum := sha256.Sum256(append(inner[:sha256.BlockSize], message...))
	n := copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:sha256.BlockSize+n])
}

// open removes header protection and decrypts the Initial packet b whose packet number begins at pnOff (RFC 9001 section 5.3, 5.4), into
// room as far as it suffices. b is not changed.
func (k *keys) open(room, b []byte, pnOff int) (payload []byte, number uint64, ok bool) {
	if len(b) < pnOff+4+headerSample {
		return nil, 0, false
	}
	var mask [16]byte
	k.hp.Encrypt(mask[:], b[pnOff+4:pnOff+4+headerSample])
	header := append(room[:0], b[:pnOff+4]...)
	header[0] ^= mask[0] & 0x0f
	n := int(header[0]&3) + 1
	for i := range n {
		header[pnOff+i] ^= mask[1+i]
		number = number<<8 | uint64(header[pnOff+i])
	}
	nonce := k.iv
	for i := range 8 {
		nonce[4+i] ^= byte(number >> (56 - 8*i))
	}
	header = header[:pnOff+n]
	payload, err := k.aead.Open(header[len(header):], nonce[:], b[pnOff+n:], header)
	return payload, number, err == nil
}
