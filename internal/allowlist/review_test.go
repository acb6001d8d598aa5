package allowlist

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWeakness(t *testing.T) {
	t.Parallel()
	rules, errs := Parse("r.yaml", []byte(`rules:
  - {name: writable, path: /Users/x/a, approved_by: a}
  - {name: system, path: /usr/libexec/a, approved_by: a}
  - {name: hashed, path: /Users/x/a, cdhash: `+hash+`, verdicts: [random], approved_by: a, ports: [1]}
  - {name: old, path: /usr/libexec/b, expires: 2026-11-22, approved_by: a}
  - {name: calm, path: /usr/libexec/c, verdicts: [tls, cleartext], approved_by: a}
  - {name: nameless, path: /usr/libexec/d, verdicts: [random], host_suffixes: [example.com], approved_by: a}
  - {name: nobody, path: /usr/libexec/e}
  - {name: wide, team_id: TEAM123456, networks: [198.51.100.0/24], approved_by: a}
  - {name: narrow, team_id: TEAM123456, networks: [198.51.100.7], ports: [443], approved_by: a}
  - {name: beside, team_id: TEAM123456, networks: [198.51.101.7], ports: [443], approved_by: a}
  - {name: partly, team_id: TEAM123456, networks: [198.51.100.7, 203.0.113.1], approved_by: a}
  - {name: apple, signing_id: com.apple.x, approved_by: a}
  - {name: vendor, signing_id: com.apple.x, team_id: TEAM123456, approved_by: a}
`))
	require.Empty(t, errs)
	s, errs := NewSet(rules)
	require.Empty(t, errs)
	for i, want := range []string{
		"names only a path in a folder that users can write to",
		"",
		"never matches: rule \"writable\" (r.yaml:2) covers all that it does",
		"expired on 2026-11-22",
		"never matches: none of its verdicts is an alert (random, tls_mimic)",
		"never matches: random traffic has no server name for host_suffixes",
		"approved_by is empty: nobody has approved it",
		"", "never matches: rule \"wide\" (r.yaml:9) covers all that it does", "", "", "", "",
	} {
		require.Equal(t, want, s.Rules()[i].Weakness(now), s.Rules()[i].Name)
	}
	last := s.Rules()[12]
	require.Empty(t, last.Weakness(time.Now().Add(29*24*time.Hour)))
	require.Contains(t, last.Weakness(time.Now().Add(31*24*time.Hour)), "has matched nothing in the 31 days")
	last.Count(now)
	require.Empty(t, last.Weakness(time.Now().Add(31*24*time.Hour)))
}

func TestUserWritable(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/Users/ana/bin/x": true, "/System/Volumes/Data/Users/ana/bin/x": true, "/private/tmp/x": true, "/Volumes/USB/x": true, "/media/usb/x": true, "/Applications/X.app/Contents/MacOS/X": true,
		"/opt/homebrew/bin/x": true, "/usr/local/Cellar/x/1.0/bin/x": true, "/run/user/501/x": true, "/memfd:x (deleted)": true,
		"/usr/libexec/x": false, "/usr/local/libexec/x": false, "/Library/PrivilegedHelperTools/x": false, "/opt/x/x": false, "/tmpx/x": false, "/System/Volumes/Preboot/x": false,
	} {
		require.Equal(t, want, UserWritable(path), path)
	}
}

func TestRulesThatSayTheSame(t *testing.T) {
	t.Parallel()
	rules, errs := Parse("r.yaml", []byte(`rules:
  - {name: a, path: /bin/a, ports: [1, 2], networks: [10.0.0.0/8, 192.0.2.1]}
  - {name: b, path: /bin/a, ports: [2, 1], networks: [192.0.2.1/32, 10.0.0.0/8], reason: another}
  - {name: c, path: /bin/a, ports: [2, 1], networks: [192.0.2.1/32]}
`))
	require.Empty(t, errs)
	s, errs := NewSet(rules)
	require.Len(t, s.Rules(), 2)
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], `allowlist: r.yaml:3: rule "b": says the same as rule "a" (r.yaml:2)`)
}
