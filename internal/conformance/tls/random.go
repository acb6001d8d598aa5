package tls

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// ServerRandom gives the 32 bytes of the ServerHello with which the server's stream begins; nil when it begins otherwise, or with a HelloRetryRequest, whose random is
// always the same. They are fresh for each connection (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3).
func ServerRandom(c *conformance.Conversation) []byte {
	const record, handshake, version, size = 5, 4, 2, 32
	data := c.Server.Data
	if len(data) < record+handshake+version+size || data[0] != typeHandshake || data[1] != 3 || data[record] != msgServerHello {
		return nil
	}
	random := data[record+handshake+version:][:size]
	if bytes.Equal(random, retryRandom) {
		return nil
	}
	return random
}
