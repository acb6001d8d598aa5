package sqlhost

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Row is one row of a logged result, by column name; the last of equal names counts, as in osquery.
type Row map[string]Value

// Rows gives a result's rows by column name.
func (r *Result) rows() []Row {
	rows := make([]Row, len(r.Rows))
	for i, values := range r.Rows {
		rows[i] = make(Row, len(values))
		for j, value := range values {
			if value.Kind == Null {
				value = Value{Kind: Text} // osquery's rows know no NULL
			}
			rows[i][r.Columns[j]] = value
		}
	}
	return rows
}

// key is a text that only equal rows have in common.
func (r Row) key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r)) {
		v := r[name]
		for _, s := range []string{name, strconv.Itoa(int(v.Kind)), v.Text} {
			b.WriteString(strconv.Itoa(len(s)))
			b.WriteByte(':')
			b.WriteString(s)
		}
	}
	return b.String()
}

// compareRows orders rows as osquery's multiset of typed rows does: column by column, by name, type and value.
func compareRows(a, b Row) int {
	names := slices.Sorted(maps.Keys(a))
	others := slices.Sorted(maps.Keys(b))
	for i := range min(len(names), len(others)) {
		if c := cmp.Or(strings.Compare(names[i], others[i]), compareValues(a[names[i]], b[others[i]])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(names), len(others))
}

func compareValues(a, b Value) int {
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	switch a.Kind {
	case Integer:
		x, _ := strconv.ParseInt(a.Text, 10, 64)
		y, _ := strconv.ParseInt(b.Text, 10, 64)
		return cmp.Compare(x, y)
	case Float:
		x, _ := strconv.ParseFloat(a.Text, 64)
		y, _ := strconv.ParseFloat(b.Text, 64)
		return cmp.Compare(x, y)
	}
	return strings.Compare(a.Text, b.Text)
}

// A State remembers what every scheduled query gave last, as osqueryd's database does, so that the next run logs only
// the difference. It is safe for use by several goroutines.
type State struct {
	mu      sync.Mutex
	queries map[string]*queryState
}

type queryState struct {
	Query   string `json:"query"`
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	Rows    []Row  `json:"rows"`
}

// NewState is a state in which no query has run.
func NewState() *State { return &State{queries: map[string]*queryState{}} }

// MarshalJSON writes the state, so that a later process can go on from it.
func (s *State) MarshalJSON() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(s.queries)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *State) UnmarshalJSON(data []byte) error {
	queries := map[string]*queryState{}
	if err := json.Unmarshal(data, &queries); err != nil {
		return fmt.Errorf("sqlhost: state: %w", err)
	}
	for name, q := range queries {
		if q == nil {
			return fmt.Errorf("sqlhost: state: query %s: null", name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = queries
	return nil
}

// A difference is what changed between two runs of a query.
type difference struct {
	added   []Row // in the order of the result
	removed []Row // sorted
	counter uint64
}

// update takes a run's rows and gives the difference to the run before (osquery/core/query.cpp, addNewResults). All rows
// are added in the first run and in the first of a new epoch. The counter starts at 0 then, and when the query's text
// has changed, and goes up with every run that changes something.
func (s *State) update(name, query string, epoch uint64, rows []Row) difference {
	s.mu.Lock()
	defer s.mu.Unlock()
	previous := s.queries[name]
	if previous == nil || previous.Epoch != epoch {
		s.queries[name] = &queryState{Query: query, Epoch: epoch, Rows: rows}
		return difference{added: rows}
	}
	d := diff(previous.Rows, rows)
	newQuery := previous.Query != query
	changed := len(d.added) > 0 || len(d.removed) > 0
	previous.Query = query
	if changed {
		previous.Rows = rows
	}
	switch {
	case newQuery:
		previous.Counter = 0
	case changed:
		previous.Counter++
	}
	d.counter = previous.Counter
	return d
}

// diff compares two results as multisets (osquery/core/sql/diff_results.cpp).
func diff(old, current []Row) difference {
	left := make(map[string][]Row, len(old))
	for _, row := range old {
		key := row.key()
		left[key] = append(left[key], row)
	}
	var d difference
	for _, row := range current {
		key := row.key()
		if same := left[key]; len(same) > 0 {
			left[key] = same[1:]
		} else {
			d.added = append(d.added, row)
		}
	}
	for _, rows := range left {
		d.removed = append(d.removed, rows...)
	}
	slices.SortFunc(d.removed, compareRows)
	return d
}
