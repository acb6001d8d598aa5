package sqlhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// Bounds of one statement and its result.
const (
	maxSQLBytes    = 1 << 20
	maxResultBytes = 256 << 20
)

// A Kind is SQLite's type of a value.
type Kind int

// The kinds, in the order in which osquery sorts values of different types; osquery has no BLOB of its own.
const (
	Null Kind = iota
	Integer
	Float
	Text
)

// A Value is one value of a result: its text as osquery logs it ("" for NULL), and what it was in SQL.
type Value struct {
	Text string `json:"text"`
	Kind Kind   `json:"kind"`
}

// A Result is what a statement gave: its columns in order, with duplicates, and rows of as many values.
type Result struct {
	Columns []string
	Rows    [][]Value
}

// Maps gives the rows as osquery hands them on: by column name, the last of equal names, NULL as "".
func (r *Result) Maps() []map[string]string {
	rows := make([]map[string]string, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = make(map[string]string, len(row))
		for j, value := range row {
			rows[i][r.Columns[j]] = value.Text
		}
	}
	return rows
}

// Query runs one or more statements and gives the last one's rows. The error of a failing statement has osquery's words
// ("no such table: x", or what the table's extension said). When ctx ends, the statement is interrupted.
func (h *Host) Query(ctx context.Context, sql string) (result *Result, err error) {
	if len(sql) > maxSQLBytes {
		return nil, fmt.Errorf("sqlhost: a statement of %d bytes, the limit is %d", len(sql), maxSQLBytes)
	}
	s, err := h.sessions.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		// The binding panics where SQLite's memory is used up. Nothing is known of the connection then.
		if p := recover(); p != nil {
			h.sessions.discard()
			result, err = nil, fmt.Errorf("sqlhost: query: %v", p)
			return
		}
		h.sessions.release(s)
	}()
	defer s.conn.SetInterrupt(s.conn.SetInterrupt(ctx))

	result = &Result{}
	for sql != "" {
		stmt, tail, err := s.conn.Prepare(sql)
		if err != nil {
			return nil, queryError(ctx, err)
		}
		sql = tail
		if stmt == nil {
			continue // a comment, or white space
		}
		if result, err = h.run(ctx, stmt); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// run steps through a statement and closes it.
func (h *Host) run(ctx context.Context, stmt *sqlite3.Stmt) (*Result, error) {
	result := &Result{Columns: make([]string, stmt.ColumnCount())}
	for i := range result.Columns {
		result.Columns[i] = stmt.ColumnName(i)
	}
	size := 0
	for stmt.Step() {
		row := make([]Value, len(result.Columns))
		for i := range row {
			row[i] = columnValue(stmt, i)
			size += len(row[i].Text)
		}
		result.Rows = append(result.Rows, row)
		if len(result.Rows) > h.opts.MaxRows || size > maxResultBytes {
			return nil, errors.Join(fmt.Errorf("sqlhost: the result has more than %d rows or %d bytes", h.opts.MaxRows, maxResultBytes), stmt.Close())
		}
	}
	err := stmt.Err()
	if closeErr := stmt.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, queryError(ctx, err)
	}
	return result, nil
}

// columnValue writes a value as osquery does (osquery/utils/conversions/castvariant.h): a double has 17 significant
// digits and always a point.
func columnValue(stmt *sqlite3.Stmt, i int) Value {
	switch stmt.ColumnType(i) {
	case sqlite3.NULL:
		return Value{}
	case sqlite3.INTEGER:
		return Value{Text: strconv.FormatInt(stmt.ColumnInt64(i), 10), Kind: Integer}
	case sqlite3.FLOAT:
		return Value{Text: formatDouble(stmt.ColumnFloat(i)), Kind: Float}
	default:
		return Value{Text: stmt.ColumnText(i), Kind: Text}
	}
}

func formatDouble(f float64) string {
	s := strconv.FormatFloat(f, 'g', 17, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// queryError gives SQLite's message without the binding's prefix, or says that the context ended.
func queryError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sqlhost: query: %w", context.Cause(ctx))
	}
	var sqlErr *sqlite3.Error
	if !errors.As(err, &sqlErr) {
		return err
	}
	message := sqlErr.Error()
	for _, prefix := range []string{sqlErr.ExtendedCode().Error(), "sqlite3: "} {
		if rest := strings.TrimPrefix(strings.TrimPrefix(message, prefix), ": "); rest != "" {
			message = rest
		}
	}
	return errors.New(message)
}

// queryColumns is the name and declared type of every column of a statement, one map each, without running it.
func (h *Host) queryColumns(ctx context.Context, sql string) ([]map[string]string, error) {
	if len(sql) > maxSQLBytes {
		return nil, fmt.Errorf("sqlhost: a statement of %d bytes, the limit is %d", len(sql), maxSQLBytes)
	}
	s, err := h.sessions.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer h.sessions.release(s)
	stmt, _, err := s.conn.Prepare(sql)
	if err != nil {
		return nil, queryError(ctx, err)
	}
	if stmt == nil {
		return nil, nil
	}
	columns := make([]map[string]string, stmt.ColumnCount())
	for i := range columns {
		columns[i] = map[string]string{stmt.ColumnName(i): cmp.Or(stmt.ColumnDeclType(i), "UNKNOWN")}
	}
	return columns, stmt.Close()
}
