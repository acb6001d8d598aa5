package tables

import (
	"math"
	"strconv"
	"strings"
)

// Row is one row: column to value. A column that is absent is NULL.
type Row map[string]string

// Text sets a text column; unknown text is empty.
func (r Row) Text(column, value string) { r[column] = value }

// List sets a text column to values joined by commas.
func (r Row) List(column string, values []string) { r[column] = strings.Join(values, ",") }

// Int sets a number.
func (r Row) Int(column string, value int64) { r[column] = strconv.FormatInt(value, 10) }

// Float sets a DOUBLE, with at most six significant digits: more would only make equal findings look different. What is not a number stays
// NULL.
func (r Row) Float(column string, value float64) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		r[column] = strconv.FormatFloat(value, 'g', 6, 64)
	}
}

// Bool sets an INTEGER to 0 or 1.
func (r Row) Bool(column string, value bool) {
	r[column] = "0"
	if value {
		r[column] = "1"
	}
}

// Errors sets the error column, on one line; none leaves it empty.
func (r Row) Errors(errs ...error) {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	r["error"] = strings.Join(texts, "; ")
}
