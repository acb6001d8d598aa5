package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/config"
)

// The checks of what the extension needs around it: files, osquery, time and memory.

// settingsFile says whether the settings are in force.
func (d *doctor) settingsFile(context.Context) []diagnosis {
	if problems := d.settings.Problems(); len(problems) > 0 {
		return []diagnosis{degraded("settings", fmt.Sprintf("%s: not in force: %v", d.settings.Path(), problems[0]), "mend the line that is named; the file must be root's and writable by nobody else")}
	}
	return append(d.ownedByRoot("settings", d.settings.Path(), "defaults: there is no "+d.settings.Path()), d.folderOfRoot("settings", filepath.Dir(d.settings.Path()))...)
}

// ownedByRoot looks at a file's owner and mode; absent says what it means that it is not there.
func (d *doctor) ownedByRoot(what, name, absent string) []diagnosis {
	info, err := d.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []diagnosis{fine(what, absent)}
	case err != nil:
		return []diagnosis{degraded(what, oneLine(err), "run as root")}
	}
	if why := d.unsafe(info); why != "" {
		return []diagnosis{degraded(what, name+": "+why, "chown root "+name+"; chmod go-w "+name)}
	}
	return []diagnosis{fine(what, name)}
}

// folderOfRoot says nothing of a folder that is safe or absent.
func (d *doctor) folderOfRoot(what, folder string) []diagnosis {
	info, err := d.lstat(folder)
	if err != nil || d.unsafe(info) == "" {
		return nil
	}
	return []diagnosis{degraded(what, folder+": "+d.unsafe(info), "chown root "+folder+"; chmod go-w "+folder)}
}

// unsafe says why others than root could change a file; empty when they could not. Files of the user that we run as count as safe, as for osquery.
func (d *doctor) unsafe(info fs.FileInfo) string {
	switch owner := d.owned(info); {
	case owner != 0 && owner != d.euid:
		return fmt.Sprintf("owned by user %d", owner)
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Sprintf("writable by others (mode %v)", info.Mode().Perm())
	}
	return ""
}

func (d *doctor) allowlist(context.Context) []diagnosis {
	n, errs := d.rules()
	if len(errs) > 0 {
		return []diagnosis{degraded("allowlist", fmt.Sprintf("%d rules in force; %d problems: %v", n, len(errs), errs[0]), "mend the files that are named: cipherlens.ext allowlist check")}
	}
	files, err := d.settings.RuleFiles()
	if err != nil {
		return []diagnosis{degraded("allowlist", oneLine(err), "run as root")}
	}
	for _, name := range files {
		if info, err := d.lstat(name); err == nil && d.unsafe(info) != "" {
			return []diagnosis{degraded("allowlist", name+": "+d.unsafe(info), "chown root "+name+"; chmod go-w "+name)}
		}
	}
	return []diagnosis{fine("allowlist", fmt.Sprintf("%d rules", n))}
}

// stateFolder is where alerts outlast a restart.
func (d *doctor) stateFolder(context.Context) []diagnosis {
	file := d.settings.Current().StateFile
	if file == config.NoStateFile {
		return []diagnosis{fine("state", "the settings want no file: alerts are lost when the extension ends")}
	}
	folder := filepath.Dir(file)
	info, err := d.lstat(folder)
	if errors.Is(err, fs.ErrNotExist) { // the extension makes it
		folder = filepath.Dir(folder)
		info, err = d.lstat(folder)
	}
	switch {
	case err != nil:
		return []diagnosis{degraded("state", oneLine(err), "make the folder, for root alone (0700): alerts do not outlast a restart without it")}
	case !info.IsDir():
		return []diagnosis{degraded("state", folder+" is no folder", "set state_file to another place")}
	case d.unsafe(info) != "":
		return []diagnosis{degraded("state", folder+": "+d.unsafe(info), "chown root "+folder+"; chmod go-w "+folder)}
	}
	if err := d.writeProbe(folder); err != nil {
		return []diagnosis{degraded("state", oneLine(err), "run as root; or set state_file to a folder that can be written")}
	}
	return []diagnosis{fine("state", file)}
}

// memoryAround is what the extension has resident beside memory_budget: Go's own, code, the capture's buffers.
const memoryAround = memoryBeside + 24<<20

// defaultWatchdog is the memory that osquery's watchdog allows an extension at level 0, bytes.
const defaultWatchdog = 200 << 20

func (d *doctor) memory(context.Context) []diagnosis {
	need := int64(d.settings.Current().MemoryBudget) + memoryAround
	detail := fmt.Sprintf("about %d MiB at most with memory_budget %d MiB", need>>20, int64(d.settings.Current().MemoryBudget)>>20)
	if need > defaultWatchdog {
		return []diagnosis{degraded("memory", detail+"; osquery's watchdog ends extensions at 200 MB", "lower memory_budget, or raise osquery's --watchdog_memory_limit")}
	}
	if data, err := d.readFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit < need {
			return []diagnosis{degraded("memory", fmt.Sprintf("%s; this control group has %d MiB", detail, limit>>20), "lower memory_budget, or give the group more")}
		}
	}
	return []diagnosis{fine("memory", detail)}
}

