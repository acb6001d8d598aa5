package process

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The program of a process that runs may be gone: its path is still the one it was started by.
func TestGetDeletedProgram(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	b, err := os.ReadFile(sleep)
	require.NoError(t, err)
	path := t.TempDir() + "/gone"
	require.NoError(t, os.WriteFile(path, b, 0o755))
	c := exec.Command(path, "60")
	require.NoError(t, c.Start())
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	require.Eventually(t, func() bool { p, err := Get(c.Process.Pid); return err == nil && p.Path == path }, 5*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(path))
	p, err := Get(c.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, path, p.Path)
}

// Lines from proc_pid_stat(5) and systemd.
func TestParseStat(t *testing.T) {
	t.Parallel()
	tail := " S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2"
	tests := []struct {
		line string
		want stat
		err  string
	}{
		{"12 (cat)" + tail, stat{"cat", 7, 4242}, ""},
		{"12 (a) S 1 (b)" + tail, stat{"a) S 1 (b", 7, 4242}, ""},
		{"12 ()" + tail, stat{"", 7, 4242}, ""},
		{"12 cat" + tail, stat{}, "no name"},
		{"12 )cat(" + tail, stat{}, "no name"},
		{"12 (cat) S 7 1", stat{}, "3 fields"},
		{"12 (cat)" + strings.Replace(tail, "S 7", "S x", 1), stat{}, "parent"},
		{"12 (cat)" + strings.Replace(tail, "4242", "-1", 1), stat{}, "start time"},
	}
	for _, tt := range tests {
		got, err := parseStat([]byte(tt.line))
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err, tt.line)
			continue
		}
		require.NoError(t, err, tt.line)
		require.Equal(t, tt.want, got)
	}
}

func TestServiceOf(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]string{
		"0::/system.slice/ssh.service\n":                                                     "ssh.service",
		"0::/system.slice/system-getty.slice/getty@tty1.service\n":                           "getty@tty1.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service/payload\n": "app-x.service",
		"0::/user.slice/user-1000.slice/session-3.scope\n":                                   "",
		"12:pids:/init.scope\n1:name=systemd:/system.slice/cron.service\n0::/\n":             "cron.service",
		"0::/\n": "", "": "", "0::\n": "", "nonsense": "",
	} {
		require.Equal(t, want, serviceOf(group), group)
	}
}

func TestRealUID(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]int{
		"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\n": 1000, "Name:\tx\n": -1, "Name:\tx\nUid:": -1, "": -1, "Name:\tx\nUid:\tme\n": -1,
	} {
		require.Equal(t, want, realUID([]byte(status)), status)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (cat) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil {
			require.Contains(t, string(b), "("+s.name+")")
		}
	})
}
