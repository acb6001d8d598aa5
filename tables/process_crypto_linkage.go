package tables

import (
	"context"
	"fmt"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// Processes lists the running processes, each with the label of its launchd job (systemd unit) where it is known. A host that is only looked at
// from outside has none.
type Processes interface {
	Processes(ctx context.Context) ([]sensor.Process, error)
}

// ProcessCryptoLinkage is the table of what running processes reach.
func ProcessCryptoLinkage(processes Processes, images Images) Definition {
	columns := []table.ColumnDefinition{
		key(table.IntegerColumn("pid"), "Process"),
		key(table.TextColumn("path"), "Its executable"),
		text("process_name", "Its name"),
		integer("parent", "Its parent's pid"),
		integer("uid", "User that it runs as"),
		bigint("start_time", "When it started, unix seconds"),
		text("launchd_label", "launchd job (Linux: systemd unit) that it belongs to"),
		text("launchd_proof", "By what it was tied to that job: cgroup, parent (launchd started it; executable, arguments and user are the job's), environment (XPC_SERVICE_NAME; can be forged), responsible (the system holds one responsible for it that parent ties), coalition (in the process tree of one that parent ties), executable (may as well have been started by hand)"),
	}
	return Definition{
		Name:        "process_crypto_linkage",
		Description: "One crypto provider and class that the executable of one running process reaches; a process without crypto is one row with an empty provider.",
		Notes:       "Read from the executable's file, not from memory: libraries that were loaded later are not seen. Kernel threads are left out.",
		Examples:    []string{"SELECT pid, path, provider, symbols FROM process_crypto_linkage WHERE class = 'symmetric' AND evidence = 'strong'"},
		Columns:     append(append(columns, linkageColumns()...), integer("responsible_pid", responsiblePID), text("responsible_path", responsiblePath)),
		Rows: func(ctx context.Context, q Query) ([]Row, error) {
			all, err := processes.Processes(ctx)
			if err != nil {
				return nil, err
			}
			var wanted []sensor.Process
			var targets []target
			for _, p := range all {
				if p.Path != "" && q.WantsInt("pid", int64(p.PID)) && q.Wants("path", p.Path) {
					wanted = append(wanted, p)
					targets = append(targets, target{path: p.Path})
				}
			}
			found := analyse(ctx, images, targets)
			var rows []Row
			for _, p := range wanted {
				a := found[target{path: p.Path}.key()]
				report, err := *a.report, error(nil)
				if report.Signature, err = sensor.Running(report.Signature, p.Code, len(report.Arch)); err != nil {
					err = fmt.Errorf("process %d: %s: %w", p.PID, p.Path, err)
				}
				rows = append(rows, reportRows(&report, func() Row { return processRow(&p) }, a.err, err)...)
			}
			return rows, ctx.Err()
		},
	}
}

func processRow(p *sensor.Process) Row {
	r := Row{"path": p.Path, "process_name": p.Name, "launchd_label": p.Label, "launchd_proof": p.Proof}
	r.Int("pid", int64(p.PID))
	r.Int("parent", int64(p.PPID))
	r.Int("uid", int64(p.UID))
	r.Int("start_time", p.StartTime)
	responsibleColumns(r, p.Responsible)
	return r
}
