// Command gen writes packs/<pack>.conf from packs/<pack>/*.sql. It runs in packs/.
package main

import (
	"fmt"
	"os"

	"github.com/cipherlens/cipherlens/packs"
)

func main() {
	if err := generate("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "gen" {
			continue
		}
		conf, err := packs.Build(os.DirFS(dir), e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(e.Name()+".conf", conf, 0o644); err != nil {
			return err
		}
	}
	return nil
}
