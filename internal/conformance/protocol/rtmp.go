package protocol

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

// rtmpHello is the length of each handshake message behind the version.
const rtmpHello = 1536

// rtmp is the Real-Time Messaging Protocol (Adobe, 1.0, section 5.2): version 3, random bytes behind a time and four of zero, which the other
// side sends back; or the handshake of Flash players, which holds a keyed digest of itself. The echo: 2^-448; the digest 2^-256; zeros alone,
// while there is nothing else yet: 2^-40.
func rtmp(v *view) bool {
	c, s := v.client.data, v.server.data
	if len(c) < 9 || c[0] != 3 || len(s) > 0 && s[0] != 3 {
		return false
	}
	echoed := false
	if len(c) >= 1+rtmpHello+64 && len(s) >= 64 {
		echoed = bytes.Equal(c[1+rtmpHello+8:1+rtmpHello+63], s[9:64])
	} else if len(c) <= 1+rtmpHello && zero(c[5:9]) {
		return true
	}
	if len(s) >= 1+rtmpHello+64 && len(c) >= 64 {
		echoed = echoed || bytes.Equal(s[1+rtmpHello+8:1+rtmpHello+63], c[9:64])
	}
	return echoed || len(c) >= 1+rtmpHello && (flashDigest(c[1:1+rtmpHello], 8) || flashDigest(c[1:1+rtmpHello], 772))
}

// flashDigest says whether the HMAC-SHA256 of a player's hello is in it, where the four bytes at at say.
func flashDigest(hello []byte, at int) bool {
	offset := 0
	for _, x := range hello[at : at+4] {
		offset += int(x)
	}
	from := at + 4 + offset%728
	sum := hmac.New(sha256.New, []byte("Genuine Adobe Flash Player 001"))
	sum.Write(hello[:from])
	sum.Write(hello[from+sha256.Size:])
	return bytes.Equal(sum.Sum(nil), hello[from:from+sha256.Size])
}
