package flow

import (
	"strings"
	"unique"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// maxNames bounds how many different lists of words are shared between flows, maxWords how many words are at hand.
const (
	maxNames = 4096
	maxWords = 256
)

// names shares what many judgements have in common, so that a judged flow stays small.
type names struct {
	lists map[string][]string
	words map[string]string // the first ones that were shared, which asking the runtime for takes longer
	key   []byte
}

// compact gives j with its strings and lists shared.
func (n *names) compact(j conformance.Judgement) conformance.Judgement {
	for _, s := range [...]*string{&j.AppProtocol, &j.TLSVersion, &j.ALPN, &j.JA4} {
		if *s != "" {
			*s = n.word(*s)
		}
	}
	j.SNI = strings.Clone(j.SNI) // too many different ones to share, and it may be part of something larger
	j.Reasons, j.Violations = n.list(j.Reasons), n.list(j.Violations)
	return j
}

func (n *names) word(s string) string {
	if shared, ok := n.words[s]; ok {
		return shared
	}
	shared := unique.Make(s).Value()
	if n.words == nil {
		n.words = make(map[string]string)
	}
	if len(n.words) < maxWords {
		n.words[shared] = shared
	}
	return shared
}

func (n *names) list(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	n.key = n.key[:0]
	for _, w := range words {
		n.key = append(append(n.key, w...), 0)
	}
	if shared, ok := n.lists[string(n.key)]; ok {
		return shared
	}
	if n.lists == nil {
		n.lists = make(map[string][]string)
	}
	own := make([]string, len(words))
	for i, w := range words {
		own[i] = strings.Clone(w)
	}
	if len(n.lists) < maxNames {
		n.lists[string(n.key)] = own
	}
	return own
}
