package tls

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// fixtures are the conversations in testdata: real stacks recorded by testdata/record.py. A file's name is the case; a line is
// C or S and the bytes of one read, in hexadecimal.
func fixtures(t testing.TB) []genuine {
	t.Helper()
	files, err := filepath.Glob("testdata/genuine/*.txt")
	require.NoError(t, err)
	out := make([]genuine, 0, len(files))
	for _, f := range files {
		out = append(out, genuine{name: strings.TrimSuffix(filepath.Base(f), ".txt"), c: load(t, f)})
	}
	return out
}

func load(t testing.TB, path string) *conformance.Conversation {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rec := &tape{c: conformance.Conversation{Transport: tcp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true}}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		side, text, ok := strings.Cut(sc.Text(), " ")
		require.True(t, ok, path)
		b, err := hex.DecodeString(text)
		require.NoError(t, err, path)
		rec.write(side == "C", b)
	}
	require.NoError(t, sc.Err())
	return &rec.c
}
