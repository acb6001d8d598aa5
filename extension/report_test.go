package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLogOfGarbage: of a file that is no log, some lines are named and the others counted.
func TestLogOfGarbage(t *testing.T) {
	t.Parallel()
	const finding = `{"hostIdentifier":"h","action":"added","columns":{"severity":"high","path":"/opt/x"}}` + "\n"
	name := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("{no JSON\n", 100_000)+finding), 0o600))
	found, err := readFindings(name)
	require.Len(t, found, 1)
	require.Equal(t, "h", found[0]["host"])
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
	found, err := readFindings(name)
	require.NoError(t, err)
	require.Empty(t, found)
}
