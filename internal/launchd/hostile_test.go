package launchd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const agents = "/Users/eve/Library/LaunchAgents/"

// TestBadFilesAreRows: each gives a row with an error that names it, and all other jobs are still there.
func TestBadFilesAreRows(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	good := label("good") + "<key>Program</key><string>/opt/agent</string>"
	tr.write("/opt/agent", machO)
	tr.job(agents+"a-good.plist", good)
	tr.job(agents+"z-good.plist", good) // the same label: both are rows
	tr.job("/Library/LaunchDaemons/good.plist", good)
	tr.write(agents+"empty.plist", "")
	tr.write(agents+"list.plist", "<plist><array/></plist>")
	tr.write(agents+"cut.plist", xmlPlist(good)[:250])
	tr.write(agents+"deep.plist", strings.Repeat("(", 1<<20))
	tr.write(agents+"binary.plist", "bplist00"+strings.Repeat("\xff", 200))
	require.NoError(t, unix.Mkfifo(tr.path(agents+"fifo.plist"), 0o644))
	require.NoError(t, os.Mkdir(tr.path(agents+"folder.plist"), 0o755)) //nolint:gosec // a test's folder
	tr.link("gone.plist", agents+"dangling.plist")
	tr.link("loop.plist", agents+"loop.plist")
	tr.link("../../../../../../../../../../etc/hosts", agents+"outside.plist")
	tr.link("/etc/passwd", agents+"absolute.plist")
	require.NoError(t, os.Truncate(create(t, tr.path(agents+"sparse.plist")), 2<<30))
	want := map[string]string{
		"empty":    "plist: old-style: offset 0: empty",
		"list":     "not a dictionary",
		"cut":      `plist: xml: offset 242: "Program": unexpected end`,
		"deep":     "plist: old-style: offset 65: limit exceeded: nested deeper than 64",
		"binary":   "plist: binary: trailer: sizes 255 and 255",
		"fifo":     "not a regular file: a FIFO",
		"folder":   "not a regular file: a folder",
		"dangling": "no such file or directory",
		"loop":     "too many levels of symbolic links",
		"outside":  "no such file or directory",
		"absolute": "no such file or directory",
		"sparse":   "file too large: more than 1048576 bytes",
	}
	if os.Geteuid() == 0 && unix.Mknod(tr.path(agents+"device.plist"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) == nil {
		want["device"] = "not a regular file: a device"
	}
	if bindSocket(t, tr.path(agents+"socket.plist")) {
		want["socket"] = "not a regular file: a socket"
	}

	start := time.Now()
	jobs := tr.jobs()
	require.Less(t, time.Since(start), 2*time.Second)
	require.Len(t, jobs, len(want)+3)
	for _, name := range []string{agents + "a-good.plist", agents + "z-good.plist", "/Library/LaunchDaemons/good.plist"} {
		require.NoError(t, jobs[name].Err)
		require.Equal(t, "good", jobs[name].Label)
	}
	for name, message := range want {
		file := agents + name + ".plist"
		job := jobs[file]
		require.EqualError(t, job.Err, "launchd: "+file+": "+message)
		job.Err = nil
		require.Equal(t, Job{PlistPath: file, Domain: DomainUser, Username: "eve"}, job)
	}
}

func create(t *testing.T, name string) string {
	f, err := os.Create(name) //nolint:gosec // a test's file
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return name
}

// bindSocket makes a socket; paths of sockets are short, so it is made elsewhere and moved.
func bindSocket(t *testing.T, name string) bool {
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return false
	}
	t.Cleanup(func() { _ = l.Close() })
	return os.Rename(filepath.Join(dir, "s"), name) == nil
}

func TestWrongTypesNameTheirKeys(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/opt/agent", machO)
	const name = "/Library/LaunchDaemons/x.plist"
	wrong := map[kinds]string{aText: "<integer>1</integer>", aTruth: "<string>yes</string>", aNumber: "<true/>", aList: "<string>x</string>",
		aDict: "<string>x</string>"}
	for key, want := range keys {
		value := "<data>AAAA</data>" // no key is data
		if v, ok := wrong[want]; ok {
			value = v
		}
		body := "<key>" + key + "</key>" + value + "<key>RunAtLoad</key><true/>"
		if key == "RunAtLoad" {
			body = "<key>" + key + "</key>" + value
		}
		if key != "Label" {
			body += label("x")
		}
		if key != "Program" && key != "ProgramArguments" {
			body += "<key>Program</key><string>/opt/agent</string>"
		} else if key == "Program" {
			body += programArguments("/opt/agent")
		}
		tr.job(name, body)
		job := tr.jobs()[name]
		require.ErrorContains(t, job.Err, fmt.Sprintf("launchd: %s: %s: not %s", name, key, want), key)
		require.Equal(t, key != "RunAtLoad", job.RunAtLoad, key)
		if key != "Label" {
			require.Equal(t, "x", job.Label)
		}
		if key != "ProgramArguments" {
			require.Equal(t, "/opt/agent", job.Executable)
		}
	}
}

