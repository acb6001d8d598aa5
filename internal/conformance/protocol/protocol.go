// Package protocol knows protocols other than TLS, DTLS and QUIC by their structure: lengths that add up, fields in their
// ranges, checksums, sequences that advance, answers that echo what was asked. A port alone never names a protocol, and a header
// before random bytes does not either.
//
// Each recognizer's comment gives the probability that uniform bytes pass it, as a power of two; where one message gives more than
// about 2^-24, more messages or the answer are asked for.
package protocol

import (
	"math/bits"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// entry is one protocol on one transport.
type entry struct {
	name      string
	transport uint8    // conformance.TCP or conformance.UDP
	when      needs    // what must have been seen to ask match at all
	ports     []uint16 // where it usually is: asked first there, and accepted nowhere for that reason
	from      starts   // what it begins with: not asked where that is not so
	match     func(v *view) bool
}

// needs are what a recognizer needs of a conversation.
type needs uint8

const (
	start     needs = 0         // the start of the flow; the client is who opened it
	midstream needs = 1 << iota // works from anywhere
	turned                      // asked with the directions exchanged as well: either side may send first
	onPort                      // accepts nothing where neither port is one of its own
)

// themes are all recognizers, in the order in which they are asked where no port hints at one.
var themes = slices.Concat(web, ssh, names, mail, db, directory, vpn, voice, p2p, industry, games, apple, perf)

// registry are the recognizers of one transport.
type registry struct {
	all   []entry
	match []func(v *view) bool // those of all, side by side
	index index
	ports ports
}

// Filled by init, because a recognizer may ask the registry what a tunnel carries.
var tcp, udp registry

func init() { tcp, udp = register(conformance.TCP), register(conformance.UDP) }

func register(transport uint8) registry {
	var r registry
	byPort := map[uint16]mask{}
	for _, e := range themes {
		if e.transport != transport {
			continue
		}
		at := len(r.all)
		r.all, r.match = append(r.all, e), append(r.match, e.match)
		r.index.add(at, &e)
		for _, p := range e.ports {
			m := byPort[p]
			m.add(at)
			byPort[p] = m
		}
	}
	r.ports = newPorts(byPort)
	return r
}

var reasons = []string{"protocol_structure"}

// Recognize names the protocol of a conversation whose structure holds as far as it was seen.
func Recognize(c *conformance.Conversation, o conformance.Options) (conformance.Judgement, bool) {
	r := &udp
	if c.Transport == conformance.TCP {
		r = &tcp
	} else if c.Transport != conformance.UDP {
		return conformance.Judgement{}, false
	}
	v := kept.Get().(*views)
	defer kept.Put(v)
	v.look(c, false)
	may := r.index.candidates(&v.straight)
	if may.turned != (mask{}) {
		v.turn()
	}
	server, client := r.ports.entries(c.ServerPort), r.ports.entries(c.ClientPort)
	for _, list := range [...]mask{server, client.not(&server), r.index.anyPort.not(&server).not(&client)} {
		if e := r.first(v, &may, &list); e != nil {
			j := judgement(c, e.name)
			if v.carriesRandom(e.name, o) {
				j.Reasons = randomReasons
			}
			return j, true
		}
	}
	return conformance.Judgement{}, false
}

// first is the first entry of list that may match and does; nil where there is none.
func (r *registry) first(v *views, may *candidates, list *mask) *entry {
	for word := range list {
		straight, turned := may.straight[word]&list[word], may.turned[word]&list[word]
		for left := straight | turned; left != 0; left &= left - 1 {
			at, bit := word<<6|bits.TrailingZeros64(left), left&-left
			match := r.match[at]
			if straight&bit != 0 && match(&v.straight) || turned&bit != 0 && match(&v.turned) {
				return &r.all[at]
			}
		}
	}
	return nil
}

func judgement(c *conformance.Conversation, name string) conformance.Judgement {
	return conformance.Judgement{
		Verdict:     conformance.KnownProtocol,
		Confidence:  0.99,
		Reasons:     reasons,
		AppProtocol: name,
		Final:       c.Ended || len(c.Client.Data) >= conformance.Settled && len(c.Server.Data) >= conformance.Settled,
	}
}
