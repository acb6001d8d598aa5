package tables

import (
	"context"
	"slices"

	"github.com/osquery/osquery-go/plugin/table"
)

// maxFiles is how many files one query of file_crypto_linkage may look at.
const maxFiles = 10_000

// Globber lists the files that fit an osquery file pattern.
type Globber interface {
	Glob(ctx context.Context, pattern string, limit int) ([]string, error)
}

// FileCryptoLinkage is the table of what executables, named by path, reach.
func FileCryptoLinkage(images Images, files Globber) Definition {
	return Definition{
		Name:        "file_crypto_linkage",
		Description: "One crypto provider and class that one executable, and what it bundles, reaches; an executable without crypto is one row with an empty provider.",
		Notes:       "Linkage is capability, not use. dlsym with constructed names, inline code, interpreters and packed segments are not seen. With LIKE, % stands for anything within one path component and a last %% for everything below; files that are no executables are passed over.",
		Examples:    []string{"SELECT path, provider, symbols, signature FROM file_crypto_linkage WHERE path = '/usr/local/bin/tool' AND class = 'symmetric'", "SELECT * FROM file_crypto_linkage WHERE path LIKE '/Applications/%.app/Contents/MacOS/%'"},
		Columns:     append([]table.ColumnDefinition{required(table.TextColumn("path"), "Executable (=, IN, or LIKE with osquery's file patterns; at most 10,000 files)")}, linkageColumns()...),
		Rows: func(ctx context.Context, q Query) ([]Row, error) {
			named, _ := q.Equals("path")
			matched, problems := globAll(ctx, files, q.Likes("path"))
			var targets []target
			for _, path := range append(slices.Clone(named), matched...) {
				if path != "" && len(targets) < maxFiles {
					targets = append(targets, target{path: path})
				}
			}
			found := analyse(ctx, images, targets)
			for _, t := range targets {
				a, fresh := found[t.key()]
				delete(found, t.key())
				if asked := slices.Contains(named, t.path); fresh && (asked || executable(a)) {
					problems = append(problems, reportRows(a.report, func() Row { return Row{"path": t.path} }, a.err)...)
				}
			}
			return problems, ctx.Err()
		},
	}
}

// executable says whether an analysed file is of a kind that can hold crypto, or could not be read.
func executable(a analysis) bool {
	return a.err != nil || a.report.Format == "mach-o" || a.report.Format == "elf"
}

// globAll lists the files of all patterns; a pattern that matches too much is a row with the pattern as path.
func globAll(ctx context.Context, files Globber, patterns []string) (paths []string, problems []Row) {
	for _, pattern := range patterns {
		matches, err := files.Glob(ctx, pattern, maxFiles-len(paths))
		paths = append(paths, matches...)
		if err != nil {
			r := Row{"path": pattern}
			r.Errors(err)
			problems = append(problems, r)
		}
	}
	return paths, problems
}