// TestManyProblemsAreNotManyBytes: an error is a column, and a log line.
func TestManyProblemsAreNotManyBytes(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.job(agents+"x.plist", label("x")+"<key>ProgramArguments</key><array>"+strings.Repeat("<true/>", 90_000)+"</array>")
	job := tr.jobs()[agents+"x.plist"]
	require.ErrorContains(t, job.Err, "ProgramArguments: argument 0 is not a string")
	require.Less(t, len(job.Err.Error()), 8<<10)
	require.Equal(t, "x", job.Label)
}

func TestWrongValues(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/opt/agent", machO)
	tr.write("/opt/data", "no program")
	const name = "/Library/LaunchDaemons/x.plist"
	tests := []struct{ body, want string }{
		{label("x"), "Program: missing"},
		{"<key>Program</key><string>/opt/agent</string>", "Label: missing"},
		{label("x") + "<key>Program</key><string>/none</string>", "Program: /none: no such file or directory"},
		{label("x") + "<key>Program</key><string>/opt</string>", "Program: /opt: neither an executable nor a script with an interpreter"},
		{label("x") + programArguments("/opt/data"), "ProgramArguments: /opt/data: neither an executable nor a script with an interpreter"},
		{label("x") + "<key>BundleProgram</key><string>a</string>", "BundleProgram: the property list is not inside an application"},
		{label("x") + "<key>Program</key><string>/opt/agent</string><key>ProgramArguments</key><array><true/></array>",
			"ProgramArguments: argument 0 is not a string"},
		{label("x") + "<key>Program</key><string>/opt/agent</string><key>Program</key><string>/opt/agent</string>",
			`plist: key given twice: "Program"`},
		{label("x") + "<key>Program</key><string>/opt/agent</string><key>EnvironmentVariables</key><dict><key>A</key><integer>1</integer></dict>",
			"EnvironmentVariables: a value that is not a string"},
		{label("x") + "<key>Program</key><string>/opt/agent&#0;</string>", "Program: holds a NUL; launchd: " + name + ": Program: missing"},
	}
	for _, tt := range tests {
		tr.job(name, tt.body)
		require.EqualError(t, tr.jobs()[name].Err, "launchd: "+name+": "+tt.want)
	}
}

// TestOneHomeDoesNotCostOthers: what a user writes is bounded, is said, and hides nobody else's jobs.
func TestOneHomeDoesNotCostOthers(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/opt/agent", machO)
	big := bytes.Repeat([]byte(" "), 1<<20)
	require.NoError(t, os.MkdirAll(tr.path(agents), 0o755)) //nolint:gosec // a test's folder
	require.NoError(t, os.WriteFile(tr.path(agents+"0.plist"), big, 0o600))
	for i := 1; i < 200; i++ {
		require.NoError(t, os.Link(tr.path(agents+"0.plist"), tr.path(fmt.Sprintf("%s%d.plist", agents, i))))
	}
	tr.job("/Users/zoe/Library/LaunchAgents/good.plist", label("good")+"<key>Program</key><string>/opt/agent</string>")
	jobs, errs := Jobs(context.Background(), tr.root())
	require.Len(t, errs, 1) // of bytes, or on a slow machine of time
	require.ErrorIs(t, errs[0], errBudget)
	require.ErrorContains(t, errs[0], "launchd: /Users/eve")
	require.LessOrEqual(t, len(jobs), placeBytes>>20+2)
	require.Equal(t, "good", byPlist(jobs)["/Users/zoe/Library/LaunchAgents/good.plist"].Label)
}

func TestAPlaceHasItsTime(t *testing.T) {
	t.Parallel()
	s := &scan{}
	start := time.Now()
	s.within(t.Context(), "/Users/eve", func(ctx context.Context, _ *allowance) { <-ctx.Done() })
	require.Less(t, time.Since(start), 2*placeTime)
	require.Len(t, s.errs, 1)
	require.EqualError(t, s.errs[0], "launchd: /Users/eve: too much to read: not done within 2s")
}

