package sensor

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
)

func TestProofs(t *testing.T) {
	t.Parallel()
	jobs := []launchd.Job{
		{Label: "com.example.daemon", PlistPath: "/d.plist", Domain: launchd.DomainSystem, Program: "/opt/daemon", Args: []string{"daemon", "-f"}, Executable: "/opt/daemon"},
		{Label: "com.example.daemon2", PlistPath: "/d2.plist", Domain: launchd.DomainSystem, Program: "/opt/daemon", Args: []string{"daemon", "-g"}, Executable: "/opt/daemon"},
		{Label: "com.example.web", PlistPath: "/w.plist", Domain: launchd.DomainSystem, Username: "_www", Program: "/opt/web", Args: []string{"/opt/web"}, Executable: "/opt/web"},
		{Label: "com.example.agent", PlistPath: "/a.plist", Domain: launchd.DomainUser, Username: "ana", Program: "/opt/agent", Executable: "/opt/agent"},
		{Label: "com.example.script", PlistPath: "/s.plist", Domain: launchd.DomainAgent, Program: "/opt/run.py", Args: []string{"/opt/run.py", "now"},
			Executable: "/usr/bin/python3", Interpreter: "/usr/bin/python3", PayloadPath: "/opt/run.py", PayloadKind: launchd.PayloadScript},
		{Label: "twice", PlistPath: "/t1.plist", Domain: launchd.DomainSystem, Program: "/opt/one", Executable: "/opt/one"},
		{Label: "twice", PlistPath: "/t2.plist", Domain: launchd.DomainSystem, Program: "/opt/two", Executable: "/opt/two"},
		{Label: "same.b", PlistPath: "/sb.plist", Domain: launchd.DomainSystem, Program: "/opt/same", Executable: "/opt/same"},
		{Label: "same.a", PlistPath: "/sa.plist", Domain: launchd.DomainSystem, Program: "/opt/same", Executable: "/opt/same"},
	}
	uid := func(name string) (int, bool) {
		id, ok := map[string]int{"_www": 70, "ana": 501}[name]
		return id, ok
	}
	for name, c := range map[string]struct {
		process      process.Process
		label, proof string
		main         bool // it is its job's pid
	}{
		"launchd started it":             {process.Process{PID: 10, PPID: 1, Path: "/opt/daemon", Args: []string{"daemon", "-f"}}, "com.example.daemon", ProofParent, true},
		"argv[0] is free text":           {process.Process{PID: 11, PPID: 1, Path: "/opt/daemon", Args: []string{"httpd", "-g"}}, "com.example.daemon2", ProofParent, true},
		"an orphan with other arguments": {process.Process{PID: 12, PPID: 1, Path: "/opt/daemon", Args: []string{"daemon", "-x"}}, "com.example.daemon", ProofExecutable, false},
		"another user's orphan":          {process.Process{PID: 13, PPID: 1, UID: 501, Path: "/opt/daemon", Args: []string{"daemon", "-f"}}, "com.example.daemon", ProofExecutable, false},
		"arguments may not be read":      {process.Process{PID: 14, PPID: 1, UID: 0, Path: "/opt/daemon"}, "com.example.daemon", ProofExecutable, false},
		"its user":                       {process.Process{PID: 15, PPID: 1, UID: 70, Path: "/opt/web", Args: []string{"web"}}, "com.example.web", ProofParent, true},
		"root instead of its user":       {process.Process{PID: 16, PPID: 1, UID: 0, Path: "/opt/web", Args: []string{"web"}}, "com.example.web", ProofExecutable, false},
		"an agent":                       {process.Process{PID: 17, PPID: 1, UID: 501, Path: "/opt/agent", Args: []string{"/opt/agent"}}, "com.example.agent", ProofParent, true},
		"a script": {process.Process{PID: 18, PPID: 1, UID: 501, Path: "/usr/bin/python3", Args: []string{"/usr/bin/python3", "/opt/run.py", "now"}},
			"com.example.script", ProofParent, true},
		"another script of that interpreter": {process.Process{PID: 19, PPID: 1, UID: 501, Path: "/usr/bin/python3", Args: []string{"python3", "/opt/other.py"}}, "", "", false},
		"a child by its environment":         {process.Process{PID: 20, PPID: 10, Path: "/bin/cat", Args: []string{"cat"}, Service: "com.example.web"}, "com.example.web", ProofEnvironment, false},
		"a label that nobody declared":       {process.Process{PID: 21, PPID: 1, Path: "/bin/cat", Service: "com.example.none"}, "", "", false},
		"a terminal's child":                 {process.Process{PID: 22, PPID: 9, Path: "/bin/cat", Service: "0"}, "", "", false},
		"the parent counts more than what the environment says": {process.Process{PID: 23, PPID: 1, Path: "/opt/one", Args: []string{"one"}, Service: "com.example.web"},
			"twice", ProofParent, true},
		"two jobs with one label":      {process.Process{PID: 24, PPID: 9, Path: "/opt/two", Args: []string{"two", "x"}, Service: "twice"}, "twice", ProofEnvironment, false},
		"two jobs with one executable": {process.Process{PID: 25, PPID: 1, Path: "/opt/same", Args: []string{"same"}}, "same.a", ProofParent, true},
		"and the environment decides":  {process.Process{PID: 26, PPID: 1, Path: "/opt/same", Args: []string{"same"}, Service: "same.b"}, "same.b", ProofParent, true},
		"no executable":                {process.Process{PID: 27, PPID: 2}, "", "", false},
		"systemd's":                    {process.Process{PID: 28, PPID: 1, Path: "/opt/daemon", Args: []string{"daemon", "-f"}, Label: "x.service"}, "x.service", ProofCgroup, false},
	} {
		got := tie([]process.Process{c.process}, jobs, uid)[0]
		require.Equal(t, []string{c.label, c.proof}, []string{got.Label, got.Proof}, name)
		mains := mainProcesses([]Process{got})
		pid, main := mains[got.plist]
		require.Equal(t, c.main, main && pid == c.process.PID, name)
	}
}

