package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/report"
)

// TestLogOfGarbage: of a file that is no log, some lines are named and the others counted.
func TestLogOfGarbage(t *testing.T) {
	t.Parallel()
	const finding = `{"hostIdentifier":"h","action":"added","columns":{"severity":"high","path":"/opt/x"}}` + "\n"
	name := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("{no JSON\n", 100_000)+finding), 0o600))
	var d report.Data
	err := readFindings(name, &d)
	require.Len(t, d.Findings, 1)
	require.Equal(t, "h", d.Findings[0]["host"])
	require.ErrorContains(t, err, name+":1: invalid character")
	require.ErrorContains(t, err, fmt.Sprintf("%d more bad lines", 100_000-maxLogErrors))
	require.Equal(t, maxLogErrors+1, strings.Count(err.Error(), "\n")+1)
}

// TestLogOfNothing: shapes that hold no finding are none.
func TestLogOfNothing(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	text := `{"action":"added"}
{"action":"removed","columns":{"severity":"high"}}
{"snapshot":[null,{"severity":""}]}

null
`
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	var d report.Data
	require.NoError(t, readFindings(name, &d))
	require.Empty(t, d.Findings)
	require.Zero(t, d.More)
}

// TestLongLog: of more findings than a page shows, the rest is counted and takes no memory, over all logs together.
func TestLongLog(t *testing.T) {
	t.Parallel()
	const finding = `{"hostIdentifier":"h","action":"added","columns":{"severity":"high","path":"/opt/x"}}` + "\n"
	name := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat(finding, report.MaxFindings-100)), 0o600))
	var d report.Data
	for range 2 {
		require.NoError(t, readFindings(name, &d))
	}
	require.Len(t, d.Findings, report.MaxFindings)
	require.Equal(t, report.MaxFindings-200, d.More)
	var page bytes.Buffer
	require.NoError(t, report.Write(&page, d))
	require.Contains(t, page.String(), fmt.Sprintf(">%d findings<", 2*report.MaxFindings-200))
	require.Contains(t, page.String(), fmt.Sprintf("%d more findings are not shown", d.More))
}
