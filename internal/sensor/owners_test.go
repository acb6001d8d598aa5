package sensor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// tree is a host's processes.
type tree map[int]process.Process

func (t tree) get(pid int) (process.Process, error) {
	if p, ok := t[pid]; ok {
		return p, nil
	}
	return process.Process{}, process.ErrNotFound
}

// TestLabelsOfLiveFlows: a flow's job comes by the same proofs as a process's, not by its path alone.
func TestLabelsOfLiveFlows(t *testing.T) {
	t.Parallel()
	x := &Index{ties: newTies([]launchd.Job{
		{Label: "com.example.daemon", PlistPath: "/d.plist", Domain: launchd.DomainSystem, Args: []string{"daemon"}, Executable: "/opt/daemon"},
		{Label: "com.example.script", PlistPath: "/s.plist", Domain: launchd.DomainSystem, Program: "/bin/sh", Args: []string{"/bin/sh", "/opt/run.sh"},
			Executable: "/bin/sh", Interpreter: "/bin/sh", PayloadPath: "/opt/run.sh", PayloadKind: launchd.PayloadScript},
		{Label: "com.example.other", PlistPath: "/o.plist", Domain: launchd.DomainSystem, Executable: "/opt/other"},
	}, func(string) (int, bool) { return 0, false })}
	hosts := tree{
		10: {PID: 10, PPID: 1, StartTime: 100, Path: "/opt/daemon", Args: []string{"daemon"}, Coalition: 7},
		11: {PID: 11, PPID: 10, StartTime: 110, Path: "/bin/sh", Args: []string{"sh", "-c", "x"}, Coalition: 7},
		12: {PID: 12, PPID: 11, StartTime: 120, Path: "/usr/bin/nc", Args: []string{"nc"}, Coalition: 7},
		13: {PID: 13, PPID: 1, StartTime: 130, Path: "/usr/bin/nc", Args: []string{"nc"}, Coalition: 7},
		20: {PID: 20, PPID: 1, StartTime: 100, Path: "/bin/sh", Args: []string{"/bin/sh", "/opt/run.sh"}},
		21: {PID: 21, PPID: 20, StartTime: 110, Path: "/usr/bin/nc", Args: []string{"nc"}},
		22: {PID: 22, PPID: 20, StartTime: 90, Path: "/usr/bin/nc", Args: []string{"nc"}},
		30: {PID: 30, PPID: 1, StartTime: 100, Path: "/Applications/Terminal", Args: []string{"Terminal"}, Coalition: 9},
		31: {PID: 31, PPID: 30, StartTime: 110, Path: "/usr/bin/nc", Args: []string{"nc"}, Coalition: 9},
		32: {PID: 32, PPID: 31, StartTime: 120, Path: "/opt/daemon", Args: []string{"daemon", "by", "hand"}, Coalition: 9},
		40: {PID: 40, PPID: 10, StartTime: 110, Path: "/usr/bin/nc", Coalition: 8},
		50: {PID: 50, PPID: 30, StartTime: 110, Path: "/usr/bin/nc", Service: "com.example.other"},
		60: {PID: 60, PPID: 61, StartTime: 110, Path: "/usr/bin/nc"},
		61: {PID: 61, PPID: 60, StartTime: 110, Path: "/usr/bin/nc"},
		70: {PID: 70, PPID: 10, StartTime: 110, Path: "/usr/bin/nc", Label: "x.service"},
	}
	for _, c := range []struct {
		what, label string
		pid         int
	}{
		{"a grandchild, before its job's process was seen", "com.example.daemon", 12},
		{"launchd started it", "com.example.daemon", 10},
		{"its child", "com.example.daemon", 11},
		{"an orphan of its tree", "com.example.daemon", 13},
		{"a script's child, without coalitions", "com.example.script", 21},
		{"older than its parent: that pid is another's", "", 22},
		{"a terminal's", "", 31},
		{"started by hand, the job's executable", "com.example.daemon", 32},
		{"launched for itself", "", 40},
		{"by its environment", "com.example.other", 50},
		{"parents in a circle", "", 60},
		{"systemd's word", "x.service", 70},
	} {
		require.Equal(t, c.label, x.job(hosts[c.pid], hosts.get), c.what)
	}
	require.Empty(t, (&Index{}).job(hosts[10], hosts.get), "no jobs are known yet")
}

