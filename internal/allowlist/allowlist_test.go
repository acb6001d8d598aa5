package allowlist

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
)

const hash = "00112233445566778899aabbccddeeff00112233"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func set(t *testing.T, text string) *Set {
	t.Helper()
	rules, errs := Parse("rules.yaml", []byte(text))
	require.Empty(t, errs)
	s, errs := NewSet(rules)
	require.Empty(t, errs)
	return s
}

func TestMatch(t *testing.T) {
	t.Parallel()
	s := set(t, `rules:
  - {name: team, team_id: TEAM123456, verdicts: [random], networks: [198.51.100.0/24, "2001:db8::/32"], ports: [443]}
  - {name: apple, signing_id: com.apple.thing}
  - {name: vendor, team_id: VENDOR7890, signing_id: com.vendor.app, host_suffixes: [vendor.example]}
  - {name: hash, cdhash: `+strings.ToUpper(hash)+`, app_protocols: [whatsapp]}
  - {name: path, path: /usr/local/bin/tool}
  - {name: old, path: /usr/local/bin/old, expires: 2026-11-22}
  - {name: today, path: /usr/local/bin/today, expires: 2026-11-23}
`)
	to := func(addr string) Destination {
		return Destination{Address: netip.MustParseAddr(addr), Port: 443, Verdict: "random", AppProtocol: "whatsapp", Host: "a.Vendor.Example"}
	}
	for _, c := range []struct {
		want  string
		who   Identity
		where Destination
	}{
		{"team", Identity{TeamID: "TEAM123456"}, to("198.51.100.7")},
		{"team", Identity{TeamID: "TEAM123456"}, to("::ffff:198.51.100.7")},
		{"team", Identity{TeamID: "TEAM123456"}, to("2001:db8::1")},
		{"", Identity{TeamID: "TEAM123456"}, to("203.0.113.1")},
		{"", Identity{SigningID: "TEAM123456"}, to("198.51.100.7")},
		{"apple", Identity{SigningID: "com.apple.thing", Apple: true}, to("203.0.113.1")},
		{"", Identity{SigningID: "com.apple.thing", TeamID: "EVIL000000"}, to("203.0.113.1")}, // a vendor may call itself anything
		{"vendor", Identity{SigningID: "com.vendor.app", TeamID: "VENDOR7890"}, to("203.0.113.1")},
		{"", Identity{SigningID: "com.vendor.app", TeamID: "OTHER00000"}, to("203.0.113.1")},
		{"", Identity{SigningID: "com.vendor.app", TeamID: "VENDOR7890"}, Destination{Address: netip.MustParseAddr("203.0.113.1"), Host: "evilvendor.example"}},
		{"hash", Identity{CDHash: hash}, to("203.0.113.1")},
		{"", Identity{CDHash: hash}, Destination{Address: netip.MustParseAddr("203.0.113.1")}},
		{"path", Identity{Path: "/usr/local/bin/tool"}, to("203.0.113.1")},
		{"", Identity{Path: "/usr/local/bin/old"}, to("203.0.113.1")},
		{"today", Identity{Path: "/usr/local/bin/today"}, to("203.0.113.1")},
		{"", Identity{}, to("203.0.113.1")},
	} {
		got := ""
		if rule := s.Match(c.who, c.where, now); rule != nil {
			got = rule.Name
			rule.Count(now)
		}
		require.Equal(t, c.want, got, "%+v", c)
	}
	count, last := s.Rules()[0].Matches()
	require.EqualValues(t, 3, count)
	require.Equal(t, now.Unix(), last)
}

