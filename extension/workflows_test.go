package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// workflow is what we need of a GitHub Actions workflow.
type workflow struct {
	Name string `yaml:"name"`
	Jobs map[string]struct {
		RunsOn string `yaml:"runs-on"`
		Steps  []struct {
			Name string `yaml:"name"`
			Uses string `yaml:"uses"`
			Run  string `yaml:"run"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// wanted is what continuous integration does in each of its jobs: on macOS what cannot be done elsewhere, on Linux what takes too long for .ci/run.
var wanted = map[string][]string{
	"macos": {"make test", "make demo", "./internal/capture ./internal/process ./internal/sensor ./extension", "doctor"},
	"linux": {".ci/run", "make demo", "make fuzz FUZZTIME=10s", "make vuln", "make dist-test", "make soak", "doctor", "./campaign"},
}

// TestWorkflows: each workflow is YAML with jobs whose steps do something.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var w workflow
		require.NoError(t, yaml.Unmarshal(data, &w), file)
		require.NotEmpty(t, w.Name, file)
		require.NotEmpty(t, w.Jobs, file)
		ran := map[string]string{}
		for name, job := range w.Jobs {
			require.NotEmpty(t, job.RunsOn, "%s: %s", file, name)
			require.NotEmpty(t, job.Steps, "%s: %s", file, name)
			for i, s := range job.Steps {
				require.True(t, (s.Uses == "") != (s.Run == ""), "%s: %s: step %d", file, name, i)
				ran[name] += s.Run + "\n"
			}
		}
		if filepath.Base(file) != "ci.yml" {
			continue
		}
		for name, commands := range wanted {
			for _, command := range commands {
				require.Contains(t, ran[name], command, name)
			}
		}
	}
}
