package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/allowlist/baseline"
)

func TestReadingLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[#######.......................]  25%  1000 lines, 500 lines/s, 6s left", readingLine(250, 1000, 1000, 2*time.Second))
	require.Equal(t, "[##############################] 100%  9 lines, 9 lines/s, 0s left", readingLine(2000, 1000, 9, time.Second)) // a file that grew
	require.Equal(t, "10 lines, 10 lines/s", readingLine(500, 0, 10, time.Second))                                                  // stdin
}

// TestReadingShowsOnlyOnATerminal: a bar in a log file helps nobody.
func TestReadingShowsOnlyOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := showReading(&out, &baseline.Progress{}, 100)
	r.aside(func() { out.WriteString("an error\n") })
	r.stop()
	require.Equal(t, "an error\n", out.String())
}
