package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// fieldwork is a host in a network namespace of its own: an osqueryd with the detection, the extension as a process, an implant.
type fieldwork struct {
	dir    string
	host   *sqlhost.Host
	socket string
	ext    *exec.Cmd
	ended  chan error
}

// restarted runs the extension twice under one osqueryd and says what was seen, for TestRestart to judge.
func restarted(dir string) error {
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", implantFrom + "/32", "dev", "lo"}, {"addr", "add", "203.0.113.7/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	l, err := net.Listen("tcp", implantTo)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for fakeRecords(c) == nil {
			}
			_ = c.Close()
		}
	}()
	w := &fieldwork{dir: dir, socket: filepath.Join(dir, "s", "em")}
	if err := os.Mkdir(filepath.Dir(w.socket), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.host, err = sqlhost.New(ctx, sqlhost.Options{Platform: "linux"}); err != nil {
		return err
	}
	defer func() { _ = w.host.Close() }()
	if err := w.host.Serve(w.socket); err != nil {
		return err
	}
	return w.story(ctx)
}

func (w *fieldwork) story(ctx context.Context) error {
	took, err := w.start(ctx)
	if err != nil {
		return err
	}
	fmt.Println("capturing after", took)
	logger, err := sqlhost.NewFilesystemLogger(w.dir)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Close() }()
	data, err := os.ReadFile("../packs/an0402.conf")
	if err != nil {
		return err
	}
	pack, err := sqlhost.ParsePack("an0402", data)
	if err != nil {
		return err
	}
	packCtx, stop := context.WithCancel(ctx)
	defer stop()
	packed := make(chan error, 1)
	go func() {
		_, err := w.host.RunPack(packCtx, pack, sqlhost.RunOptions{Interval: time.Second}, logger)
		packed <- err
	}()
	if err := exec.Command("implant.ext").Run(); err != nil {
		return err
	}
	if err := w.wait("a finding", func() bool { return w.findings() > 0 }); err != nil {
		return err
	}
	own, err := sockets(w.ext.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Println("sockets:", own)
	memory, err := resident(w.ext.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Println("resident:", memory)
	began := time.Now()
	if err := w.end(); err != nil {
		return err
	}
	fmt.Println("ended after", time.Since(began))
	left, _ := filepath.Glob(w.socket + ".*")
	fmt.Println("left behind:", left)
	if _, err = w.start(ctx); err != nil {
		return err
	}
	rows, err := w.query("SELECT pid, path, remote_address, verdict FROM socket_tls_conformance WHERE verdict IN ('random', 'tls_mimic')")
	if err != nil {
		return err
	}
	fmt.Println("after the restart:", rows)
	time.Sleep(3 * time.Second) // the detection runs over what was taken over
	if err := exec.Command("implant.ext").Run(); err != nil {
		return err
	}
	time.Sleep(4 * time.Second) // and over the implant's next flow
	again, err := w.query("SELECT count(*) AS n FROM socket_tls_conformance WHERE verdict = 'tls_mimic'")
	if err != nil {
		return err
	}
	fmt.Println("flows of the finding:", again[0]["n"])
	privileges, err := w.query("SELECT state, detail FROM cipherlens_coverage WHERE name IN ('privileges', 'alerts')")
	if err != nil {
		return err
	}
	for _, row := range privileges {
		fmt.Println("coverage:", row["state"], row["detail"])
	}
	stop()
	<-packed
	if err := w.end(); err != nil {
		return err
	}
	fmt.Println("findings:", w.findings())
	return nil
}

// start starts the extension and says how long it took until it captured.
func (w *fieldwork) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	w.ext = exec.Command("cipherlens.ext", "--socket", w.socket, "--timeout", "10", "--interval", "3", "--state", filepath.Join(w.dir, "state", "alerts"))
	w.ext.Env = append(os.Environ(), "CIPHERLENS_CONFIG="+filepath.Join(w.dir, "none.yaml"))
	log, err := os.OpenFile(filepath.Join(w.dir, "ext.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	w.ext.Stdout, w.ext.Stderr = log, log
	if err := w.ext.Start(); err != nil {
		return 0, err
	}
	w.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(w.ext, w.ended)
	if err := w.host.WaitForExtension(ctx, extensionName); err != nil {
		return 0, err
	}
	err = w.wait("a capture", func() bool {
		rows, err := w.query("SELECT state FROM cipherlens_coverage WHERE name = 'capture'")
		return err == nil && len(rows) == 1 && rows[0]["state"] == "ok"
	})
	return time.Since(began), err
}

func (w *fieldwork) query(sql string) ([]map[string]string, error) {
	return core{socket: w.socket}.query(sql)
}

// end ends the extension as osqueryd does.
func (w *fieldwork) end() error {
	if err := w.ext.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-w.ended:
		return err
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("SIGTERM does not end it"), w.ext.Process.Kill())
	}
}

