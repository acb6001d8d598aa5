package allowlist

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// unused is how long a rule may be loaded without covering a flow before that is worth a word.
const unused = 30 * 24 * time.Hour

// Dead says why a rule covers nothing, now or ever; empty when it may.
func (r *Rule) Dead(now time.Time) string {
	alerts := len(r.Verdicts) == 0 || slices.ContainsFunc(r.Verdicts, func(v string) bool { return conformance.Verdict(v).Alert() })
	named := len(r.Verdicts) == 0 || slices.Contains(r.Verdicts, string(conformance.TLSMimic))
	shadow := r.shadow.Load()
	switch {
	case r.Expired(now):
		return "expired on " + r.Expires
	case !alerts:
		return "never matches: none of its verdicts is an alert (random, tls_mimic)"
	case len(r.HostSuffixes) > 0 && !named:
		return "never matches: random traffic has no server name for host_suffixes"
	case shadow != nil && !shadow.Expired(now):
		return fmt.Sprintf("never matches: rule %q (%s) covers all that it does", shadow.Name, shadow.Source)
	}
	return ""
}

// Weakness says what makes a rule worth a second look; empty when nothing does.
func (r *Rule) Weakness(now time.Time) string {
	if dead := r.Dead(now); dead != "" {
		return dead
	}
	var found []string
	if r.Path != "" && r.TeamID == "" && r.SigningID == "" && r.CDHash == "" && UserWritable(r.Path) {
		found = append(found, "names only a path in a folder that users can write to")
	}
	if r.ApprovedBy == "" && r.Source != shortSource {
		found = append(found, "approved_by is empty: nobody has approved it")
	}
	if age := now.Sub(time.Unix(r.loaded, 0)); r.matches.Load() == 0 && r.loaded != 0 && age >= unused {
		found = append(found, fmt.Sprintf("has matched nothing in the %d days since it was loaded", int(age.Hours()/24)))
	}
	return strings.Join(found, "; ")
}

// shared are the beginnings of paths at which ordinary users can put files of their own on a normally set up system: homes, folders for everybody, what is
// plugged in, Homebrew's (on either kind of Mac), macOS' Applications, memory that a process names as it likes.
var shared = []string{
	"/Users/", "/System/Volumes/Data/Users/", "/home/", "/tmp/", "/private/tmp/", "/var/tmp/", "/private/var/tmp/", "/var/folders/", "/private/var/folders/", "/dev/shm/",
	"/run/user/", "/Volumes/", "/media/", "/mnt/", "/opt/homebrew/", "/usr/local/Cellar/", "/usr/local/Caskroom/", "/usr/local/opt/", "/Applications/", "/memfd:",
}

// UserWritable says whether ordinary users can put a file of their own at p on a normally set up system.
func UserWritable(p string) bool {
	return slices.ContainsFunc(shared, func(beginning string) bool { return strings.HasPrefix(p, beginning) })
}

// covers says whether every flow that b covers is covered by r too, as long as both hold.
func (r *Rule) covers(b *Rule) bool {
	same := func(a, b string) bool { return a == "" || a == b }
	return same(r.TeamID, b.TeamID) && same(r.SigningID, b.SigningID) && same(r.CDHash, b.CDHash) && same(r.Path, b.Path) &&
		!(r.SigningID != "" && r.TeamID == "" && b.TeamID != "") && // Apple's is no team's
		within(b.Verdicts, r.Verdicts) && within(b.AppProtocols, r.AppProtocols) && within(b.Ports, r.Ports) &&
		all(b.prefixes, r.prefixes, func(n, wide netip.Prefix) bool { return wide.Bits() <= n.Bits() && wide.Contains(n.Addr()) }) &&
		all(b.HostSuffixes, r.HostSuffixes, HostWithin) &&
		(r.until == 0 || b.until != 0 && b.until <= r.until)
}

// within says whether a list that allows some things allows no more than wide does; empty allows all.
func within[T comparable](list, wide []T) bool {
	return all(list, wide, func(v, w T) bool { return v == w })
}

func all[T any](list, wide []T, inside func(v, wide T) bool) bool {
	if len(wide) == 0 {
		return true
	}
	return len(list) > 0 && !slices.ContainsFunc(list, func(v T) bool {
		return !slices.ContainsFunc(wide, func(w T) bool { return inside(v, w) })
	})
}

// said finds rules that say the same as an earlier one, whatever their names and reasons.
type said struct {
	seed  maphash.Seed
	first map[uint64]*Rule
}

func newSaid(n int) said { return said{maphash.MakeSeed(), make(map[uint64]*Rule, n)} }

// before gives the earlier rule that says the same as r, or notes r as the first.
func (s said) before(r *Rule) *Rule {
	text := r.statement()
	h := maphash.String(s.seed, text)
	first := s.first[h]
	if first == nil {
		s.first[h] = r
		return nil
	}
	if first.statement() == text {
		return first
	}
	return nil
}

// statement is who, how and where in one form.
func (r *Rule) statement() string {
	var b strings.Builder
	for _, list := range [][]string{{r.TeamID}, {r.SigningID}, {r.CDHash}, {r.Path}, sorted(r.Verdicts), sorted(r.AppProtocols), sorted(r.HostSuffixes)} {
		b.WriteString(strings.Join(list, ","))
		b.WriteByte(0)
	}
	networks := slices.Clone(r.prefixes)
	slices.SortFunc(networks, netip.Prefix.Compare)
	fmt.Fprint(&b, networks, "\x00", sorted(r.Ports))
	return b.String()
}

func sorted[T string | uint16](list []T) []T {
	if slices.IsSorted(list) {
		return list
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
