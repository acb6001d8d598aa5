//go:build linux || darwin

package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sleeper starts a child that lives until the test ends.
func sleeper(t *testing.T, seconds string) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", seconds)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

func TestGetSelf(t *testing.T) {
	t.Parallel()
	p, err := Get(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), p.PID)
	require.Equal(t, os.Getppid(), p.PPID)
	require.Equal(t, os.Getuid(), p.UID)
	require.Equal(t, thisProgram(t), p.Path)
	require.Equal(t, os.Args, p.Args)
}

func TestGetChild(t *testing.T) {
	t.Parallel()
	before := time.Now()
	c := sleeper(t, "60.5")
	after := time.Now()
	require.Eventually(t, func() bool { // between fork and exec it is still us, and exec sets the name before the arguments
		p, err := Get(c.Process.Pid)
		return err == nil && p.Name == "sleep" && len(p.Args) > 0
	}, 5*time.Second, time.Millisecond)
	p, err := Get(c.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), p.PPID)
	require.Equal(t, []string{"sleep", "60.5"}, p.Args)
	require.GreaterOrEqual(t, p.StartTime, before.Unix()-2) // btime is cut to whole seconds
	require.LessOrEqual(t, p.StartTime, after.Unix()+2)
}

func TestGetGone(t *testing.T) {
	t.Parallel()
	c := exec.Command("true")
	require.NoError(t, c.Run())
	_, err := Get(c.Process.Pid)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Get(-1)
	require.ErrorIs(t, err, ErrNotFound)
}

// ps reads the same files by other code.
func TestListAgreesWithPS(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("no ps")
	}
	c := sleeper(t, "60")
	all, err := List(context.Background())
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(all, func(a, b Process) int { return a.PID - b.PID }))
	out, err := exec.Command("ps", "-e", "-o", "pid=,ppid=,ruid=,comm=").Output()
	require.NoError(t, err)
	want := map[int][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pid, err := strconv.Atoi(f[0])
		require.NoError(t, err)
		want[pid] = f
	}
	compared := 0
	for _, p := range all {
		if f, ok := want[p.PID]; ok && (p.PID == c.Process.Pid || p.PID == os.Getpid() || p.PID == 1) {
			require.Equal(t, f[1], strconv.Itoa(p.PPID))
			require.Equal(t, f[2], strconv.Itoa(p.UID))
			require.Equal(t, filepath.Base(f[3]), p.Name) // on macOS ps gives the path
			compared++
		}
	}
	require.Equal(t, 3, compared)
}

func TestListStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := List(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
