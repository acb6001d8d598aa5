package tables

import (
	"context"
	"testing"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

type running []sensor.Process

func (r running) Processes(context.Context) ([]sensor.Process, error) { return r, nil }

// TestProcesses: the kernel's word, the proof of the job and an executable that is gone are in the rows, each process's own.
func TestProcesses(t *testing.T) {
	t.Parallel()
	root, err := rootfs.Open(demoRoot)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	const backup = "/Applications/Backup.app/Contents/MacOS/Backup"
	images := image.NewAnalyzer(root)
	report, err := images.Analyze(t.Context(), backup, nil)
	require.NoError(t, err)
	same := process.CodeIdentity{Flags: 1, CDHash: report.Signature.CDHash}
	changed := process.CodeIdentity{Flags: 2, CDHash: report.Signature.CDHash}
	d := ProcessCryptoLinkage(running{
		{Process: process.Process{PID: 7, PPID: 1, Path: backup, Label: "com.example.backup", Responsible: &process.Responsible{PID: 5, Path: "/opt/shell"}}, Proof: sensor.ProofParent, Code: &same},
		{Process: process.Process{PID: 8, PPID: 7, Path: backup}, Code: &changed},
		{Process: process.Process{PID: 9, Path: "/gone"}},
		{Process: process.Process{PID: 10}},
	}, images)
	rows, err := d.Rows(t.Context(), Query{})
	require.NoError(t, err)
	by := map[string]Row{}
	for _, r := range rows {
		if r["class"] == "symmetric" || r["class"] == "" {
			by[r["pid"]] = r
		}
	}
	require.Len(t, by, 3, "a process without an executable is the kernel's")
	require.Equal(t, []string{"com.example.backup", "parent", "kernel", "adhoc", ""},
		[]string{by["7"]["launchd_label"], by["7"]["launchd_proof"], by["7"]["signature_checked"], by["7"]["signature"], by["7"]["error"]})
	require.Equal(t, []string{"5", "/opt/shell", "-1", ""},
		[]string{by["7"]["responsible_pid"], by["7"]["responsible_path"], by["8"]["responsible_pid"], by["8"]["responsible_path"]})
	require.Equal(t, "invalid", by["8"]["signature"])
	require.Contains(t, by["8"]["error"], "process 8: "+backup+": signature: the kernel")
	require.Contains(t, by["9"]["error"], "/gone: no such file")
	rows, err = d.Rows(t.Context(), query("pid", table.OperatorEquals, "9"))
	require.NoError(t, err)
	require.Len(t, rows, 1)
}

// TestResponsibleOfFlows: who answers for a flow's owner is in its row, and -1 where that is not known.
func TestResponsibleOfFlows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		responsible *process.Responsible
		pid, path   string
	}{
		{nil, "-1", ""},
		{&process.Responsible{PID: 5, UID: 501, Path: "/Applications/Mail.app/Contents/MacOS/Mail"}, "5", "/Applications/Mail.app/Contents/MacOS/Mail"},
	} {
		row := FlowRow(&sensor.Flow{Owner: sensor.Owner{PID: 7, Responsible: c.responsible}}, &config.Config{})
		require.Equal(t, []string{c.pid, c.path}, []string{row["responsible_pid"], row["responsible_path"]})
	}
}
