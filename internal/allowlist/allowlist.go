// Package allowlist decides which approved rule, if any, covers one program's traffic to one destination. A rule that names an identity
// matches only one that is proven: a certificate chain for teams and signing ids, agreeing page hashes for these and for cdhashes.
package allowlist

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cipherlens/cipherlens/internal/config"
)

// MaxRules bounds all rules together. With that many, a Set takes about 60 MiB (BenchmarkLoad measures it).
const MaxRules = 100_000

// Rule says who may talk how to where. Every list that is empty allows anything; the lists that are not must all match. At
// least one of TeamID, SigningID, CDHash and Path is set.
type Rule struct {
	Name         string   `yaml:"name"`
	TeamID       string   `yaml:"team_id"`
	SigningID    string   `yaml:"signing_id"` // with TeamID that team's; alone only Apple's
	CDHash       string   `yaml:"cdhash"`     // 40 hex digits
	Path         string   `yaml:"path"`       // the executable's absolute path
	Verdicts     []string `yaml:"verdicts"`
	AppProtocols []string `yaml:"app_protocols"`
	Networks     []string `yaml:"networks"`      // CIDR or address
	HostSuffixes []string `yaml:"host_suffixes"` // of the server name: example.com covers a.example.com
	Ports        []uint16 `yaml:"ports"`
	ApprovedBy   string   `yaml:"approved_by"`
	Reason       string   `yaml:"reason"`
	Reference    string   `yaml:"reference"` // where the identity is published
	Expires      string   `yaml:"expires"`   // 2027-01-31: the last day on which it holds, UTC; empty: never

	Source string `yaml:"-"` // file:line, or the setting that it comes from

	prefixes  []netip.Prefix
	until     int64                // unix seconds from which it holds no more; 0: never
	loaded    int64                // unix seconds
	shadow    atomic.Pointer[Rule] // an earlier rule that covers all that this one does
	matches   atomic.Uint64
	lastMatch atomic.Int64
}

// Count counts one more flow that the rule covers.
func (r *Rule) Count(now time.Time) {
	r.matches.Add(1)
	r.lastMatch.Store(now.Unix())
}

// Matches says how often Count was called since the rule was loaded, and when last (unix seconds; 0 never).
func (r *Rule) Matches() (count uint64, last int64) { return r.matches.Load(), r.lastMatch.Load() }

// Expired says whether the rule's last day is over.
func (r *Rule) Expired(now time.Time) bool { return r.until != 0 && now.Unix() >= r.until }

// Identity is who talks, as far as it is proven.
type Identity struct {
	Path      string
	SigningID string // proven by certificate, else empty
	TeamID    string // proven by certificate, else empty
	Apple     bool   // signed by Apple itself
	CDHash    string // of pages that were checked, else empty
}

// Destination is where to, and how.
type Destination struct {
	Address     netip.Addr
	Port        uint16
	Host        string // server name, if one was seen
	Verdict     string
	AppProtocol string
}

// Set is an immutable collection of rules, safe for concurrent use; its match counters move.
type Set struct {
	rules []*Rule
	index index
}

// Short reads the short form of the setting allowed_crypto_processes: team:ID, signing:ID, signing:TEAM:ID, cdhash:HEX, path:PATH.
func Short(text string) (*Rule, error) {
	kind, value, _ := strings.Cut(text, ":")
	r := &Rule{Name: text, Source: shortSource}
	switch kind {
	case "team":
		r.TeamID = value
	case "signing":
		if team, id, ok := strings.Cut(value, ":"); ok {
			r.TeamID, r.SigningID = team, id
		} else {
			r.SigningID = value
		}
	case "cdhash":
		r.CDHash = value
	case "path":
		r.Path = value
	default:
		return nil, fmt.Errorf("allowlist: allowed_crypto_processes: %q: none of team:, signing:, cdhash: and path: at its beginning", text)
	}
	if err := r.complete(); err != nil {
		return nil, fmt.Errorf("allowlist: allowed_crypto_processes: %q: %w", text, err)
	}
	return r, nil
}

const shortSource = "allowed_crypto_processes"

