package randomness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tableDraws = 1000 // samples a cell and kind, from random places

var tableKinds = []string{"uniform", "text", "zlib", "gzip", "zstd", "lz4", "jpeg", "macho", "protobuf", "base64"}

// A docTable is one table of the package comment: a row a kind, and the share of its samples called random in each column.
type docTable struct {
	head       string
	columns    []string
	lengths    []int // by column
	thresholds []float64
}

var docTables = []docTable{
	{"bytes", []string{"16", "32", "64", "128", "256", "512", "1024", "4096"}, []int{16, 32, 64, 128, 256, 512, 1024, 4096},
		[]float64{0.999, 0.999, 0.999, 0.999, 0.999, 0.999, 0.999, 0.999}},
	{"threshold", []string{"0.5", "0.9", "0.99", "0.999", "0.9999"}, []int{256, 256, 256, 256, 256}, []float64{0.5, 0.9, 0.99, 0.999, 0.9999}},
}

// TestTable measures the tables of the package comment, and compares them with what stands there; with -update it writes them.
func TestTable(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	for _, kind := range tableKinds[1:] {
		sample, err := os.ReadFile(filepath.Join("testdata", "samples", kind))
		require.NoError(t, err)
		files[kind] = sample
	}
	stated := statedTables(t)
	require.Len(t, stated, len(docTables))
	var written []string
	for i, table := range docTables {
		written = append(written, table.String(files))
		if !*update {
			equalTables(t, stated[i], written[i])
		}
	}
	if *update {
		writeTables(t, written)
	}
}

// equalTables leaves room for what differs between processors in the last digits of a p-value.
func equalTables(t *testing.T, stated, measured string) {
	a, b := strings.Fields(stated), strings.Fields(measured)
	require.Len(t, b, len(a))
	for i := range a {
		x, errX := strconv.ParseFloat(a[i], 64)
		y, errY := strconv.ParseFloat(b[i], 64)
		if errX != nil || errY != nil {
			require.Equal(t, a[i], b[i])
		} else {
			require.InDelta(t, x, y, 0.002, "go test -run TestTable -update")
		}
	}
}

// String measures a table and gives its lines.
func (d docTable) String(files map[string][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "//\t%-9s", d.head)
	for _, c := range d.columns {
		fmt.Fprintf(&b, "%7s", c)
	}
	for _, kind := range tableKinds {
		fmt.Fprintf(&b, "\n//\t%-9s", kind)
		for i := range d.columns {
			fmt.Fprintf(&b, "%7.4f", share(kind, files[kind], d.lengths[i], d.thresholds[i]))
		}
	}
	return b.String()
}

// share is the share of samples of n bytes that are called random: of windows of a file, at random places, or of uniform bytes.
func share(kind string, file []byte, n int, threshold float64) float64 {
	stream, sample, random, draws := uniform(kind, n), make([]byte, n), 0, tableDraws
	if file == nil {
		draws *= 4
	}
	for range draws {
		if file == nil {
			_, _ = stream.Read(sample)
		} else {
			at := int(stream.Uint64() % uint64(len(file)-n+1))
			sample = file[at : at+n]
		}
		if Judge(sample).Random(threshold) {
			random++
		}
	}
	return float64(random) / float64(draws)
}

// statedTables are the tables as they stand in the package comment.
func statedTables(t *testing.T) (tables []string) {
	raw, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	var table []string
	for _, line := range append(strings.Split(string(raw), "\n"), "") {
		if strings.HasPrefix(line, "//\t") {
			table = append(table, line)
		} else if len(table) > 0 {
			tables, table = append(tables, strings.Join(table, "\n")), nil
		}
	}
	return tables
}

func writeTables(t *testing.T, written []string) {
	raw, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	text := string(raw)
	for i, old := range statedTables(t) {
		text = strings.Replace(text, old, written[i], 1)
	}
	require.NoError(t, os.WriteFile("doc.go", []byte(text), 0o644))
}