func (w *fieldwork) wait(what string, there func() bool) error {
	for range 300 {
		if there() {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("no sign of " + what)
}

// findings counts lines of the detection in osquery's log.
func (w *fieldwork) findings() int {
	f, err := os.Open(filepath.Join(w.dir, "osqueryd.results.log"))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		var line struct{ Name, Action string }
		if json.Unmarshal(s.Bytes(), &line) == nil && strings.HasSuffix(line.Name, "detection") {
			n++
		}
	}
	return n
}

// resident gives what proc_pid_status(5) says of a process's memory.
func resident(pid int) (string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") || strings.HasPrefix(line, "RssFile") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, ", "), err
}

// sockets lists the sockets that a process has, by what the kernel says of each inode in /proc/<pid>/net: protocol, and for the Internet's the state.
func sockets(pid int) ([]string, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	own, err := socketInodes(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for table, column := range map[string]int{"tcp": 9, "tcp6": 9, "udp": 9, "udp6": 9, "raw": 9, "raw6": 9, "unix": 6, "netlink": 9, "packet": 8} {
		text, err := os.ReadFile(dir + "/net/" + table)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > column && own[fields[column]] {
				delete(own, fields[column])
				found = append(found, table)
			}
		}
	}
	still, err := socketInodes(dir) // what is open no more may have been closed before its table was read
	for inode := range own {
		if still[inode] {
			found = append(found, "unknown:"+inode)
		}
	}
	return found, err
}

// socketInodes are those of a process's open sockets; dir is its own in /proc.
func socketInodes(dir string) (map[string]bool, error) {
	files, err := os.ReadDir(dir + "/fd")
	inodes := map[string]bool{}
	for _, f := range files {
		link, err := os.Readlink(dir + "/fd/" + f.Name())
		if err != nil {
			continue
		}
		if m := socketLink.FindStringSubmatch(link); m != nil {
			inodes[m[1]] = true
		}
	}
	return inodes, err
}

var socketLink = regexp.MustCompile(`^socket:\[(\d+)\]$`)

// TestRestart: a finding that was logged before the extension is started again is not logged again after it, neither from what it took over nor from the next
// flow of the same program; and what the extension does at its start and end, and has open meanwhile, is what was promised.
func TestRestart(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and iproute2")
	}
	dir := socketDir(t)
	cmd := exec.CommandContext(t.Context(), "restarted.ext", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	text, err := cmd.CombinedOutput()
	out := string(text)
	log, _ := os.ReadFile(filepath.Join(dir, "ext.log"))
	require.NoError(t, err, "%s\n%s", out, log)
	require.Contains(t, out, "findings: 1\n", "%s\n%s", out, log)
	require.Regexp(t, `after the restart: \[map\[path:.*implant.ext pid:\d+ remote_address:203.0.113.7 verdict:tls_mimic\]\]`, out)
	require.Contains(t, out, "flows of the finding: 2\n", "the first, and the implant's next one")
	require.Contains(t, out, "left behind: []\n")
	for _, what := range []string{"capturing after ", "ended after "} {
		_, rest, _ := strings.Cut(out, what)
		took, err := time.ParseDuration(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
		require.NoError(t, err, out)
		require.Less(t, took, 2*time.Second, what)
		t.Log(what, took)
	}
	_, rest, _ := strings.Cut(out, "sockets: ")
	own := strings.SplitN(rest, "\n", 2)[0]
	require.Contains(t, own, "unix")
	require.Contains(t, own, "packet")
	for _, never := range []string{"tcp", "udp", "raw", "unknown"} {
		require.NotContains(t, own, never, "no listener and no connection of its own")
	}
	require.Contains(t, out, "1 taken over from the run before")
	var kib int
	_, rest, _ = strings.Cut(out, "resident: ")
	_, err = fmt.Sscanf(rest, "VmRSS: %d kB", &kib)
	require.NoError(t, err, out)
	require.Less(t, kib, 64<<10, "resident memory of a quiet host's extension")
	t.Log(strings.SplitN(rest, "\n", 2)[0])
	if !strings.Contains(out, "operation not supported") { // as a build with cgo says
		require.Contains(t, out, "coverage: ok given up: ")
		require.NotContains(t, out, "not given up")
	}
}

// TestExtensionWithoutRoot: it answers, and says that it is blind and why.
func TestExtensionWithoutRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	const nobody = 65534
	c := embedded(t, nil)
	dir := filepath.Dir(c.socket)
	require.NoError(t, os.Chown(dir, nobody, nobody))
	require.NoError(t, os.Chown(c.socket, nobody, nobody))
	self, err := os.Executable()
	require.NoError(t, err)
	program, err := os.ReadFile(self)
	require.NoError(t, err)
	name := filepath.Join(dir, "cipherlens.ext") // testscript goes by the name; the test's own folder may be closed to others
	require.NoError(t, os.WriteFile(name, program, 0o755))
	cmd := exec.CommandContext(t.Context(), name, "--socket", c.socket, "--timeout", "10", "--interval", "3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Env = []string{"CIPHERLENS_CONFIG=" + filepath.Join(dir, "none.yaml"), "PATH=/usr/bin:/bin"}
	cmd.Dir = dir
	log := &safeBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	states := map[string]string{}
	require.Eventually(t, func() bool {
		rows, err := c.query("SELECT name, state FROM cipherlens_coverage")
		for _, row := range rows {
			states[row["name"]] = row["state"]
		}
		return err == nil && states["root"] != ""
	}, 20*time.Second, 50*time.Millisecond, log)
	require.Equal(t, "blind", states["root"])
	require.Equal(t, "blind", states["capture"])
	require.Equal(t, "ok", states["alerts"], "there is nothing to keep")
	require.Equal(t, "ok", states["socket"])
	require.NoError(t, os.Chmod(dir, 0o777))
	rows, err := c.query("SELECT state, error FROM cipherlens_coverage WHERE name = 'socket'")
	require.NoError(t, err)
	require.Equal(t, "degraded", rows[0]["state"])
	require.Contains(t, rows[0]["error"], "writable by others")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-ended, log)
	require.NotContains(t, log.String(), "panic")
}
