package allowlist

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

const (
	// maxRule bounds the text of one rule, in bytes: the YAML package takes time that grows with the square of it.
	maxRule = 16 << 10
	// maxBrackets bounds how deep one rule can nest, which takes the YAML package time that grows with the square, too.
	maxBrackets = 64
	// maxErrors bounds how many errors one file gives.
	maxErrors = 1000
)

// Parse reads one rule file: a mapping with the key "rules", a list. What is wrong with single rules is in errs, each naming file, line and key,
// and the other rules are still there. Of a file with too many rules, MaxRules and one more are given, so that NewSet can say where it stopped.
func Parse(source string, data []byte) (rules []*Rule, errs []error) {
	keep := texts{}
	unnamed := 0
	for item, err := range split(data) {
		if len(rules) > MaxRules {
			break
		}
		var rule *Rule
		if err == nil {
			rule, err = parseRule(item)
		}
		if err == nil {
			rule.Source = source + ":" + strconv.Itoa(item.line)
			err = rule.complete()
		}
		switch {
		case err == nil:
			keep.share(rule)
			rules = append(rules, rule)
		case len(errs) < maxErrors:
			errs = append(errs, itemError(source, item, rule, err))
		default:
			unnamed++
		}
	}
	if unnamed > 0 {
		errs = append(errs, fmt.Errorf("allowlist: %s: %d more rules are wrong", source, unnamed))
	}
	return rules, errs
}

// itemError names file, line, rule and key. The line is that of the mistake where that is known, else the rule's first.
func itemError(source string, i item, rule *Rule, err error) error {
	at := i.line
	if e, ok := errors.AsType[*keyError](err); ok {
		at += e.offset(i.text)
	} else if e, ok := errors.AsType[*lineError](err); ok {
		at += e.line - 1
	}
	if i.text == nil {
		return fmt.Errorf("allowlist: %s:%d: %w", source, at, err)
	}
	name := ""
	if rule != nil {
		name = rule.Name
	}
	return fmt.Errorf("allowlist: %s:%d: rule %s: %w", source, at, strconv.Quote(name), err)
}

// lineError is a mistake on a line of a rule's text, counted from 1.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return e.text }

// keyError is a value that is well-formed but not allowed.
type keyError struct{ key, text string }

func (e *keyError) Error() string { return e.key + ": " + e.text }

func bad(key, format string, args ...any) error { return &keyError{key, fmt.Sprintf(format, args...)} }

// offset is how many lines below the rule's first its key stands; 0 where it is not found.
func (e *keyError) offset(text []byte) int {
	for n, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " -"), e.key+":") {
			return n
		}
	}
	return 0
}

// parseRule reads one rule. The usual form has a reader of its own, because YAML's takes a hundred times as long; everything else is YAML's.
func parseRule(i item) (*Rule, error) {
	if rule, ok := plain(i.text); ok {
		return rule, nil
	}
	switch {
	case len(i.text) > maxRule:
		return nil, fmt.Errorf("longer than %d KiB", maxRule>>10)
	case brackets(i.text) > maxBrackets:
		return nil, fmt.Errorf("more than %d opening brackets", maxBrackets)
	}
	var list []*Rule
	err := decode(i.text, &list, yaml.Strict())
	switch {
	case err != nil:
		rule := &Rule{Name: nameOf(i.text)}
		return rule, yamlError(err)
	case len(list) != 1 || list[0] == nil:
		return nil, errors.New("not a mapping")
	}
	return list[0], nil
}

func brackets(text []byte) int {
	return bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{"))
}

// decode reads YAML. The package panics over some malformed tags and anchors: that is an error of the text, too.
func decode(text []byte, into any, how ...yaml.DecodeOption) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("malformed YAML")
		}
	}()
	return yaml.UnmarshalWithOptions(text, into, how...)
}

// yamlError puts the line of a YAML error apart from its text.
func yamlError(err error) error {
	if err == nil {
		return nil
	}
	reason := config.Reason(err)
	if parts := strings.SplitN(reason, ": ", 2); len(parts) == 2 {
		line, _, _ := strings.Cut(parts[0], ":")
		if n, err := strconv.Atoi(line); err == nil {
			return &lineError{n, parts[1]}
		}
	}
	return errors.New(reason)
}

