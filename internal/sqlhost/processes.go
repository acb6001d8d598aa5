package sqlhost

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/osquery/osquery-go/plugin/table"
)

// clockTicks is USER_HZ, the unit of times in /proc/<pid>/stat: 100 on every architecture that Go runs on.
const clockTicks = 100

// maxProcBytes bounds what is read of one file in /proc.
const maxProcBytes = 1 << 20

// processTables is osquery's table processes where this host's /proc is the analysed host's.
func (h *Host) processTables() []*table.Plugin {
	if _, given := h.opts.CoreRows["processes"]; given || runtime.GOOS != "linux" || h.opts.Platform != "linux" || h.opts.Offline {
		return nil
	}
	columns := append(columnsOf("pid BIGINT", table.IndexColumn(), table.OptimizedColumn()),
		columnsOf("name TEXT, path TEXT, cmdline TEXT, state TEXT, cwd TEXT, root TEXT, uid BIGINT, gid BIGINT, euid BIGINT, egid BIGINT, "+
			"suid BIGINT, sgid BIGINT, on_disk INTEGER, wired_size BIGINT, resident_size BIGINT, total_size BIGINT, user_time BIGINT, "+
			"system_time BIGINT, disk_bytes_read BIGINT, disk_bytes_written BIGINT, start_time BIGINT, parent BIGINT, pgroup BIGINT, "+
			"threads INTEGER, nice INTEGER, cgroup_path TEXT")...)
	return []*table.Plugin{table.NewPlugin("processes", columns, func(ctx context.Context, query table.QueryContext) ([]map[string]string, error) {
		return processRows(ctx, "/proc", query)
	})}
}

// processRows reads the processes that the query asks for by pid, or all.
func processRows(ctx context.Context, proc string, query table.QueryContext) ([]map[string]string, error) {
	pids := equalPids(query)
	if pids == nil {
		entries, err := os.ReadDir(proc)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if _, err := strconv.Atoi(e.Name()); err == nil {
				pids = append(pids, e.Name())
			}
		}
	}
	boot := bootTime(proc)
	var rows []map[string]string
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if row := processRow(filepath.Join(proc, pid), boot); row != nil {
			row["pid"] = pid
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// equalPids are the pids that the query names with = or IN; nil is no such constraint.
func equalPids(query table.QueryContext) []string {
	var pids []string
	for _, c := range query.Constraints["pid"].Constraints {
		if c.Operator != table.OperatorEquals {
			continue
		}
		if n, err := strconv.ParseUint(c.Expression, 10, 31); err == nil {
			pids = append(pids, strconv.FormatUint(n, 10))
		} else if pids == nil {
			pids = []string{}
		}
	}
	return pids
}

// processRow reads one process; nil is one that is gone.
func processRow(dir string, boot int64) map[string]string {
	stat := readProc(dir, "stat")
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return nil
	}
	fields := strings.Fields(stat[end+1:]) // proc(5): fields[0] is field 3, the state
	if len(fields) < 20 {
		return nil
	}
	status := procLines(readProc(dir, "status"), ":")
	row := map[string]string{
		"name": stat[open+1 : end], "state": fields[0], "parent": fields[1], "pgroup": fields[2], "nice": fields[16], "threads": fields[17],
		"user_time": milliseconds(fields[11]), "system_time": milliseconds(fields[12]), "wired_size": "0",
		"resident_size": kibibytes(status["VmRSS"]), "total_size": kibibytes(status["VmSize"]),
		"cmdline": strings.TrimRight(strings.ReplaceAll(readProc(dir, "cmdline"), "\x00", " "), " "),
		"path":    readLink(dir, "exe"), "cwd": readLink(dir, "cwd"), "root": readLink(dir, "root"),
	}
	addIDs(row, "uid", "euid", "suid", status["Uid"])
	addIDs(row, "gid", "egid", "sgid", status["Gid"])
	if ticks, err := strconv.ParseInt(fields[19], 10, 64); err == nil && boot > 0 {
		row["start_time"] = strconv.FormatInt(boot+ticks/clockTicks, 10)
	}
	io := procLines(readProc(dir, "io"), ":")
	row["disk_bytes_read"], row["disk_bytes_written"] = or0(io["read_bytes"]), or0(io["write_bytes"])
	_, row["cgroup_path"], _ = strings.Cut(strings.TrimSuffix(readProc(dir, "cgroup"), "\n"), "::")
	addOnDisk(row)
	return row
}

// addOnDisk says whether the program's file is still there: -1 is unknown. The kernel marks a deleted one's path.
func addOnDisk(row map[string]string) {
	path, deleted := strings.CutSuffix(row["path"], " (deleted)")
	row["path"] = path
	switch {
	case path == "":
		row["on_disk"] = "-1"
	case deleted:
		row["on_disk"] = "0"
	default:
		row["on_disk"] = "1"
	}
}

func readProc(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProcBytes))
	if closeErr := f.Close(); err != nil || closeErr != nil {
		return ""
	}
	return string(data)
}

func readLink(dir, name string) string {
	target, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return target
}

// procLines reads "key<separator>value" lines.
func procLines(s, separator string) map[string]string {
	lines := map[string]string{}
	for line := range strings.Lines(s) {
		if key, value, ok := strings.Cut(line, separator); ok {
			lines[key] = strings.TrimSpace(value)
		}
	}
	return lines
}

// bootTime is when the system started, in unix seconds; 0 is unknown.
func bootTime(proc string) int64 {
	seconds, err := strconv.ParseInt(procLines(readProc(proc, "stat"), " ")["btime"], 10, 64)
	if err != nil {
		return 0
	}
	return seconds
}

// addIDs sets the real, effective and saved id from a line of /proc/<pid>/status.
func addIDs(row map[string]string, actual, effective, saved, line string) {
	for i, id := range strings.Fields(line) {
		if i < 3 {
			row[[]string{actual, effective, saved}[i]] = id
		}
	}
}

// milliseconds turns clock ticks into milliseconds.
func milliseconds(ticks string) string {
	n, err := strconv.ParseInt(ticks, 10, 64)
	if err != nil {
		return "0"
	}
	return strconv.FormatInt(n*1000/clockTicks, 10)
}

// kibibytes turns "123 kB" into bytes.
func kibibytes(s string) string {
	n, err := strconv.ParseInt(strings.TrimSuffix(s, " kB"), 10, 64)
	if err != nil {
		return "0"
	}
	return strconv.FormatInt(n*1024, 10)
}

func or0(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
