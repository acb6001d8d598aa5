package sqlhost

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/osquery/osquery-go/plugin/table"
)

// coreTables are osquery's own tables that packs use, with osquery's columns and types.
func (h *Host) coreTables() []*table.Plugin {
	tables := []*table.Plugin{
		table.NewPlugin("time", columnsOf("weekday TEXT, year INTEGER, month INTEGER, day INTEGER, hour INTEGER, minutes INTEGER, "+
			"seconds INTEGER, timezone TEXT, local_timezone TEXT, unix_time INTEGER, timestamp TEXT, datetime TEXT, iso_8601 TEXT"), one(h.timeRow)),
		table.NewPlugin("osquery_info", columnsOf("pid INTEGER, uuid TEXT, instance_id TEXT, version TEXT, config_hash TEXT, config_valid INTEGER, "+
			"extensions TEXT, build_platform TEXT, build_distro TEXT, start_time INTEGER, watcher INTEGER, platform_mask INTEGER"), one(h.infoRow)),
		table.NewPlugin("osquery_extensions", columnsOf("uuid BIGINT, name TEXT, version TEXT, sdk_version TEXT, path TEXT, type TEXT"), h.extensionRows),
		table.NewPlugin("osquery_flags", columnsOf("name TEXT, type TEXT, description TEXT, default_value TEXT, value TEXT, shell_only INTEGER"), h.flagRows),
		table.NewPlugin("system_info", columnsOf("hostname TEXT, uuid TEXT, cpu_type TEXT, cpu_subtype TEXT, cpu_brand TEXT, cpu_physical_cores INTEGER, "+
			"cpu_logical_cores INTEGER, cpu_sockets INTEGER, cpu_microcode TEXT, physical_memory BIGINT, hardware_vendor TEXT, hardware_model TEXT, "+
			"hardware_version TEXT, hardware_serial TEXT, board_vendor TEXT, board_model TEXT, board_version TEXT, board_serial TEXT, "+
			"computer_name TEXT, local_hostname TEXT"), one(h.systemRow)),
	}
	tables = append(tables, h.processTables()...)
	for _, absent := range h.absentTables() {
		if !slices.ContainsFunc(tables, func(t *table.Plugin) bool { return t.Name() == absent.Name() }) {
			tables = append(tables, absent)
		}
	}
	return tables
}

// columnsOf reads column definitions as SQL writes them: "name TYPE, name TYPE".
func columnsOf(definitions string, options ...table.ColumnOpt) []table.ColumnDefinition {
	var columns []table.ColumnDefinition
	for _, definition := range strings.Split(definitions, ", ") {
		name, typ, _ := strings.Cut(definition, " ")
		columns = append(columns, table.NewColumn(name, table.ColumnType(typ), options...))
	}
	return columns
}

// one is a table of one row.
func one(row func() map[string]string) table.GenerateFunc {
	return func(context.Context, table.QueryContext) ([]map[string]string, error) {
		return []map[string]string{row()}, nil
	}
}

func (h *Host) timeRow() map[string]string {
	now := h.opts.Clock.Now()
	zone, _ := now.Local().Zone()
	now = now.UTC()
	iso := now.Format("2006-01-02T15:04:05Z")
	return map[string]string{
		"weekday": now.Weekday().String(), "year": strconv.Itoa(now.Year()), "month": strconv.Itoa(int(now.Month())),
		"day": strconv.Itoa(now.Day()), "hour": strconv.Itoa(now.Hour()), "minutes": strconv.Itoa(now.Minute()),
		"seconds": strconv.Itoa(now.Second()), "timezone": "UTC", "local_timezone": zone,
		"unix_time": strconv.FormatInt(now.Unix(), 10), "timestamp": calendarTime(now), "datetime": iso, "iso_8601": iso,
	}
}

// platformMasks are osquery's PlatformType values (osquery/utils/info/platform_type.h).
var platformMasks = map[string]string{"linux": "9", "darwin": "21", "windows": "2"}

func (h *Host) infoRow() map[string]string {
	extensions := "inactive"
	if h.serving() != nil || len(h.registered()) > 0 {
		extensions = "active"
	}
	return map[string]string{
		"pid": strconv.Itoa(os.Getpid()), "uuid": "", "instance_id": "", "version": h.opts.Version,
		"config_hash": "", "config_valid": "1", "extensions": extensions, "build_platform": h.opts.Platform, "build_distro": "",
		"start_time": strconv.FormatInt(h.started.Unix(), 10), "watcher": "-1", "platform_mask": cmp.Or(platformMasks[h.opts.Platform], "0"),
	}
}

// socketPath is where the extension manager listens, or empty.
func (h *Host) socketPath() string {
	if m := h.serving(); m != nil {
		return m.path
	}
	return ""
}

func (h *Host) extensionRows(context.Context, table.QueryContext) ([]map[string]string, error) {
	path := h.socketPath()
	rows := []map[string]string{{
		"uuid": "0", "name": "core", "version": h.opts.Version, "sdk_version": "0.0.0", "path": path, "type": "core",
	}}
	for _, ext := range h.registered() {
		row := map[string]string{
			"uuid": strconv.FormatInt(ext.uuid, 10), "name": ext.name, "version": ext.version, "sdk_version": ext.sdkVersion,
			"path": "", "type": "extension",
		}
		if !ext.attached {
			row["path"] = fmt.Sprintf("%s.%d", path, ext.uuid)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// A flag is one of osquery's options.
type flag struct{ name, typ, value, defaultValue string }

// flags are the options of the core that an extension may look at, and those that Options.Flags sets.
func (h *Host) flags() []flag {
	list := []flag{
		{"extensions_socket", "string", h.socketPath(), "/var/osquery/osquery.em"},
		{"extensions_interval", "string", strconv.Itoa(int(h.opts.ExtensionsInterval.Seconds())), "3"},
		{"extensions_timeout", "string", strconv.Itoa(int(h.opts.ExtensionsTimeout.Seconds())), "3"},
		{"extensions_default_index", "bool", "true", "true"},
	}
	h.mu.Lock()
	set := h.opts.Flags // replaced as a whole, never written to
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		list = append(list, flag{name, "string", set[name], ""})
	}
	return list
}

func (h *Host) flagRows(context.Context, table.QueryContext) ([]map[string]string, error) {
	var rows []map[string]string
	for _, f := range h.flags() {
		rows = append(rows, map[string]string{
			"name": f.name, "type": f.typ, "description": "", "default_value": f.defaultValue, "value": f.value, "shell_only": "0",
		})
	}
	return rows, nil
}

// systemRow knows what Go knows of this computer; what is unknown is empty, as osquery leaves it.
func (h *Host) systemRow() map[string]string {
	row := map[string]string{
		"hostname": h.hostname, "computer_name": h.hostname, "local_hostname": h.hostname,
		"cpu_type": machine(runtime.GOARCH), "cpu_logical_cores": strconv.Itoa(runtime.NumCPU()),
	}
	for _, unknown := range []string{"uuid", "cpu_subtype", "cpu_brand", "cpu_microcode", "hardware_vendor", "hardware_model",
		"hardware_version", "hardware_serial", "board_vendor", "board_model", "board_version", "board_serial"} {
		row[unknown] = ""
	}
	return row
}

// machine is uname's word for Go's architecture.
func machine(goarch string) string {
	if goarch == "amd64" {
		return "x86_64"
	}
	return goarch
}