func TestCoalitionsAreBounded(t *testing.T) {
	t.Parallel()
	x := newTies([]launchd.Job{{Label: "a", PlistPath: "/a", Domain: launchd.DomainSystem, Args: []string{"a"}, Executable: "/a"}}, func(string) (int, bool) { return 0, false })
	for i := range 3 * maxCoalitions {
		x.all([]process.Process{{PID: 2, PPID: 1, Path: "/a", Args: []string{"a"}, Coalition: uint64(i + 1)}})
	}
	require.LessOrEqual(t, len(x.coalitions), maxCoalitions)
}

// TestOwnersFoundEarly: flows that come before the jobs are known get their job once they are.
func TestOwnersFoundEarly(t *testing.T) {
	t.Parallel()
	self, err := process.Get(os.Getpid())
	require.NoError(t, err)
	self.Label = ""
	root, err := rootfs.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	x := newIndex(root)
	o := newOwners(x, nil)
	defer o.close()
	owner := o.shared(self, BySocket)
	require.Empty(t, owner.Label)
	x.ties = newTies([]launchd.Job{{Label: "com.example.test", PlistPath: "/t.plist", Executable: self.Path}}, uidOf())
	var lock sync.Mutex
	o.relabel(&lock)
	require.Equal(t, "com.example.test", owner.Label)
	require.Same(t, owner, o.shared(self, BySocket))
	o.relabel(&lock)
	again := o.shared(self, BySocket)
	require.NotSame(t, owner, again, "jobs may have changed")
	require.Equal(t, "com.example.test", again.Label)
}

// TestKernelIsAskedOnce: what the kernel says of a process's code is taken when it is found.
func TestKernelIsAsked(t *testing.T) {
	t.Parallel()
	root, err := rootfs.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	o := newOwners(newIndex(root), nil)
	defer o.close()
	o.code = func(pid int) (process.CodeIdentity, error) {
		return process.CodeIdentity{Flags: codeValid, CDHash: fmt.Sprint("hash of ", pid)}, nil
	}
	self, err := process.Get(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint("hash of ", os.Getpid()), o.shared(self, ByPID).code.CDHash)
	gone := exec.CommandContext(t.Context(), "true")
	require.NoError(t, gone.Run())
	require.Nil(t, o.describe(process.Process{PID: gone.Process.Pid, StartTime: 1}, ByPID).code, "the pid may be another's by now")
}

// signed knows one executable.
type signed struct{ signature image.Signature }

func (s signed) Analyze(context.Context, string, []string) (*image.Report, error) {
	return &image.Report{Arch: []string{"arm64"}, Signature: s.signature}, nil
}

func TestIdentityOfLiveProcesses(t *testing.T) {
	t.Parallel()
	file := signed{image.Signature{Kind: image.SignedDeveloperID, TeamID: "ABCDE12345", SigningID: "com.example.tool", CDHash: "aa", Checked: "pages"}}
	for name, c := range map[string]struct {
		kernel         *process.CodeIdentity
		team, id, hash string
		fails          bool
	}{
		"only the file is known":            {nil, "ABCDE12345", "com.example.tool", "aa", false},
		"the kernel agrees":                 {&process.CodeIdentity{Flags: codeValid, CDHash: "aa"}, "ABCDE12345", "com.example.tool", "aa", false},
		"the file was replaced since":       {&process.CodeIdentity{Flags: codeValid, CDHash: "bb", TeamID: "ABCDE12345"}, "", "", "bb", true},
		"the running code was changed":      {&process.CodeIdentity{Flags: 0x2, CDHash: "aa"}, "", "", "", true},
		"it runs as unsigned code":          {&process.CodeIdentity{Flags: codeValid}, "", "", "", true},
		"replaced, and a debugger is at it": {&process.CodeIdentity{Flags: codeValid | codeDebugged, CDHash: "bb"}, "", "", "", true},
	} {
		who, err := identify(t.Context(), file, "/opt/tool", c.kernel)
		require.Equal(t, c.fails, err != nil, name)
		require.Equal(t, []string{"/opt/tool", c.team, c.id, c.hash}, []string{who.Path, who.TeamID, who.SigningID, who.CDHash}, name)
	}
}

