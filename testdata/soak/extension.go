//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// core is osqueryd's part, with the real extension.
type core struct {
	host *sqlhost.Host
	cmd  *exec.Cmd
	log  lockedBuffer
}

// lockedBuffer keeps what the extension logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings: of new random bytes every few seconds the default threshold leaves out one or two in a thousand by what it means, so that a soak of
// 600 alerts would miss one as often as not. Here a miss is to say that something was lost.
const settings = "payload_entropy_threshold: 0.99999\n"

func startExtension(ctx context.Context, program, socket string) (*core, error) {
	file := filepath.Join(filepath.Dir(socket), "settings.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	host, err := sqlhost.New(ctx, sqlhost.Options{Platform: "linux"})
	if err != nil {
		return nil, err
	}
	if err := host.Serve(socket); err != nil {
		return nil, err
	}
	c := &core{host: host, cmd: exec.Command(program, "--socket", socket, "--timeout", "10", "--interval", "3", "--state", filepath.Join(filepath.Dir(socket), "alerts"))}
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	c.cmd.Env = append(os.Environ(), "CIPHERLENS_CONFIG="+file)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := host.WaitForExtension(ctx, "cipherlens"); err != nil {
		c.end()
		return nil, fmt.Errorf("%w: %s", err, c.log.String())
	}
	return c, nil
}

// end tells the extension to end, and makes it.
func (c *core) end() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	ended := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait()
	ended.Stop()
	_ = c.host.Close()
}

func (c *core) query(ctx context.Context, sql string) ([]map[string]string, error) {
	result, err := c.host.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", sql, err, c.log.String())
	}
	return result.Maps(), nil
}

// usage is what a process has used.
type usage struct {
	cpu                        time.Duration // user and system
	resident, anonymous, files int64         // bytes
}

// used reads /proc/<pid>/stat and status.
func used(pid int) (usage, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var u usage
	for _, n := range []int{11, 12} { // utime, stime: proc_pid_stat(5)
		ticks, err := strconv.ParseInt(fields[n], 10, 64)
		if err != nil {
			return usage{}, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // of other lines, nothing
		switch name {
		case "VmRSS":
			u.resident = kib << 10
		case "RssAnon":
			u.anonymous = kib << 10
		case "RssFile", "RssShmem":
			u.files += kib << 10
		}
	}
	return u, nil
}
