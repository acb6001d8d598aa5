package sqlhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a pack. The longest interval and the default one are osquery's (osquery/config/packs.cpp).
const (
	maxPackBytes    = 16 << 20
	maxPackQueries  = 10_000
	maxInterval     = 604800 * time.Second
	defaultInterval = 3600 * time.Second
)

// A Pack is one query pack.
type Pack struct {
	Name      string
	Platform  string // "" is every platform; else a list like "darwin,linux"
	Version   string // the oldest osquery that it is for; "" is any
	Shard     int    // 1 to 100: the share of hosts that run it, in percent; 0 is all
	Discovery []string
	Queries   []PackQuery // by name, the order in which osquery runs those that are due at the same time
}

// A PackQuery is one scheduled query of a pack.
type PackQuery struct {
	Name        string
	Query       string
	Description string
	Interval    time.Duration // whole seconds, up to a week; 0 is a live query, which is never scheduled
	Snapshot    bool          // log all rows every time
	Removed     bool          // log rows that are gone; true unless the pack says no
	Denylist    bool          // osqueryd may stop a query that was too expensive; a Host never does
	Platform    string
	Version     string
	Shard       int
}

// ParsePack reads a pack as strict JSON: unlike osquery it refuses unknown and repeated keys and values of another type,
// because a misspelt key silently changes what a detection does. Errors name the query and the key.
func ParsePack(name string, data []byte) (*Pack, error) {
	if len(data) > maxPackBytes {
		return nil, fmt.Errorf("pack %s: %d bytes, the limit is %d", name, len(data), maxPackBytes)
	}
	members, err := objectMembers(data)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	p := &Pack{Name: name}
	for _, m := range members {
		var err error
		switch m.key {
		case "platform":
			p.Platform, err = stringValue(m.value)
		case "version":
			p.Version, err = versionValue(m.value)
		case "shard":
			p.Shard, err = shardValue(m.value)
		case "discovery":
			p.Discovery, err = stringsValue(m.value)
		case "queries":
			p.Queries, err = parseQueries(m.value)
			if err != nil {
				return nil, fmt.Errorf("pack %s: %w", name, err)
			}
		case "description", "oncall":
			_, err = stringValue(m.value)
		default:
			err = errors.New("unknown key")
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %s: %w", name, m.key, err)
		}
	}
	if len(p.Queries) == 0 {
		return nil, fmt.Errorf("pack %s: queries: none", name)
	}
	return p, nil
}

func parseQueries(data []byte) ([]PackQuery, error) {
	members, err := objectMembers(data)
	if err != nil {
		return nil, fmt.Errorf("queries: %w", err)
	}
	if len(members) > maxPackQueries {
		return nil, fmt.Errorf("queries: %d, the limit is %d", len(members), maxPackQueries)
	}
	var queries []PackQuery
	for _, m := range members {
		q, err := parseQuery(m.key, m.value)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", m.key, err)
		}
		queries = append(queries, q)
	}
	slices.SortFunc(queries, func(a, b PackQuery) int { return strings.Compare(a.Name, b.Name) })
	return queries, nil
}

