package allowlist

import (
	"strconv"
	"strings"
)

// plain reads a rule in the form that nearly all have: one "key: value" a line, values without quotes or escapes, lists as [a, b]. It is false
// for everything else, wrong rules included, and what it reads YAML reads alike (FuzzPlain compares them).
func plain(text []byte) (*Rule, bool) {
	r := &Rule{}
	l := lines{rest: text}
	indent := -1
	seen := map[string]bool{}
	for l.next() {
		line := strings.TrimRight(string(l.text), " \r")
		if line == "" {
			continue
		}
		body := strings.TrimLeft(line, " ")
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, false
		}
		if body[0] == '#' {
			continue
		}
		depth := len(line) - len(body)
		if indent < 0 {
			after, ok := strings.CutPrefix(body, "- ")
			if !ok {
				return nil, false
			}
			body = strings.TrimLeft(after, " ")
			indent = len(line) - len(body)
			depth = indent
		}
		key, value, ok := strings.Cut(body, ": ")
		value = strings.TrimLeft(value, " ")
		if !ok || depth != indent || seen[key] || !r.set(key, value) {
			return nil, false
		}
		seen[key] = true
	}
	return r, indent >= 0
}

// set takes one plain value; false when it is not that plain.
func (r *Rule) set(key, value string) bool {
	switch key {
	case "name":
		return word(value, &r.Name)
	case "team_id":
		return word(value, &r.TeamID)
	case "signing_id":
		return word(value, &r.SigningID)
	case "cdhash":
		r.CDHash = value
		return len(value) == 40 && strings.Trim(value, hexDigits) == "" && strings.ContainsAny(value, "abcdfABCDF") // else it may be a number
	case "path":
		return word(value, &r.Path)
	case "approved_by":
		return word(value, &r.ApprovedBy)
	case "reason":
		return word(value, &r.Reason)
	case "reference":
		return word(value, &r.Reference)
	case "expires":
		return word(value, &r.Expires)
	case "verdicts":
		return words(value, &r.Verdicts)
	case "app_protocols":
		return words(value, &r.AppProtocols)
	case "networks":
		return words(value, &r.Networks)
	case "host_suffixes":
		return words(value, &r.HostSuffixes)
	case "ports":
		return numbers(value, &r.Ports)
	}
	return false
}

// word takes a text that means itself in YAML: it begins with a letter or a slash, or is a date or a network, has no character that YAML gives
// a meaning, and is none of YAML's words for nothing, true and false.
func word(text string, to *string) bool {
	if text == "" || strings.Trim(text, safe) != "" || strings.Contains(text, ": ") || strings.HasSuffix(text, ":") {
		return false
	}
	switch strings.ToLower(text) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	letter := text[0] | 0x20
	if !(letter >= 'a' && letter <= 'z' || text[0] == '/' || dotted(text)) {
		return false
	}
	*to = text
	return true
}

const hexDigits = "0123456789abcdefABCDEF"

const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 /.:-_;()+"

// dotted says whether a text that begins with a digit can be no number: it has three dots, or is a date.
func dotted(text string) bool {
	return text[0] >= '1' && text[0] <= '9' && (strings.Count(text, ".") == 3 || len(text) == 10 && text[4] == '-' && text[7] == '-')
}

// words takes [a, b].
func words(text string, to *[]string) bool {
	items, ok := list(text)
	if !ok {
		return false
	}
	*to = make([]string, len(items))
	for i, item := range items {
		if !word(item, &(*to)[i]) {
			return false
		}
	}
	return true
}

// numbers takes [443, 8443].
func numbers(text string, to *[]uint16) bool {
	items, ok := list(text)
	if !ok {
		return false
	}
	*to = make([]uint16, len(items))
	for i, item := range items {
		n, err := strconv.ParseUint(item, 10, 16)
		if err != nil || item[0] == '0' || item[0] == '+' {
			return false
		}
		(*to)[i] = uint16(n)
	}
	return true
}

func list(text string) ([]string, bool) {
	inner, open := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !open || !closed || inner == "" {
		return nil, false
	}
	items := strings.Split(inner, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items, true
}
