package tables

import (
	"slices"
	"strconv"
	"strings"

	"github.com/osquery/osquery-go/plugin/table"
)

// Query is what a statement asks of a table. Constraints are a hint: SQLite filters again, so a table may give more rows than asked
// for, never fewer. Several equal-constraints on one column are the values of an IN.
type Query struct{ table.QueryContext }

// Equals gives the values that column may have, and whether it is constrained so at all.
func (q Query) Equals(column string) ([]string, bool) {
	values := q.expressions(column, table.OperatorEquals)
	return values, len(values) > 0
}

// Likes gives the LIKE patterns on column.
func (q Query) Likes(column string) []string { return q.expressions(column, table.OperatorLike) }

func (q Query) expressions(column string, op table.Operator) []string {
	var list []string
	for _, c := range q.Constraints[column].Constraints {
		if c.Operator == op {
			list = append(list, c.Expression)
		}
	}
	return list
}

// Wants says whether a row with this value in column can be among those asked for: it must be one of the equal values, if there are any, and
// fit one of the LIKE and GLOB patterns, if there are any.
func (q Query) Wants(column, value string) bool {
	equals, limited := q.Equals(column)
	if limited && !slices.Contains(equals, value) {
		return false
	}
	likes, globs := q.Likes(column), q.expressions(column, table.OperatorGlob)
	if len(likes)+len(globs) == 0 {
		return true
	}
	return slices.ContainsFunc(likes, func(p string) bool { return like(p, value) }) ||
		slices.ContainsFunc(globs, func(p string) bool { return glob(p, value) })
}

// WantsInt is Wants for a number; it also honours <, <=, > and >=.
func (q Query) WantsInt(column string, value int64) bool {
	equal, limited := false, false
	for _, c := range q.Constraints[column].Constraints {
		bound, err := strconv.ParseInt(c.Expression, 10, 64)
		if err != nil {
			continue // not a whole number: SQLite decides
		}
		outside := false
		switch c.Operator {
		case table.OperatorEquals:
			limited, equal = true, equal || value == bound
		case table.OperatorGreaterThan:
			outside = value <= bound
		case table.OperatorGreaterThanOrEquals:
			outside = value < bound
		case table.OperatorLessThan:
			outside = value >= bound
		case table.OperatorLessThanOrEquals:
			outside = value > bound
		}
		if outside {
			return false
		}
	}
	return equal || !limited
}

// like is SQLite's LIKE: % any characters, _ one, ASCII letters alike in both cases.
func like(pattern, s string) bool {
	return wildcard([]rune(strings.ToLower(pattern)), []rune(strings.ToLower(s)), '%', '_')
}

// glob is SQLite's GLOB without character classes: * any characters, ? one. A pattern with a class fits everything here.
func glob(pattern, s string) bool {
	return strings.Contains(pattern, "[") || wildcard([]rune(pattern), []rune(s), '*', '?')
}

// wildcard matches in at most len(pattern)*len(s) steps: only the last "many" needs to be tried again.
func wildcard(pattern, s []rune, many, one rune) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == many:
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == one || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == many {
		p++
	}
	return p == len(pattern)
}
