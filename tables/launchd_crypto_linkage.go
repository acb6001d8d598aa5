package tables

import (
	"context"
	"slices"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/launchd"
)

// Jobs lists the launchd jobs of the host, the folders that could not be read, and which jobs run.
type Jobs interface {
	Jobs(ctx context.Context) (jobs []launchd.Job, problems []error)
	// Running gives a function that knows the process of each of these jobs that runs; ok is false where none is known.
	Running(ctx context.Context, jobs []launchd.Job) (pidOf func(*launchd.Job) (pid int, ok bool), err error)
}

// LaunchdCryptoLinkage is the table of what launchd jobs reach.
func LaunchdCryptoLinkage(jobs Jobs, images Images) Definition {
	columns := []table.ColumnDefinition{
		key(table.TextColumn("label"), "Label of the job"),
		key(table.TextColumn("path"), "Executable that really runs (for an interpreter job, the payload where that is an executable, else the interpreter)"),
		key(table.TextColumn("plist_path"), "Property list that declares the job; joins path of osquery's launchd table"),
		text("domain", "Where it is declared: system, agent, user, app, xpc, login_item, ..."),
		text("username", "User whose job it is; empty: root for daemons, the session's user for agents"),
		text("program", "What launchd executes, as declared"),
		text("interpreter", "Interpreter, when program is one"),
		text("payload_path", "What the interpreter runs"),
		text("payload_kind", "mach-o, elf, script, inline, module, bundle or missing"),
		integer("run_at_load", "1 when it starts with its domain"),
		integer("keep_alive", "1 when launchd restarts it"),
		integer("enabled", "0 when it is disabled"),
		integer("pid", "Its process, when one is known to run; else -1"),
	}
	return Definition{
		Name:        "launchd_crypto_linkage",
		Description: "One crypto provider and class that the executable of one launchd job reaches; a job without crypto is one row with an empty provider.",
		Notes:       "Jobs that were loaded from a property list which is gone since are not seen. On Linux there are none.",
		Examples:    []string{"SELECT label, path, provider, symbols, signature FROM launchd_crypto_linkage WHERE class = 'symmetric' AND signature <> 'apple'"},
		Columns:     append(columns, linkageColumns()...),
		Rows: func(ctx context.Context, q Query) ([]Row, error) {
			all, problems := jobs.Jobs(ctx)
			var wanted []launchd.Job
			var targets []target
			for i := range all {
				job := &all[i]
				if q.Wants("label", job.Label) && q.Wants("path", job.Executable) && q.Wants("plist_path", job.PlistPath) {
					wanted = append(wanted, *job)
					targets = append(targets, targetsOf(job)...)
				}
			}
			found := analyse(ctx, images, targets)
			pidOf, err := jobs.Running(ctx, all)
			if err != nil {
				problems = append(problems, err)
			}
			var rows []Row
			for i := range wanted {
				pid, running := pidOf(&wanted[i])
				if !running {
					pid = -1
				}
				rows = append(rows, jobRows(&wanted[i], pid, found)...)
			}
			for _, err := range problems {
				r := Row{"label": "", "path": "", "plist_path": ""}
				r.Errors(err)
				rows = append(rows, r)
			}
			return rows, ctx.Err()
		},
	}
}

// targetsOf are the images to look at for a job: its executable first, then the interpreter and whatever else its command line leads through.
func targetsOf(job *launchd.Job) []target {
	var list []target
	for _, path := range append([]string{job.Executable, job.Interpreter}, job.Others...) {
		known := slices.ContainsFunc(list, func(t target) bool { return t.path == path })
		if path != "" && !known {
			list = append(list, target{path, job.InsertLibraries})
		}
	}
	return list
}

// scriptEvidence is what the text of a job's script hints at: words of crypto tools and libraries, never the text itself.
func scriptEvidence(job *launchd.Job) []image.Evidence {
	if len(job.ScriptCrypto) == 0 {
		return nil
	}
	return []image.Evidence{{Provider: "script", Class: image.ClassSymmetric, Strength: "weak", Linkage: "script",
		Symbols: job.ScriptCrypto, ImagePath: job.PayloadPath}}
}

// jobColumns is how many columns a row of launchd_crypto_linkage has.
const jobColumns = 33

// jobRows gives the rows of one job: those of its executable, and those with crypto in them of what else its command line leads through.
func jobRows(job *launchd.Job, pid int, found map[string]analysis) []Row {
	start := func() Row {
		r := make(Row, jobColumns) // a map that grows costs twice as much
		r.Text("label", job.Label)
		r.Text("path", job.Executable)
		r.Text("plist_path", job.PlistPath)
		r.Text("domain", job.Domain)
		r.Text("username", job.Username)
		r.Text("program", job.Program)
		r.Text("interpreter", job.Interpreter)
		r.Text("payload_path", job.PayloadPath)
		r.Text("payload_kind", job.PayloadKind)
		r.Bool("run_at_load", job.RunAtLoad)
		r.Bool("keep_alive", job.KeepAlive)
		r.Bool("enabled", job.Enabled)
		r.Int("pid", int64(pid))
		return r
	}
	hints := scriptEvidence(job)
	targets := targetsOf(job)
	if len(targets) == 0 {
		return reportRows(&image.Report{Evidence: hints}, start, job.Err)
	}
	var rows []Row
	for i, t := range targets {
		a := found[t.key()]
		report := *a.report
		if i == 0 {
			report.Evidence = slices.Concat(report.Evidence, hints)
		}
		if i == 0 || len(report.Evidence) > 0 {
			rows = append(rows, reportRows(&report, start, job.Err, a.err)...)
		}
	}
	return rows
}
