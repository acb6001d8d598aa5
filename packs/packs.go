// Package packs holds the query packs: one SQL file a query, whose header comment says what it is for, and the osquery pack
// files that are generated from them.
package packs

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:generate go run ./gen

// Files holds the generated packs, <name>.conf.
//
//go:embed *.conf
var Files embed.FS

// Query is one SQL file.
type Query struct {
	Name           string
	SQL            string
	Description    string
	Attack         string // ATT&CK ids
	Kind           string // one of the kinds below
	Platform       string // comma-separated, as osquery reads it
	Interval       int    // seconds; 0 is a live query, which nothing schedules
	Snapshot       bool
	Removed        bool // log removed rows too
	FalsePositives string
	Response       string
}

// The kinds of query. On a host where nothing is wrong, findings and figures have no rows.
const (
	Finding   = "finding"   // a row is an alert
	Figures   = "figures"   // the traffic behind alerts, measured
	Inventory = "inventory" // what could, to compare findings with
	Evidence  = "evidence"  // what the host can see
	Response  = "response"  // everything about one value that is pasted
)

// Names gives the packs that are folders of dir.
func Names(dir fs.FS) ([]string, error) {
	files, err := fs.Glob(dir, "*/*.sql")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		names = append(names, path.Dir(file))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// ParseQuery reads one SQL file: a header of "-- key: value" lines (a line indented further continues the value), then the statement. Every field
// must be there; snapshot or removed says how results are logged.
func ParseQuery(name string, data []byte) (Query, error) {
	lines := strings.Split(string(data), "\n")
	header := map[string]string{}
	last, n := "", 0
	for ; n < len(lines) && strings.HasPrefix(lines[n], "-- "); n++ {
		line := lines[n][3:]
		if strings.HasPrefix(line, " ") && last != "" {
			header[last] += " " + strings.TrimSpace(line)
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return Query{}, fmt.Errorf("packs: %s:%d: header line without \"key: value\"", name, n+1)
		}
		if _, twice := header[key]; twice {
			return Query{}, fmt.Errorf("packs: %s:%d: %s: given twice", name, n+1, key)
		}
		header[key], last = strings.TrimSpace(value), key
	}
	q := Query{Name: strings.TrimSuffix(path.Base(name), ".sql"), SQL: strings.TrimSpace(strings.Join(lines[n:], "\n"))}
	if err := q.fill(header); err != nil {
		return Query{}, fmt.Errorf("packs: %s: header: %w", name, err)
	}
	if q.SQL == "" || strings.Contains(q.SQL, ";") {
		return Query{}, fmt.Errorf("packs: %s: one statement without semicolon is needed", name)
	}
	if at := strings.IndexFunc(string(data), func(r rune) bool { return r > 0x7e || r == '$' }); at >= 0 {
		return Query{}, fmt.Errorf("packs: %s: offset %d: only ASCII without $, which Fleet would take for a variable", name, at)
	}
	return q, nil
}

func (q *Query) fill(header map[string]string) (err error) {
	for field, to := range map[string]*string{"description": &q.Description, "attack": &q.Attack, "platform": &q.Platform,
		"kind": &q.Kind, "false_positives": &q.FalsePositives, "response": &q.Response} {
		if *to = header[field]; *to == "" {
			return fmt.Errorf("%s: missing", field)
		}
		delete(header, field)
	}
	if !slices.Contains([]string{Finding, Figures, Inventory, Evidence, Response}, q.Kind) {
		return fmt.Errorf("kind: %q is none of finding, figures, inventory, evidence, response", q.Kind)
	}
	for word := range strings.SplitSeq(q.Platform, ",") {
		if word != "darwin" && word != "linux" {
			return fmt.Errorf("platform: %q is neither darwin nor linux", word)
		}
	}
	if q.Interval, err = strconv.Atoi(header["interval"]); err != nil || q.Interval < 0 || q.Interval > 604800 {
		return fmt.Errorf("interval: %q is not a number of seconds up to a week", header["interval"])
	}
	delete(header, "interval")
	logged := 0
	for field, to := range map[string]*bool{"snapshot": &q.Snapshot, "removed": &q.Removed} {
		value, given := header[field]
		if !given {
			continue
		}
		if *to, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%s: %q is neither true nor false", field, value)
		}
		logged++
		delete(header, field)
	}
	if logged != 1 {
		return fmt.Errorf("exactly one of snapshot and removed is needed")
	}
	for key := range header {
		return fmt.Errorf("%s: unknown field", key)
	}
	return nil
}

// Queries reads the queries of one pack, the folder name below dir, sorted by name.
func Queries(dir fs.FS, name string) ([]Query, error) {
	files, err := fs.Glob(dir, name+"/*.sql")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("packs: %s: no queries", name)
	}
	slices.Sort(files)
	var queries []Query
	for _, file := range files {
		data, err := fs.ReadFile(dir, file)
		if err != nil {
			return nil, err
		}
		q, err := ParseQuery(file, data)
		if err != nil {
			return nil, err
		}
		queries = append(queries, q)
	}
	return queries, nil
}

// unasked is how the SQL of a response query begins; between the quotes goes the value.
const unasked = "WITH asked(value) AS (SELECT '')"

// Paste gives the SQL of a response query with a value pasted into it.
func Paste(sql, value string) (string, error) {
	rest, ok := strings.CutPrefix(sql, unasked)
	if !ok || strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("packs: the query has no place for a value, or the value has a NUL")
	}
	return strings.TrimSuffix(unasked, "'')") + "'" + strings.ReplaceAll(value, "'", "''") + "')" + rest, nil
}

// packQuery is a query as osquery's pack format has it.
type packQuery struct {
	Query       string `json:"query"`
	Interval    int    `json:"interval"`
	Platform    string `json:"platform"`
	Description string `json:"description"`
	Value       string `json:"value"`
	Snapshot    *bool  `json:"snapshot,omitempty"`
	Removed     *bool  `json:"removed,omitempty"`
}

// Build makes the pack file of one pack: strict JSON, without discovery queries (osquery caches a "no" for an hour).
func Build(dir fs.FS, name string) ([]byte, error) {
	queries, err := Queries(dir, name)
	if err != nil {
		return nil, err
	}
	pack := struct {
		Platform string               `json:"platform"`
		Queries  map[string]packQuery `json:"queries"`
	}{Queries: map[string]packQuery{}}
	var platforms []string
	for _, q := range queries {
		platforms = append(platforms, strings.Split(q.Platform, ",")...)
		out := packQuery{Query: q.SQL, Interval: q.Interval, Platform: q.Platform, Description: q.Description, Value: q.Attack}
		if q.Snapshot {
			out.Snapshot = &q.Snapshot
		} else {
			out.Removed = &q.Removed
		}
		pack.Queries[q.Name] = out
	}
	slices.Sort(platforms)
	pack.Platform = strings.Join(slices.Compact(platforms), ",")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(pack)
	return b.Bytes(), err
}
