package tables

import (
	"log/slog"

	"github.com/osquery/osquery-go/plugin/table"
)

// Spec gives a table's specification in the form of osquery's own spec files: what osquery is told when the table registers.
func Spec(d Definition) table.OsqueryTableSpec {
	return Plugins(slog.New(slog.DiscardHandler), d)[0].Spec()
}