// NewSet makes a Set. A rule whose name is taken, or that says the same as an earlier one, is left out and reported.
func NewSet(rules []*Rule) (*Set, []error) {
	s := &Set{}
	now := time.Now().Unix()
	var errs []error
	names := make(map[string]*Rule, len(rules))
	said := newSaid(len(rules))
	for _, r := range rules {
		if first, taken := names[r.Name]; taken {
			errs = append(errs, fmt.Errorf("allowlist: %s: rule %q: the name is taken by %s", r.Source, r.Name, first.Source))
			continue
		}
		if first := said.before(r); first != nil {
			errs = append(errs, fmt.Errorf("allowlist: %s: rule %q: says the same as rule %q (%s)", r.Source, r.Name, first.Name, first.Source))
			continue
		}
		if len(s.rules) >= MaxRules {
			errs = append(errs, fmt.Errorf("allowlist: %s: more than %d rules: this one and all after it are left out", r.Source, MaxRules))
			break
		}
		names[r.Name] = r
		s.rules = append(s.rules, r)
	}
	s.index = newIndex(s.rules)
	for i, r := range s.rules {
		if r.loaded == 0 { // else it is the last set's, which others look at
			r.loaded = now
		}
		r.shadow.Store(s.index.shadow(s.rules, i))
	}
	return s, errs
}

// Load makes the Set of a site: the rule files beside the settings file and the setting allowed_crypto_processes. Of a file that can no longer be read, or of which nothing
// can, the rules of last (nil: none) stay in force.
func Load(store *config.Store, last *Set) (*Set, []error) {
	var rules []*Rule
	var errs []error
	for _, text := range store.Current().AllowedCryptoProcesses {
		r, err := Short(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rules = append(rules, r)
	}
	files, err := store.RuleFiles()
	if err != nil {
		errs = append(errs, fmt.Errorf("allowlist: %w", err))
	}
	defer slowly(files)()
	more, bad := readFiles(files, last)
	set, left := NewSet(append(rules, more...))
	makeRoom(len(set.rules))
	return set, slices.Concat(errs, bad, left)
}

// ReadFiles reads rule files. What is wrong with a file or a rule is reported; everything else is still there. A file that went away is no error.
func ReadFiles(files []string) (rules []*Rule, errs []error) { return readFiles(files, nil) }

func readFiles(files []string, last *Set) (rules []*Rule, errs []error) {
	for _, file := range files {
		data, err := config.ReadTrusted(file)
		switch {
		case os.IsNotExist(err):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("allowlist: %w", err))
			rules = append(rules, last.from(file)...)
			continue
		case len(rules) > MaxRules:
			return rules, append(errs, fmt.Errorf("allowlist: %s: not read: there are more than %d rules before it", file, MaxRules))
		}
		more, bad := Parse(file, data)
		if len(more) == 0 && len(bad) > 0 {
			more = last.from(file)
		}
		rules, errs = append(rules, more...), append(errs, bad...)
	}
	return rules, errs
}

// Rules lists the rules in the order in which they were given.
func (s *Set) Rules() []*Rule {
	if s == nil {
		return nil
	}
	return slices.Clone(s.rules)
}

// from gives the rules that came from a file.
func (s *Set) from(file string) (rules []*Rule) {
	if s == nil {
		return nil
	}
	for _, r := range s.rules {
		if at := strings.LastIndexByte(r.Source, ':'); at >= 0 && r.Source[:at] == file {
			rules = append(rules, r)
		}
	}
	return rules
}

// Match gives the first rule, in the order given, that covers who talking to where; nil when none does.
func (s *Set) Match(who Identity, where Destination, now time.Time) *Rule {
	if s == nil {
		return nil
	}
	return s.index.match(s.rules, who, where, now)
}

func (r *Rule) identifies(who Identity) bool {
	return (r.TeamID == "" || r.TeamID == who.TeamID) &&
		(r.SigningID == "" || r.SigningID == who.SigningID && (r.TeamID != "" || who.Apple)) &&
		(r.CDHash == "" || r.CDHash == who.CDHash) &&
		(r.Path == "" || r.Path == who.Path)
}

func (r *Rule) reaches(where Destination) bool {
	return allows(r.Verdicts, where.Verdict) && allows(r.AppProtocols, where.AppProtocol) && allows(r.Ports, where.Port) &&
		(len(r.prefixes) == 0 || slices.ContainsFunc(r.prefixes, func(p netip.Prefix) bool { return p.Contains(where.Address.Unmap()) })) &&
		(len(r.HostSuffixes) == 0 || slices.ContainsFunc(r.HostSuffixes, func(h string) bool { return HostWithin(where.Host, h) }))
}

func allows[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// HostWithin says whether host is suffix or a name below it, ignoring case.
func HostWithin(host, suffix string) bool {
	host, suffix = strings.ToLower(strings.TrimSuffix(host, ".")), strings.ToLower(suffix)
	return host == suffix || strings.HasSuffix(host, "."+suffix)
}