// TestApprovalOfWhatTalkedThen: a rule for a team does not cover an alert of an executable that was another.
func TestApprovalOfWhatTalkedThen(t *testing.T) {
	t.Parallel()
	s := newSensor(t, Options{})
	require.NoError(t, os.WriteFile(s.o.Settings.Path(), []byte("allowed_crypto_processes: ['team:ABCDE12345', 'cdhash:"+cdhashOld+"']"), 0o600))
	s.o.Settings.Reload()
	require.Empty(t, s.o.Settings.Problems())
	s.o.Images = signed{image.Signature{Kind: image.SignedDeveloperID, TeamID: "ABCDE12345", CDHash: cdhashNew, Checked: "pages"}}
	flows := []Flow{flowTo("", "203.0.113.1:443", 1), flowTo("", "203.0.113.2:443", 1), flowTo("", "203.0.113.3:443", 1)}
	for i, hash := range []string{"", "1111111111111111111111111111111111111111", cdhashOld} {
		flows[i].Owner.Path, flows[i].Owner.CDHash = "/opt/tool", hash
	}
	s.approve(t.Context(), flows)
	require.Equal(t, "team:ABCDE12345", flows[0].AllowlistRule)
	require.Equal(t, cdhashNew, flows[0].Owner.CDHash)
	require.Empty(t, flows[1].AllowlistRule)
	require.Equal(t, "cdhash:"+cdhashOld, flows[2].AllowlistRule)
}

const (
	cdhashOld = "2222222222222222222222222222222222222222"
	cdhashNew = "3333333333333333333333333333333333333333"
)

// TestOwnersAreBounded: as many processes as a host may ever have shown.
func TestOwnersAreBounded(t *testing.T) {
	t.Parallel()
	root, err := rootfs.Open(filepath.Clean(t.TempDir()))
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	o := newOwners(newIndex(root), nil)
	defer o.close()
	for i := range 3 * maxOwners {
		o.shared(process.Process{PID: 1<<22 + i, Path: "/opt/x"}, BySocket)
		o.stated(&capture.Process{PID: int32(1<<22 + i), Name: "x"})
	}
	require.LessOrEqual(t, len(o.by), maxOwners)
	require.LessOrEqual(t, len(o.stands), maxOwners)
	require.LessOrEqual(t, len(o.early), maxOwners)
}

// TestQuestionsOfFlows: which end is asked for, and of which flows the socket was there from the first packet on.
func TestQuestionsOfFlows(t *testing.T) {
	t.Parallel()
	client, server := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("203.0.113.1:443")
	for name, c := range map[string]struct {
		s    socket
		want asked
	}{
		"outbound":           {socket{6, client, server, false, true}, asked{{Protocol: 6, Local: client, Remote: server, Outbound: true}}},
		"joined late":        {socket{6, client, server, false, false}, asked{{Protocol: 6, Local: client, Remote: server}}},
		"nobody knows which": {socket{17, client, server, true, false}, asked{{Protocol: 17, Local: client, Remote: server}, {Protocol: 17, Local: server, Remote: client}}},
	} {
		var got asked
		got.begin(c.s)
		require.Equal(t, c.want, got, name)
		got.begin(socket{protocol: 6, local: server})
		require.Equal(t, c.want, got, "%s: later looks go on with the same questions", name)
	}
}

// TestDoubtfulOwners: a flow whose ends are another's by now has no owner, and is counted.
func TestDoubtfulOwners(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.doubtful.Store(2)
	h.resolved.Store(1000)
	row := find(t, h.coverage(), "attribution")
	require.EqualValues(t, 2, row.Count)
	require.Contains(t, row.Detail, "1000 owners found, 2 not (of 2 another had the ports when they were found)")
}
