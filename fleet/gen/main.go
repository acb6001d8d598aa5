// Command gen writes the files of fleet.Files, and the ECS fields' section of docs/forwarding.md. It runs in fleet/.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherlens/cipherlens/fleet"
)

func main() {
	if err := generate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// generate writes every file, and removes those of packs and tables that are no more.
func generate() error {
	files, err := fleet.Files(os.DirFS("../packs"))
	if err != nil {
		return err
	}
	old, err := fleet.GeneratedFiles(os.DirFS("."))
	if err != nil {
		return err
	}
	for name := range old {
		if files[name] == nil {
			if err := os.Remove(filepath.FromSlash(name)); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		name = filepath.FromSlash(name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return document("../docs/forwarding.md")
}

// document writes the section between the markers.
func document(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), fleet.MarkerBegin)
	_, after, ok2 := strings.Cut(rest, fleet.MarkerEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", name, fleet.MarkerBegin, fleet.MarkerEnd)
	}
	return os.WriteFile(name, []byte(before+fleet.MarkerBegin+"\n"+fleet.ECSTable()+fleet.MarkerEnd+after), 0o644)
}
