// Command gen writes packs/<pack>.conf from packs/<pack>/*.sql, and the queries' section of docs/packs.md. It runs in packs/.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/cipherlens/cipherlens/packs"
)

func main() {
	if err := generate("../docs/packs.md"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(docs string) error {
	dir := os.DirFS(".")
	names, err := packs.Names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		conf, err := packs.Build(dir, name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+".conf", conf, 0o644); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(docs)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), packs.MarkerBegin)
	_, after, ok2 := strings.Cut(rest, packs.MarkerEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", docs, packs.MarkerBegin, packs.MarkerEnd)
	}
	section, err := packs.Markdown(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(docs, []byte(before+packs.MarkerBegin+"\n"+section+packs.MarkerEnd+after), 0o644)
}
