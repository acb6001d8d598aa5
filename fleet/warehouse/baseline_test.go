package warehouse

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// counts are hosts and days of one identity's traffic to one destination.
type counts struct {
	hosts, days int
	first, last string
}

// baseline asks "cipherlens.ext baseline learn --json".
func baseline(t *testing.T, logs string) map[string]counts {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./extension", "baseline", "learn", "--json", "--from", logs)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	got := map[string]counts{}
	for line := range bytes.Lines(out) {
		var l struct {
			Kind     string `json:"kind"`
			Identity string `json:"identity"`
			Address  string `json:"remote_address"`
			Port     int    `json:"remote_port"`
			Protocol int    `json:"protocol"`
			Hosts    int    `json:"hosts"`
			Days     int    `json:"days"`
			First    string `json:"first_day"`
			Last     string `json:"last_day"`
			Exact    *bool  `json:"exact"`
		}
		require.NoError(t, json.Unmarshal(line, &l))
		require.True(t, l.Exact == nil || *l.Exact, "%s", line)
		if l.Kind == "destination" {
			got[fmt.Sprintf("%s to %s port %d/%d", l.Identity, l.Address, l.Port, l.Protocol)] = counts{l.Hosts, l.Days, l.First, l.Last}
		}
	}
	return got
}

// prevalence asks the warehouse the same.
func (s *server) prevalence() map[string]counts {
	got := map[string]counts{}
	for _, r := range s.ask("queries/prevalence.sql").Data {
		hosts, err := strconv.Atoi(r["hosts"].(string))
		require.NoError(s.t, err)
		days, err := strconv.Atoi(r["days"].(string))
		require.NoError(s.t, err)
		got[fmt.Sprintf("%v to %v port %v/%v", r["identity"], r["remote_address"], r["remote_port"], r["protocol"])] =
			counts{hosts, days, r["first_day"].(string), r["last_day"].(string)}
	}
	return got
}

// compareWithBaseline wants the same figures from the warehouse and from baseline on the same log.
func compareWithBaseline(t *testing.T, s *server, logs string) {
	t.Helper()
	want := baseline(t, logs)
	require.NotEmpty(t, want)
	require.Equal(t, want, s.prevalence())
	t.Logf("baseline learn gives the same hosts, days, first and last day for all %d identities and destinations", len(want))
}

// TestSameFiguresAsBaseline does so with the logs that baseline itself is tested with, in all their shapes.
func TestSameFiguresAsBaseline(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.run("schema.sql")
	dir := filepath.Join(t.TempDir(), "made")
	cmd := exec.CommandContext(t.Context(), "go", "run", "./logs", "-hosts", "150", "-days", "30", "-out", dir)
	cmd.Dir = "../../testdata"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	files, err := filepath.Glob(filepath.Join(dir, "logs", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		var batch bytes.Buffer
		for _, line := range results(t, file) {
			batch.Write(append(escape(line), '\n'))
		}
		s.load("cipherlens.lines", &batch)
	}
	compareWithBaseline(t, s, filepath.Join(dir, "logs"))
}

// results are the result lines of one log file, those of a TLS request each for itself.
func results(t *testing.T, file string) [][]byte {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	r := io.Reader(f)
	if strings.HasSuffix(file, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	var lines [][]byte
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var request struct {
			Data []json.RawMessage `json:"data"`
		}
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &request))
		if request.Data == nil {
			lines = append(lines, bytes.Clone(scanner.Bytes()))
		}
		for _, element := range request.Data {
			lines = append(lines, element)
		}
	}
	require.NoError(t, scanner.Err())
	return lines
}
