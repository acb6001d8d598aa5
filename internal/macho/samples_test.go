package macho

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// samplesTable is what an independent reader saw in real programs; it lies beside the repository.
const samplesTable = "../../../shared/macho/samples.tsv"

// samplesFolder is where testdata/samples/fetch.sh has put the programs.
func samplesFolder() string {
	if dir := os.Getenv("CIPHERLENS_SAMPLES"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "cipherlens-samples")
}

// samples gives the table's rows by file, as far as the files are there.
func samples(t testing.TB) map[string][]map[string]string {
	t.Helper()
	f, err := os.Open(samplesTable)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no table of samples at " + samplesTable)
	}
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	lines, err := r.ReadAll()
	require.NoError(t, err)
	rows := map[string][]map[string]string{}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		path := filepath.Join(samplesFolder(), row["package"]+"@"+row["version"], row["path"])
		if _, err := os.Stat(path); err == nil {
			rows[path] = append(rows[path], row)
		}
	}
	if len(rows) == 0 {
		t.Skip("no samples in " + samplesFolder() + ": make samples fetches them")
	}
	return rows
}

// sliceCounts is how many undefined symbols a slice has, and how many symbols its fixups bind.
type sliceCounts struct{ undefined, binds int }

func readCounting(b []byte) (*File, []sliceCounts, error) {
	var counts []sliceCounts
	f, err := readFile(newSource(bytes.NewReader(b), int64(len(b))), func(r *reader) {
		r.all()
		bound, c := map[string]bool{}, sliceCounts{}
		for _, ref := range r.references {
			if ref.from == fromSymtab {
				c.undefined++
			} else {
				bound[ref.name] = true
			}
		}
		c.binds = len(bound)
		counts = append(counts, c)
	})
	return f, counts, err
}

func TestSamples(t *testing.T) {
	t.Parallel()
	rows := samples(t)
	compared := 0
	for path, want := range rows {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		f, counts, err := readCounting(b)
		require.NoError(t, err, path)
		require.Empty(t, f.Errs, path)
		require.Len(t, f.Slices, len(want), path)
		for i, s := range f.Slices {
			require.Empty(t, s.Errs, path)
			compareSample(t, want[i], s, counts[i], f.Universal)
			compared++
		}
	}
	t.Logf("%d files, %d slices", len(rows), compared)
}

// kindMarks are how the table marks the kinds of libraries.
var kindMarks = map[LibraryKind]string{Weak: "[weak]", Reexport: "[reexport]", Lazy: "[lazy]", Upward: "[upward]"}

func compareSample(t *testing.T, row map[string]string, s *Slice, c sliceCounts, universal bool) {
	var libraries []string
	for _, l := range s.Libraries {
		libraries = append(libraries, l.Name+kindMarks[l.Kind])
	}
	got := map[string]string{
		"arch":        s.Arch,
		"filetype":    s.Type,
		"slice_bytes": strconv.FormatInt(s.Size, 10),
		"file_kind":   map[bool]string{false: "thin", true: "fat32"}[universal],
		"dylibs":      strings.Join(libraries, ";"),
		"rpaths":      strings.Join(s.RPaths, ";"),
		"n_undef":     strconv.Itoa(c.undefined),
		"n_binds":     strconv.Itoa(c.binds),
		"minos":       s.MinOS,
		"sdk":         s.SDK,
		"hardened":    "no",
	}
	if s.Signature != nil {
		d := s.Signature.BestDirectory()
		require.NotNil(t, d)
		got["team_id"], got["identifier"], got["cdhash"], got["cd_flags"] = d.TeamID, d.Identifier, d.CDHash(), flagNames(d.Flags)
		keys, err := s.Signature.EntitlementKeys()
		got["entitlement_keys"] = strings.Join(keys, ";")
		if row["entitlement_keys"] == "_error" { // what is there is no XML, for the other reader either
			require.Error(t, err)
			delete(got, "entitlement_keys")
		} else {
			require.NoError(t, err)
		}
		got["hardened"] = map[bool]string{false: "no", true: "yes"}[d.Flags&0x10000 != 0]
	}
	where := fmt.Sprintf("%s %s %s", row["package"], row["path"], s.Arch)
	if row["sdk"] == "0.0" {
		row["sdk"] = "" // none
	}
	for column, value := range got {
		require.Equal(t, row[column], value, "%s: %s", where, column)
	}
	names := map[string]bool{}
	for _, i := range s.Imports {
		names[i.Name] = true
	}
	for _, symbol := range strings.FieldsFunc(row["strong_symmetric"], func(r rune) bool { return r == ';' }) {
		require.True(t, names[symbol] || names["_"+symbol], "%s: %s", where, symbol)
	}
}

// flagNames writes a CodeDirectory's flags as the table does.
func flagNames(flags uint32) string {
	var names []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{0x2, "adhoc"}, {0x10000, "runtime"}, {0x20000, "linker-signed"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, "|")
}
