//go:build manual

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The manual is written by a build of its own, so that the shipped program does not carry the writer:
// go run -tags manual ./extension manual DIR.
func init() { commands = append(commands, newManualCommand) }

// newManualCommand writes the manual pages and shell completions of the installed command into a folder, dated by $SOURCE_DATE_EPOCH.
func newManualCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "manual DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return writeManual(args[0]) },
	}
}

func writeManual(dir string) error {
	man, completion := filepath.Join(dir, "man"), filepath.Join(dir, "completion")
	for _, d := range []string{man, completion} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	root := newRootCommand()
	root.Use, root.DisableAutoGenTag = "cipherlens", true
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		epoch = time.Now().Unix()
	}
	day := time.Unix(epoch, 0).UTC()
	header := &doc.GenManHeader{Section: "1", Source: "Cipherlens " + version, Manual: "Cipherlens", Date: &day}
	if err := doc.GenManTree(root, header, man); err != nil {
		return err
	}
	if err := root.GenBashCompletionFileV2(filepath.Join(completion, "cipherlens.bash"), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(filepath.Join(completion, "_cipherlens")); err != nil {
		return err
	}
	return root.GenFishCompletionFile(filepath.Join(completion, "cipherlens.fish"), true)
}
