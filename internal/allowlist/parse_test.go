package allowlist

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestParseForms(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"block":     "---\n# x\nrules: # all\n\n  - name: a\n    path: /bin/a\n    ports: [1, 2]\n  # between\n  - name: b\n    path: /bin/b\n",
		"no indent": "rules:\n- name: a\n  path: /bin/a\n  ports:\n  - 1\n  - 2\n-\n  name: \"b\"\n  path: '/bin/b'\n",
		"flow":      "rules: [{name: a, path: /bin/a, ports: [1, 2]}, {name: b, path: /bin/b}]\n",
		"json":      `{"rules": [{"name": "a", "path": "/bin/a", "ports": [1, 2]}, {"name": "b", "path": "/bin/b"}]}`,
		"crlf":      "rules:\r\n- name: a\r\n  path: /bin/a\r\n  ports: [1, 2]\r\n- name: b\r\n  path: /bin/b\r\n",
		"folded":    "rules:\n- name: a\n  path: /bin/a\n  ports: [1,\n    2]\n  reason: |\n    - name: c\n- name: b # second\n  path: /bin/b",
	} {
		rules, errs := Parse("r.yaml", []byte(text))
		require.Empty(t, errs, name)
		require.Len(t, rules, 2, name)
		require.Equal(t, []string{"a", "/bin/a", "b", "/bin/b"}, []string{rules[0].Name, rules[0].Path, rules[1].Name, rules[1].Path}, name)
		require.Equal(t, []uint16{1, 2}, rules[0].Ports, name)
	}
	rules, errs := Parse("r.yaml", []byte("# nothing yet\nrules:\n"))
	require.Empty(t, rules)
	require.Empty(t, errs)
	rules, errs = Parse("r.yaml", nil)
	require.Empty(t, rules)
	require.Empty(t, errs)
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		`r.yaml:3: "other: 1": only the key rules may stand here`:     "rules:\n  - {name: a, path: /bin/a}\nother: 1\n",
		`r.yaml:1: "rule:": only the key rules may stand here`:        "rule:\n- {name: a, path: /bin/a}\n",
		`r.yaml:1: larger than 16 KiB and not of the form`:            "{" + strings.Repeat(" ", maxRule) + "}",
		`r.yaml:2: rule "": longer than 16 KiB`:                       "rules:\n- name: a\n  path: /bin/a\n  reason: \"" + strings.Repeat("x", maxRule) + "\"\n",
		`r.yaml:2: rule "a": team_id: "team123456" is not ten`:        "rules:\n- {name: a, team_id: team123456}\n",
		`r.yaml:4: rule "a": verdicts: "randm" is no verdict`:         "rules:\n- name: a\n  path: /bin/a\n  verdicts: [randm]\n",
		`r.yaml:3: rule "a": ports: 0 is no port`:                     "rules:\n- name: a\n  ports: [0]\n  path: /bin/a\n",
		`r.yaml:4: rule "": mapping key "path" already defined`:       "rules:\n- name: a\n  path: /bin/a\n  path: /bin/b\n",
		`r.yaml:2: rule "": not a mapping`:                            "rules:\n- \n",
		`r.yaml:2: rule "a": host_suffixes: "*.x" is not a host name`: "rules:\n- {name: a, path: /a, host_suffixes: [\"*.x\"]}\n",
	} {
		_, errs := Parse("r.yaml", []byte(text))
		require.NotEmpty(t, errs, want)
		require.Contains(t, errs[0].Error(), "allowlist: "+want)
	}
	_, errs := Parse("r.yaml", []byte("rules:\n"+strings.Repeat("- {name: a}\n", maxErrors+5)))
	require.Len(t, errs, maxErrors+1)
	require.ErrorContains(t, errs[maxErrors], "r.yaml: 5 more rules are wrong")
}

// TestStrayLinesLeaveTheRestInForce: what is beside the rules is named, and the rules are read.
func TestStrayLinesLeaveTheRestInForce(t *testing.T) {
	t.Parallel()
	rules, errs := Parse("r.yaml", []byte(`version: 1
owners:
- name: x
  path: /bin/x
rules:
    - name: a
      path: /bin/a
   stray: 1
      deeper: 2
    - name: b
      path: /bin/b
  - name: c
other:
  - name: d
rules:
- name: e
  path: /bin/e
`))
	var names, lines []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	for _, err := range errs {
		at, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "allowlist: r.yaml:"), ":")
		lines = append(lines, at)
	}
	require.Equal(t, []string{"a", "b", "e"}, names)
	require.Equal(t, []string{"1", "2", "8", "12", "13", "15"}, lines)
}

// TestHostileRulesTakeBoundedTime: whatever one rule of the largest size holds, reading it ends soon.
func TestHostileRulesTakeBoundedTime(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"networks": "- {name: a, path: /a, networks: [" + strings.Repeat("10.0.0.1, ", 1600) + "]}\n",
		"nesting":  "- " + strings.Repeat("[", 16000) + "\n",
		"maps":     "- " + strings.Repeat("{a: ", 4000) + "\n",
		"anchors":  "- {name: &a [x,x,x,x,x,x,x,x,x], path: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], reason: &c [*b,*b,*b,*b,*b,*b,*b,*b], expires: &d [*c,*c,*c,*c,*c,*c,*c], cdhash: [*d,*d,*d,*d,*d,*d,*d]}\n",
		"lines":    "- name: a\n" + strings.Repeat("  k: v\n", 2300),
	} {
		started := time.Now()
		Parse("r.yaml", []byte("rules:\n"+text))
		t.Log(name, time.Since(started))
		require.Less(t, time.Since(started), 20*time.Second, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("rules:\n- {name: a, path: /bin/a}\n"))
	f.Add([]byte("rules:\n  - name: a\n    path: /bin/a\n    networks: [10.0.0.0/8]\n  # x\n  - name: b\n    ports:\n    - 1\n"))
	f.Add([]byte(`{"rules": [{"name": "a"}]}`))
	if files, err := filepath.Glob("../../allowlist.d/*.yaml"); err == nil {
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		rules, _ := Parse("f", data)
		s, _ := NewSet(rules)
		for _, r := range s.Rules() {
			require.NotEmpty(t, r.Name)
			r.Weakness(now)
		}
	})
}

// FuzzPlain compares the quick reader with the YAML package: what it takes, that reads alike.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("- name: a\n  path: /Library/Application Support/x\n  networks: [10.0.0.0/8, 192.0.2.1]\n  ports: [443, 80]\n  expires: 2027-06-30\n"))
	f.Add([]byte("  -   name: a b\n      team_id: TEAM123456\n\n      verdicts: [random, tls_mimic]\n"))
	f.Add([]byte("- name: a\r\n  reference: https://example.com/a?b\r\n  reason: it's (so) - so; more\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := plain(data)
		if !ok || bytes.Contains(data, []byte("\n---")) || bytes.Contains(data, []byte("\n...")) {
			return
		}
		var want []*Rule
		require.NoError(t, yaml.UnmarshalWithOptions(data, &want, yaml.Strict()), "%q", data)
		require.Len(t, want, 1)
		require.Equal(t, want[0], got, "%q", data)
	})
}
