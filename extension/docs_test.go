package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// documents reads every Markdown file of the repository, by its path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := os.DirFS("..")
	found := map[string]string{}
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == ".git" || name == "build" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".md") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		found[name] = string(text)
		return err
	}))
	require.Contains(t, found, "README.md")
	return found
}

// TestLinks: what a document links to in the repository is there, and where it links to a heading, that is, too.
func TestLinks(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
				_, err := os.Stat(filepath.Join("..", file))
				require.NoError(t, err, "%s links to %s", name, m[1])
			}
			if heading != "" {
				require.Contains(t, headings(docs[file]), heading, "%s links to %s", name, m[1])
			}
		}
	}
}

// headings gives the names that GitHub gives to headings.
func headings(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return names
}

// TestCommands: every command line of ours in a document has a subcommand and flags that exist, and every target of make is one.
func TestCommands(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?:^|[\s/` + "`" + `])cipherlens\.ext( [a-z-][^` + "`" + `|>#]*)`)
	target := regexp.MustCompile("(?:`|^    )make ([a-z-]+)")
	commands, targets := 0, 0
	for name, text := range documents(t) {
		for at := range strings.Lines(text) {
			for _, m := range line.FindAllStringSubmatch(at, -1) {
				if !written(at, m[0]) {
					continue
				}
				commands++
				require.NoError(t, understood(strings.Fields(m[1])), "%s: %s", name, strings.TrimSpace(at))
			}
			for _, m := range target.FindAllStringSubmatch(at, -1) {
				targets++
				require.Regexp(t, `(?m)^`+m[1]+`:`, string(makefile), "%s: %s", name, strings.TrimSpace(at))
			}
		}
	}
	require.Greater(t, commands, 20)
	require.Greater(t, targets, 10)
}

// TestNamedTests: every test that a document has its reader run exists.
func TestNamedTests(t *testing.T) {
	t.Parallel()
	run := regexp.MustCompile(`go test \./(\S+) -run (\w+)`)
	named := 0
	for name, text := range documents(t) {
		for _, m := range run.FindAllStringSubmatch(text, -1) {
			named++
			files, err := filepath.Glob(filepath.Join("..", m[1], "*_test.go"))
			require.NoError(t, err)
			found := false
			for _, file := range files {
				code, err := os.ReadFile(file)
				require.NoError(t, err)
				found = found || strings.Contains(string(code), "\nfunc "+m[2])
			}
			require.True(t, found, "%s: %s", name, m[0])
		}
	}
	require.Positive(t, named)
}

// written says whether a line holds the command as something to type: as code.
func written(line, command string) bool {
	return strings.HasPrefix(line, "    ") || strings.Contains(line, "`"+strings.TrimLeft(command, "` "))
}

// understood finds the subcommand and its flags.
func understood(words []string) error {
	root := newRootCommand()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return cobra.NoArgs(root, rest)
	}
	for _, word := range rest {
		flag, _, _ := strings.Cut(strings.TrimLeft(word, "[("), "=")
		flag = strings.TrimRight(flag, ",.;:)]'\"")
		switch {
		case strings.HasPrefix(flag, "--") && len(flag) > 2 && cmd.Flags().Lookup(flag[2:]) == nil && flag != "--help" && flag != "--version":
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), flag)
		case len(flag) == 2 && flag[0] == '-' && flag != "-h" && cmd.Flags().ShorthandLookup(flag[1:]) == nil:
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), flag)
		}
	}
	return nil
}
