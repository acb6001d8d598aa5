package fleet

import (
	"strings"

	"github.com/cipherlens/cipherlens/tables"
)

// TableSchema is one table as Fleet's schema/tables/*.yml has it.
type TableSchema struct {
	Name        string         `yaml:"name"`
	Platforms   []string       `yaml:"platforms"`
	Description string         `yaml:"description"`
	Columns     []ColumnSchema `yaml:"columns"`
	Notes       string         `yaml:"notes"`
	Examples    string         `yaml:"examples,omitempty"`
	Evented     bool           `yaml:"evented"`
}

// ColumnSchema is one column of a TableSchema.
type ColumnSchema struct {
	Name        string `yaml:"name"`
	Type        string `yaml:"type"`
	Required    bool   `yaml:"required"`
	Description string `yaml:"description"`
}

// Schema describes a table to Fleet.
func Schema(d tables.Definition) TableSchema {
	spec := tables.Spec(d)
	s := TableSchema{
		Name:        spec.Name,
		Description: spec.Description,
		Notes:       strings.TrimSpace(spec.Notes + " This table is not a core osquery table. It comes with the Cipherlens extension."),
	}
	for _, p := range spec.Platforms {
		s.Platforms = append(s.Platforms, string(p))
	}
	for _, c := range spec.Columns {
		s.Columns = append(s.Columns, ColumnSchema{c.Name, strings.ToLower(string(c.Type)), c.Required, c.Description})
	}
	for _, e := range spec.Examples {
		s.Examples += "```\n" + e + "\n```\n"
	}
	return s
}
