package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuick: the quick campaign runs to its end, finds nearly all that it should, and nothing on benign programs that the allowlist does not approve.
func TestQuick(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and iproute2")
	}
	if testing.Short() {
		t.Skip("takes a minute")
	}
	root, bin := filepath.Join("..", "..", ".."), t.TempDir()
	build := func(dir string, args ...string) {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-trimpath", "-o"}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	build(root, filepath.Join(bin, "cipherlens.ext"), "./extension")
	build("..", bin+"/", "./peer", "./benign", "./campaign")
	build("..", filepath.Join(bin, "peer-plain"), "-tags", "plain", "./peer")
	build("..", filepath.Join(bin, "benign-plain"), "-tags", "plain", "./benign")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "campaign"), "-quick", "-ext", filepath.Join(bin, "cipherlens.ext"), "-bin", bin,
		"-pack", filepath.Join(root, "packs", "an0402.conf"), "-out", filepath.Join(bin, "report.md"), "-least", "0.75", "-time", "90s")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	report, err := os.ReadFile(filepath.Join(bin, "report.md"))
	require.NoError(t, err)
	require.Contains(t, string(report), "| sugarloader | none | interactive | 1 of 1 | random |")
	require.Contains(t, string(report), "| toneshell | S1239 | check-in | 1 of 1 | tls_mimic |")
}
