package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// TestHostileProcessName: a capture says what a process is called, and anybody can write a capture.
func TestHostileProcessName(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	p := newFlowPrinter(flowsOptions{}, config.Config{}, w)
	require.NoError(t, p.flow(&sensor.Flow{Owner: sensor.Owner{Name: "ssh\x1b[2J\nrandom"}}))
	require.NoError(t, p.end())
	require.NoError(t, w.Flush())
	require.Contains(t, out.String(), "ssh?[2J?random\n")
	require.Equal(t, 2, bytes.Count(out.Bytes(), []byte("\n")), "a header and a line")
}

// TestAppendQuoted compares with encoding/json.
func TestAppendQuoted(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a b~", "<&>", `"`, `\`, "\x00\x1f\n", "\x7f", "é", "\u2028", "\xff", "/Applications/Größe.app"} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(s))
		require.Equal(t, "x"+want.String(), string(appendQuoted([]byte("x"), s))+"\n")
	}
}