// TestCommandLinesThatAreSlowToFollow: a command line that names thousands of paths through long chains of links ends with its place.
func TestCommandLinesThatAreSlowToFollow(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/bin/sh", machO)
	tr.write("/d/end", "")
	long := strings.Repeat("d/../", 150)
	for i := range 30 {
		tr.link(fmt.Sprintf("%sl%d", long, i+1), fmt.Sprintf("/l%d", i))
	}
	tr.link("d", "/l30")
	for i := range 50 {
		var line strings.Builder
		for j := range 2_000 {
			fmt.Fprintf(&line, "/l0/end%d.%d;", i, j)
		}
		tr.job(fmt.Sprintf("%s%d.plist", agents, i), label("slow")+programArguments("/bin/sh", "-c", line.String()))
	}
	start := time.Now()
	jobs, errs := Jobs(context.Background(), tr.root())
	require.Less(t, time.Since(start), 3*placeTime)
	require.NotEmpty(t, jobs)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], errBudget)
}

func TestTooManyPlists(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/Library/LaunchDaemons/0.plist", "")
	for i := range maxPlists {
		require.NoError(t, os.Link(tr.path("/Library/LaunchDaemons/0.plist"), tr.path(fmt.Sprintf("/Library/LaunchDaemons/%d.plist", i+1))))
	}
	jobs, errs := Jobs(context.Background(), tr.root())
	require.Len(t, jobs, maxPlists)
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], "launchd: /Library/LaunchDaemons: too much to read: more than 10000 property lists")
}

func TestJobsEndWithTheContext(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.job("/Library/LaunchDaemons/x.plist", label("x"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	jobs, errs := Jobs(ctx, tr.root())
	require.Empty(t, jobs)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], context.Canceled)
}

// FuzzInterpreter wants an end, no panic, and a payload kind that is known, for any command line and script.
func FuzzInterpreter(f *testing.F) {
	tr := interpreterTree(f)
	root := tr.root()
	for _, line := range []string{"/bin/sh\x00-c\x00exec /opt/agent; A=b env nohup x", "env\x00-S\x00env -S env", "/opt/run.py\x00x", "open\x00-a\x00Chat",
		"java\x00-jar\x00/opt/loop", "/bin/zsh\x00-c\x00'\"\\"} {
		f.Add(line, "#!/usr/bin/env -S sh -c\n")
	}
	f.Fuzz(func(t *testing.T, line, script string) {
		require.NoError(t, os.WriteFile(tr.path("/opt/fuzzed"), []byte(script), 0o600))
		start := time.Now()
		for _, args := range [][]string{strings.Split(line, "\x00"), {"/opt/fuzzed", line}, {"sh", "-c", line}} {
			job := Job{Program: args[0]}
			(&exec{ctx: t.Context(), files: newScan(root, nil).files}).run(&job, args[1:])
			require.Equal(t, job.Interpreter == "", job.PayloadKind == "")
			require.Contains(t, []string{"", PayloadMachO, PayloadELF, PayloadScript, PayloadInline, PayloadModule, PayloadBundle, PayloadMissing}, job.PayloadKind)
		}
		require.Less(t, time.Since(start), 5*time.Second)
	})
}

// BenchmarkJobs scans 1,000 jobs.
func BenchmarkJobs(b *testing.B) {
	tr := newTree(b)
	tr.write("/bin/sh", machO)
	for i := range 60 {
		tr.write(fmt.Sprintf("/opt/bin/p%d", i), machO)
	}
	tr.write("/opt/run.sh", "#!/bin/sh\n"+strings.Repeat("echo 'a line of a script' | openssl enc -aes-256-cbc\n", 200))
	for i := range 1_000 {
		body := label(fmt.Sprintf("com.example.job%d", i)) + "<key>RunAtLoad</key><true/><key>MachServices</key><dict><key>a</key><true/></dict>"
		if i%10 == 0 {
			body += programArguments("/opt/run.sh", "--loop")
		} else {
			body += programArguments(fmt.Sprintf("/opt/bin/p%d", i%60), "--daemon")
		}
		tr.job(fmt.Sprintf("/Library/LaunchDaemons/com.example.job%d.plist", i), body)
	}
	root := tr.root()
	for b.Loop() {
		jobs, errs := Jobs(context.Background(), root)
		require.Len(b, jobs, 1_000)
		require.Empty(b, errs)
	}
}
