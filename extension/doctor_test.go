package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/process"
)

// fakeSource is a capture that shows what is sent to the discard port, or nothing.
type fakeSource struct {
	stats  capture.Stats
	shows  bool
	failed error
	conn   net.PacketConn
}

func (s *fakeSource) Next(p *capture.Packet) error {
	if s.failed != nil {
		return s.failed
	}
	if !s.shows || s.conn == nil {
		return capture.ErrTimeout
	}
	b := make([]byte, 200)
	_ = s.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _, err := s.conn.ReadFrom(b)
	if err != nil {
		return capture.ErrTimeout
	}
	*p = capture.Packet{Data: b[:n]}
	return nil
}

func (s *fakeSource) Stats() capture.Stats { return s.stats }

func (s *fakeSource) Close() error { return nil }

// fakeOwners says that p owns every socket.
type fakeOwners struct {
	p        process.Process
	ok       bool
	degraded string
}

func (o fakeOwners) Owner(uint8, netip.AddrPort, netip.AddrPort) (process.Process, bool) {
	return o.p, o.ok
}
func (o fakeOwners) Degraded() string { return o.degraded }
func (o fakeOwners) Close() error     { return nil }

// healthy is a host with nothing to mend.
func healthy(t *testing.T, goos string) (*doctor, fstest.MapFS) {
	t.Helper()
	files := fstest.MapFS{
		"proc/sys/kernel/osrelease": {Data: []byte("6.18.44-fc\n")},
		"etc/os-release":            {Data: []byte("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n")},
		"proc/self/status":          {Data: []byte("Name:\tx\nCapEff:\t000001ffffffffff\n")},
		"System/Library/CoreServices/SystemVersion.plist": {Data: []byte(`<?xml version="1.0"?><plist version="1.0"><dict>
			<key>ProductBuildVersion</key><string>24G84</string><key>ProductVersion</key><string>15.6</string></dict></plist>`)},
		protectedFile[1:]: {},
		"private/var/db/com.apple.backgroundtaskmanagement/BackgroundItems-v16.btm": {},
		"etc/osquery/extensions.load":   {Data: []byte("/usr/local/lib/other.ext\n/opt/cipherlens/cipherlens.ext\n")},
		"var/osquery/extensions.load":   {Data: []byte("/opt/cipherlens/cipherlens.ext\n")},
		"opt/cipherlens":                {Mode: fs.ModeDir | 0o755},
		"opt/cipherlens/cipherlens.ext": {Mode: 0o755},
		"etc/cipherlens":                {Mode: fs.ModeDir | 0o755},
		"var/lib/cipherlens":            {Mode: fs.ModeDir | 0o700},
		"var/lib":                       {Mode: fs.ModeDir | 0o755},
	}
	settings := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(settings, []byte("state_file: /var/lib/cipherlens/alerts\n"), 0o600))
	d := &doctor{
		goos: goos, pid: 4711, program: "/opt/cipherlens/cipherlens.ext", settings: config.NewStore(settings), socket: "/var/osquery/osquery.em",
		readFile: func(name string) ([]byte, error) { return files.ReadFile(name[1:]) },
		open:     func(name string) error { _, err := files.Open(name[1:]); return err },
		lstat:    func(name string) (fs.FileInfo, error) { return fs.Stat(files, strings.TrimPrefix(name, "/")) },
		owned:    func(fs.FileInfo) int { return 0 },
		glob: func(pattern string) ([]string, error) {
			names, err := fs.Glob(files, pattern[1:])
			for i := range names {
				names[i] = "/" + names[i]
			}
			return names, err
		},
		writeProbe: func(string) error { return nil },
		openCapture: func(capture.LiveOptions) (capture.Source, error) {
			return &fakeSource{stats: capture.Stats{Mode: capture.ModeAFPacket}, shows: true, conn: discard}, nil
		},
		openOwners: func() (socketOwners, error) {
			return fakeOwners{p: process.Process{PID: 4711, Path: "/opt/cipherlens/cipherlens.ext"}, ok: true}, nil
		},
		process: func(pid int) (process.Process, error) {
			if pid == 4711 {
				return process.Process{PID: 4711, Responsible: &process.Responsible{PID: 80, Path: "/opt/osquery/osqueryd"}}, nil
			}
			return process.Process{PID: 1, Path: "/sbin/launchd"}, nil
		},
		responsible: func() process.ResponsibleStats { return process.ResponsibleStats{} },
		jobs:        func(context.Context) (int, []error) { return 412, nil },
		rules:       func() (int, []error) { return 3, nil },
		findSocket:  func(p string) (string, error) { return p, nil },
		query: func(_ context.Context, _, sql string) ([]map[string]string, error) {
			switch {
			case strings.Contains(sql, "osquery_info"):
				return []map[string]string{{"version": "5.23.1"}}, nil
			case strings.Contains(sql, "osquery_extensions"):
				return []map[string]string{{"version": "0.1.0"}}, nil
			}
			return nil, nil
		},
		now: time.Now, built: time.Now().Add(-time.Hour),
	}
	return d, files
}

