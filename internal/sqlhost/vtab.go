package sqlhost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"
	gen "github.com/osquery/osquery-go/gen/osquery"
)

// Costs that osquery tells SQLite's planner (osquery/sql/virtual_table.cpp, xBestIndex): every plan without a
// constraint on an index costs the same, so that tables join in the order that osqueryd joins them.
const (
	fullScanCost     = 1e6
	unusableTermCost = 10
	indexCost        = 1
)

// A virtualTable is one relation on one SQLite connection.
type virtualTable struct {
	rel    *relation
	conn   *sqlite3.Conn
	warn   func(string)
	called func(string)
}

var (
	_ sqlite3.VTab       = (*virtualTable)(nil)
	_ sqlite3.VTabCursor = (*cursor)(nil)
)

// attach makes the relation a table of the connection, as osquery does: in the temp schema.
func attach(conn *sqlite3.Conn, rel *relation, host *Host) error {
	create := func(db *sqlite3.Conn, _, _, _ string, _ ...string) (*virtualTable, error) {
		return &virtualTable{rel: rel, conn: db, warn: host.warn, called: host.opts.Called}, db.DeclareVTab(rel.declaration())
	}
	//lint:ignore SA1019 its replacement is a generic method, which needs Go 1.27
	if err := sqlite3.CreateModule(conn, rel.name, create, create); err != nil {
		return fmt.Errorf("sqlhost: table %s: %w", rel.name, err)
	}
	name := quoteName(rel.name)
	if err := conn.Exec("CREATE VIRTUAL TABLE temp." + name + " USING " + name); err != nil {
		return fmt.Errorf("sqlhost: table %s: %w", rel.name, err)
	}
	return nil
}

// sensible says whether osquery passes the operator to a column of the type: it never asks TEXT columns for an order.
func sensible(typ string, op int) bool {
	switch op {
	case opGreaterThan, opLessOrEquals, opLessThan, opGreaterOrEquals:
		return typ != "TEXT"
	}
	return true
}

// BestIndex takes the constraints that osquery takes: those on indexed, additional and required columns.
func (t *virtualTable) BestIndex(info *sqlite3.IndexInfo) error {
	plan := scanPlan{colsUsed: info.ColumnsUsed}
	cost := float64(fullScanCost)
	requiredConstraint := false
	for i, c := range info.Constraint {
		if !c.Usable || c.Column < 0 || c.Column >= len(t.rel.columns) {
			continue
		}
		column := t.rel.columns[c.Column]
		if !sensible(column.typ, int(c.Op)) {
			cost += unusableTermCost
			continue
		}
		if column.options&(optionIndex|optionAdditional|optionRequired) == 0 {
			continue
		}
		requiredConstraint = requiredConstraint || column.options&optionRequired != 0
		cost = indexCost
		term := planTerm{column: c.Column, op: int(c.Op)}
		if column.options&optionOptimized != 0 && info.In(i, -1) {
			term.all = info.In(i, 1)
		}
		plan.terms = append(plan.terms, term)
		info.ConstraintUsage[i].ArgvIndex = len(plan.terms)
	}
	if !requiredConstraint && t.usesRequired(plan.colsUsed) {
		cost = fullScanCost
	}
	info.EstimatedCost = cost
	info.IdxStr = plan.String()
	return nil
}

func (t *virtualTable) usesRequired(colsUsed uint64) bool {
	for i, c := range t.rel.columns {
		if c.options&optionRequired != 0 && columnUsed(colsUsed, i) {
			return true
		}
	}
	return false
}

// Open starts a scan.
func (t *virtualTable) Open() (sqlite3.VTabCursor, error) { return &cursor{table: t}, nil }

// A cursor is one scan of a virtual table.
type cursor struct {
	table *virtualTable
	rows  gen.ExtensionPluginResponse
	row   int
}

