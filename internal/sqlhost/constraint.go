package sqlhost

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Constraint operators are SQLite's (https://sqlite.org/c3ref/c_index_constraint_eq.html); osquery passes them on.
const (
	opEquals          = 2
	opGreaterThan     = 4
	opLessOrEquals    = 8
	opLessThan        = 16
	opGreaterOrEquals = 32
)

// A constraint is one condition of a WHERE clause, as a table gets it.
type constraint struct {
	op   int
	expr string
}

// A scanPlan is what xBestIndex decided and xFilter has to know: it travels between the two as SQLite's idxStr.
type scanPlan struct {
	colsUsed uint64 // bit i is column i, bit 63 is every column from 63 on
	terms    []planTerm
}

// A planTerm says which column and operator an argument of xFilter belongs to.
type planTerm struct {
	column int
	op     int
	all    bool // the argument is all values of an IN
}

func (p scanPlan) String() string {
	var b strings.Builder
	b.WriteString(strconv.FormatUint(p.colsUsed, 16))
	for _, t := range p.terms {
		fmt.Fprintf(&b, " %d:%d", t.column, t.op)
		if t.all {
			b.WriteString(":in")
		}
	}
	return b.String()
}

// parsePlan reads what String wrote.
func parsePlan(s string) (scanPlan, error) {
	var p scanPlan
	for i, field := range strings.Fields(s) {
		if i == 0 {
			used, err := strconv.ParseUint(field, 16, 64)
			if err != nil {
				return p, fmt.Errorf("sqlhost: plan %.64q: columns used: %w", s, err)
			}
			p.colsUsed = used
			continue
		}
		parts := strings.SplitN(field, ":", 3)
		if len(parts) < 2 {
			return p, fmt.Errorf("sqlhost: plan %.64q: term %d: no operator", s, i)
		}
		column, err1 := strconv.Atoi(parts[0])
		op, err2 := strconv.Atoi(parts[1])
		if err1 != nil || err2 != nil {
			return p, fmt.Errorf("sqlhost: plan %.64q: term %d: not numbers", s, i)
		}
		p.terms = append(p.terms, planTerm{column: column, op: op, all: len(parts) == 3})
	}
	return p, nil
}

// contextJSON is the query context of a generate request, as osquery writes it (osquery/core/tables.cpp,
// TablePlugin::setRequestFromContext): every column by name, with its type and its constraints, and the columns used.
func (r *relation) contextJSON(colsUsed uint64, constraints map[int][]constraint) string {
	order := make([]int, len(r.columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(r.columns[a].name, r.columns[b].name) })

	b := []byte(`{"constraints":[`)
	for n, i := range order {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendJSONString(b, r.columns[i].name)
		b = append(b, `,"list":[`...)
		for k, c := range constraints[i] {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"op":`...)
			b = strconv.AppendInt(b, int64(c.op), 10)
			b = append(b, `,"expr":`...)
			b = appendJSONString(b, c.expr)
			b = append(b, '}')
		}
		b = append(b, `],"affinity":`...)
		b = appendJSONString(b, r.columns[i].typ)
		b = append(b, '}')
	}
	b = append(b, `],"colsUsed":[`...)
	first := true
	for _, i := range order {
		if !columnUsed(colsUsed, i) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendJSONString(b, r.columns[i].name)
	}
	b = append(b, `],"colsUsedBitset":`...)
	b = strconv.AppendUint(b, colsUsed, 10)
	return string(append(b, '}'))
}

func columnUsed(colsUsed uint64, column int) bool { return colsUsed>>min(column, 63)&1 != 0 }