// discard stands for the capture: it gets what is sent to the discard port of loopback; nil where that is taken or not allowed.
var discard, _ = net.ListenPacket("udp", "127.0.0.1:9")

// said gives the diagnoses of one thing.
func said(all []diagnosis, what string) (found []diagnosis) {
	for _, d := range all {
		if d.What == what {
			found = append(found, d)
		}
	}
	return found
}

func TestDoctorHealthy(t *testing.T) {
	if discard == nil {
		t.Skip("the discard port of loopback is taken or not allowed")
	}
	for _, goos := range []string{linux, darwin} {
		d, _ := healthy(t, goos)
		for _, found := range d.examine(t.Context()) {
			require.Equal(t, stateOK, found.State, "%s: %+v", goos, found)
			require.Empty(t, found.Mend)
			require.NotEmpty(t, found.Detail)
		}
	}
}

// TestDoctorFinds: one thing wrong at a time, and what is said of it.
func TestDoctorFinds(t *testing.T) {
	if discard == nil {
		t.Skip("the discard port of loopback is taken or not allowed")
	}
	denied := &fs.PathError{Op: "open", Path: "/dev/bpf0", Err: syscall.EACCES}
	source := func(s capture.Stats) func(*doctor, fstest.MapFS) {
		return func(d *doctor, _ fstest.MapFS) {
			d.openCapture = func(capture.LiveOptions) (capture.Source, error) {
				return &fakeSource{stats: s, shows: true, conn: discard}, nil
			}
		}
	}
	owners := func(o fakeOwners) func(*doctor, fstest.MapFS) {
		return func(d *doctor, _ fstest.MapFS) { d.openOwners = func() (socketOwners, error) { return o, nil } }
	}
	query := func(part string, rows []map[string]string, err error) func(*doctor, fstest.MapFS) {
		return func(d *doctor, _ fstest.MapFS) {
			before := d.query
			d.query = func(ctx context.Context, socket, sql string) ([]map[string]string, error) {
				if strings.Contains(sql, part) {
					return rows, err
				}
				return before(ctx, socket, sql)
			}
		}
	}
	for name, c := range map[string]struct {
		goos   string
		change func(*doctor, fstest.MapFS)
		what   string
		state  string
		detail string
		mend   string
	}{
		"old kernel":          {linux, func(_ *doctor, f fstest.MapFS) { f["proc/sys/kernel/osrelease"].Data = []byte("2.6.32\n") }, "system", stateBlind, "no TPACKET_V3", "3.2"},
		"kernel before pidfd": {linux, func(_ *doctor, f fstest.MapFS) { f["proc/sys/kernel/osrelease"].Data = []byte("4.19.0\n") }, "system", stateDegraded, "threads", "5.3"},
		"old macOS": {darwin, func(_ *doctor, f fstest.MapFS) {
			f["System/Library/CoreServices/SystemVersion.plist"].Data = []byte(`<plist><dict><key>ProductVersion</key><string>10.15.7</string></dict></plist>`)
		}, "system", stateDegraded, "10.15.7", "macOS 12"},
		"another system":   {"windows", func(*doctor, fstest.MapFS) {}, "system", stateBlind, "windows", "capture files"},
		"no root on macOS": {darwin, func(d *doctor, _ fstest.MapFS) { d.euid = 501 }, "rights", stateBlind, "user 501", "as root"},
		"no capability": {linux, func(d *doctor, f fstest.MapFS) {
			d.euid = 1000
			f["proc/self/status"].Data = []byte("CapEff:\t0000000000000000\n")
		}, "rights", stateBlind, "CAP_NET_RAW", "as root"},
		"NET_RAW alone": {linux, func(_ *doctor, f fstest.MapFS) { f["proc/self/status"].Data = []byte("CapEff:\t0000000000002000\n") }, "rights", stateDegraded, "CAP_SYS_PTRACE", "as root"},
		"no capture": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.openCapture = func(capture.LiveOptions) (capture.Source, error) { return nil, denied }
		}, "capture", stateBlind, "permission denied", "run as root"},
		"all devices taken": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.openCapture = func(capture.LiveOptions) (capture.Source, error) {
				return nil, errors.New("capture: live: all 256 devices are in use")
			}
		}, "capture", stateBlind, "256", "lsof /dev/bpf*"},
		"no PKTAP":   {darwin, source(capture.Stats{Mode: capture.ModeBPF, Degraded: "no PKTAP (SIOCIFCREATE: x)"}), "capture", stateDegraded, "no PKTAP", "socket table"},
		"small ring": {linux, source(capture.Stats{Mode: capture.ModeAFPacket, Degraded: "no memory for a ring"}), "capture", stateDegraded, "no memory", "free memory"},
		"nothing seen": {linux, func(d *doctor, _ fstest.MapFS) {
			d.openCapture = func(capture.LiveOptions) (capture.Source, error) { return &fakeSource{}, nil }
			step := time.Now()
			d.now = func() time.Time { step = step.Add(time.Second); return step }
			d.built = time.Time{}
		}, "packet", stateBlind, "not seen", "content filter"},
		"capture ends": {linux, func(d *doctor, _ fstest.MapFS) {
			d.openCapture = func(capture.LiveOptions) (capture.Source, error) {
				return &fakeSource{failed: errors.New("gone")}, nil
			}
		}, "packet", stateBlind, "gone", "error"},
		"proxy owns us":  {darwin, owners(fakeOwners{p: process.Process{PID: 99, Path: "/usr/libexec/nesessionmanager"}, ok: true}), "owner", stateBlind, "nesessionmanager", "proxy"},
		"nobody owns us": {linux, owners(fakeOwners{}), "owner", stateBlind, "nobody", "security module"},
		"owner, no path": {linux, owners(fakeOwners{p: process.Process{PID: 4711}, ok: true}), "owner", stateDegraded, "path", "root"},
		"polling":        {linux, owners(fakeOwners{p: process.Process{PID: 4711, Path: "/x"}, ok: true, degraded: "new processes are polled for"}), "process events", stateDegraded, "polled", "CAP_NET_ADMIN"},
		"others hidden": {linux, func(d *doctor, _ fstest.MapFS) {
			d.process = func(int) (process.Process, error) { return process.Process{PID: 1}, nil }
		}, "processes", stateDegraded, "hidden", "root"},
		"nobody can be asked": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.responsible = func() process.ResponsibleStats {
				return process.ResponsibleStats{Err: errors.New("libSystem has no such function")}
			}
		}, "responsible process", stateDegraded, "coalition", "version of macOS"},
		"nobody answers for us": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.process = func(int) (process.Process, error) { return process.Process{PID: 4711, Path: "/x"}, nil }
		}, "responsible process", stateDegraded, "not known", "as root"},
		"no disk access": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.open = func(name string) error { return &fs.PathError{Op: "open", Path: name, Err: syscall.EPERM} }
		}, "full disk access", stateDegraded, "not given", "SystemPolicyAllFiles"},
		"no login items": {darwin, func(_ *doctor, f fstest.MapFS) {
			delete(f, "private/var/db/com.apple.backgroundtaskmanagement/BackgroundItems-v16.btm")
		}, "login items", stateDegraded, "backgroundtaskmanagement", "Full Disk Access"},
		"a closed folder": {darwin, func(d *doctor, _ fstest.MapFS) {
			d.jobs = func(context.Context) (int, []error) { return 3, []error{denied} }
		}, "launchd", stateDegraded, "/dev/bpf0", "Full Disk Access"},
		"no jobs on macOS": {darwin, func(d *doctor, _ fstest.MapFS) { d.jobs = func(context.Context) (int, []error) { return 0, nil } }, "launchd", stateDegraded, "no jobs", "LaunchDaemons"},
		"bad rules": {linux, func(d *doctor, _ fstest.MapFS) {
			d.rules = func() (int, []error) { return 1, []error{errors.New("line 3")} }
		}, "allowlist", stateDegraded, "line 3", "allowlist check"},
		"open state":    {linux, func(_ *doctor, f fstest.MapFS) { f["var/lib/cipherlens"].Mode = fs.ModeDir | 0o777 }, "state", stateDegraded, "writable by others", "chmod go-w"},
		"closed state":  {linux, func(d *doctor, _ fstest.MapFS) { d.writeProbe = func(string) error { return denied } }, "state", stateDegraded, "permission denied", "state_file"},
		"clock of 1970": {linux, func(d *doctor, _ fstest.MapFS) { d.built = time.Now().AddDate(1, 0, 0) }, "clock", stateDegraded, "while this program is of", "set the clock"},
		"a small group": {linux, func(_ *doctor, f fstest.MapFS) {
			f["sys/fs/cgroup/memory.max"] = &fstest.MapFile{Data: []byte("20000000\n")}
		}, "memory", stateDegraded, "19 MiB", "lower memory_budget"},
		"no autoload":     {linux, func(_ *doctor, f fstest.MapFS) { delete(f, "etc/osquery/extensions.load") }, "autoload", stateDegraded, "extensions.load", "attach"},
		"not in autoload": {darwin, func(_ *doctor, f fstest.MapFS) { f["var/osquery/extensions.load"].Data = []byte("/x/y.ext\n") }, "autoload", stateDegraded, "does not name", "full path"},
		"no .ext": {linux, func(_ *doctor, f fstest.MapFS) {
			f["etc/osquery/extensions.load"].Data = []byte("/opt/cipherlens/cipherlens\n")
		}, "autoload", stateBlind, ".ext", "cipherlens.ext"},
		"others may write": {linux, func(_ *doctor, f fstest.MapFS) { f["opt/cipherlens/cipherlens.ext"].Mode = 0o775 }, "autoload", stateBlind, "does not start it", "chmod go-w"},
		"another's":        {linux, func(d *doctor, _ fstest.MapFS) { d.owned = func(fs.FileInfo) int { return 501 } }, "autoload", stateBlind, "owned by user 501", "chown root"},
		"no osqueryd": {linux, func(d *doctor, _ fstest.MapFS) {
			d.findSocket = func(p string) (string, error) { return "", fs.ErrNotExist }
		}, "osquery", stateBlind, "not exist", "extensions_socket"},
		"none in the usual places": {linux, func(d *doctor, _ fstest.MapFS) {
			d.socket = ""
			d.findSocket = func(p string) (string, error) { return "", fs.ErrNotExist }
		}, "osquery", stateDegraded, "usual places", "--socket"},
		"osqueryd hangs":    {linux, query("osquery_info", nil, errors.New("timed out")), "osquery", stateBlind, "timed out", "restart"},
		"not registered":    {linux, query("osquery_extensions", nil, nil), "tables", stateBlind, "not registered", "attach"},
		"a low limit":       {linux, query("osquery_flags", []map[string]string{{"name": "watchdog_level", "value": "1"}, {"name": "watchdog_memory_limit", "value": "60"}}, nil), "watchdog", stateDegraded, "60 MiB", "watchdog_memory_limit"},
		"it says it itself": {linux, query("cipherlens_coverage", []map[string]string{{"name": "vpn", "state": "degraded", "detail": "a tunnel", "advice": "none"}}, nil), "running: vpn", stateDegraded, "a tunnel", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			d, files := healthy(t, c.goos)
			c.change(d, files)
			found := said(d.examine(t.Context()), c.what)
			require.NotEmpty(t, found)
			require.Equal(t, c.state, found[0].State, "%+v", found)
			require.Contains(t, found[0].Detail, c.detail)
			require.Contains(t, found[0].Mend, c.mend)
		})
	}
}

