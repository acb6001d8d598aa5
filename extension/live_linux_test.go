package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The host that the made-up implant talks to (RFC 5737), in a network namespace of the test's own.
const (
	implantFrom = "192.0.2.10"
	implantTo   = "203.0.113.7:443"
)

// fakeRecords sends what looks like TLS application data, without any handshake, and takes as much.
func fakeRecords(c net.Conn) error {
	record := make([]byte, 5+200)
	copy(record, "\x17\x03\x03")
	binary.BigEndian.PutUint16(record[3:], 200)
	if _, err := rand.Read(record[5:]); err != nil {
		return err
	}
	if _, err := c.Write(record); err != nil {
		return err
	}
	_, err := io.ReadFull(c, record)
	return err
}

// implant talks to the server of inNamespace.
func implant() error {
	c, err := net.Dial("tcp", implantTo)
	if err != nil {
		return err
	}
	for range 10 {
		if err := fakeRecords(c); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return c.Close()
}

// inNamespace makes the namespace's addresses, serves, starts the implant beside, and runs the pack live for a few seconds.
func inNamespace(logDir string) error {
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
	talked := make(chan error, 1)
	go func() {
		time.Sleep(time.Second)
		talked <- exec.Command("implant.ext").Run()
	}()
	if status := execute([]string{"run", "--pack", "../packs/an0402.conf", "--pack", "../packs/an0401.conf", "--for", "8s", "--interval", "1s", "--log-dir", logDir}, os.Stdout, os.Stderr); status != 0 {
		return fmt.Errorf("run: status %d", status)
	}
	return <-talked
}

// TestLiveFinding: a process that pretends to talk TLS is a finding in osquery's log within seconds, with its pid and executable.
func TestLiveFinding(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and iproute2")
	}
	logs := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "namespace.ext", logs)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	results, err := os.ReadFile(filepath.Join(logs, "osqueryd.results.log"))
	require.NoError(t, err, "%s", out)
	implant, err := exec.LookPath("implant.ext")
	require.NoError(t, err)
	require.Regexp(t, `"name":"pack_an0402_detection".*"path":"`+implant+`",.*"pid":"[1-9]\d*".*"remote_address":"203.0.113.7".*"verdict":"tls_mimic"`, string(results))
	require.Regexp(t, `"name":"pack_an0401_detection".*"path":"`+implant+`",.*"severity":"(high|medium)"`, string(results))
	require.Contains(t, string(out), "2 findings.", "one of each pack")
}
