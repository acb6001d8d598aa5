// Command gen writes what documents the tables, from their definitions: docs/tables/*.md and README.md's section between its markers. It runs in tables/.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherlens/cipherlens/tables"
)

func main() {
	if err := generate("../README.md", "../docs/tables"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(readme, pages string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tables.MarkerBegin)
	_, after, ok2 := strings.Cut(rest, tables.MarkerEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", readme, tables.MarkerBegin, tables.MarkerEnd)
	}
	out := before + tables.MarkerBegin + "\n" + tables.Overview(tables.All()) + tables.MarkerEnd + after
	if err := os.WriteFile(readme, []byte(out), 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(pages); err != nil {
		return err
	}
	if err := os.MkdirAll(pages, 0o755); err != nil {
		return err
	}
	for _, d := range tables.All() {
		if err := os.WriteFile(filepath.Join(pages, d.Name+".md"), []byte(tables.Page(d)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
