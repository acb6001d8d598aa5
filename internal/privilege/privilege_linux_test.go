package privilege

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestMain is also the program that gives its rights up and says what it still can.
func TestMain(m *testing.M) {
	if folder := os.Getenv("PRIVILEGE_FOLDER"); folder != "" {
		confined(folder)
		return
	}
	if folder := os.Getenv("PRIVILEGE_OFFLINE"); folder != "" {
		reader(folder)
		return
	}
	os.Exit(m.Run())
}

// confined gives everything up and tries.
func confined(folder string) {
	pid := os.Getpid()
	if os.Getenv(marker) == "" {
		_ = os.Setenv("PRIVILEGE_PID", fmt.Sprint(pid))
	}
	problem := Confine([]string{folder, folder + "/none"})
	report := Drop()
	tried := map[string]string{"confine": fmt.Sprint(problem), "pid kept": fmt.Sprint(fmt.Sprint(pid) == os.Getenv("PRIVILEGE_PID")), "report": report.String()}
	for name, f := range attempts(folder) {
		tried[name] = fmt.Sprint(f())
	}
	tried["in all threads"] = fmt.Sprint(inThreads(attempts(folder)["write outside"]))
	tried["status"] = status()
	_ = json.NewEncoder(os.Stdout).Encode(tried)
}

// attempts are what a confined program must not, and must, be able to do. They change nothing of the host's where they succeed.
func attempts(folder string) map[string]func() error {
	write := func(path string) func() error {
		return func() error { return os.WriteFile(path, []byte("x"), 0o600) }
	}
	openToWrite := func(path string) func() error {
		return func() error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_ = f.Close()
			}
			return err
		}
	}
	outside := filepath.Join(os.Getenv("PRIVILEGE_OUTSIDE"), "file")
	socket := func(family, kind int) func() error {
		return func() error {
			fd, err := unix.Socket(family, kind, 0)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		}
	}
	other := "/proc/" + os.Getenv("PRIVILEGE_OTHER")
	return map[string]func() error{
		"write in the folder": write(filepath.Join(folder, "file")),
		"write to /etc":       openToWrite("/etc/passwd"),
		"write outside":       write(outside),
		"write to /proc":      openToWrite("/proc/sys/kernel/printk_ratelimit"),
		"change a mode":       func() error { return os.Chmod(filepath.Dir(outside), 0o700) },
		"remount":             func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"start a program":     func() error { return exec.Command("/bin/true").Run() },
		"Internet socket":     socket(unix.AF_INET, unix.SOCK_STREAM),
		"IPv6 socket":         socket(unix.AF_INET6, unix.SOCK_DGRAM),
		"dial":                func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
		"listen":              func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
		"vsock":               socket(unix.AF_VSOCK, unix.SOCK_STREAM),
		"packet socket":       socket(unix.AF_PACKET, unix.SOCK_RAW),
		"netlink socket":      socket(unix.AF_NETLINK, unix.SOCK_RAW),
		"unix socket": func() error {
			l, err := net.Listen("unix", filepath.Join(folder, "s"))
			if err == nil {
				_ = l.Close()
			}
			return err
		},
		"another's files":       func() error { _, err := os.Readlink(other + "/fd/0"); return err },
		"another's program":     func() error { _, err := os.Readlink(other + "/exe"); return err },
		"a closed file":         func() error { _, err := os.ReadFile(filepath.Join(folder, "closed")); return err },
		"ptrace":                func() error { return unix.PtraceAttach(1<<22 + 1) }, // beyond all pids: ESRCH where it is allowed
		"become somebody else":  func() error { return unix.Setuid(12345) },
		"set the clock":         func() error { return unix.Settimeofday(&unix.Timeval{Usec: -1}) }, // no time: EINVAL where it is allowed
		"a raw Internet socket": socket(unix.AF_INET, unix.SOCK_RAW),
	}
}

