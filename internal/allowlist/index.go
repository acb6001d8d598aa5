package allowlist

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"strings"
	"time"
)

// index finds the rules that may cover a flow without looking at the others. It is a tuple space search (Srinivasan, Suri and Varghese,
// "Packet Classification Using Tuple Space Search", SIGCOMM 1999): rules that name the same kinds of things, such as a team and a /24, have
// one shape, and each shape costs one hash look-up, however many rules have it. What is found is checked in full, so that a hash that two
// different rules share costs time and no correctness.
type index struct {
	seed    maphash.Seed
	shapes  []shape
	first   map[uint64]int32 // hash to the first of entries with it
	entries []entry
	most    int // entries of one rule
}

// entry is one rule under one hash, in the order of the rules.
type entry struct {
	rule, next int32 // next is -1 at the end
}

// shape is what a rule names.
type shape struct {
	team, signing, cdhash, path bool
	bits                        int16 // length of the network; anyNetwork when it names none
	six                         bool  // IPv6
	host, port, protocol        bool
}

const anyNetwork = -1

const (
	// maxEntries bounds how many entries one rule takes: beyond, ports, protocols, server names, and at last networks are left to the full check.
	maxEntries = 256
	// maxAllEntries bounds those of all rules together, for which about 50 bytes each are needed while the index is made.
	maxAllEntries = 1 << 20
)

func newIndex(rules []*Rule) index {
	x := index{seed: maphash.MakeSeed(), first: make(map[uint64]int32, len(rules)), entries: make([]entry, 0, len(rules)),
		most: max(1, min(maxEntries, maxAllEntries/max(1, len(rules))))}
	known := map[shape]bool{}
	last := make(map[uint64]int32, len(rules))
	for i, r := range rules {
		x.each(r, func(s shape, h uint64) {
			if !known[s] {
				known[s] = true
				x.shapes = append(x.shapes, s)
			}
			at := int32(len(x.entries))
			tail, taken := last[h]
			switch {
			case !taken:
				x.first[h] = at
			case x.entries[tail].rule == int32(i):
				return // two of its networks are one
			default:
				x.entries[tail].next = at
			}
			last[h] = at
			x.entries = append(x.entries, entry{int32(i), -1})
		})
	}
	return x
}

// each gives every shape of r with the hash of what r names in it.
func (x *index) each(r *Rule, found func(shape, uint64)) {
	base := shape{team: r.TeamID != "", signing: r.SigningID != "", cdhash: r.CDHash != "", path: r.Path != ""}
	networks, hosts, ports, protocols := r.prefixes, r.HostSuffixes, r.Ports, r.AppProtocols
	networks, total := fitting(networks, 1, x.most)
	hosts, total = fitting(hosts, total, x.most)
	ports, total = fitting(ports, total, x.most)
	protocols, _ = fitting(protocols, total, x.most)
	who := Identity{TeamID: r.TeamID, SigningID: r.SigningID, CDHash: r.CDHash, Path: r.Path}
	for _, n := range orNone(networks) {
		for _, h := range orNone(hosts) {
			for _, p := range orNone(ports) {
				for _, a := range orNone(protocols) {
					s := base
					s.bits, s.host, s.port, s.protocol = anyNetwork, len(hosts) > 0, len(ports) > 0, len(protocols) > 0
					if len(networks) > 0 {
						s.bits, s.six = int16(n.Bits()), n.Addr().Is6()
					}
					found(s, x.hash(s, who, n, h, p, a))
				}
			}
		}
	}
}

// fitting leaves a list out of the index when the rule would take too many entries with it.
func fitting[T any](list []T, total, most int) ([]T, int) {
	if n := total * max(1, len(list)); n <= most {
		return list, n
	}
	return nil, total
}

// orNone is a list to loop over once when it is empty.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// hash mixes what a shape names. Texts are told apart by their lengths.
func (x *index) hash(s shape, who Identity, network netip.Prefix, host string, port uint16, protocol string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	text := func(use bool, t string) {
		if use {
			var length [4]byte
			binary.LittleEndian.PutUint32(length[:], uint32(len(t))+1)
			_, _ = h.Write(length[:])
			_, _ = h.WriteString(t)
		} else {
			_, _ = h.Write([]byte{0, 0, 0, 0})
		}
	}
	text(s.team, who.TeamID)
	text(s.signing, who.SigningID)
	text(s.cdhash, who.CDHash)
	text(s.path, who.Path)
	text(s.host, host)
	text(s.protocol, protocol)
	if s.port {
		_, _ = h.Write([]byte{1, byte(port), byte(port >> 8)})
	}
	if s.bits != anyNetwork {
		address := network.Addr().As16()
		_, _ = h.Write([]byte{2, byte(s.bits)})
		_, _ = h.Write(address[:])
	}
	return h.Sum64()
}

