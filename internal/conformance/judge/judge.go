// Package judge asks each kind's recognizer what a conversation is, and judges the bytes that none of them explains.
package judge

import (
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/dtls"
	"github.com/cipherlens/cipherlens/internal/conformance/protocol"
	"github.com/cipherlens/cipherlens/internal/conformance/quic"
	"github.com/cipherlens/cipherlens/internal/conformance/tls"
)

// recognizers in the order in which they are asked: the strictest first.
var recognizers = []conformance.Recognizer{
	tls.Recognize,
	dtls.Recognize,
	quic.Recognize,
	protocol.Recognize,
}

// Judge says what a conversation is.
func Judge(c *conformance.Conversation, o conformance.Options) conformance.Judgement {
	for _, recognize := range recognizers {
		if j, ok := recognize(c, o); ok {
			return j
		}
	}
	j := conformance.Unexplained(c, o)
	if j.Verdict == conformance.Random && j.AppProtocol == "" {
		j.AppProtocol = protocol.Name(c)
	}
	return j
}
