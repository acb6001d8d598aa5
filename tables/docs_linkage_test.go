package tables

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinkageDocument runs every command of docs/linkage.md: what it prints is what the page shows.
func TestLinkageDocument(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/linkage.md")
	require.NoError(t, err)
	missing := missingTools("bash", "llvm-nm-19", "llvm-objdump-19", "llvm-otool-19", "llvm-lipo-19", "llvm-dwarfdump-19", "python3", "strings", "sha256sum", "od")
	if _, err := os.Stat("../build/cipherlens.ext"); err != nil {
		missing = append(missing, "build/cipherlens.ext (make build)")
	}
	if len(missing) > 0 {
		t.Skip("not here: ", strings.Join(missing, ", "))
	}
	commands := 0
	for i, block := range strings.Split(string(page), "```console\n")[1:] {
		block, _, closed := strings.Cut(block, "```\n")
		require.True(t, closed, "block %d", i)
		for _, entry := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, want, _ := strings.Cut(entry, "\n")
			run := exec.CommandContext(t.Context(), "bash", "-c", command)
			run.Dir = ".."
			got, err := run.CombinedOutput()
			require.NoError(t, err, "%s\n%s", command, got)
			require.Equal(t, strings.TrimRight(want, "\n"), strings.TrimRight(string(got), "\n"), command)
			commands++
		}
	}
	require.GreaterOrEqual(t, commands, 15)
}

func missingTools(names ...string) (missing []string) {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}