// names says whether the identity has all that the shape's rules ask for.
func (s *shape) names(who *Identity) bool {
	return (!s.team || who.TeamID != "") && (!s.signing || who.SigningID != "") && (!s.cdhash || who.CDHash != "") && (!s.path || who.Path != "")
}

// match gives the first rule that covers the flow.
func (x *index) match(rules []*Rule, who Identity, where Destination, now time.Time) *Rule {
	best := int32(math.MaxInt32)
	address := where.Address.Unmap()
	var hosts []string
	for i := range x.shapes {
		s := &x.shapes[i]
		if !s.names(&who) {
			continue
		}
		network, ok := s.network(address)
		if !ok {
			continue
		}
		names := noName
		if s.host {
			if hosts == nil {
				hosts = suffixes(where.Host)
			}
			names = hosts
		}
		for _, host := range names {
			x.candidates(x.hash(*s, who, network, host, where.Port, where.AppProtocol), func(rule int32) bool {
				if r := rules[rule]; rule < best && !r.Expired(now) && r.identifies(who) && r.reaches(where) {
					best = rule
				}
				return rule < best
			})
		}
	}
	if best == math.MaxInt32 {
		return nil
	}
	return rules[best]
}

// noName stands where a shape has no server name: one look-up, without one.
var noName = []string{""}

// candidates gives the rules under a hash in their order, until more says no.
func (x *index) candidates(h uint64, more func(rule int32) bool) {
	at, known := x.first[h]
	for known && at >= 0 && more(x.entries[at].rule) {
		at = x.entries[at].next
	}
}

// network cuts an address to the shape's length; false when it is of the other family.
func (s *shape) network(a netip.Addr) (netip.Prefix, bool) {
	if s.bits == anyNetwork {
		return netip.Prefix{}, true
	}
	if !a.IsValid() || a.Is6() != s.six {
		return netip.Prefix{}, false
	}
	p, err := a.WithZone("").Prefix(int(s.bits))
	return p, err == nil
}

// suffixes gives a host name and all names above it, at most 127: a DNS name has no more labels (RFC 1035, 2.3.4).
func suffixes(host string) []string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	list := []string{host}
	for len(list) < 127 {
		_, rest, ok := strings.Cut(host, ".")
		if !ok {
			break
		}
		host = rest
		list = append(list, host)
	}
	return list
}

// maxShadows bounds how many earlier rules one rule is compared with.
const maxShadows = 64

// shadow gives an earlier rule that covers all that rule i does. It looks where a flow that rule i covers would find it.
func (x *index) shadow(rules []*Rule, i int) *Rule {
	r := rules[i]
	who := Identity{TeamID: r.TeamID, SigningID: r.SigningID, CDHash: r.CDHash, Path: r.Path}
	var where Destination
	if len(r.prefixes) > 0 {
		where.Address = r.prefixes[0].Addr()
	}
	hosts := noName
	if len(r.HostSuffixes) > 0 {
		hosts = suffixes(r.HostSuffixes[0])
	}
	port, protocol := orNone(r.Ports)[0], orNone(r.AppProtocols)[0]
	looked := 0
	for k := range x.shapes {
		s := &x.shapes[k]
		network, ok := s.network(where.Address)
		if !s.names(&who) || !ok || s.host && len(r.HostSuffixes) == 0 || s.port && len(r.Ports) == 0 || s.protocol && len(r.AppProtocols) == 0 {
			continue
		}
		var found *Rule
		for _, host := range hosts {
			x.candidates(x.hash(*s, who, network, host, port, protocol), func(rule int32) bool {
				looked++
				if rule < int32(i) && rules[rule].covers(r) {
					found = rules[rule]
				}
				return found == nil && rule < int32(i) && looked < maxShadows
			})
			if found != nil || !s.host {
				break
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}