// TestResponsible: a helper has the job of the one that answers for it, where no better proof says otherwise.
func TestResponsible(t *testing.T) {
	t.Parallel()
	jobs := []launchd.Job{
		{Label: "a", PlistPath: "/a.plist", Domain: launchd.DomainSystem, Executable: "/opt/a"},
		{Label: "b", PlistPath: "/b.plist", Domain: launchd.DomainSystem, Executable: "/opt/b"},
		{Label: "u", PlistPath: "/u.plist", Domain: launchd.DomainAgent, Executable: "/opt/u"},
	}
	by := func(pid int, path string) *process.Responsible { return &process.Responsible{PID: pid, Path: path} }
	hosts := tree{
		1:  {PID: 1, Path: "/sbin/launchd"},
		10: {PID: 10, PPID: 1, Path: "/opt/a", Args: []string{"a"}, Coalition: 7, Responsible: by(10, "/opt/a")},
		11: {PID: 11, PPID: 1, Path: "/opt/b", Args: []string{"b"}, Coalition: 8},
		12: {PID: 12, PPID: 1, UID: 501, Path: "/opt/u", Args: []string{"u"}},
		20: {PID: 20, PPID: 1, Path: "/bin/worker", Coalition: 9, Responsible: by(10, "/opt/a")},
		21: {PID: 21, PPID: 1, Path: "/bin/worker", Coalition: 8, Responsible: by(10, "/opt/a")},
		22: {PID: 22, PPID: 1, Path: "/opt/b", Args: []string{"b", "by hand"}, Responsible: by(10, "/opt/a")},
		23: {PID: 23, PPID: 1, Path: "/opt/b", Args: []string{"b"}, Responsible: by(10, "/opt/a")},
		24: {PID: 24, PPID: 1, Path: "/bin/worker", Coalition: 8, Responsible: by(24, "/bin/worker")},
		25: {PID: 25, PPID: 1, Path: "/bin/worker", Coalition: 8},
		26: {PID: 26, PPID: 1, Path: "/bin/worker", Coalition: 8, Responsible: by(1, "/sbin/launchd")},
		27: {PID: 27, PPID: 1, Path: "/bin/worker", Coalition: 8, Responsible: by(99, "/opt/a")},
		28: {PID: 28, PPID: 1, Path: "/bin/worker", Responsible: by(10, "/opt/other")},
		29: {PID: 29, PPID: 1, Path: "/bin/worker", Responsible: by(20, "/bin/worker")},
		30: {PID: 30, PPID: 1, UID: 0, Path: "/bin/worker", Responsible: by(12, "/opt/u")},
		31: {PID: 31, PPID: 1, UID: 501, Path: "/bin/worker", Responsible: by(12, "/opt/u")},
		32: {PID: 32, PPID: 1, UID: 70, Path: "/bin/worker", Responsible: by(10, "/opt/a")},
	}
	uid := func(string) (int, bool) { return 0, false }
	all := tie(slices.Collect(maps.Values(hosts)), jobs, uid)
	tied := map[int]string{}
	for _, p := range all {
		tied[p.PID] = strings.TrimSpace(p.Label + " " + p.Proof)
	}
	for _, c := range []struct {
		what string
		pid  int
		want string
	}{
		{"a helper", 20, "a responsible"},
		{"who answers for it comes before the tree that it is in", 21, "a responsible"},
		{"and before its mere executable", 22, "a responsible"},
		{"not before launchd's word", 23, "b parent"},
		{"itself: the tree", 24, "b coalition"},
		{"nobody known: the tree", 25, "b coalition"},
		{"launchd answers for all: the tree", 26, "b coalition"},
		{"one that is gone: the tree", 27, "b coalition"},
		{"another program runs there by now", 28, ""},
		{"who is no job itself", 29, ""},
		{"a user's job is not root's", 30, ""},
		{"the same user's", 31, "u responsible"},
		{"root's job that gave up root", 32, "a responsible"},
	} {
		require.Equal(t, c.want, tied[c.pid], c.what)
		x := &Index{ties: newTies(jobs, uid)}
		x.ties.all([]process.Process{hosts[10], hosts[11], hosts[12]})
		label, _, _ := strings.Cut(c.want, " ")
		require.Equal(t, label, x.job(hosts[c.pid], hosts.get), "a flow's owner: %s", c.what)
	}
}

