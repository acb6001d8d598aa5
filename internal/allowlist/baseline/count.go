package baseline

import (
	"hash/maphash"
	"math"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// DefaultBudget is the bytes that counts may take before they become estimates.
const DefaultBudget = 512 << 20

// What things take beside their texts and sets, in bytes, measured with Go 1.26's maps (TestAccountedBytes compares the sum with the heap).
const (
	pairSize     = 190
	identitySize = 480
	hostSize     = 130
)

const (
	// foldFrom is the size of an identity's destinations from which a sketch of them takes less.
	foldFrom = 64 << 10
	// precision is that of the sketches of folded identities; sketchSize is what one takes at most, in bytes.
	precision  = 14
	sketchSize = 1<<precision + 512
	// coarse is the precision of all sketches when there are too many identities or hosts to keep.
	coarse     = 12
	coarseSize = 1<<coarse + 512
	// coarseIdentity bounds what one identity takes then.
	coarseIdentity = 2*sketchSize + coarseSize + 3*bitmap + 1024
)

// Counter counts. As long as all fits into its budget the counts are exact. When it does not, the identities with the most
// destinations are folded: their destinations are only estimated, from then on and back to the first. When even that is not enough, hosts are estimated too, and only the
// identities seen on the most hosts are kept by name. It is not safe for concurrent use.
type Counter struct {
	budget, used int64
	since        Day // destinations that were seen before it are not new; NoDay: none

	hosts      map[string]uint32
	hashes     []uint64 // of the hosts, by number
	seed       maphash.Seed
	days       days
	first      Day
	last       Day
	identities map[string]*identity
	rows       uint64
	pairs      uint64
	folded     int
	rest       *rest // set when hosts are estimated
}

// identity is what is known of one identity.
type identity struct {
	name     string
	hosts    set
	fleet    *hyperloglog.Sketch // of hosts, when these are estimated
	days     days
	ports    set // protocol << 16 | port
	rows     uint64
	verdicts Verdict
	first    Day
	last     Day
	bytes    int64 // of its destinations
	pairs    map[Destination]*pair
	all      *hyperloglog.Sketch // of destinations, once folded
	before   *hyperloglog.Sketch // of those seen before since
}

// pair is what is known of one identity's traffic to one destination.
type pair struct {
	hosts    set
	days     days
	rows     uint64
	first    Day
	last     Day
	verdicts Verdict
}

// rest is what is no longer told apart.
type rest struct {
	rows       uint64
	hosts      *hyperloglog.Sketch // of the whole fleet
	identities *hyperloglog.Sketch // that are not kept by name
	pairs      *hyperloglog.Sketch // theirs
}

// NewCounter makes a Counter that counts exactly within budget bytes. With since other than NoDay it also tells what is new from that day on.
func NewCounter(budget int64, since Day) *Counter {
	return &Counter{budget: budget, since: since, hosts: map[string]uint32{}, seed: maphash.MakeSeed(), identities: map[string]*identity{}}
}

// Add counts one row.
func (c *Counter) Add(r Row) {
	if c.rows == 0 {
		c.first = r.Day
	}
	c.rows++
	c.first, c.last = min(c.first, r.Day), max(c.last, r.Day)
	c.used += int64(c.days.add(r.Day))
	who := c.identities[string(r.Identity)]
	if who == nil {
		if c.rest != nil {
			c.addToRest(&r)
			return
		}
		who = &identity{name: string(r.Identity), first: r.Day, pairs: map[Destination]*pair{}}
		c.identities[who.name] = who
		c.used += identitySize + int64(len(who.name))
	}
	c.used += int64(who.days.add(r.Day) + who.ports.add(uint32(r.Where.protocol)<<16|uint32(r.Where.port)))
	who.rows++
	who.verdicts |= r.Verdict
	who.first, who.last = min(who.first, r.Day), max(who.last, r.Day)
	if c.rest != nil {
		h := maphash.Bytes(c.seed, r.Host)
		c.rest.hosts.InsertHash(h)
		who.fleet.InsertHash(h)
		who.sketch(c.hashOf(r.Where), r.Day < c.since)
		return
	}
	host := c.host(r.Host)
	c.used += int64(who.hosts.add(host))
	if who.all != nil {
		who.sketch(c.hashOf(r.Where), r.Day < c.since)
	} else {
		c.addPair(who, &r, host)
	}
	if c.used > c.budget {
		c.shrink()
	}
}

func (c *Counter) addPair(who *identity, r *Row, host uint32) {
	p := who.pairs[r.Where]
	grown := 0
	if p == nil {
		p = &pair{first: r.Day}
		who.pairs[r.Where] = p
		c.pairs++
		grown = pairSize
	}
	grown += p.hosts.add(host) + p.days.add(r.Day)
	p.rows++
	p.verdicts |= r.Verdict
	p.first, p.last = min(p.first, r.Day), max(p.last, r.Day)
	who.bytes += int64(grown)
	c.used += int64(grown)
}

// host numbers hosts.
func (c *Counter) host(name []byte) uint32 {
	n, known := c.hosts[string(name)]
	if !known {
		n = uint32(len(c.hashes))
		c.hosts[string(name)] = n
		c.hashes = append(c.hashes, maphash.Bytes(c.seed, name))
		c.used += hostSize + int64(len(name))
	}
	return n
}

func (c *Counter) hashOf(d Destination) uint64 { return maphash.Comparable(c.seed, d) }

// sketch counts a destination that is no longer kept.
func (who *identity) sketch(h uint64, before bool) {
	who.all.InsertHash(h)
	if before && who.before != nil {
		who.before.InsertHash(h)
	}
}

// shrink folds the identities with the most destinations until a quarter of the budget is free, or gives up exact counts of hosts.
func (c *Counter) shrink() {
	var large []*identity
	for _, who := range c.identities {
		if who.all == nil && who.bytes > foldFrom {
			large = append(large, who)
		}
	}
	slices.SortFunc(large, func(a, b *identity) int { return int(min(max(b.bytes-a.bytes, -1), 1)) })
	for _, who := range large {
		if c.used <= c.budget/4*3 {
			return
		}
		c.fold(who, precision)
		c.used += 2*sketchSize - who.bytes
		who.bytes = 0
	}
	if c.used > c.budget/4*3 {
		c.coarsen()
	}
}

// fold gives up an identity's destinations one by one for an estimate of their number.
func (c *Counter) fold(who *identity, p uint8) {
	who.all = newSketch(p)
	if c.since != NoDay {
		who.before = newSketch(p)
	}
	for d, pair := range who.pairs {
		who.sketch(c.hashOf(d), pair.first < c.since)
	}
	c.pairs -= uint64(len(who.pairs))
	who.pairs = nil
	c.folded++
}

func newSketch(p uint8) *hyperloglog.Sketch {
	s, err := hyperloglog.NewSketch(p, true)
	if err != nil {
		panic(err) // p is one of this package's constants
	}
	return s
}

// coarsen is the last resort: hosts become estimates, and only so many identities are kept as fit for sure.
func (c *Counter) coarsen() {
	c.rest = &rest{hosts: newSketch(precision), identities: newSketch(precision), pairs: newSketch(precision)}
	for _, h := range c.hashes {
		c.rest.hosts.InsertHash(h)
	}
	all := make([]*identity, 0, len(c.identities))
	for _, who := range c.identities {
		all = append(all, who)
	}
	slices.SortFunc(all, func(a, b *identity) int { return b.hosts.count() - a.hosts.count() })
	keep := min(len(all), max(1, int(c.budget/coarseIdentity)))
	for _, who := range all[keep:] {
		c.rest.rows += who.rows
		c.rest.identities.InsertHash(maphash.String(c.seed, who.name))
		for d := range who.pairs {
			c.rest.pairs.InsertHash(c.pairHash(who.name, d))
		}
		delete(c.identities, who.name)
	}
	for _, who := range all[:keep] {
		who.fleet = newSketch(coarse)
		who.hosts.each(func(host uint32) { who.fleet.InsertHash(c.hashes[host]) })
		who.hosts = set{}
		if who.all == nil {
			c.fold(who, coarse)
		}
	}
	c.hosts, c.hashes = nil, nil
	c.used = 0 // bounded from here on: nothing is added that is not accounted for in coarseIdentity
}

func (c *Counter) addToRest(r *Row) {
	c.rest.rows++
	c.rest.hosts.InsertHash(maphash.Bytes(c.seed, r.Host))
	c.rest.identities.InsertHash(maphash.Bytes(c.seed, r.Identity))
	c.rest.pairs.InsertHash(c.pairHash(string(r.Identity), r.Where))
}

func (c *Counter) pairHash(name string, d Destination) uint64 {
	return maphash.Comparable(c.seed, struct {
		name string
		d    Destination
	}{name, d})
}

// standardError is the relative standard error of a sketch (Flajolet and others, "HyperLogLog", 2007: 1.04 / sqrt(m)).
func standardError(p uint8) float64 { return 1.04 / math.Sqrt(float64(uint(1)<<p)) }
