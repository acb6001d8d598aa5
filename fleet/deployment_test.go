package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"howett.net/plist"
)

// fenced gives the code blocks of one kind in a document.
func fenced(t *testing.T, document, kind string) []string {
	text, err := os.ReadFile("../docs/" + document)
	require.NoError(t, err)
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestMain(m *testing.M) {
	status := m.Run()
	if dir := filepath.Dir(built); built != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

// built is the extension, once build has made it.
var built string

var build = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "cl")
	if err != nil {
		return err
	}
	built = filepath.Join(dir, "cipherlens.ext")
	out, err := exec.Command("go", "build", "-o", built, "../extension").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
})

// run runs the extension in the project's folder.
func run(t *testing.T, args ...string) string {
	require.NoError(t, build())
	cmd := exec.CommandContext(t.Context(), built, args...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s", args, out)
	return string(out)
}

// TestForwardedLinesAreReal: every line in docs/forwarding.md is what a run of the pack logs today, but for host and time.
func TestForwardedLinesAreReal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, "run", "--pack", "packs/an0402.conf", "--root", "testdata/demo/root", "--capture", "testdata/demo/capture.pcapng", "--config", "testdata/demo/config.yaml", "--log-dir", dir, "--once")
	real := map[string]bool{}
	for _, name := range []string{"osqueryd.results.log", "osqueryd.snapshots.log"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			real[timeless(t, []byte(line))] = true
		}
	}
	lines := 0
	for _, block := range fenced(t, "forwarding.md", "json") {
		var request struct {
			LogType string            `json:"log_type"`
			Data    []json.RawMessage `json:"data"`
		}
		require.NoError(t, json.Unmarshal([]byte(block), &request))
		if request.LogType == "" {
			request.Data = []json.RawMessage{json.RawMessage(block)}
		}
		for _, line := range request.Data {
			lines++
			require.True(t, real[timeless(t, line)], "not what is logged today: %s", line)
		}
	}
	require.Equal(t, 5, lines, "filesystem (two), TLS, Kafka, AWS")

	if jq, err := exec.LookPath("jq"); err == nil {
		script := fenced(t, "egress-rules.md", "sh")[0]
		require.Contains(t, script, "jq")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(script, "jq", jq, 1))
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, "198.51.100.23\n203.0.113.7\n", string(out))
	}
}

// timeless is a line without what differs from run to run.
func timeless(t *testing.T, line []byte) string {
	var v map[string]any
	require.NoError(t, json.Unmarshal(line, &v))
	for _, key := range []string{"hostIdentifier", "calendarTime", "unixTime"} {
		require.Contains(t, v, key)
		delete(v, key)
	}
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// TestRunbooksCommands runs the runbook's offline commands.
func TestRunbooksCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/runbook.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^    cipherlens\.ext (query .*)$`).FindAllStringSubmatch(string(text), -1)
	require.Len(t, commands, 2)
	for _, c := range commands {
		require.Contains(t, run(t, strings.Fields(c[1])...), "com.apple.metadata.mdsync", c[1])
	}
}

func TestNftablesRules(t *testing.T) {
	t.Parallel()
	nft, err := exec.LookPath("nft")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("no nft, or not root")
	}
	rules := fenced(t, "egress-rules.md", "nft")
	require.Len(t, rules, 1)
	cmd := exec.CommandContext(t.Context(), nft, "--check", "--file", "-")
	cmd.Stdin = strings.NewReader(rules[0])
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "Operation not supported") || strings.Contains(string(out), "Protocol not supported") {
		t.Skip("this kernel has no nftables")
	}
	require.NoError(t, err, "%s", out)
}

// TestConfigurationsInGuides: what the guides tell to configure is JSON, and its packs and settings are there.
func TestConfigurationsInGuides(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"deploy-osqueryd.md", "deploy-elastic.md"} {
		blocks := fenced(t, document, "json")
		require.NotEmpty(t, blocks, document)
		for _, block := range blocks {
			var v map[string]any
			require.NoError(t, json.Unmarshal([]byte(block), &v), "%s: %s", document, block)
			packs, _ := v["packs"].(map[string]any)
			for name, path := range packs {
				require.Equal(t, name+".conf", filepath.Base(path.(string)))
				require.FileExists(t, "../packs/"+name+".conf")
			}
		}
	}
}

// TestKolidesServices: both run "attach" with arguments that it takes.
func TestKolidesServices(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("kolide/com.cipherlens.attach.plist")
	require.NoError(t, err)
	var job struct {
		Label                string
		ProgramArguments     []string
		RunAtLoad, KeepAlive bool
	}
	_, err = plist.Unmarshal(data, &job)
	require.NoError(t, err)
	require.Equal(t, "com.cipherlens.attach", job.Label)
	require.True(t, job.RunAtLoad && job.KeepAlive)
	unit, err := os.ReadFile("kolide/cipherlens-attach.service")
	require.NoError(t, err)
	exec := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(string(unit))
	require.NotNil(t, exec)
	help := run(t, "attach", "--help")
	for _, arguments := range [][]string{job.ProgramArguments, strings.Fields(exec[1])} {
		require.Equal(t, "cipherlens.ext", filepath.Base(arguments[0]))
		require.Equal(t, []string{"attach", "--socket"}, arguments[1:3])
		require.Contains(t, help, arguments[2])
		require.True(t, slices.Contains(arguments, "/var/kolide-k2/k2device.kolide.com/osquery*.sock"))
	}
}
