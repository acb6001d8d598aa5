package judge

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// TestCorpus judges all labelled captures beside the project and has their own program score the verdicts.
func TestCorpus(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "..", "shared", "corpus")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.*cap*"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no labelled captures beside the project")
	}
	if testing.Short() {
		t.Skip("reads 49 MB of captures")
	}
	path := filepath.Join(t.TempDir(), "flows.jsonl")
	if keep := os.Getenv("FLOWS_JSONL"); keep != "" {
		path = keep
	}
	out, err := os.Create(path)
	require.NoError(t, err)
	defer out.Close()
	encoder := json.NewEncoder(out)
	for _, file := range files {
		judgeFile(t, file, encoder)
	}
	score, err := exec.Command("python3", filepath.Join(dir, "score.py"), "--worst", "100", "--disputed", filepath.Join("..", "..", "..", "docs", "disputed.tsv"),
		"--min-tpr", "0.99", "--max-fpr", "0.0005", "--min-named", "0.99", "--min-by-file", "0.98", path).CombinedOutput()
	if err != nil && !strings.Contains(string(score), "TPR") {
		t.Skip("score.py does not run:", err)
	}
	require.NoError(t, err, "%s", score)
}

// judgeFile writes a line for each flow of a capture, as score.py reads them.
func judgeFile(t *testing.T, file string, to *json.Encoder) {
	source, err := capture.OpenFile(file)
	if err != nil {
		return
	}
	defer source.Close()
	table := flow.New(flow.Config{
		Judge: func(_ *flow.Flow, c *conformance.Conversation) conformance.Judgement {
			return Judge(c, conformance.Options{Threshold: conformance.DefaultThreshold})
		},
		Removed: func(f *flow.Flow) {
			j := &f.Judgement
			require.NoError(t, to.Encode(map[string]any{
				"file": file, "protocol": f.Transport, "verdict": j.Verdict, "app_protocol": j.AppProtocol,
				"local_address": f.Client().Addr(), "local_port": f.Client().Port(),
				"remote_address": f.Server().Addr(), "remote_port": f.Server().Port(),
				"reasons": j.Reasons, "header_bytes": j.HeaderBytes, "confidence": j.Confidence,
				"n": j.Sample.N, "likelihood": j.Sample.Likelihood, "bytes": f.Bytes, "start": f.StartSeen,
			}))
		},
	})
	var p capture.Packet
	for source.Next(&p) == nil {
		table.Add(&p)
	}
	table.Close()
}
