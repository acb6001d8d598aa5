package baseline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// Totals is what was counted, all identities together.
type Totals struct {
	Hosts, Days  int
	Rows         uint64
	Identities   uint64
	Destinations uint64 // each identity's own
	First, Last  Day
	// Error is the relative standard error of the counts that are estimates; 0 when all are exact.
	Error float64
	// Folded is how many identities' destinations are estimates.
	Folded int
	// HostsEstimated says that the numbers of hosts are estimates, too, and Unnamed what is only counted.
	HostsEstimated bool
	Unnamed        Unnamed
}

// Unnamed is what there was no room to tell apart.
type Unnamed struct {
	Identities, Destinations, Rows uint64
}

// Identity is one identity: where it was seen, and where it went.
type Identity struct {
	Name        string
	Hosts, Days int
	Rows        uint64
	First, Last Day
	Verdicts    Verdict
	Ports       []Port // sorted
	// Destinations is how many; Seen lists them, unless Estimated.
	Destinations uint64
	Estimated    bool
	Seen         []Seen // sorted by address, port and protocol
	// NewDestinations is how many were first seen on or after the counter's since.
	NewDestinations uint64
	IsNew           bool
}

// Port is a remote port.
type Port struct {
	Number   uint16
	Protocol uint8
}

func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, transport(p.Protocol)) }

func transport(protocol uint8) string {
	if protocol == 17 {
		return "udp"
	}
	return "tcp"
}

// Seen is one destination of an identity.
type Seen struct {
	Destination
	Hosts, Days int
	Rows        uint64
	First, Last Day
	Verdicts    Verdict
}

// Totals gives what was counted up to now.
func (c *Counter) Totals() Totals {
	t := Totals{Hosts: len(c.hosts), Days: c.days.count(), Rows: c.rows, Identities: uint64(len(c.identities)), Destinations: c.pairs, Folded: c.folded,
		First: c.first, Last: c.last}
	if c.folded > 0 {
		t.Error = standardError(precision)
	}
	for _, who := range c.identities {
		if who.all != nil {
			t.Destinations += who.all.Estimate()
		}
	}
	if c.rest != nil {
		t.HostsEstimated, t.Error = true, standardError(coarse)
		t.Hosts = int(c.rest.hosts.Estimate())
		t.Unnamed = Unnamed{c.rest.identities.Estimate(), c.rest.pairs.Estimate(), c.rest.rows}
		t.Destinations += t.Unnamed.Destinations
		t.Identities += t.Unnamed.Identities
	}
	return t
}

// Each gives the identities one by one, sorted by name, until do fails.
func (c *Counter) Each(do func(*Identity) error) error {
	for _, name := range slices.Sorted(maps.Keys(c.identities)) {
		id := c.identities[name].report(c.since)
		if err := do(&id); err != nil {
			return err
		}
	}
	return nil
}

func (who *identity) report(since Day) Identity {
	id := Identity{
		Name: who.name, Hosts: who.hosts.count(), Days: who.days.count(), Rows: who.rows, First: who.first, Last: who.last, Verdicts: who.verdicts,
		Destinations: uint64(len(who.pairs)), Estimated: who.all != nil, IsNew: since != NoDay && who.first >= since,
	}
	who.ports.each(func(v uint32) { id.Ports = append(id.Ports, Port{uint16(v), uint8(v >> 16)}) })
	slices.SortFunc(id.Ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	if who.fleet != nil {
		id.Hosts = int(who.fleet.Estimate())
	}
	if who.all != nil {
		id.Destinations = who.all.Estimate()
		id.NewDestinations = newOnes(who.all, who.before)
		return id
	}
	for d, p := range who.pairs {
		id.Seen = append(id.Seen, Seen{d, p.hosts.count(), p.days.count(), p.rows, p.first, p.last, p.verdicts})
		if since != NoDay && p.first >= since {
			id.NewDestinations++
		}
	}
	slices.SortFunc(id.Seen, func(a, b Seen) int { return a.compare(b.Destination) })
	return id
}

func newOnes(all, before *hyperloglog.Sketch) uint64 {
	if before == nil {
		return 0
	}
	n, old := all.Estimate(), before.Estimate()
	return n - min(n, old)
}

func (d Destination) compare(e Destination) int {
	return cmp.Or(d.Address().Compare(e.Address()), cmp.Compare(d.port, e.port), cmp.Compare(d.protocol, e.protocol))
}
