package tables

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPages: docs/tables holds one page a table, as generated, and no other.
func TestPages(t *testing.T) {
	t.Parallel()
	var want []string
	for _, d := range All() {
		name := "../docs/tables/" + d.Name + ".md"
		want = append(want, name)
		page, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, Page(d), string(page), "run: go generate ./tables")
	}
	pages, err := filepath.Glob("../docs/tables/*")
	require.NoError(t, err)
	require.ElementsMatch(t, want, pages)
}

// TestPublicInterface: tables and columns are what others build on. Within one major version none disappears, changes its type or becomes required;
// testdata/interface.tsv holds those of the last release (before 1.0: of any version so far). A new column is added to it by hand.
func TestPublicInterface(t *testing.T) {
	t.Parallel()
	now := map[string]string{}
	for _, d := range All() {
		for _, c := range d.Columns {
			kind := string(c.Type)
			if c.Required {
				kind += " required"
			}
			now[d.Name+"\t"+c.Name] = kind
		}
	}
	f, err := os.Open("testdata/interface.tsv")
	require.NoError(t, err)
	defer f.Close()
	released := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, '\t')
		name, kind := line[:i], line[i+1:]
		released[name] = true
		require.Equal(t, kind, now[name], "%s: a column of the public interface disappeared or changed: this needs a new major version (CONTRIBUTING.md)", strings.ReplaceAll(name, "\t", "."))
	}
	for name := range now {
		require.True(t, released[name], "%s is new: add it to testdata/interface.tsv and to CHANGELOG.md", strings.ReplaceAll(name, "\t", "."))
	}
}
