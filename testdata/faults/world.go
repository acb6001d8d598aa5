package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	osquery "github.com/osquery/osquery-go"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// Where the implants go: so many addresses, so many ports each, so that each goes where none went before.
const (
	hosts     = 250
	firstPort = 8443
	ports     = 8
)

// answerLimit is how long an answer may take, whatever is broken.
const answerLimit = 5 * time.Second

// world is a small host: a stand-in for osqueryd and the extension as processes, traffic of a made-up implant, and the files they read.
type world struct {
	extension string // the program
	dir       string
	socket    string
	config    string
	state     string // a file system of its own, so that it can be full
	servers   []net.Listener

	osqueryd, ext *child
	starts        int
	next          int                  // the next implant's number
	judged        map[string]time.Time // remote_address:remote_port of findings, and when they were first seen in the table
}

// child is a process that the campaign started.
type child struct {
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// tail keeps the end of what a process wrote.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 1<<20 {
		t.b = bytes.Clone(t.b[len(t.b)-1<<19:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func start(env []string, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(name, args...), log: &tail{}, done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = c.cmd.Wait(); close(c.done) }()
	return c, nil
}

func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.done
}

// standIn plays osqueryd on a socket until it is ended.
func standIn(socket string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	host, err := sqlhost.New(ctx, sqlhost.Options{})
	if err != nil {
		return err
	}
	if err := host.Serve(socket); err != nil {
		return err
	}
	<-ctx.Done()
	return host.Close()
}

func newWorld(extension string) (*world, error) {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return nil, err
	}
	w := &world{extension: extension, dir: dir, socket: filepath.Join(dir, "em"), config: filepath.Join(dir, "etc", "config.yaml"), state: filepath.Join(dir, "state"), judged: map[string]time.Time{}}
	for _, d := range []string{filepath.Join(dir, "etc", "allowlist.d"), w.state} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := syscall.Mount("tmpfs", w.state, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil { // of the process namespace
		return nil, fmt.Errorf("mount: %w", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", "192.0.2.10/32", "dev", "lo"}, {"addr", "add", "203.0.113.0/24", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	for i := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", firstPort+i))
		if err != nil {
			return nil, err
		}
		w.servers = append(w.servers, l)
		go serve(l)
	}
	if err := w.goodFiles(); err != nil {
		return nil, err
	}
	return w, w.rebuild()
}

func (w *world) close() {
	for _, c := range []*child{w.ext, w.osqueryd} {
		if c != nil && c.alive() {
			c.signal(syscall.SIGCONT)
			c.kill()
		}
	}
	for _, l := range w.servers {
		_ = l.Close()
	}
	_ = syscall.Unmount(w.state, syscall.MNT_DETACH)
	_ = os.RemoveAll(w.dir)
}

// goodFiles writes settings and a rule that are right.
func (w *world) goodFiles() error {
	return errors.Join(
		os.WriteFile(w.config, []byte("traffic_asymmetry_ratio: 4.0\n"), 0o600),
		os.WriteFile(filepath.Join(w.dir, "etc", "allowlist.d", "rule.yaml"), []byte("rules:\n  - name: approved\n    path: /proc/self/exe\n    ports: [1]\n    approved_by: nobody\n    reason: a rule that must stay\n"), 0o600))
}

// rebuild brings everything up that is not.
func (w *world) rebuild() error {
	if err := w.ensureOsqueryd(); err != nil {
		return err
	}
	return w.ensureExtension()
}

func (w *world) ensureOsqueryd() (err error) {
	if w.osqueryd != nil && w.osqueryd.alive() {
		return nil
	}
	_ = os.Remove(w.socket)
	if w.osqueryd, err = start(nil, "/proc/self/exe", "osqueryd", w.socket); err != nil {
		return err
	}
	return within(10*time.Second, "osqueryd's socket", func() error {
		_, err := w.query("SELECT 1 AS one")
		return err
	})
}

// ensureExtension does what osqueryd's watcher does: it starts the extension again where it has ended; then it waits for the first answer.
func (w *world) ensureExtension() error {
	return within(30*time.Second, "the extension", func() (err error) {
		if w.ext == nil || !w.ext.alive() {
			if w.ext != nil && crashed.MatchString(w.ext.log.String()) {
				return fmt.Errorf("it crashed: %s", w.ext.log)
			}
			w.starts++
			if w.ext, err = start([]string{"CIPHERLENS_CONFIG=" + w.config}, w.extension, "--socket", w.socket, "--state", filepath.Join(w.state, "alerts"), "--timeout", "3", "--interval", "3", "--verbose"); err != nil {
				return err
			}
		}
		rows, err := w.coverage()
		if err == nil && rows["capture"]["state"] == "blind" {
			err = errors.New("it does not capture yet")
		}
		return err
	})
}

