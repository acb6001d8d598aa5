package sensor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// A VPN shows flows twice: inside, at the tunnel's interface, and outside, in the one flow that carries them all. What is inside is judged for itself; the outer
// flow is ciphertext by nature and no finding, as long as what it carries is seen.

const (
	// carryWindows is how many of the last looks are compared.
	carryWindows = 8
	// carryBusy is how many of them must have had traffic in the tunnel.
	carryBusy = 4
	// carryLeast is the traffic in the tunnel, in bytes, from which a look counts as busy.
	carryLeast = 2048
	// carryQuiet is how much may pass outside while the tunnel is quiet: keep-alives and a new handshake.
	carryQuiet = 2048
	// carryHeaders is the most that one inner packet with payload costs outside: its own headers, the tunnel's, and as much for its acknowledgement, which
	// is not captured.
	carryHeaders = 2 * (60 + 80)
	// maxCarriages is how many alerts are compared with the tunnels at once.
	maxCarriages = 1024
	// carryWait is how many looks an alert outside waits for traffic inside, while a tunnel is up.
	carryWait = 60
)

// traffic is what passed in one look.
type traffic struct{ bytes, packets uint64 }

func trafficOf(f *flow.Flow) traffic {
	return traffic{f.Bytes[0] + f.Bytes[1], f.Packets[0] + f.Packets[1]}
}

// since gives what was added; counters do not go back.
func (t traffic) since(before traffic) traffic {
	return traffic{t.bytes - min(before.bytes, t.bytes), t.packets - min(before.packets, t.packets)}
}

// carriage is the traffic of a flow and of the tunnels in the same looks, to see whether one carries the other.
type carriage struct {
	before traffic // the flow's at the last look
	looks  int
	outer  [carryWindows]traffic // the last is the newest
	inner  [carryWindows]traffic
}

// look takes the flow's counters, and what passed inside since the last look. It says whether the flow carries the tunnels.
func (c *carriage) look(now, inner traffic) bool {
	copy(c.outer[:], c.outer[1:])
	copy(c.inner[:], c.inner[1:])
	c.outer[carryWindows-1], c.inner[carryWindows-1] = now.since(c.before), inner
	c.before = now
	c.looks++
	return c.looks >= carryWindows && correlated(&c.outer, &c.inner)
}

// undecided says that it may still turn out that the flow carries a tunnel.
func (c *carriage) undecided() bool {
	busy := 0
	for _, t := range c.inner {
		if t.bytes >= carryLeast {
			busy++
		}
	}
	return c.looks < carryWindows || busy < carryBusy && c.looks < carryWait
}

// correlated says whether outer carries inner: it is never less, for each byte inside is one outside, never much more, for there is nothing else
// in it, and it is still when the inside is. A packet at the edge of a look may fall into the next one, so neighbours count a quarter.
func correlated(outer, inner *[carryWindows]traffic) bool {
	busy := 0
	var sumOuter, sumLeast, sumMost uint64
	for i := range inner {
		least := inner[i].bytes
		most := least + carryHeaders*inner[i].packets + carryQuiet
		sumOuter, sumLeast, sumMost = sumOuter+outer[i].bytes, sumLeast+least, sumMost+most
		for _, j := range [2]int{i - 1, i + 1} {
			if j >= 0 && j < carryWindows {
				least -= min(least, inner[j].bytes/4, inner[i].bytes/4)
				most += (inner[j].bytes + carryHeaders*inner[j].packets) / 4
			}
		}
		if outer[i].bytes < least || outer[i].bytes > most {
			return false
		}
		if inner[i].bytes >= carryLeast {
			busy++
		}
	}
	return busy >= carryBusy && sumOuter >= sumLeast && sumOuter <= sumMost
}

// local gives the end of a flow that is this host, as far as that is known.
func local(f *flow.Flow) netip.Addr {
	if f.Local == flow.LocalServer {
		return f.Server().Addr()
	}
	return f.Client().Addr()
}

// within says whether a flow passes inside one of the tunnels.
func within(tunnels []tunnel, f *flow.Flow) bool {
	a := local(f).Unmap()
	for i := range tunnels {
		for _, t := range tunnels[i].addresses {
			if t == a {
				return true
			}
		}
	}
	return false
}

// link compares the alerts outside the tunnels with what passed inside; the lock must be held.
func (l *live) link() {
	if len(l.links.tunnels) == 0 {
		l.inside = nil
		return
	}
	var passed traffic
	inside := make(map[*flow.Flow]traffic, len(l.inside))
	for f := range l.table.Flows() {
		if within(l.links.tunnels, f) {
			now := trafficOf(f)
			more := now.since(l.inside[f])
			passed.bytes, passed.packets = passed.bytes+more.bytes, passed.packets+more.packets
			inside[f] = now
		}
	}
	l.inside = inside
	compared := 0
	var fresh []*flow.Flow
	for f, a := range l.alerted {
		switch {
		case a.carries || f.Ended || within(l.links.tunnels, f):
			a.carriage = nil
		case a.carriage == nil:
			if len(fresh) < maxCarriages {
				fresh = append(fresh, f)
			}
		default:
			compared++
			a.carries = a.carriage.look(trafficOf(f), passed)
		}
	}
	for _, f := range fresh[:min(len(fresh), max(0, maxCarriages-compared))] { // more are not compared, and not waited for
		l.alerted[f].carriage = &carriage{before: trafficOf(f)}
	}
}

// carrying says whether an alert is the outer flow of a tunnel whose inside is seen: by the traffic of both, or because its owner is an extension of
// the network and the tunnel has traffic. unsure says that it is too early to tell. The lock must be held.
func (l *live) carrying(f *flow.Flow) (carries, unsure bool) {
	a := l.alerted[f]
	if a == nil {
		return false, false
	}
	if a.carries || len(l.links.tunnels) == 0 || within(l.links.tunnels, f) {
		return a.carries, false
	}
	if owner, known := f.Owner.(*Owner); known && len(l.inside) > 0 {
		for i := range l.extensions {
			if l.extensions[i].owns(owner.Path) {
				a.carries = true
				return true, false
			}
		}
	}
	if f.Ended {
		return false, false
	}
	if a.carriage == nil { // it was not looked at yet, or there are too many
		return false, len(l.alerted) <= maxCarriages
	}
	return false, a.carriage.undecided()
}

// carrier is the judgement of a tunnel's outer flow.
func carrier(j conformance.Judgement) conformance.Judgement {
	j.Reasons = append([]string{"outside_of_tunnel"}, j.Reasons...)
	j.Verdict, j.AppProtocol, j.Violations = conformance.KnownProtocol, "tunnel", nil
	return j
}

// vpnCoverage says how flows of a VPN are seen.
func vpnCoverage(tunnels []tunnel, inside, outside int) Coverage {
	row := Coverage{Name: "vpn", State: OK, Detail: "no tunnel interface is up", Count: int64(outside)}
	if len(tunnels) == 0 {
		return row
	}
	var names []string
	for i := range tunnels {
		names = append(names, tunnels[i].name)
	}
	row.Detail = fmt.Sprintf("%s: %d flows inside are judged for themselves, %d outer flows are linked to them and no alerts", strings.Join(names, ", "), inside, outside)
	if inside == 0 {
		row.State, row.Detail = Degraded, strings.Join(names, ", ")+": no flow inside was seen: what the tunnel carries is hidden in its outer flow"
		row.Advice = "see whether the capture covers the tunnel's interface; an outer flow alone may be an alert: approve the VPN by team and destination"
	}
	return row
}
