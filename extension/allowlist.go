package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
)

func newAllowlistCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "allowlist", Short: "Look after the rules of approved software", Args: cobra.NoArgs}
	var o checkOptions
	check := &cobra.Command{
		Use:   "check [FILE | DIR]...",
		Short: "Say what is wrong with rule files, with file and line",
		Long: `Say what is wrong with rule files: what cannot be read, and rules that have expired or never match, are errors; rules that are worth a second look are warnings.
A folder stands for its *.yaml files. Without arguments it checks the rules in force on this host: allowlist.d beside the settings file, and allowed_crypto_processes. Exit status 1
when there is an error (with --strict also for a warning).`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			return checkRules(o, paths, cmd.OutOrStdout())
		},
	}
	f := check.Flags()
	f.StringVar(&o.config, "config", config.Path(), "settings file; allowlist.d/*.yaml beside it")
	f.BoolVar(&o.strict, "strict", false, "exit status 1 for warnings, too")
	cmd.AddCommand(check)
	return cmd
}

type checkOptions struct {
	config string
	strict bool
}

// checkRules prints a line for each finding and one in the end.
func checkRules(o checkOptions, paths []string, out io.Writer) error {
	var set *allowlist.Set
	var problems []error
	if len(paths) == 0 {
		set, problems = allowlist.Load(config.NewStore(o.config), nil)
	} else {
		files, missing := ruleFiles(paths)
		rules, unread := allowlist.ReadFiles(files)
		var left []error
		set, left = allowlist.NewSet(rules)
		problems = append(append(missing, unread...), left...)
	}
	failed, warned := len(problems), 0
	for _, err := range problems {
		fmt.Fprintln(out, "error:", printable(strings.TrimPrefix(err.Error(), "allowlist: ")))
	}
	now := time.Now()
	for _, rule := range set.Rules() {
		weakness := rule.Weakness(now)
		switch {
		case weakness == "":
			continue
		case rule.Dead(now) != "":
			failed++
			fmt.Fprintln(out, "error:", printable(about(rule, weakness)))
		default:
			warned++
			fmt.Fprintln(out, "warning:", printable(about(rule, weakness)))
		}
	}
	fmt.Fprintf(out, "%d rules in force, %d errors, %d warnings\n", len(set.Rules()), failed, warned)
	if failed > 0 || o.strict && warned > 0 {
		return errReported
	}
	return nil
}

func about(rule *allowlist.Rule, what string) string {
	return fmt.Sprintf("%s: rule %q: %s", rule.Source, rule.Name, what)
}

// ruleFiles puts a folder's *.yaml files in its place.
func ruleFiles(paths []string) (files []string, missing []error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			missing = append(missing, fmt.Errorf("%s: %w", path, errors.Unwrap(err)))
		case info.IsDir():
			entries, err := os.ReadDir(path)
			if err != nil {
				missing = append(missing, err)
			}
			files = append(files, yamlFiles(path, entries)...)
		default:
			files = append(files, path)
		}
	}
	return files, missing
}

func yamlFiles(dir string, entries []fs.DirEntry) []string {
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".yaml") && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}
