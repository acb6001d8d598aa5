package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCorpusHasNoFindings runs the scheduled detections over every capture of the corpus without a flow that must alert: no finding.
func TestCorpusHasNoFindings(t *testing.T) {
	t.Parallel()
	const corpus = "../../shared/corpus"
	labels, err := os.ReadFile(corpus + "/labels.tsv")
	if err != nil {
		t.Skip(corpus + " is not here")
	}
	positive := map[string]bool{} // by capture file
	for line := range strings.Lines(string(labels)) {
		if f := strings.Split(line, "\t"); len(f) > 8 && f[0] != "file" {
			positive[f[0]] = positive[f[0]] || f[8] == "positive"
		}
	}
	args := []string{"run", "--once", "--pack", "../packs/an0402.conf", "--pack", "../packs/an0401.conf"}
	captures := 0
	for file, bad := range positive {
		name := filepath.Join(corpus, file)
		if _, err := os.Stat(name); err == nil && !bad {
			args = append(args, "--capture", name)
			captures++
		}
	}
	require.Greater(t, captures, 500)
	for _, root := range []string{"/", demo + "/root"} {
		var out, errs bytes.Buffer
		execute(append(args, "--root", root), &out, &errs)
		require.Equal(t, "No findings.\n", out.String())
		require.NotContains(t, errs.String(), "Error executing")
		require.Contains(t, errs.String(), "pack_an0402_coverage")
	}
}