// TestDoctorBadSettings: what keeps the settings from being in force is said.
func TestDoctorBadSettings(t *testing.T) {
	t.Parallel()
	d, _ := healthy(t, linux)
	name := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(name, []byte("no_such_key: 1\n"), 0o600))
	d.settings = config.NewStore(name)
	found := d.settingsFile(t.Context())
	require.Equal(t, stateDegraded, found[0].State)
	require.Contains(t, found[0].Detail, "no_such_key")
}

// TestDoctorIsBounded: a check that hangs or panics is one line, and the others go on.
func TestDoctorIsBounded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	hangs := bounded(ctx, "x", func(context.Context) []diagnosis { select {} })
	require.Equal(t, stateDegraded, hangs[0].State)
	panics := bounded(t.Context(), "x", func(context.Context) []diagnosis { panic("boom") })
	require.Contains(t, panics[0].Detail, "boom")
}

// TestDoctorAsksOsquery: against an osqueryd with the extension, and without.
func TestDoctorAsksOsquery(t *testing.T) {
	t.Parallel()
	cores(t, nil, func(t *testing.T, c core) {
		d := thisHost()
		d.socket = c.socket
		require.Equal(t, stateBlind, said(d.osquery(t.Context()), "tables")[0].State)
		c.start(t, "cipherlens.ext")
		found := d.osquery(t.Context())
		require.Equal(t, stateOK, said(found, "osquery")[0].State, "%+v", found)
		require.Equal(t, stateOK, said(found, "tables")[0].State, "%+v", found)
		require.Equal(t, stateOK, said(found, "watchdog")[0].State, "%+v", found)
	})
}

func TestPrintDiagnoses(t *testing.T) {
	t.Parallel()
	all := []diagnosis{fine("system", "Linux"), degraded("process events", "polled", "be root"), blind("tables", "none", "")}
	var plain, coloured bytes.Buffer
	printDiagnoses(&plain, terminal{}, all)
	require.Equal(t, "ok        system          Linux\ndegraded  process events  polled  -> be root\nblind     tables          none\n", plain.String())
	printDiagnoses(&coloured, terminal{colour: true}, all)
	require.Equal(t, 3, strings.Count(coloured.String(), "\x1b[0m"))
	require.Equal(t, stateBlind, worst(all))
	require.Equal(t, stateDegraded, worst(all[:2]))
	var text bytes.Buffer
	require.NoError(t, printDiagnosesJSON(&text, all))
	var back []diagnosis
	require.NoError(t, json.Unmarshal(text.Bytes(), &back))
	require.Equal(t, all, back)
}
