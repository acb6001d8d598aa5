package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/packs"
)

// packQuery names a statement of the packs that come with the program, and what is pasted into it.
type packQuery struct {
	name, asked string
}

func (p *packQuery) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.name, "pack-query", "", "run this query of a pack, PACK/QUERY, instead of a statement")
	cmd.Flags().StringVar(&p.asked, "asked", "", "the value that a query of an0402-response is asked about")
}

// statement is the one that the command line gives or names.
func (p *packQuery) statement(args []string) (string, error) {
	switch {
	case p.name == "" && p.asked != "":
		return "", errors.New("query: --asked goes with --pack-query")
	case p.name == "" && len(args) == 0:
		return "", errors.New("query: a SQL statement or --pack-query is needed")
	case p.name == "":
		return args[0], nil
	case len(args) > 0:
		return "", errors.New("query: both a SQL statement and --pack-query")
	}
	name, query, _ := strings.Cut(p.name, "/")
	data, err := packs.Files.ReadFile(name + ".conf")
	if err != nil {
		return "", fmt.Errorf("query: there is no pack %q", name)
	}
	pack, err := sqlhost.ParsePack(name, data)
	if err != nil {
		return "", err
	}
	for _, q := range pack.Queries {
		if q.Name != query {
			continue
		}
		if p.asked == "" {
			return q.Query, nil
		}
		sql, err := packs.Paste(q.Query, p.asked)
		if err != nil {
			return "", fmt.Errorf("query: %s: %w", p.name, err)
		}
		return sql, nil
	}
	return "", fmt.Errorf("query: pack %s has no query %q", name, query)
}
