// Package judge asks each kind's recognizer what a conversation is, and judges the bytes that none of them explains.
package judge

import (
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/dtls"
	"github.com/cipherlens/cipherlens/internal/conformance/protocol"
	"github.com/cipherlens/cipherlens/internal/conformance/quic"
	"github.com/cipherlens/cipherlens/internal/conformance/tls"
)

// The recognizers of each transport, in the order in which they are asked: the strictest first.
var (
	tcp = []conformance.Recognizer{tls.Recognize, protocol.Recognize}
	udp = []conformance.Recognizer{dtls.Recognize, quic.Recognize, protocol.Recognize}
)

func recognizers(transport uint8) []conformance.Recognizer {
	switch transport {
	case conformance.TCP:
		return tcp
	case conformance.UDP:
		return udp
	}
	return nil
}

// Judge says what a conversation is.
func Judge(c *conformance.Conversation, o conformance.Options) conformance.Judgement {
	j := ask(c, o)
	j.Stable = stable(c, j.Verdict)
	return j
}

func ask(c *conformance.Conversation, o conformance.Options) conformance.Judgement {
	for _, recognize := range recognizers(c.Transport) {
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

// stable says whether a verdict holds for the bytes at hand, ended or not. The end of a stream shows that its last message is whole,
// which matters to TLS and to what is not known yet; datagrams are whole as they come.
func stable(c *conformance.Conversation, v conformance.Verdict) bool {
	switch v {
	case conformance.KnownProtocol, conformance.Cleartext, conformance.Compressed, conformance.Random:
		return true
	}
	return c.Transport == conformance.UDP
}
