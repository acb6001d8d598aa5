package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/privilege"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/state"
)

// stateFile is where alerts outlast a restart: --state, or the setting; empty for nowhere. Without root there is no live capture, and so nothing to keep.
func (o *serveOptions) stateFile(settings config.Config) string {
	path := o.state
	if path == "" && os.Geteuid() == 0 {
		path = settings.StateFile
	}
	if path == config.NoStateFile {
		return ""
	}
	return path
}

// openState takes hold of the file of alerts. Without it the extension goes on: coverage says what is lost.
func openState(path string, log *slog.Logger) (*state.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := sensor.OpenAlerts(path)
	if err != nil {
		log.Warn("alerts will not outlast this run", "error", err)
	}
	return f, err
}

// confine makes the file system read-only for us, but for the folders of our two files. It may start this program anew.
func (o *serveOptions) confine(state string, log *slog.Logger) {
	writable := []string{socketFolder(o.socket)}
	if state != "" {
		folder := filepath.Dir(state)
		_ = os.Mkdir(folder, 0o700) // opening the file says what is wrong
		writable = append(writable, folder)
	}
	if err := privilege.Confine(writable); err != nil {
		log.Warn("the file system stays writable", "error", err)
	}
}

// ownCoverage says in coverage which rights are left, and who can get at the socket.
func ownCoverage(r privilege.Report, socket string) func() []sensor.Coverage {
	rights := sensor.Coverage{Name: "privileges", State: sensor.OK, Detail: r.String(), Count: int64(len(r.Missing))}
	if len(r.Missing) > 0 {
		rights.State = sensor.Degraded
		rights.Advice = "let root start the extension outside of a container, on a kernel from Linux 5.12 on; detection does not depend on it"
	}
	return func() []sensor.Coverage {
		folder := filepath.Dir(socket)
		row := sensor.Coverage{Name: "socket", State: sensor.OK, Detail: folder + " can be changed by root and by who runs this alone"}
		if err := state.CheckFolder(folder); err != nil {
			row.State, row.Err = sensor.Degraded, err
			row.Detail = "others can put a socket of theirs in place of osquery's or of the extension's"
			row.Advice = "give the folder that the error names to root, not writable by others"
		}
		return []sensor.Coverage{rights, row}
	}
}
