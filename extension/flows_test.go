package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

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
