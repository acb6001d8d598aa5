// Package allowlist decides which approved rule, if any, covers one program's traffic to one destination. A rule that names an identity
// matches only one that is proven: a certificate chain for teams and signing ids, agreeing page hashes for these and for cdhashes.
package allowlist

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cipherlens/cipherlens/internal/config"
)

// maxRules bounds all rules together.
const maxRules = 200_000

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
	Expires      string   `yaml:"expires"` // 2027-01-31: the last day on which it holds, UTC; empty: never

	Source string `yaml:"-"` // file:line, or the setting that it comes from

	prefixes  []netip.Prefix
	until     time.Time
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
func (r *Rule) Expired(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

// Weakness says what makes a rule worth a second look; empty when nothing does.
func (r *Rule) Weakness(now time.Time) string {
	switch {
	case r.Expired(now):
		return "expired on " + r.Expires
	case r.Path != "" && r.TeamID == "" && r.SigningID == "" && r.CDHash == "" && userWritable(r.Path):
		return "names only a path in a folder that users can write to"
	}
	return ""
}

// userWritable says whether ordinary users can put a file of their own at p on a normally set up system.
func userWritable(p string) bool {
	for _, dir := range []string{"/Users/", "/home/", "/tmp/", "/private/tmp/", "/var/tmp/", "/private/var/tmp/", "/Volumes/", "/var/folders/", "/private/var/folders/", "/dev/shm/", "/opt/homebrew/", "/Applications/"} {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}

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
	byKey map[string][]*Rule // one key a rule: its most telling identity
}

// Parse reads one rule file: a mapping with the key "rules". What is wrong with single rules is in errs, each naming file, line and key,
// and the other rules are still there.
func Parse(source string, data []byte) (rules []*Rule, errs []error) {
	var file struct {
		Rules []yaml.RawMessage `yaml:"rules"`
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil {
		return nil, []error{fmt.Errorf("allowlist: %s:%s", source, config.Reason(err))}
	}
	lines := ruleLines(data)
	for i, raw := range file.Rules {
		at := source + ":" + strconv.Itoa(lines(i))
		rule := &Rule{Source: at}
		err := yaml.UnmarshalWithOptions(raw, rule, yaml.Strict())
		if err != nil {
			err = fmt.Errorf("%s", reasonWithoutPosition(err))
		} else {
			err = rule.complete()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("allowlist: %s: rule %s: %w", at, strconv.Quote(rule.Name), err))
			continue
		}
		rules = append(rules, rule)
	}
	return rules, errs
}

// reasonWithoutPosition leaves out the line within the rule, which would be taken for the file's.
func reasonWithoutPosition(err error) string {
	reason := config.Reason(err)
	if parts := strings.SplitN(reason, ": ", 2); len(parts) == 2 && strings.Trim(parts[0], "0123456789:") == "" {
		return parts[1]
	}
	return reason
}

// ruleLines gives the line on which the i-th rule begins: the i-th list item at the indent of the first one below "rules:".
func ruleLines(data []byte) func(i int) int {
	var at []int
	indent, below := -1, false
	for n, line := range strings.Split(string(data), "\n") {
		text := strings.TrimLeft(line, " ")
		depth := len(line) - len(text)
		if below && strings.HasPrefix(text, "- ") && (indent < 0 || depth == indent) {
			indent = depth
			at = append(at, n+1)
		}
		below = below || strings.HasPrefix(line, "rules:")
	}
	return func(i int) int {
		if i < len(at) {
			return at[i]
		}
		return 1
	}
}

// Short reads the short form of the setting allowed_crypto_processes: team:ID, signing:ID, signing:TEAM:ID, cdhash:HEX, path:PATH.
func Short(text string) (*Rule, error) {
	kind, value, _ := strings.Cut(text, ":")
	r := &Rule{Name: text, Source: "allowed_crypto_processes"}
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

// complete checks a rule and prepares it for matching.
func (r *Rule) complete() error {
	r.CDHash = strings.ToLower(r.CDHash)
	switch {
	case r.Name == "":
		return fmt.Errorf("name: missing")
	case r.TeamID == "" && r.SigningID == "" && r.CDHash == "" && r.Path == "":
		return fmt.Errorf("names nobody: one of team_id, signing_id, cdhash, path is needed")
	case r.CDHash != "" && (len(r.CDHash) != 40 || strings.Trim(r.CDHash, "0123456789abcdef") != ""):
		return fmt.Errorf("cdhash: %q is not 40 hex digits", r.CDHash)
	case r.Path != "" && (!path.IsAbs(r.Path) || path.Clean(r.Path) != r.Path):
		return fmt.Errorf("path: %q is not an absolute, clean path", r.Path)
	}
	for _, n := range r.Networks {
		p, ok := config.Network(n)
		if !ok {
			return fmt.Errorf("networks: %q is neither CIDR nor address", n)
		}
		r.prefixes = append(r.prefixes, p)
	}
	for i, h := range r.HostSuffixes {
		h = strings.ToLower(strings.Trim(h, "."))
		if h == "" || strings.ContainsAny(h, "/:* ") {
			return fmt.Errorf("host_suffixes: %q is not a host name", r.HostSuffixes[i])
		}
		r.HostSuffixes[i] = h
	}
	if r.Expires != "" {
		day, err := time.Parse(time.DateOnly, r.Expires)
		if err != nil {
			return fmt.Errorf("expires: %q is not a date like 2027-01-31", r.Expires)
		}
		r.until = day.AddDate(0, 0, 1)
	}
	return nil
}

// key is the identity by which a rule is found.
func (r *Rule) key() string {
	return cmp.Or(keyOf("cdhash", r.CDHash), keyOf("signing", r.SigningID), keyOf("team", r.TeamID), keyOf("path", r.Path))
}

func keyOf(kind, value string) string {
	if value == "" {
		return ""
	}
	return kind + ":" + value
}

// NewSet makes a Set; a rule whose name is taken is left out and reported.
func NewSet(rules []*Rule) (*Set, []error) {
	s := &Set{byKey: map[string][]*Rule{}}
	var errs []error
	names := map[string]string{}
	for _, r := range rules {
		if first, taken := names[r.Name]; taken {
			errs = append(errs, fmt.Errorf("allowlist: %s: rule %q: the name is taken by %s", r.Source, r.Name, first))
			continue
		}
		if len(s.rules) >= maxRules {
			return s, append(errs, fmt.Errorf("allowlist: %s: more than %d rules; the rest is left out", r.Source, maxRules))
		}
		names[r.Name] = r.Source
		s.rules = append(s.rules, r)
		s.byKey[r.key()] = append(s.byKey[r.key()], r)
	}
	return s, errs
}

// Load makes the Set of a site: the rule files beside the settings file and the setting allowed_crypto_processes.
func Load(store *config.Store) (*Set, []error) {
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
	for _, file := range files {
		data, err := config.ReadTrusted(file)
		if err != nil {
			if !os.IsNotExist(err) {
				errs = append(errs, fmt.Errorf("allowlist: %w", err))
			}
			continue
		}
		more, bad := Parse(file, data)
		rules, errs = append(rules, more...), append(errs, bad...)
	}
	set, more := NewSet(rules)
	return set, append(errs, more...)
}

// Rules lists the rules in the order in which they were given.
func (s *Set) Rules() []*Rule {
	if s == nil {
		return nil
	}
	return slices.Clone(s.rules)
}

// Match gives the first rule that covers who talking to where; nil when none does.
func (s *Set) Match(who Identity, where Destination, now time.Time) *Rule {
	if s == nil {
		return nil
	}
	keys := [...]string{keyOf("cdhash", who.CDHash), keyOf("signing", who.SigningID), keyOf("team", who.TeamID), keyOf("path", who.Path)}
	for _, key := range keys {
		if key == "" {
			continue
		}
		for _, r := range s.byKey[key] {
			if !r.Expired(now) && r.identifies(who) && r.reaches(where) {
				return r
			}
		}
	}
	return nil
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