// inThreads does f in many threads at once, new ones too, and gives the number of those in which it went well.
func inThreads(f func() error) int {
	var wait sync.WaitGroup
	var mu sync.Mutex
	well := 0
	for range 50 {
		wait.Go(func() {
			runtime.LockOSThread() // never unlocked: each goroutine has a thread of its own
			if f() == nil {
				mu.Lock()
				well++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return well
}

func status() string {
	text, _ := os.ReadFile("/proc/self/status")
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp:") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, "\n")
}

func TestWhatIsLeft(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	folder, err := os.MkdirTemp("", "cl") // short: a socket is in it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	closed := filepath.Join(folder, "closed")
	require.NoError(t, os.WriteFile(closed, nil, 0))
	require.NoError(t, os.Chown(closed, 65534, 65534))
	other := exec.CommandContext(t.Context(), "sleep", "60") // another user's process
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "PRIVILEGE_FOLDER="+folder, "PRIVILEGE_OUTSIDE="+t.TempDir(), fmt.Sprint("PRIVILEGE_OTHER=", other.Process.Pid))
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(t, cmd.Run(), "%s", problems.String())
	var got map[string]string
	require.NoError(t, json.Unmarshal(out.Bytes(), &got), "%s", out.String())
	if strings.Contains(got["report"], "not given up: ") && strings.Contains(got["report"], "capabilities (operation not supported)") {
		t.Skip("built with cgo: rights of all threads cannot be changed") // releases are built without
	}
	const ok = "<nil>"
	want := map[string]string{
		"confine": ok, "pid kept": "true", "in all threads": "0",
		"write in the folder": ok, "packet socket": ok, "netlink socket": ok, "unix socket": ok, "another's files": ok, "another's program": ok, "a closed file": ok,
		"write to /etc": "read-only file system", "write outside": "read-only file system", "write to /proc": "read-only file system",
		"change a mode": "read-only file system",
	}
	for name := range attempts(folder) {
		if want[name] == "" {
			want[name] = "operation not permitted"
		}
	}
	for name, what := range want {
		if what == ok || name == "pid kept" || name == "in all threads" {
			require.Equal(t, what, got[name], "%s: %s", name, got["report"])
		} else {
			require.Contains(t, got[name], what, name)
		}
	}
	// capabilities(7): 1<<2 DAC_READ_SEARCH, 1<<13 NET_RAW, 1<<19 SYS_PTRACE; SECCOMP_MODE_FILTER is 2.
	require.Equal(t, "CapInh: 0000000000000000\nCapPrm: 0000000000082004\nCapEff: 0000000000082004\nCapBnd: 0000000000082004\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2",
		got["status"])
	require.Contains(t, got["report"], "kept: cap_dac_read_search, cap_net_raw, cap_sys_ptrace")
	require.NotContains(t, got["report"], "not given up")
}

// reader is a program that only reads.
func reader(folder string) {
	tried := map[string]string{"offline": fmt.Sprint(Offline([]string{folder, folder + "/none"}))}
	all := attempts(folder)
	for _, name := range []string{"write in the folder", "write to /etc", "write outside", "start a program", "dial", "listen", "IPv6 socket"} {
		tried[name] = fmt.Sprint(all[name]())
	}
	_, err := os.ReadFile("/etc/passwd")
	tried["read"] = fmt.Sprint(err)
	tried["in all threads"] = fmt.Sprint(inThreads(attempts(folder)["write outside"]))
	_ = json.NewEncoder(os.Stdout).Encode(tried)
}

func TestReaderOfWhatOthersMade(t *testing.T) {
	t.Parallel()
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		t.Skipf("Landlock version %d: %v", version, errno)
	}
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "PRIVILEGE_OFFLINE="+folder, "PRIVILEGE_OUTSIDE="+t.TempDir())
	out, err := cmd.Output()
	require.NoError(t, err)
	var got map[string]string
	require.NoError(t, json.Unmarshal(out, &got), "%s", out)
	for name, want := range map[string]string{
		"offline": "<nil>", "read": "<nil>", "write in the folder": "<nil>", "in all threads": "0", "write to /etc": "permission denied", "write outside": "permission denied",
		"start a program": "denied", "dial": "not permitted", "listen": "not permitted", "IPv6 socket": "not permitted",
	} {
		require.Contains(t, got[name], want, name)
	}
}

// TestFilter runs the filter in x/net's virtual machine, for the architecture that it is not tried on too. Numbers are those of the system call
// tables of Linux for amd64.
func TestFilter(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("numbers of amd64")
	}
	vm, err := bpf.NewVM(program(architectures["amd64"]))
	require.NoError(t, err)
	const allow, refuse = 0x7fff0000, 0x50001
	for name, c := range map[string]struct {
		arch, number, argument uint32
		want                   int
	}{
		"read":                {0xc000003e, 0, 0, allow},
		"execve":              {0xc000003e, 59, 0, refuse},
		"execveat":            {0xc000003e, 322, 0, refuse},
		"a process by clone":  {0xc000003e, 56, 17, refuse},
		"fork":                {0xc000003e, 57, 0, refuse},
		"vfork":               {0xc000003e, 58, 0, refuse},
		"a thread":            {0xc000003e, 56, 0x50f00, allow},
		"clone3":              {0xc000003e, 435, 0, 0x50026},
		"AF_UNIX":             {0xc000003e, 41, 1, allow},
		"AF_NETLINK":          {0xc000003e, 41, 16, allow},
		"AF_PACKET":           {0xc000003e, 41, 17, allow},
		"AF_INET":             {0xc000003e, 41, 2, refuse},
		"AF_INET6":            {0xc000003e, 41, 10, refuse},
		"io_uring":            {0xc000003e, 425, 0, refuse},
		"x32 execve":          {0xc000003e, 0x40000000 + 520, 0, refuse},
		"32 bits":             {0x40000003, 11, 0, refuse},
		"the last one of all": {0xc000003e, 462, 0, allow},
	} {
		// The virtual machine reads big-endian, as packets are; seccomp reads the machine's.
		var data [64]byte
		for at, v := range map[int]uint32{dataNumber: c.number, dataArch: c.arch, dataArgument: c.argument} {
			data[at], data[at+1], data[at+2], data[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		}
		got, err := vm.Run(data[:])
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}
