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

const (
	tableDraws     = 1000 // samples a length and kind, from random places
	tableThreshold = 0.999
)

var (
	tableLengths = []int{16, 32, 64, 128, 256, 512, 1024, 4096}
	tableKinds   = []string{"text", "zlib", "gzip", "zstd", "lz4", "jpeg", "macho", "protobuf", "base64"}
)

// TestTable measures the table of the package comment, and compares it with what stands there; with -update it writes it.
func TestTable(t *testing.T) {
	t.Parallel()
	measured := [][]float64{uniformShares()}
	for _, kind := range tableKinds {
		sample, err := os.ReadFile(filepath.Join("testdata", "samples", kind))
		require.NoError(t, err)
		measured = append(measured, shares(kind, sample))
	}
	if *update {
		writeTable(t, measured)
		return
	}
	stated := statedTable(t)
	require.Len(t, stated, len(measured))
	for i := range measured {
		for k, share := range measured[i] {
			require.InDelta(t, stated[i][k], share, 0.001, "row %d, %d bytes", i, tableLengths[k])
		}
	}
}

func uniformShares() []float64 {
	var row []float64
	for _, n := range tableLengths {
		stream, sample, random := uniform("table", n), make([]byte, n), 0
		for range 4 * tableDraws {
			_, _ = stream.Read(sample)
			if Judge(sample).Random(tableThreshold) {
				random++
			}
		}
		row = append(row, float64(random)/(4*tableDraws))
	}
	return row
}

// shares is the share of windows of a file, at random places, that are called random.
func shares(kind string, file []byte) []float64 {
	var row []float64
	for _, n := range tableLengths {
		stream, random := uniform(kind, n), 0
		for range tableDraws {
			at := int(stream.Uint64() % uint64(len(file)-n+1))
			if Judge(file[at : at+n]).Random(tableThreshold) {
				random++
			}
		}
		row = append(row, float64(random)/tableDraws)
	}
	return row
}

func writeTable(t *testing.T, measured [][]float64) {
	var b strings.Builder
	b.WriteString("//\tbytes    ")
	for _, n := range tableLengths {
		fmt.Fprintf(&b, "%7d", n)
	}
	for i, row := range measured {
		fmt.Fprintf(&b, "\n//\t%-9s", append([]string{"uniform"}, tableKinds...)[i])
		for _, share := range row {
			fmt.Fprintf(&b, "%7.4f", share)
		}
	}
	raw, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	lines := strings.Split(string(raw), "\n")
	var kept []string
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "//\tbytes"):
			kept = append(kept, b.String())
		case !strings.HasPrefix(line, "//\t"):
			kept = append(kept, line)
		}
	}
	require.NoError(t, os.WriteFile("doc.go", []byte(strings.Join(kept, "\n")), 0o644))
}

func statedTable(t *testing.T) (rows [][]float64) {
	raw, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, line := range strings.Split(string(raw), "\n") {
		if !strings.HasPrefix(line, "//\t") || strings.HasPrefix(line, "//\tbytes") {
			continue
		}
		var row []float64
		for _, field := range strings.Fields(line)[2:] {
			share, err := strconv.ParseFloat(field, 64)
			require.NoError(t, err)
			row = append(row, share)
		}
		rows = append(rows, row)
	}
	return rows
}
