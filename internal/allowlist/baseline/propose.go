package baseline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/allowlist"
)

// Terms say what is proposed.
type Terms struct {
	MinHosts, MinDays int // of an identity, and of a destination that is named
	// Expires is the last day of what is proposed.
	Expires Day
}

const (
	// maxNamed is how many addresses a rule names; software of a proven vendor that goes to more is allowed any address.
	maxNamed = 32
	// maxPorts is how many ports are named one by one.
	maxPorts = 8
)

// Propose gives allowlist rules for an identity, or says why it gives none. The rules have no approved_by: a person has to put a name there.
func Propose(id *Identity, all Totals, t Terms) (rules []*allowlist.Rule, why string) {
	who, err := allowlist.Short(id.Name)
	switch {
	case err != nil:
		return nil, err.Error()
	case id.Hosts < t.MinHosts:
		return nil, fmt.Sprintf("seen on %d hosts only", id.Hosts)
	case id.Days < t.MinDays:
		return nil, fmt.Sprintf("seen on %d days only", id.Days)
	case who.Path != "" && allowlist.UserWritable(who.Path):
		return nil, "named only by a path in a folder that users can write to"
	}
	vendor := who.TeamID != "" || who.SigningID != ""
	add := func(ports []uint16, seen []Seen, verdicts Verdict) {
		rule := &allowlist.Rule{
			Name: ruleName(id.Name, ports), TeamID: who.TeamID, SigningID: who.SigningID, CDHash: who.CDHash, Path: who.Path,
			Verdicts: verdicts.Names(), Networks: addresses(seen), Ports: ports, Expires: t.Expires.String(),
			Reason: reason(id, all, len(addresses(seen))),
		}
		rules = append(rules, rule)
	}
	if id.Estimated {
		if !vendor {
			return nil, "too many destinations for a program without a proven vendor"
		}
		add(named(id.Ports), nil, id.Verdicts)
		return rules, ""
	}
	common := slices.DeleteFunc(slices.Clone(id.Seen), func(s Seen) bool { return s.Hosts < t.MinHosts || s.Days < t.MinDays })
	if ports := named(portsOf(common)); len(ports) > 0 {
		for _, port := range ports {
			here := slices.DeleteFunc(slices.Clone(common), func(s Seen) bool { return s.port != port })
			if len(addresses(here)) > maxNamed {
				if !vendor {
					continue
				}
				add([]uint16{port}, nil, verdictsOf(here))
				continue
			}
			add([]uint16{port}, here, verdictsOf(here))
		}
	} else if len(common) > 0 && len(addresses(common)) <= maxNamed {
		add(nil, common, verdictsOf(common))
	}
	if len(rules) == 0 && vendor && len(id.Seen) > maxNamed { // each destination is rare, the software is not: peer to peer
		add(named(id.Ports), nil, id.Verdicts)
	}
	if len(rules) == 0 {
		return nil, "no destination is common enough"
	}
	return rules, ""
}

// named gives the numbers of ports, unless there are too many to name.
func named(ports []Port) []uint16 {
	var numbers []uint16
	for _, p := range ports {
		numbers = append(numbers, p.Number)
	}
	slices.Sort(numbers)
	if numbers = slices.Compact(numbers); len(numbers) > maxPorts {
		return nil
	}
	return numbers
}

func portsOf(seen []Seen) []Port {
	var ports []Port
	for _, s := range seen {
		ports = append(ports, Port{s.port, s.protocol})
	}
	return ports
}

func addresses(seen []Seen) []string {
	var list []string
	for _, s := range seen {
		list = append(list, s.Address().String())
	}
	return slices.Compact(list) // sorted by address already
}

func verdictsOf(seen []Seen) Verdict {
	var all Verdict
	for _, s := range seen {
		all |= s.Verdicts
	}
	return all
}

func ruleName(identity string, ports []uint16) string {
	name := "learned " + identity
	if len(ports) > 0 {
		name += " port " + strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", "-"), "[]")
	}
	return name
}

// reason carries the counts.
func reason(id *Identity, all Totals, namedAddresses int) string {
	about := ""
	if all.HostsEstimated {
		about = "about "
	}
	destinations := fmt.Sprintf("%d destinations", id.Destinations)
	if id.Estimated {
		destinations = "about " + destinations
	}
	where := "any address"
	if namedAddresses > 0 {
		where = fmt.Sprintf("%d addresses", namedAddresses)
	}
	return fmt.Sprintf("seen on %s%d of %d hosts and %d of %d days (%s to %s); %s in all; %d findings; this rule covers %s", about, id.Hosts, all.Hosts, id.Days, all.Days,
		id.First, id.Last, destinations, id.Rows, where)
}
