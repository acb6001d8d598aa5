package main

import (
	"os"
	"path/filepath"
	"strings"
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

// TestWorkflows: each workflow is YAML with jobs whose steps do something, and continuous integration does on macOS what cannot be done elsewhere.
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
		var ran strings.Builder
		for name, job := range w.Jobs {
			require.NotEmpty(t, job.RunsOn, "%s: %s", file, name)
			require.NotEmpty(t, job.Steps, "%s: %s", file, name)
			for i, s := range job.Steps {
				require.True(t, (s.Uses == "") != (s.Run == ""), "%s: %s: step %d", file, name, i)
				if name == "macos" {
					ran.WriteString(s.Run + "\n")
				}
			}
		}
		if filepath.Base(file) == "ci.yml" {
			for _, want := range []string{"make test", "make demo", "./internal/capture ./internal/process ./internal/sensor ./extension", "doctor"} {
				require.Contains(t, ran.String(), want)
			}
		}
	}
}
