package sqlhost

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// RapidJSON's Writer escapes what RFC 8259 demands and nothing else (rapidjson/writer.h, WriteString).
func TestJSONString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ s, want string }{
		{"/usr/bin/é", `"/usr/bin/é"`},
		{"\"\\\b\f\n\r\t", `"\"\\\b\f\n\r\t"`},
		{"\x00\x1b\x1f\x7f", "\"\\u0000\\u001B\\u001F\x7f\""},
		{"<&>\u2028", "\"<&>\u2028\""},
		{"\xff", "\"\xff\""},
	} {
		require.Equal(t, tt.want, string(appendJSONString(nil, tt.s)))
	}
}

func FuzzJSONString(f *testing.F) {
	f.Add("a/\"\\\x00\x1fé")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendJSONString(nil, s)
		if !utf8.ValidString(s) {
			return
		}
		var back string
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, s, back)
	})
}

// The cases are those of osquery/sql/sql.cpp, escapeNonPrintableBytes, as of pull request 8777: valid UTF-8 passes.
func TestEscapeText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ s, want string }{
		{"plain /\\\"", "plain /\\\""},
		{"tab\tend\x00", `tab\x09end\x00`},
		{"é \U0001F6B2 \u007f", "é \U0001F6B2 \u007f"},
		{"a\x80b\xc3", `a\x80b\xC3`},
		{"\xc0\xaf", `\xC0\xAF`},         // overlong
		{"\xed\xa0\x80", `\xED\xA0\x80`}, // surrogate
		{"\ufffd", "\ufffd"},
	} {
		require.Equal(t, tt.want, escapeText(tt.s))
	}
}

func TestFilesystemLoggerAppends(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made")
	item := &LogItem{Name: "pack_p_q", HostIdentifier: "h", Time: time.Unix(0, 0), Added: []Row{{"b": {Text: "x/\"y"}, "a": {Text: "1"}}}}
	const line = `{"name":"pack_p_q","hostIdentifier":"h","calendarTime":"Thu Jan  1 00:00:00 1970 UTC","unixTime":0,"epoch":0,"counter":0,` +
		`"numerics":false,"columns":{"a":"1","b":"x/\"y"},"action":"added"}` + "\n"
	for range 2 {
		log, err := NewFilesystemLogger(dir)
		require.NoError(t, err)
		require.NoError(t, log.Results(item))
		require.NoError(t, log.Close())
	}
	require.Equal(t, line+line, string(read(t, filepath.Join(dir, "osqueryd.results.log"))))
	_, err := os.Stat(filepath.Join(dir, "osqueryd.snapshots.log"))
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = NewFilesystemLogger(filepath.Join(dir, "file"))
	require.ErrorContains(t, err, "log directory")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "osqueryd.INFO"), 0o700))
	log, err := NewFilesystemLogger(dir)
	require.NoError(t, err)
	require.ErrorContains(t, log.Status(Status{Severity: Info}), "osqueryd.INFO")
}
