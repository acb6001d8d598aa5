package process

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeHost is a kernel whose sockets and processes change only when a test says so. It shows them as /proc does.
type fakeHost struct {
	t      *testing.T
	proc   string
	socket uint32 // of the flow that is asked for; 0 is none
	owners owners
	ticks  uint64
	thread int // a number that is a thread's
}

func newFakeHost(t *testing.T) *fakeHost {
	t.Helper()
	h := &fakeHost{t: t, proc: t.TempDir(), ticks: 200}
	h.owners = owners{
		diag: h, known: map[uint32]holder{}, now: func() uint64 { return h.ticks },
		proc:   func(pid int) (procDir, error) { return openFolder(filepath.Join(h.proc, strconv.Itoa(pid))) },
		leads:  func(pid int) bool { return pid != h.thread },
		likely: newAllowance(1, time.Now()), walks: newAllowance(1, time.Now()),
	}
	last, err := lastPID()
	require.NoError(t, err)
	h.owners.young.last = last
	return h
}

func (h *fakeHost) find(uint8, netip.AddrPort, netip.AddrPort) (socketInfo, bool) {
	return socketInfo{inode: h.socket}, h.socket != 0
}

func (h *fakeHost) close() error { return nil }

// run has a process with open sockets run, or one that runs have others.
func (h *fakeHost) run(pid, parent int, start uint64, sockets ...uint32) {
	h.t.Helper()
	dir := filepath.Join(h.proc, strconv.Itoa(pid))
	require.NoError(h.t, os.RemoveAll(dir))
	require.NoError(h.t, os.MkdirAll(filepath.Join(dir, "fd"), 0o700))
	stat := fmt.Sprintf("%d (program) S %d%s %d 0 0\n", pid, parent, strings.Repeat(" 0", 17), start)
	require.NoError(h.t, os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600))
	require.NoError(h.t, os.WriteFile(filepath.Join(dir, "cgroup"), nil, 0o600))
	require.NoError(h.t, os.Symlink(fmt.Sprintf("/opt/program%d", pid), filepath.Join(dir, "exe")))
	for i, inode := range sockets {
		require.NoError(h.t, os.Symlink(fmt.Sprintf("socket:[%d]", inode), filepath.Join(dir, "fd", strconv.Itoa(3+i))))
	}
}

func (h *fakeHost) ends(pid int) {
	h.t.Helper()
	require.NoError(h.t, os.RemoveAll(filepath.Join(h.proc, strconv.Itoa(pid))))
}

// starts tells the owners of new processes, the youngest last.
func (h *fakeHost) starts(pids ...int) {
	for _, pid := range pids {
		h.owners.young.list = append(h.owners.young.list, youth{pid: pid, seen: time.Now()})
	}
}

// ask asks once and says who it is: program and pid must be of one process.
func (h *fakeHost) ask(q *Question) (pid int, answer Answer) {
	h.t.Helper()
	o := &h.owners
	found, answer := o.find(q, false)
	if answer == Found {
		require.Equal(h.t, fmt.Sprintf("/opt/program%d", found.pid), found.path)
	}
	return found.pid, answer
}

func outbound() *Question { return &Question{Protocol: protocolTCP, Outbound: true} }

// TestPortsUsedAgain: a flow's process is gone when it is asked for again, and another one has a socket with the same ends by then.
func TestPortsUsedAgain(t *testing.T) {
	t.Parallel()
	h := newFakeHost(t)
	q := outbound()
	h.socket = 5
	_, answer := h.ask(q)
	require.Equal(t, Later, answer, "who has it is not known yet")
	h.socket = 6
	h.run(20, 1, 150, 6)
	h.starts(20)
	_, answer = h.ask(q)
	require.Equal(t, Doubtful, answer)
	require.EqualValues(t, 1, h.owners.counts.Doubtful)
	require.Zero(t, h.owners.counts.Found)
	pid, answer := h.ask(outbound())
	require.Equal(t, []any{20, Found}, []any{pid, answer}, "the other one's own flow")
}