// Filter asks the table's plugin for rows.
func (c *cursor) Filter(_ int, idxStr string, args ...sqlite3.Value) error {
	c.rows, c.row = nil, 0
	plan, err := parsePlan(idxStr)
	if err != nil {
		return err
	}
	constraints, err := planConstraints(plan, args)
	if err != nil {
		return err
	}
	if err := c.table.checkRequired(plan); err != nil {
		return err
	}
	request := gen.ExtensionPluginRequest{
		"action":  "generate",
		"context": c.table.rel.contextJSON(plan.colsUsed, constraints),
	}
	ctx := c.table.conn.GetInterrupt()
	if err := ctx.Err(); err != nil {
		return sqlite3.INTERRUPT
	}
	c.table.called(c.table.rel.name)
	c.rows, err = c.table.rel.call(ctx, request)
	if err != nil && err.Error() == "" {
		err = errors.New("the table failed without a message")
	}
	return err
}

// planConstraints pairs the plan's terms with their values. Like osquery it drops empty values.
func planConstraints(plan scanPlan, args []sqlite3.Value) (map[int][]constraint, error) {
	constraints := map[int][]constraint{}
	for i, arg := range args {
		if i >= len(plan.terms) {
			break
		}
		term := plan.terms[i]
		if !term.all {
			addConstraint(constraints, term, arg)
			continue
		}
		value, err := arg.InFirst()
		for ; err == nil; value, err = arg.InNext() {
			addConstraint(constraints, term, value)
		}
		if !errors.Is(err, sqlite3.ErrorCode(101)) { // SQLITE_DONE
			return nil, fmt.Errorf("sqlhost: values of IN: %w", err)
		}
	}
	return constraints, nil
}

func addConstraint(constraints map[int][]constraint, term planTerm, value sqlite3.Value) {
	// osquery reads the value as a C string.
	expr, _, _ := strings.Cut(value.Text(), "\x00")
	if expr == "" {
		return
	}
	constraints[term.column] = append(constraints[term.column], constraint{op: term.op, expr: expr})
}

// checkRequired refuses a scan that says nothing about a required column, in osquery's words.
func (t *virtualTable) checkRequired(plan scanPlan) error {
	required := false
	for _, c := range t.rel.columns {
		required = required || c.options&optionRequired != 0
	}
	for _, term := range plan.terms {
		if t.rel.columns[term.column].options&optionRequired != 0 {
			return nil
		}
	}
	if !required {
		return nil
	}
	message := "Table " + t.rel.name + " was queried without a required column in the WHERE clause"
	t.warn(message)
	t.warn("Please see the table documentation: https://osquery.io/schema/#" + t.rel.name)
	return fmt.Errorf("%s%w", message, quietCode{sqlite3.CONSTRAINT})
}

// quietCode gives an error SQLite's code without adding words to its message.
type quietCode struct{ code sqlite3.ErrorCode }

func (quietCode) Error() string { return "" }

func (q quietCode) Unwrap() error { return q.code }

func (c *cursor) Next() error { c.row++; return nil }

func (c *cursor) EOF() bool { return c.row >= len(c.rows) }

func (c *cursor) RowID() (int64, error) { return int64(c.row), nil }

// Column gives a value the column's type, as osquery does (osquery/sql/dynamic_table_row.cpp): what is missing or not
// of that type is NULL, and an INTEGER is cut to 32 bits.
func (c *cursor) Column(ctx sqlite3.Context, n int) error {
	if c.EOF() || n >= len(c.table.rel.columns) {
		return sqlite3.ERROR
	}
	column := c.table.rel.columns[n]
	value, ok := c.rows[c.row][column.name]
	if !ok {
		ctx.ResultNull()
		return nil
	}
	switch column.typ {
	case "TEXT", "BLOB":
		ctx.ResultText(value)
	case "DOUBLE":
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			ctx.ResultFloat(f)
		} else {
			ctx.ResultNull()
		}
	default:
		i, err := parseInteger(value)
		switch {
		case err != nil:
			ctx.ResultNull()
		case column.typ == "INTEGER":
			ctx.ResultInt64(int64(int32(i)))
		default:
			ctx.ResultInt64(i)
		}
	}
	return nil
}

// parseInteger reads what C's strtoll with base 0 reads: decimal, 0x hexadecimal, 0 octal.
func parseInteger(s string) (int64, error) {
	digits := strings.ToLower(strings.TrimLeft(s, "+-"))
	if strings.Contains(s, "_") || strings.HasPrefix(digits, "0b") || strings.HasPrefix(digits, "0o") {
		return 0, strconv.ErrSyntax // Go's own
	}
	return strconv.ParseInt(s, 0, 64)
}
