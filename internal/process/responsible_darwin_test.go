package process

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestResponsibleLive: the system's own function is found, and names a live process for this one and for its child.
func TestResponsibleLive(t *testing.T) {
	t.Parallel()
	raw, err := askResponsible(os.Getpid())
	require.NoError(t, err, "libSystem has the function")
	require.Positive(t, raw)
	require.NotErrorIs(t, unix.Kill(raw, 0), unix.ESRCH, "%d is not alive", raw)

	self, err := Get(os.Getpid())
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), "/bin/sleep", "30")
	require.NoError(t, child.Start())
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	started, err := Get(child.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, Responsibility().Err)
	if os.Geteuid() != 0 && self.Responsible == nil {
		t.Skipf("%d is responsible, of which only root learns when it started", raw)
	}
	require.NotNil(t, self.Responsible, "%+v", Responsibility())
	require.Equal(t, raw, self.Responsible.PID)
	require.NotEmpty(t, self.Responsible.Path)
	require.NotNil(t, started.Responsible)
	require.Equal(t, self.Responsible.PID, started.Responsible.PID, "a child inherits it")
}

// TestResponsibleOfNobody: a pid that no process has is answered for by nobody.
func TestResponsibleOfNobody(t *testing.T) {
	t.Parallel()
	raw, err := askResponsible(99_999_999)
	require.NoError(t, err)
	require.LessOrEqual(t, raw, 0)
}
