package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/tables"
)

func newSpecCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "spec [--json] [TABLE]...",
		Short: "Print the tables' columns, types and options",
		Long: `Print every table, or those named, with columns, types and what osquery is told about them. With --json it is an array of table specifications in
the form of osquery's spec files.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, err := specsOf(args)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(specs)
			}
			return printSpecs(cmd.OutOrStdout(), specs)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// specsOf gives the specifications of the tables named, or of all.
func specsOf(names []string) ([]table.OsqueryTableSpec, error) {
	byName := map[string]table.OsqueryTableSpec{}
	var all []table.OsqueryTableSpec
	for _, d := range tables.All() {
		spec := tables.Spec(d)
		byName[spec.Name] = spec
		all = append(all, spec)
	}
	if len(names) == 0 {
		return all, nil
	}
	var some []table.OsqueryTableSpec
	for _, name := range names {
		spec, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("spec: no table %q", name)
		}
		some = append(some, spec)
	}
	return some, nil
}

func printSpecs(w io.Writer, specs []table.OsqueryTableSpec) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for i, spec := range specs {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "%s\n", spec.Name)
		for _, c := range spec.Columns {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", c.Name, c.Type, options(c))
		}
	}
	return t.Flush()
}

func options(c table.ColumnDefinition) string {
	var words []string
	for _, o := range []struct {
		name string
		set  bool
	}{{"index", c.Index}, {"required", c.Required}, {"additional", c.Additional}, {"optimized", c.Optimized}, {"hidden", c.Hidden}} {
		if o.set {
			words = append(words, o.name)
		}
	}
	return strings.Join(words, " ")
}