// clock: flows' times go into findings, and certificates and rules have ends.
func (d *doctor) clock(context.Context) []diagnosis {
	now := d.now()
	oldest := d.built
	if oldest.IsZero() {
		oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if now.Before(oldest.Add(-24*time.Hour)) || now.After(oldest.AddDate(20, 0, 0)) {
		return []diagnosis{degraded("clock", now.UTC().Format(time.RFC3339)+", while this program is of "+oldest.UTC().Format(time.DateOnly), "set the clock; rules of the allowlist begin and end by it")}
	}
	return []diagnosis{fine("clock", now.UTC().Format(time.RFC3339))}
}

// autoloadFiles are where osqueryd reads which extensions to start.
var autoloadFiles = map[string]string{darwin: "/var/osquery/extensions.load", linux: "/etc/osquery/extensions.load"}

// autoload says whether osqueryd would start the extension: it refuses files that others than root may change.
func (d *doctor) autoload(context.Context) []diagnosis {
	name := autoloadFiles[d.goos]
	data, err := d.readFile(name)
	if err != nil {
		return []diagnosis{degraded("autoload", oneLine(err), "write the extension's path into it, or let Fleet or launcher deliver the extension; attach needs neither")}
	}
	var entry string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); strings.Contains(filepath.Base(line), "cipherlens") {
			entry = line
		}
	}
	if entry == "" {
		return []diagnosis{degraded("autoload", name+" does not name the extension", "add a line with its full path")}
	}
	if !strings.HasSuffix(entry, ".ext") {
		return []diagnosis{blind("autoload", entry+": osqueryd starts only what ends in .ext", "name it cipherlens.ext")}
	}
	for _, file := range []string{name, filepath.Dir(entry), entry} {
		info, err := d.lstat(file)
		if err != nil {
			return []diagnosis{blind("autoload", oneLine(err), "put the extension there, or correct "+name)}
		}
		if why := d.unsafe(info); why != "" {
			return []diagnosis{blind("autoload", file+": "+why+": osqueryd does not start it", "chown root "+file+"; chmod go-w "+file)}
		}
	}
	return []diagnosis{fine("autoload", entry)}
}

// usualSockets are where osquery, Fleet's orbit and Kolide's launcher have the extension manager's socket.
var usualSockets = []string{"/var/osquery/osquery.em", "/opt/orbit/osquery.em", "/var/kolide-k2/*/osquery*.sock", "/root/.osquery/shell.em"}

// osquery asks the running osqueryd who it is and whether it has our tables; where it has, also what these say.
func (d *doctor) osquery(ctx context.Context) []diagnosis {
	socket, err := d.anySocket()
	if err != nil && d.socket != "" {
		return []diagnosis{blind("osquery", oneLine(err), "start osqueryd, or name its --extensions_socket")}
	}
	if err != nil {
		return []diagnosis{degraded("osquery", "no socket in the usual places", "start osqueryd, or name its --extensions_socket with --socket")}
	}
	rows, err := d.query(ctx, socket, "SELECT version FROM osquery_info")
	if err != nil || len(rows) == 0 {
		return []diagnosis{blind("osquery", fmt.Sprintf("%s does not answer: %v", socket, err), "restart osqueryd; only its user may use the socket")}
	}
	all := []diagnosis{fine("osquery", fmt.Sprintf("%s on %s", rows[0]["version"], socket))}
	all = append(all, d.watchdog(ctx, socket)...)
	return append(all, d.tables(ctx, socket)...)
}

func (d *doctor) anySocket() (string, error) {
	if d.socket != "" {
		return d.findSocket(d.socket)
	}
	var errs []error
	for _, pattern := range usualSockets {
		socket, err := d.findSocket(pattern)
		if err == nil {
			return socket, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// watchdog compares osquery's limits with what we need.
func (d *doctor) watchdog(ctx context.Context, socket string) []diagnosis {
	rows, err := d.query(ctx, socket, "SELECT name, value FROM osquery_flags WHERE name IN ('disable_watchdog', 'watchdog_level', 'watchdog_memory_limit')")
	if err != nil {
		return []diagnosis{degraded("watchdog", oneLine(err), "")}
	}
	flags := map[string]string{}
	for _, r := range rows {
		flags[r["name"]] = r["value"]
	}
	limit := int64(defaultWatchdog)
	if flags["watchdog_level"] == "1" {
		limit = 100 << 20
	}
	if mb, err := strconv.ParseInt(flags["watchdog_memory_limit"], 10, 64); err == nil && mb > 0 {
		limit = mb << 20
	}
	need := int64(d.settings.Current().MemoryBudget) + memoryAround
	switch {
	case flags["disable_watchdog"] == "true" || flags["watchdog_level"] == "-1":
		return []diagnosis{fine("watchdog", "off")}
	case need > limit:
		return []diagnosis{degraded("watchdog", fmt.Sprintf("allows %d MiB, %d may be needed", limit>>20, need>>20), "lower memory_budget, or raise --watchdog_memory_limit")}
	}
	return []diagnosis{fine("watchdog", fmt.Sprintf("allows %d MiB", limit>>20))}
}

// tables says whether ours are there, and repeats what they say of themselves.
func (d *doctor) tables(ctx context.Context, socket string) []diagnosis {
	rows, err := d.query(ctx, socket, "SELECT name, version FROM osquery_extensions WHERE name = '"+extensionName+"'")
	if err != nil || len(rows) == 0 {
		return []diagnosis{blind("tables", "the extension is not registered with this osqueryd", "see the autoload entry and osqueryd's log; or run cipherlens.ext attach --socket "+socket)}
	}
	all := []diagnosis{fine("tables", "registered, version "+rows[0]["version"])}
	rows, err = d.query(ctx, socket, "SELECT name, state, detail, advice FROM cipherlens_coverage")
	if err != nil {
		return append(all, blind("tables", "cipherlens_coverage: "+oneLine(err), "see osqueryd's log"))
	}
	for _, r := range rows {
		if r["state"] != stateOK && slices.Contains([]string{stateDegraded, stateBlind}, r["state"]) {
			all = append(all, diagnosis{r["state"], "running: " + r["name"], r["detail"], r["advice"]})
		}
	}
	return all
}