// TestGoneBeforeTheFirstLook: a socket that came after the first look is not the one that began the flow; one that was accepted meanwhile is.
func TestGoneBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	for inbound, want := range map[bool]Answer{false: Doubtful, true: Found} {
		h := newFakeHost(t)
		q := &Question{Protocol: protocolTCP, Outbound: !inbound}
		_, answer := h.ask(q)
		require.Equal(t, NoSocket, answer)
		h.socket = 6
		h.run(20, 1, 300, 6)
		h.starts(20)
		_, answer = h.ask(q)
		require.Equal(t, want, answer)
	}
}

// TestInherited: of a process and its child that have the same socket, the one that was there when the flow began has begun it.
func TestInherited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		child  uint64 // when it started
		parent bool   // it is still there
		want   int
	}{
		"the child is younger than the flow":         {300, true, 10},
		"and the parent gone":                        {300, false, 11},
		"the child was there before the flow, maybe": {200, true, 11},
	} {
		h := newFakeHost(t)
		q := outbound()
		h.socket = 5
		_, answer := h.ask(q)
		require.Equal(t, Later, answer, name)
		h.run(9, 1, 50)
		if c.parent {
			h.run(10, 9, 100, 4, 5)
		}
		h.run(11, 10, c.child, 5)
		h.starts(11)
		pid, answer := h.ask(q)
		require.Equal(t, []any{c.want, Found}, []any{pid, answer}, name)
	}
}

// TestSocketNumberUsedAgain: a process that had a socket is not taken for its owner once another one's has its number.
func TestSocketNumberUsedAgain(t *testing.T) {
	t.Parallel()
	h := newFakeHost(t)
	h.run(10, 1, 100, 8, 5)
	h.owners.known[7] = holder{pid: 10, start: 100, fd: 3, path: "/opt/program10"} // met on the way to another
	h.run(12, 1, 150, 7)
	h.starts(12)
	h.socket = 7
	pid, answer := h.ask(outbound())
	require.Equal(t, []any{12, Found}, []any{pid, answer})
	require.Equal(t, 12, h.owners.known[7].pid)

	h.run(12, 1, 150, 1, 2, 7) // it has it under another number now
	pid, answer = h.ask(outbound())
	require.Equal(t, []any{12, Found}, []any{pid, answer})
	h.run(12, 1, 151, 7) // another process with its number, that has a socket with that number
	pid, answer = h.ask(outbound())
	require.Equal(t, []any{12, Found}, []any{pid, answer}, "found anew")
}

// TestThreadWithAKnownNumber: a number that was a process's may be a thread's by now, which shows its process's files.
func TestThreadWithAKnownNumber(t *testing.T) {
	t.Parallel()
	h := newFakeHost(t)
	h.thread = 13
	h.run(13, 1, 150, 5) // a thread of 14
	h.run(14, 1, 150, 5)
	h.socket = 5
	h.starts(14, 13)
	pid, answer := h.ask(outbound())
	require.Equal(t, []any{14, Found}, []any{pid, answer})

	h = newFakeHost(t)
	h.thread = 13
	h.run(13, 1, 150, 5)
	h.owners.recent = []int{13}
	h.socket = 5
	_, answer = h.ask(outbound())
	require.Equal(t, Later, answer)
	require.Empty(t, h.owners.recent)
}

// TestEnding: a process that was met before and is ending now, with its files and program closed already, is still named.
func TestEnding(t *testing.T) {
	t.Parallel()
	h := newFakeHost(t)
	h.owners.known[7] = holder{pid: 10, start: 100, fd: 3, path: "/opt/program10"}
	h.run(10, 1, 100)
	require.NoError(t, os.Remove(filepath.Join(h.proc, "10", "exe")))
	h.socket = 7
	pid, answer := h.ask(outbound())
	require.Equal(t, []any{10, Found}, []any{pid, answer})
	h.ends(10)
	_, answer = h.ask(outbound())
	require.Equal(t, Later, answer)
}