func TestParseNamesFileLineAndKey(t *testing.T) {
	t.Parallel()
	rules, errs := Parse("r.yaml", []byte(`# who may
rules:
  - name: good
    path: /bin/a
  - name: typo
    pth: /bin/b
  - name: net
    path: /bin/c
    networks: [10.0.0.0/99]
  - name: nobody
  - name: date
    path: /bin/d
    expires: soon
  - name: relative
    path: ../x
  - name: last
    path: /bin/e
`))
	require.Len(t, rules, 2)
	require.Len(t, errs, 5)
	for i, want := range []string{
		`allowlist: r.yaml:6: rule "typo": unknown field "pth"`,
		`allowlist: r.yaml:9: rule "net": networks: "10.0.0.0/99" is neither CIDR nor address`,
		`allowlist: r.yaml:10: rule "nobody": names nobody`,
		`allowlist: r.yaml:13: rule "date": expires: "soon" is not a date like 2027-01-31`,
		`allowlist: r.yaml:15: rule "relative": path: "../x" is not an absolute`,
	} {
		require.Contains(t, errs[i].Error(), want)
	}
	_, errs = Parse("r.yaml", []byte("rules: [\n"))
	require.Len(t, errs, 1)
	require.Contains(t, errs[0].Error(), "r.yaml:")
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "allowlist.d"), 0o755))
	write := func(name, text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	write("config.yaml", "allowed_crypto_processes: [\"team:TEAM123456\", \"nonsense\"]\n", 0o644)
	write("allowlist.d/a.yaml", "rules:\n- {name: a, path: /bin/a}\n- {name: a, path: /bin/b}\n", 0o644)
	write("allowlist.d/open.yaml", "rules:\n- {name: open, path: /bin/a}\n", 0o666)
	s, errs := Load(config.NewStore(filepath.Join(dir, "config.yaml")), nil)
	require.Len(t, s.Rules(), 2)
	text := fmt.Sprint(errs)
	require.Contains(t, text, `"nonsense"`)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(filepath.Join(dir, "allowlist.d", "a.yaml"), 4711, -1))
		_, errs := Load(config.NewStore(filepath.Join(dir, "config.yaml")), nil)
		require.Contains(t, fmt.Sprint(errs), "a.yaml: owned by user 4711, not by root")
	}
	require.Contains(t, text, "a.yaml:3: rule \"a\": the name is taken by "+filepath.Join(dir, "allowlist.d/a.yaml")+":2")
	require.Contains(t, text, "open.yaml: writable by everybody")
}

// TestBrokenFileLeavesTheLastGoodOne: a file of which nothing can be read any more keeps its last rules; a rule that was taken out, and a file that was, are gone.
func TestBrokenFileLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := config.NewStore(filepath.Join(dir, "config.yaml"))
	file := filepath.Join(dir, "allowlist.d", "a.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o755))
	var last *Set
	for _, step := range []struct {
		text  string
		mode  os.FileMode
		rules []string
		wrong bool
	}{
		{"rules:\n  - {name: one, path: /bin/a}\n  - {name: two, path: /bin/b}\n", 0o600, []string{"one", "two"}, false},
		{"rules: 7\n", 0o600, []string{"one", "two"}, true},
		{"\xff\xfe", 0o600, []string{"one", "two"}, true},
		{"rules:\n  - {name: one, pth: /bin/a}\n", 0o600, []string{"one", "two"}, true},
		{"rules:\n  - {name: one, path: /bin/a}\n", 0o622, []string{"one", "two"}, true}, // others may write it
		{"rules:\n  - {name: one, path: /bin/a}\n", 0o600, []string{"one"}, false},
		{"rules: []\n", 0o600, nil, false},
	} {
		require.NoError(t, os.WriteFile(file, []byte(step.text), 0o600))
		require.NoError(t, os.Chmod(file, step.mode))
		set, errs := Load(store, last)
		var names []string
		for _, r := range set.Rules() {
			names = append(names, r.Name)
		}
		require.Equal(t, step.rules, names, "%q", step.text)
		require.Equal(t, step.wrong, len(errs) > 0, "%q: %v", step.text, errs)
		last = set
	}
	require.NoError(t, os.Remove(file))
	set, errs := Load(store, last)
	require.Empty(t, set.Rules())
	require.Empty(t, errs)
}
