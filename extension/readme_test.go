package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/tables"
)

// TestReadmeShowsWhatComesOut: the output in README is the demo's, and its table section the definitions'.
func TestReadmeShowsWhatComesOut(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "cipherlens.ext", "run", "--pack", "../packs/an0402.conf", "--root", demo+"/root",
		"--capture", demo+"/capture.pcapng", "--config", demo+"/config.yaml", "--once").Output()
	require.NoError(t, err)
	require.Contains(t, string(readme), "```\n"+strings.TrimSpace(string(out))+"\n```")
	require.Contains(t, string(readme), tables.MarkerBegin+"\n"+tables.Overview(tables.All())+tables.MarkerEnd, "run: go generate ./tables")
}
