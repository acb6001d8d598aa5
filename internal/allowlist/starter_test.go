package allowlist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStarterSet: every rule that is shipped names a proven identity, where that is published, why, and no more than the software needs.
func TestStarterSet(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../allowlist.d/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []*Rule
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		rules, errs := Parse(file, data)
		require.Empty(t, errs)
		require.Equal(t, strings.Count(string(data), "\n  - name:"), len(rules), file)
		all = append(all, rules...)
	}
	s, errs := NewSet(all)
	require.Empty(t, errs)
	require.GreaterOrEqual(t, len(s.Rules()), 20)
	for _, r := range s.Rules() {
		require.Empty(t, r.Weakness(now), r.Name)
		require.True(t, r.TeamID != "" || strings.HasPrefix(r.SigningID, "com.apple."), r.Name)
		require.Empty(t, r.Path, r.Name)
		require.NotEmpty(t, r.Reason, r.Name)
		require.True(t, strings.HasPrefix(r.Reference, "https://"), r.Name)
		require.NotEmpty(t, r.Verdicts, r.Name)
		if slices.Contains(r.Verdicts, "tls_mimic") {
			require.Equal(t, "Cisco Secure Client", r.Name, "an approved pretence needs a reason of its own")
		}
		if r.TeamID == "" {
			require.NotEmpty(t, r.Networks, "%s: Apple's own only where it needs to go", r.Name)
		}
		if len(r.Ports) == 0 && len(r.Networks) == 0 {
			require.True(t, strings.Contains(r.Reason, "choose") || strings.Contains(r.Reason, "any UDP port"), "%s: any port without a word why", r.Name)
		}
	}
}

// TestFormat: what is written is read back alike.
func TestFormat(t *testing.T) {
	t.Parallel()
	for _, r := range []*Rule{
		{Name: "a", Path: "/bin/a"},
		{Name: "a: b # \"c\"\n", TeamID: "TEAM123456", SigningID: "com.x", CDHash: hash, Path: "/Applications/A B/\u00e9", Verdicts: []string{"random", "tls_mimic"},
			AppProtocols: []string{"whatsapp"}, Networks: []string{"10.0.0.0/8", "2001:db8::1"}, HostSuffixes: []string{"example.com"}, Ports: []uint16{1, 65535},
			ApprovedBy: "yes", Reason: "null", Reference: "https://example.com/a?b=c#d", Expires: "2027-01-31"},
		{Name: "123", Path: "/1e5", Reason: " - [x", ApprovedBy: "0x10"},
	} {
		rules, errs := Parse("f.yaml", []byte("rules:\n"+Format(r)))
		require.Empty(t, errs)
		require.Len(t, rules, 1)
		require.NoError(t, r.complete())
		r.Source = "f.yaml:2"
		require.Equal(t, r, rules[0])
	}
}