// crashed is what a Go program says that did not end by itself.
var crashed = regexp.MustCompile(`(?m)^(panic: |fatal error: |SIG[A-Z]+: )`)

// within repeats f until it gives no error.
func within(limit time.Duration, what string, f func() error) error {
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: not within %v: %w", what, limit, err)
}

// query asks the stand-in, as osqueryi's clients do.
func (w *world) query(sql string) ([]map[string]string, error) {
	client, err := osquery.NewClient(w.socket, answerLimit)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	return client.QueryRowsContext(ctx, sql)
}

// coverage gives the coverage rows by name.
func (w *world) coverage() (map[string]map[string]string, error) {
	rows, err := w.query("SELECT name, state, detail, count, error FROM cipherlens_coverage")
	if err != nil {
		return nil, err
	}
	byName := map[string]map[string]string{}
	for _, row := range rows {
		byName[row["name"]] = row
	}
	return byName, nil
}

// alerts gives the findings in the table.
func (w *world) alerts() (map[string]bool, error) {
	rows, err := w.query("SELECT remote_address, remote_port FROM socket_tls_conformance WHERE verdict = 'random' AND direction = 'outbound'")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, row := range rows {
		found[row["remote_address"]+":"+row["remote_port"]] = true
	}
	return found, nil
}

// serve echoes.
func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.Copy(c, c)
		}()
	}
}

// implant has a made-up implant talk to an address that none talked to before, and gives that.
func (w *world) implant() (string, error) {
	w.next++
	to := fmt.Sprintf("203.0.113.%d:%d", 1+w.next%hosts, firstPort+w.next/hosts%ports)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10)}, Timeout: time.Second}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	message := make([]byte, 600)
	if _, err = rand.Read(message); err == nil {
		_, err = c.Write(message)
	}
	if err == nil {
		_, err = io.ReadFull(c, message)
	}
	return to, err
}

// settled is how long a finding is in the table before it must outlive whatever happens: alerts are written down within a second or so, on a slow disk a little
// later, because writing may take a fiftieth of the time at most.
const settled = 5 * time.Second

// suffer lets an implant be found, breaks something, and checks what must hold. took is how long the first answer after the fault took.
func (w *world) suffer(f kind, random *mathrand.Rand) (took time.Duration, err error) {
	if err := w.find(); err != nil {
		return 0, fmt.Errorf("before it: %w", err)
	}
	time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
	struck := time.Now()
	verify, err := f.strike(w, random)
	if err != nil {
		return 0, fmt.Errorf("the fault itself: %w", err)
	}
	if !f.ends && !w.ext.alive() {
		return 0, fmt.Errorf("the extension ended: %s", lastLines(w.ext.log.String()))
	}
	if err := w.rebuild(); err != nil {
		return 0, err
	}
	began := time.Now()
	rows, err := w.coverage()
	took = time.Since(began)
	if err != nil {
		return took, fmt.Errorf("coverage: %w", err)
	}
	if verify != nil {
		if err := verify(rows); err != nil {
			return took, fmt.Errorf("coverage: %w (it said %v)", err, rows)
		}
	}
	return took, w.kept(struck.Add(-settled))
}

// find has an implant found. A busy machine may lose packets of one, so up to three try.
func (w *world) find() error {
	var err error
	for range 3 {
		if err = w.findOne(); err == nil {
			return nil
		}
	}
	return err
}

func (w *world) findOne() error {
	to, err := w.implant()
	if err != nil {
		return fmt.Errorf("implant: %w", err)
	}
	return within(8*time.Second, "the finding "+to, func() error {
		found, err := w.alerts()
		if err == nil && !found[to] {
			err = errors.New("not found yet")
		}
		w.note(found)
		return err
	})
}

// note remembers findings.
func (w *world) note(found map[string]bool) {
	for k := range found {
		if w.judged[k].IsZero() {
			w.judged[k] = time.Now()
		}
	}
}

// kept checks that no finding is lost that was there before a time.
func (w *world) kept(before time.Time) error {
	return within(answerLimit, "findings", func() error {
		found, err := w.alerts()
		if err != nil {
			return err
		}
		for k, since := range w.judged {
			if !found[k] && since.After(before) {
				delete(w.judged, k) // not written down yet when it happened
			} else if !found[k] {
				return fmt.Errorf("%s, which was found before, is lost; %d of %d are there", k, len(found), len(w.judged))
			}
		}
		return nil
	})
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