func parseQuery(name string, data []byte) (PackQuery, error) {
	q := PackQuery{Name: name, Interval: defaultInterval, Removed: true, Denylist: true}
	members, err := objectMembers(data)
	if err != nil {
		return q, err
	}
	for _, m := range members {
		if err := q.set(m.key, m.value); err != nil {
			return q, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	switch {
	case name == "":
		return q, errors.New("a query without a name")
	case strings.TrimSpace(q.Query) == "":
		return q, errors.New("query: missing")
	}
	return q, nil
}

func (q *PackQuery) set(key string, value []byte) (err error) {
	switch key {
	case "query":
		q.Query, err = stringValue(value)
	case "description":
		q.Description, err = stringValue(value)
	case "value":
		_, err = stringValue(value)
	case "interval":
		q.Interval, err = intervalValue(value)
	case "snapshot":
		q.Snapshot, err = boolValue(value)
	case "removed":
		q.Removed, err = boolValue(value)
	case "denylist", "blacklist":
		q.Denylist, err = boolValue(value)
	case "platform":
		q.Platform, err = stringValue(value)
	case "version":
		q.Version, err = versionValue(value)
	case "shard":
		q.Shard, err = shardValue(value)
	default:
		err = errors.New("unknown key")
	}
	return err
}

// A member is one key of a JSON object and its value.
type member struct {
	key   string
	value json.RawMessage
}

// objectMembers reads one JSON object and nothing after it, and refuses a key that comes twice.
func objectMembers(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return nil, fmt.Errorf("offset %d: %w", d.InputOffset(), noEOF(err))
	} else if t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var members []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", d.InputOffset(), noEOF(err))
		}
		m := member{key: t.(string)} // the decoder has checked that a key is a string
		if seen[m.key] {
			return nil, fmt.Errorf("%s: the key comes twice", m.key)
		}
		seen[m.key] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("%s: offset %d: %w", m.key, d.InputOffset(), noEOF(err))
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("offset %d: %w", d.InputOffset(), noEOF(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("offset %d: something after the object", d.InputOffset())
	}
	return members, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func stringValue(data []byte) (string, error) {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil || s == nil {
		return "", fmt.Errorf("%.64s: not a string", data)
	}
	return *s, nil
}

func stringsValue(data []byte) ([]string, error) {
	var list []*string
	if err := json.Unmarshal(data, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%.64s: not a list of strings", data)
	}
	values := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, fmt.Errorf("%.64s: not a list of strings", data)
		}
		values[i] = *s
	}
	return values, nil
}

// boolValue is true or false; osquery's documentation also writes them as strings.
func boolValue(data []byte) (bool, error) {
	switch string(data) {
	case `true`, `"true"`:
		return true, nil
	case `false`, `"false"`:
		return false, nil
	}
	return false, fmt.Errorf("%.64s: not true or false", data)
}

// intValue is a whole number; like osquery it may be a string.
func intValue(data []byte) (int, error) {
	n, err := strconv.Atoi(strings.Trim(string(data), `"`))
	if err != nil {
		return 0, fmt.Errorf("%.64s: not a whole number", data)
	}
	return n, nil
}

func intervalValue(data []byte) (time.Duration, error) {
	n, err := intValue(data)
	if err == nil && (n < 0 || n > int(maxInterval/time.Second)) {
		err = fmt.Errorf("%d: not from 0 to %d seconds", n, maxInterval/time.Second)
	}
	return time.Duration(n) * time.Second, err
}

func shardValue(data []byte) (int, error) {
	n, err := intValue(data)
	if err == nil && (n < 0 || n > 100) {
		err = fmt.Errorf("%d: not from 0 to 100", n)
	}
	return n, err
}

func versionValue(data []byte) (string, error) {
	s, err := stringValue(data)
	if err == nil {
		_, err = parseVersion(s)
	}
	return s, err
}

// parseVersion reads "5.23.1"; "" is nothing.
func parseVersion(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var version []int
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%.64q: not a version like 5.23.1", s)
		}
		version = append(version, n)
	}
	return version, nil
}

// versionAtLeast says whether version is wanted or newer.
func versionAtLeast(version, wanted string) bool {
	have, err1 := parseVersion(version)
	want, err2 := parseVersion(wanted)
	return err1 == nil && err2 == nil && slices.Compare(have, want) >= 0
}

// platformMatches says whether a pack's or query's platform list has the platform (osquery's checkPlatform).
func platformMatches(list, platform string) bool {
	if list == "" {
		return true
	}
	for _, word := range strings.Split(list, ",") {
		switch word = strings.TrimSpace(word); word {
		case "all", "any", platform:
			return true
		case "posix":
			if platform != "windows" {
				return true
			}
		}
	}
	return false
}
