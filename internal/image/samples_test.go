package image

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// samplesTSV is what an independent reader saw in real programs, with the same list of symbols.
const samplesTSV = "../../../shared/macho/samples.tsv"

// TestRealImports compares with it the symmetric names of each slice that is in $CIPHERLENS_SAMPLES.
func TestRealImports(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CIPHERLENS_SAMPLES")
	if dir == "" {
		t.Skip("$CIPHERLENS_SAMPLES does not name a folder of samples")
	}
	table, err := os.Open(samplesTSV)
	if err != nil {
		t.Skip("no ../shared beside the project")
	}
	defer func() { _ = table.Close() }()
	a := analyzer(t, dir)
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	column := map[string]int{}
	compared := 0
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(column) == 0 {
			for i, name := range f {
				column[name] = i
			}
			continue
		}
		get := func(name string) string { return f[column[name]] }
		folder := strings.ReplaceAll(strings.TrimPrefix(get("package"), "@"), "/", "-") + "-" + get("version")
		name := "/" + filepath.Join(folder, get("path"))
		info, err := os.Stat(dir + name)
		if err != nil {
			continue
		}
		compared++
		facts, err := a.facts(t.Context(), name, info, false)
		require.NoError(t, err, name)
		i := slices.IndexFunc(facts.units, func(u *unit) bool { return u.arch == get("arch") })
		require.GreaterOrEqual(t, i, 0, name)
		all, strongly := []string{}, []string{}
		for _, at := range attribute(facts.units[i], func(int) []string { return nil }) {
			if at.entry.class != ClassSymmetric {
				continue
			}
			all = append(all, at.symbol)
			if at.strength == strong {
				strongly = append(strongly, at.symbol)
			}
		}
		require.Equal(t, names(get("symmetric_imports")), sortedSet(all), name)
		require.Equal(t, names(get("strong_symmetric")), sortedSet(strongly), name)
	}
	require.NoError(t, lines.Err())
	t.Logf("%d slices agree", compared)
}

func names(list string) []string {
	out := []string{}
	for n := range strings.SplitSeq(list, ";") {
		if n != "" {
			out = append(out, strings.TrimPrefix(n, "_"))
		}
	}
	return sortedSet(out)
}
