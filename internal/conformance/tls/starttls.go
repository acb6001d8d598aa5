package tls

import "github.com/cipherlens/cipherlens/internal/conformance"

func judgeStartTLS(c *conformance.Conversation) (conformance.Judgement, bool) {
	return conformance.Judgement{}, false
}