// nameOf finds the name of a rule that could not be read.
func nameOf(text []byte) string {
	var partly []struct {
		Name string `yaml:"name"`
	}
	if err := decode(text, &partly); err != nil || len(partly) == 0 {
		return ""
	}
	return partly[0].Name
}

// item is one rule's text, a YAML list of one, and the line of the file on which it begins.
type item struct {
	line int
	text []byte
}

// split gives the items of the list below "rules:" one by one, and an error for each line that belongs to none. In block style every item begins with
// a dash at the column of the first one, and nothing within an item stands there (YAML 1.2.2, 8.2.1), so that lines are all it has to look at. A file
// in any other style is read as a whole, which is only for small ones.
func split(data []byte) func(yield func(item, error) bool) {
	if !blockStyle(data) {
		return whole(data)
	}
	return func(yield func(item, error) bool) {
		l := lines{rest: data}
		below, indent := "", -1 // the key that lines stand below, and the column of its rules
		taken := false          // the key rules
		start, line := -1, 0    // of the item at hand
		for {
			before := l.offset(data)
			more := l.next()
			if more && (l.blank() || below == "rules" && indent >= 0 && l.depth() > indent || below == "other" && (l.depth() > 0 || l.dash())) {
				continue
			}
			if start >= 0 && !yield(item{line, data[start:before]}, nil) || !more {
				return
			}
			start, line = -1, l.number
			switch {
			case below == "rules" && l.dash() && (indent < 0 || l.depth() == indent):
				start, indent = before, l.depth()
			case l.isRules() && !taken:
				below, taken = "rules", true
			default:
				switch {
				case l.isRules(): // a second time; they are read, too
					below, indent = "rules", -1
				case l.depth() == 0 && !l.dash():
					below = "other"
				}
				err := fmt.Errorf("%s: only the key rules may stand here, once, and below it rules, each beginning with \"- \" at the column of the first", strconv.Quote(clip(string(l.text))))
				if !yield(item{line: l.number}, err) {
					return
				}
			}
		}
	}
}

// blockStyle says whether a file begins with a key at the first column, without a flow-style value.
func blockStyle(data []byte) bool {
	l := lines{rest: data}
	for l.next() {
		if l.blank() {
			continue
		}
		key, value, ok := bytes.Cut(l.text, []byte(":"))
		letter := key[:min(1, len(key))]
		return ok && len(bytes.Trim(letter, "abcdefghijklmnopqrstuvwxyz")) == 0 && len(letter) > 0 &&
			(string(key) != "rules" || len(bytes.TrimSpace(withoutComment(value))) == 0)
	}
	return true
}

func withoutComment(text []byte) []byte {
	if at := bytes.IndexByte(text, '#'); at == 0 || at > 0 && text[at-1] == ' ' {
		return text[:at]
	}
	return text
}

// whole reads a small file in flow style, or one that is wrong.
func whole(data []byte) func(yield func(item, error) bool) {
	return func(yield func(item, error) bool) {
		if len(data) > maxRule || brackets(data) > maxRule/4 {
			yield(item{line: 1}, fmt.Errorf("larger than %d KiB and not of the form \"rules:\" with one rule below the other", maxRule>>10))
			return
		}
		var file struct {
			Rules []map[string]any `yaml:"rules"`
		}
		if err := yamlError(decode(data, &file, yaml.Strict())); err != nil {
			yield(item{line: 1}, err)
			return
		}
		for _, rule := range file.Rules {
			text, err := yaml.MarshalWithOptions([]any{rule}, yaml.JSON())
			if !yield(item{1, text}, err) {
				return
			}
		}
	}
}

// lines goes through a text.
type lines struct {
	rest, text []byte
	number     int
}

func (l *lines) next() bool {
	if len(l.rest) == 0 {
		return false
	}
	l.number++
	if end := bytes.IndexByte(l.rest, '\n'); end >= 0 {
		l.text, l.rest = l.rest[:end], l.rest[end+1:]
	} else {
		l.text, l.rest = l.rest, nil
	}
	return true
}

func (l *lines) offset(data []byte) int { return len(data) - len(l.rest) }
func (l *lines) depth() int             { return len(l.text) - len(bytes.TrimLeft(l.text, " ")) }

