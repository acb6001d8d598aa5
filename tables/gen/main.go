// Command gen writes the tables' section of README.md, between its markers, from their definitions. It runs in tables/.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/cipherlens/cipherlens/tables"
)

func main() {
	if err := generate("../README.md"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tables.MarkerBegin)
	_, after, ok2 := strings.Cut(rest, tables.MarkerEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", name, tables.MarkerBegin, tables.MarkerEnd)
	}
	out := before + tables.MarkerBegin + "\n" + tables.Markdown(tables.All()) + tables.MarkerEnd + after
	return os.WriteFile(name, []byte(out), 0o644)
}
