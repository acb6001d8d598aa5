package tls

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"math/big"

	"filippo.io/bigmod"
)

// Keys that are not left to crypto/rsa: their bits, and how many bigmod has fast code for; and the exponent that they have.
const (
	leastRSA = 1024
	fastRSA  = 2048
	usualRSA = 65537
)

// rsaKey is an RSA key that may verify many signatures.
type rsaKey struct {
	*rsa.PublicKey
	modulus *bigmod.Modulus // prepared, where bigmod is fast
}

// newRSAKey prepares a key's modulus, as crypto/rsa does for each signature again.
func newRSAKey(k *rsa.PublicKey) *rsaKey {
	key := &rsaKey{PublicKey: k}
	if key.usual() && k.N.BitLen() <= fastRSA {
		key.modulus, _ = bigmod.NewModulus(k.N.Bytes())
	}
	return key
}

// usual says whether a key is not left to crypto/rsa, which does not take all others, either.
func (k *rsaKey) usual() bool { return k.N.BitLen() >= leastRSA && k.E == usualRSA && k.N.Bit(0) == 1 }

// encoded is what a usual key signed: a message's hash, encoded to the length of the modulus (RFC 8017 section 5.2.2); nil where the
// signature is not that long, or not below the modulus. Nothing is secret here, so that what bigmod has no fast code for is left to math/big.
func (k *rsaKey) encoded(sig []byte) []byte {
	if len(sig) != k.Size() {
		return nil
	}
	if k.modulus != nil {
		s, err := bigmod.NewNat().SetBytes(sig, k.modulus)
		if err != nil {
			return nil
		}
		return bigmod.NewNat().ExpShortVarTime(s, usualRSA, k.modulus).Bytes(k.modulus)
	}
	s := new(big.Int).SetBytes(sig)
	if s.Cmp(k.N) >= 0 {
		return nil
	}
	return s.Exp(s, big.NewInt(usualRSA), k.N).FillBytes(make([]byte, k.Size()))
}

// verifiesPKCS1 checks an RSASSA-PKCS1-v1_5 signature (RFC 8017 section 8.2.2). A key that crypto/rsa does not take verifies everything.
func (k *rsaKey) verifiesPKCS1(hash crypto.Hash, sum, sig []byte) bool {
	if !k.usual() {
		return !errors.Is(rsa.VerifyPKCS1v15(k.PublicKey, hash, sum, sig), rsa.ErrVerification)
	}
	size, info := k.Size(), digestInfo[hash]
	want := append(make([]byte, 0, size), 0, 1)
	for len(want) < size-1-len(info)-len(sum) {
		want = append(want, 0xff)
	}
	want = append(append(append(want, 0), info...), sum...)
	return bytes.Equal(k.encoded(sig), want)
}

// verifiesPSS checks an RSASSA-PSS signature with a salt of any length (RFC 8017 section 8.1.2).
func (k *rsaKey) verifiesPSS(hash crypto.Hash, sum, sig []byte) bool {
	if !k.usual() {
		return !errors.Is(rsa.VerifyPSS(k.PublicKey, hash, sum, sig, nil), rsa.ErrVerification)
	}
	message := k.encoded(sig)
	return message != nil && consistentPSS(hash, sum, message, k.N.BitLen()-1)
}

// consistentPSS is EMSA-PSS-VERIFY (RFC 8017 section 9.1.2) of a message encoded to so many bits. It is as long as the modulus, and
// overwritten.
func consistentPSS(hash crypto.Hash, sum, message []byte, bits int) bool {
	size, unused := (bits+7)/8, -bits&7
	if len(message) > size {
		if message[0] != 0 {
			return false
		}
		message = message[1:]
	}
	masked := size - hash.Size() - 1
	if masked < 1 || message[size-1] != 0xbc || message[0]>>(8-unused) != 0 {
		return false
	}
	data, h := message[:masked], message[masked:size-1]
	fn := hash.New()
	var count [4]byte
	var mask []byte
	for at := 0; at < len(data); at++ { // MGF1, appendix B.2.1
		if at%hash.Size() == 0 {
			binary.BigEndian.PutUint32(count[:], uint32(at/hash.Size()))
			fn.Reset()
			fn.Write(h)
			fn.Write(count[:])
			mask = fn.Sum(mask[:0])
		}
		data[at] ^= mask[at%hash.Size()]
	}
	data[0] &= 0xff >> unused
	salt := bytes.TrimLeft(data, "\x00")
	if len(salt) == 0 || salt[0] != 1 {
		return false
	}
	fn.Reset()
	fn.Write(make([]byte, 8))
	fn.Write(sum)
	fn.Write(salt[1:])
	return bytes.Equal(fn.Sum(mask[:0]), h)
}
