package sqlhost

import (
	"context"
	"os"
	"runtime"
	"strconv"

	"github.com/osquery/osquery-go/plugin/table"
)

// coreTables are osquery's own tables that packs of ours use, with osquery's columns and types.
func (h *Host) coreTables() []*table.Plugin {
	return append([]*table.Plugin{h.timeTable()}, processTables()...)
}

var _ = os.Getpid
var _ = runtime.GOOS
var _ = context.Background
var _ = strconv.Itoa

func (h *Host) timeTable() *table.Plugin {
	columns := []table.ColumnDefinition{
		table.TextColumn("weekday"), table.IntegerColumn("year"), table.IntegerColumn("month"), table.IntegerColumn("day"),
		table.IntegerColumn("hour"), table.IntegerColumn("minutes"), table.IntegerColumn("seconds"), table.TextColumn("timezone"),
		table.TextColumn("local_timezone"), table.IntegerColumn("unix_time"), table.TextColumn("timestamp"),
		table.TextColumn("datetime"), table.TextColumn("iso_8601"),
	}
	return table.NewPlugin("time", columns, func(context.Context, table.QueryContext) ([]map[string]string, error) {
		now := h.opts.Clock.Now()
		local, _ := now.Local().Zone()
		now = now.UTC()
		iso := now.Format("2006-01-02T15:04:05Z")
		return []map[string]string{{
			"weekday": now.Weekday().String(), "year": strconv.Itoa(now.Year()), "month": strconv.Itoa(int(now.Month())),
			"day": strconv.Itoa(now.Day()), "hour": strconv.Itoa(now.Hour()), "minutes": strconv.Itoa(now.Minute()),
			"seconds": strconv.Itoa(now.Second()), "timezone": "UTC", "local_timezone": local,
			"unix_time": strconv.FormatInt(now.Unix(), 10), "timestamp": "", "datetime": iso, "iso_8601": iso,
		}}, nil
	})
}

func processTables() []*table.Plugin { return nil }
