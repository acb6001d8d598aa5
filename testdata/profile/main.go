// Command profile makes a CPU profile fit to be kept beside a program, for the compiler to optimize by (https://go.dev/doc/pgo): it leaves out what
// tells of the machine, and everything but functions, lines and weights, which is all that the compiler reads.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/google/pprof/profile"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: profile FROM TO")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	p, err := profile.ParseData(data)
	if err != nil {
		return err
	}
	if err := p.Aggregate(true, true, false, true, false, false); err != nil {
		return err
	}
	for _, l := range p.Location {
		l.Mapping = nil
	}
	p.Mapping, p.Comments, p.TimeNanos, p.DurationNanos = nil, nil, 0, 0
	var kept bytes.Buffer
	if err := p.Compact().Write(&kept); err != nil {
		return err
	}
	return os.WriteFile(to, kept.Bytes(), 0o644)
}