func (l *lines) blank() bool {
	text := bytes.TrimSpace(l.text)
	return len(text) == 0 || text[0] == '#' || l.number == 1 && string(text) == "---"
}

// isRules says whether a line is the key that the rules stand below.
func (l *lines) isRules() bool {
	rest, ok := bytes.CutPrefix(l.text, []byte("rules:"))
	return ok && len(bytes.TrimSpace(withoutComment(rest))) == 0
}

func (l *lines) dash() bool {
	text := bytes.TrimLeft(l.text, " ")
	return bytes.HasPrefix(text, []byte("- ")) || bytes.Equal(bytes.TrimRight(text, "\r"), []byte("-"))
}

func clip(text string) string {
	if len(text) > 60 {
		return text[:60] + "..."
	}
	return text
}

// complete checks a rule and prepares it for matching.
func (r *Rule) complete() error {
	r.CDHash = strings.ToLower(r.CDHash)
	switch {
	case r.Name == "":
		return bad("name", "missing")
	case r.TeamID == "" && r.SigningID == "" && r.CDHash == "" && r.Path == "":
		return errors.New("names nobody: one of team_id, signing_id, cdhash, path is needed")
	case r.TeamID != "" && (len(r.TeamID) != 10 || strings.Trim(r.TeamID, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != ""):
		return bad("team_id", "%q is not ten capital letters and digits", r.TeamID)
	case r.CDHash != "" && (len(r.CDHash) != 40 || strings.Trim(r.CDHash, "0123456789abcdef") != ""):
		return bad("cdhash", "%q is not 40 hex digits", r.CDHash)
	case r.Path != "" && (!path.IsAbs(r.Path) || path.Clean(r.Path) != r.Path):
		return bad("path", "%q is not an absolute, clean path", r.Path)
	case slices.Contains(r.Ports, 0):
		return bad("ports", "0 is no port")
	}
	for _, v := range r.Verdicts {
		if !slices.Contains(verdicts, conformance.Verdict(v)) {
			return bad("verdicts", "%q is no verdict", v)
		}
	}
	if err := r.completeHosts(); err != nil {
		return err
	}
	if r.Expires != "" {
		day, err := time.Parse(time.DateOnly, r.Expires)
		if err != nil {
			return bad("expires", "%q is not a date like 2027-01-31", r.Expires)
		}
		r.until = day.AddDate(0, 0, 1).Unix()
	}
	return nil
}

var verdicts = []conformance.Verdict{
	conformance.TLS, conformance.DTLS, conformance.QUIC, conformance.StartTLS, conformance.TLSMidstream, conformance.TLSMimic, conformance.KnownProtocol,
	conformance.Cleartext, conformance.Compressed, conformance.Structured, conformance.Random, conformance.RandomMidstream, conformance.Undetermined,
}

func (r *Rule) completeHosts() error {
	if len(r.Networks) > 0 {
		r.prefixes = make([]netip.Prefix, len(r.Networks))
	}
	for i, n := range r.Networks {
		p, ok := config.Network(n)
		if !ok {
			return bad("networks", "%q is neither CIDR nor address", n)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 { // flows never show this form
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		r.prefixes[i] = p
	}
	for i, h := range r.HostSuffixes {
		h = strings.ToLower(strings.Trim(h, "."))
		if h == "" || strings.ContainsAny(h, "/:* ") {
			return bad("host_suffixes", "%q is not a host name", r.HostSuffixes[i])
		}
		r.HostSuffixes[i] = h
	}
	return nil
}

// texts keeps one copy of what many rules say alike.
type texts map[string]string

func (t texts) share(r *Rule) {
	for _, s := range []*string{&r.TeamID, &r.SigningID, &r.Path, &r.ApprovedBy, &r.Reason, &r.Reference, &r.Expires} {
		*s = t.one(*s)
	}
	for _, list := range [][]string{r.Verdicts, r.AppProtocols, r.HostSuffixes} {
		for i := range list {
			list[i] = t.one(list[i])
		}
	}
}

func (t texts) one(s string) string {
	if s == "" {
		return ""
	}
	if known, ok := t[s]; ok {
		return known
	}
	t[s] = s
	return s
}
