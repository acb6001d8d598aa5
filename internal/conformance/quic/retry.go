package quic

import (
	"crypto/aes"
	"crypto/cipher"
)

// retrySecret is the fixed key and nonce of a version's Retry integrity tag (RFC 9001 section 5.8, RFC 9369 section 3.3.3, and the
// drafts 25 to 28 and 29 to 32).
func retrySecret(v uint32) (key, nonce string, ok bool) {
	switch {
	case v == version1, v == draftPrefix|33, v == draftPrefix|34:
		return "\xbe\x0c\x69\x0b\x9f\x66\x57\x5a\x1d\x76\x6b\x54\xe3\x68\xc8\x4e", "\x46\x15\x99\xd3\x5d\x63\x2b\xf2\x23\x98\x25\xbb", true
	case v == version2:
		return "\x8f\xb4\xb0\x1b\x56\xac\x48\xe2\x60\xfb\xcb\xce\xad\x7c\xcc\x92", "\xd8\x69\x69\xbc\x2d\x7c\x6d\x99\x90\xef\xb0\x4a", true
	}
	return "", "", false
}

// retryVerifies checks the integrity tag of a Retry packet against the connection id that the client first sent; versions whose key
// is not known pass.
func retryVerifies(p *packet, original []byte) bool {
	key, nonce, ok := retrySecret(p.version)
	if !ok {
		return true
	}
	if len(p.rest) < initialTag {
		return false
	}
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		return true
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return true
	}
	split := len(p.raw) - initialTag
	pseudo := append([]byte{byte(len(original))}, original...)
	pseudo = append(pseudo, p.raw[:split]...)
	_, err = aead.Open(nil, []byte(nonce), p.raw[split:], pseudo)
	return err == nil
}
