package sqlhost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	gen "github.com/osquery/osquery-go/gen/osquery"
)

// Column options (osquery/core/sql/column.h).
const (
	optionIndex      = 1
	optionRequired   = 2
	optionAdditional = 4
	optionOptimized  = 8
	optionHidden     = 16
)

// maxColumns is SQLite's own limit (SQLITE_MAX_COLUMN).
const maxColumns = 2000

// tableOrigin says whether osquery's flag extensions_default_index applies.
type tableOrigin int

const (
	coreTable tableOrigin = iota
	extensionTable
)

// A relation is one table as the core knows it: its columns, and how to ask for its rows.
type relation struct {
	name    string
	columns []relationColumn
	call    tableCall
}

type relationColumn struct {
	name    string
	typ     string // as the extension declared it: TEXT, INTEGER, BIGINT, ...
	options int
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// newRelation reads the route information that a table plugin registers with.
func newRelation(name string, routes gen.ExtensionPluginResponse, origin tableOrigin) (*relation, error) {
	if !tableName.MatchString(name) || strings.HasPrefix(strings.ToLower(name), "sqlite_") {
		return nil, fmt.Errorf("table %.64q: not a table name", name)
	}
	r := &relation{name: name}
	seen := map[string]bool{}
	for _, route := range routes {
		if route["id"] != "column" {
			continue
		}
		c, err := newColumn(route, origin)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		key := strings.ToLower(c.name)
		if seen[key] {
			return nil, fmt.Errorf("table %s: column %.64q: declared twice", name, c.name)
		}
		seen[key] = true
		r.columns = append(r.columns, c)
	}
	if len(r.columns) == 0 || len(r.columns) > maxColumns {
		return nil, fmt.Errorf("table %s: %d columns, want 1 to %d", name, len(r.columns), maxColumns)
	}
	return r, nil
}

func newColumn(route map[string]string, origin tableOrigin) (relationColumn, error) {
	c := relationColumn{name: route["name"], typ: route["type"]}
	if c.name == "" || len(c.name) > 256 || strings.ContainsRune(c.name, 0) {
		return c, fmt.Errorf("column %.64q: not a column name", c.name)
	}
	switch c.typ {
	case "TEXT", "INTEGER", "BIGINT", "UNSIGNED BIGINT", "DOUBLE", "BLOB":
	default:
		return c, fmt.Errorf("column %s: unknown type %.64q", c.name, c.typ)
	}
	if op := route["op"]; op != "" {
		options, err := strconv.Atoi(op)
		if err != nil {
			return c, fmt.Errorf("column %s: options %.64q: not a number", c.name, op)
		}
		c.options = options
	}
	// osquery's flag extensions_default_index, true by default.
	if origin == extensionTable && c.options == 0 {
		c.options = optionIndex
	}
	return c, nil
}

// key is the name as SQLite compares it.
func (r *relation) key() string { return strings.ToLower(r.name) }

// declaration is the CREATE TABLE statement that SQLite reads the columns from.
func (r *relation) declaration() string {
	var b strings.Builder
	b.WriteString("CREATE TABLE x(")
	for i, c := range r.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteName(c.name) + " " + c.typ)
		if c.options&optionHidden != 0 {
			b.WriteString(" HIDDEN")
		}
	}
	b.WriteString(")")
	return b.String()
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