func TestCoalitions(t *testing.T) {
	t.Parallel()
	jobs := []launchd.Job{
		{Label: "a", PlistPath: "/a.plist", Domain: launchd.DomainSystem, Executable: "/opt/a"},
		{Label: "b", PlistPath: "/b.plist", Domain: launchd.DomainSystem, Executable: "/opt/b"},
	}
	tied := tie([]process.Process{
		{PID: 5, PPID: 4, Path: "/bin/worker", Coalition: 7},
		{PID: 4, PPID: 1, Path: "/opt/a", Args: []string{"a"}, Coalition: 7},
		{PID: 6, PPID: 4, Path: "/opt/a", Args: []string{"a", "child"}, Coalition: 7},
		{PID: 7, PPID: 1, Path: "/bin/worker", Coalition: 8},
		{PID: 8, PPID: 1, Path: "/bin/worker"},
		{PID: 9, PPID: 1, Path: "/opt/a", Args: []string{"a"}, Coalition: 9},
		{PID: 10, PPID: 1, Path: "/opt/b", Args: []string{"b"}, Coalition: 9},
		{PID: 11, PPID: 1, Path: "/bin/worker", Coalition: 9},
	}, jobs, func(string) (int, bool) { return 0, false })
	got := map[int]string{}
	for _, p := range tied {
		got[p.PID] = p.Label + " " + p.Proof
	}
	require.Equal(t, map[int]string{5: "a coalition", 4: "a parent", 6: "a coalition", 7: " ", 8: " ", 9: "a parent", 10: "b parent", 11: " "}, got)
	require.Equal(t, map[string]int{"/a.plist": 4, "/b.plist": 10}, mainProcesses(tied), "of several the oldest")
}
