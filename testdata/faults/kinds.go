package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kind is one way to break something. strike breaks it, and mends what a host would mend; what it gives checks the coverage afterwards (nil: nothing to say).
type kind struct {
	name   string
	weight int  // how often it is drawn
	ends   bool // the extension may end: its watcher starts it again
	strike func(w *world, random *rand.Rand) (verify func(map[string]map[string]string) error, err error)
}

type verifier = func(map[string]map[string]string) error

var kinds = []kind{
	{"extension killed", 2, true, extensionKilled},
	{"extension stopped", 2, false, extensionStopped},
	{"osqueryd killed", 1, true, osquerydKilled},
	{"osqueryd stopped", 2, true, osquerydStopped},
	{"osqueryd's socket removed", 1, true, socketRemoved},
	{"extension's socket replaced", 1, true, socketReplaced},
	{"garbage on the socket", 6, false, garbage},
	{"slow and half-closed peers", 6, false, slowPeers},
	{"state folder full", 4, false, stateFull},
	{"state folder read-only", 4, false, stateReadOnly},
	{"no file descriptors left", 4, true, noDescriptors},
	{"little memory left", 2, true, littleMemory},
	{"interface comes and goes", 4, false, interfaceGoes},
	{"capture overrun", 2, false, overrun},
	{"settings broken", 4, false, settingsBroken},
	{"allowlist broken", 4, false, allowlistBroken},
	{"files swapped during a scan", 6, false, filesSwapped},
	{"clock of a capture jumps", 3, false, clockJumps},
}

// weighted is the bag to draw from.
func weighted(only string) (bag []kind) {
	for _, k := range kinds {
		for range k.weight {
			if only == "" || k.name == only {
				bag = append(bag, k)
			}
		}
	}
	return bag
}

func extensionKilled(w *world, _ *rand.Rand) (verifier, error) {
	w.ext.kill()
	return nil, nil
}

func extensionStopped(w *world, random *rand.Rand) (verifier, error) {
	w.ext.signal(syscall.SIGSTOP)
	time.Sleep(time.Duration(100+random.IntN(2000)) * time.Millisecond)
	w.ext.signal(syscall.SIGCONT)
	return nil, nil
}

func osquerydKilled(w *world, _ *rand.Rand) (verifier, error) {
	w.osqueryd.kill()
	return nil, w.extensionEnds("osqueryd is gone")
}

// extensionEnds waits until the extension has noticed that it is of no use.
func (w *world) extensionEnds(why string) error {
	select {
	case <-w.ext.done:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s, and the extension runs on: %s", why, lastLines(w.ext.log.String()))
	}
}

func osquerydStopped(w *world, random *rand.Rand) (verifier, error) {
	w.osqueryd.signal(syscall.SIGSTOP)
	time.Sleep(time.Duration(100+random.IntN(2000)) * time.Millisecond)
	w.osqueryd.signal(syscall.SIGCONT)
	return nil, nil
}

func socketRemoved(w *world, _ *rand.Rand) (verifier, error) {
	if err := os.Remove(w.socket); err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	w.osqueryd.kill()
	return nil, w.extensionEnds("osqueryd and its socket are gone")
}

// own gives the extension's socket.
func (w *world) own() (string, error) {
	found, err := filepath.Glob(w.socket + ".*")
	if err != nil {
		return "", err
	}
	for _, name := range found { // a killed extension leaves its own behind
		if c, err := net.Dial("unix", name); err == nil {
			return name, c.Close()
		}
	}
	return "", errors.New("the extension has no socket")
}

func socketReplaced(w *world, random *rand.Rand) (verifier, error) {
	socket, err := w.own()
	if err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil {
		return nil, err
	}
	switch random.IntN(3) {
	case 0:
		err = os.Mkdir(socket, 0o700)
	case 1:
		err = os.WriteFile(socket, []byte("not a socket"), 0o600)
	}
	if err != nil {
		return nil, err
	}
	err = w.extensionEnds("its socket is gone, so that osqueryd drops it,")
	_ = os.RemoveAll(socket)
	return nil, err
}

func garbage(w *world, random *rand.Rand) (verifier, error) {
	socket, err := w.own()
	if err != nil {
		return nil, err
	}
	for range 1 + random.IntN(20) {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		data := make([]byte, 1+random.IntN(4096))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		switch random.IntN(3) {
		case 0: // a strict binary message whose name claims to be 2 GiB long
			copy(data, "\x80\x01\x00\x01\x7f\xff\xff\xff")
		case 1: // a call of a method that is not there, with a map of 2^31 entries
			copy(data, "\x80\x01\x00\x01\x00\x00\x00\x04call\x00\x00\x00\x01\x0d\x00\x01\x0b\x0b\x7f\xff\xff\xff")
		}
		_, _ = c.Write(data)
		if random.IntN(2) == 0 {
			_, _ = io.ReadAll(io.LimitReader(c, 1<<16))
		}
		_ = c.Close()
	}
	return nil, nil
}

func slowPeers(w *world, random *rand.Rand) (verifier, error) {
	socket, err := w.own()
	if err != nil {
		return nil, err
	}
	ping := []byte("\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00")
	var peers []*net.UnixConn
	for range 5 + random.IntN(60) {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			return nil, err
		}
		peers = append(peers, c)
		_, _ = c.Write(ping[:random.IntN(len(ping))])
		if random.IntN(2) == 0 {
			_ = c.CloseWrite()
		}
	}
	_, err = w.coverage() // while they hang
	for _, c := range peers {
		_ = c.Close()
	}
	return nil, err
}

// degraded checks that a coverage row says so.
func degraded(name string) verifier {
	return func(rows map[string]map[string]string) error {
		if row := rows[name]; row == nil || row["state"] == "ok" {
			return fmt.Errorf("%s is not degraded: %v", name, row)
		}
		return nil
	}
}

// during has an implant found while something is broken, asks for the coverage, and mends.
func (w *world) during(check verifier, mend func() error) error {
	err := w.find()
	if err == nil && check != nil {
		err = within(3*answerLimit, "coverage", func() error {
			rows, err := w.coverage()
			if err != nil {
				return err
			}
			return check(rows)
		})
	}
	return errors.Join(err, mend())
}

func stateFull(w *world, _ *rand.Rand) (verifier, error) {
	name := filepath.Join(w.state, "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	_ = f.Close()
	return nil, w.during(degraded("alerts"), func() error { return os.Remove(name) })
}

func stateReadOnly(w *world, _ *rand.Rand) (verifier, error) {
	if err := syscall.Mount("", w.state, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return nil, err
	}
	return nil, w.during(degraded("alerts"), func() error { return syscall.Mount("", w.state, "", syscall.MS_REMOUNT, "") })
}

func noDescriptors(w *world, random *rand.Rand) (verifier, error) {
	pid := w.ext.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return nil, err
	}
	few := unix.Rlimit{Cur: uint64(len(open) + random.IntN(4)), Max: old.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
	_, _ = w.coverage() // it may fail, and the extension may end; neither may hang
	return nil, restoreLimit(pid, unix.RLIMIT_NOFILE, &old)
}

// restoreLimit gives a process its limit back, if it is still there.
func restoreLimit(pid, resource int, old *unix.Rlimit) error {
	if err := unix.Prlimit(pid, resource, old, nil); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

func littleMemory(w *world, random *rand.Rand) (verifier, error) {
	pid := w.ext.cmd.Process.Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return nil, err
	}
	pages, err := strconv.ParseUint(strings.Fields(string(status))[0], 10, 64)
	if err != nil {
		return nil, err
	}
	var old unix.Rlimit
	tight := unix.Rlimit{Cur: pages*uint64(os.Getpagesize()) + uint64(16+random.IntN(64))<<20, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, &tight, &old); err != nil {
		return nil, err
	}
	return nil, w.during(nil, func() error { return restoreLimit(pid, unix.RLIMIT_AS, &old) })
}

// seenAfter is how long an interface must be there for the sensor to notice: it lists them every five seconds.
const seenAfter = 6 * time.Second

// interfaceGoes makes an interface for a moment, or for so long that it must be noticed.
func interfaceGoes(w *world, random *rand.Rand) (verifier, error) {
	before, err := w.coverage()
	if err != nil {
		return nil, err
	}
	var noticed verifier
	name := "cl" + strconv.Itoa(random.IntN(1000))
	err = ip(random, "link", "add", name, "type", "veth", "peer", "name", name+"p")
	err = errors.Join(err, ip(random, "link", "set", name, "up"), ip(random, "link", "set", name+"p", "up"))
	if random.IntN(2) == 0 {
		time.Sleep(seenAfter)
		noticed = func(rows map[string]map[string]string) error {
			if rows["interfaces"]["count"] == before["interfaces"]["count"] {
				return errors.New("interfaces counts none that came")
			}
			return nil
		}
	}
	err = errors.Join(err, ip(random, "link", "del", name))
	return noticed, errors.Join(err, w.find())
}

// ip runs the command of that name, and waits a little.
func ip(random *rand.Rand, args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	return nil
}

// overrun sends more than the ring holds while the extension is stopped; the drops must be counted.
func overrun(w *world, _ *rand.Rand) (verifier, error) {
	w.ext.signal(syscall.SIGSTOP)
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 10)}, &net.UDPAddr{IP: net.IPv4(203, 0, 113, 251), Port: 9})
	if err == nil {
		packet := make([]byte, 1400)
		for range 60_000 {
			_, _ = c.Write(packet)
		}
		_ = c.Close()
	}
	w.ext.signal(syscall.SIGCONT)
	return func(rows map[string]map[string]string) error {
		if n, _ := strconv.Atoi(rows["capture"]["count"]); n == 0 {
			return errors.New("capture counts no dropped packet")
		}
		return nil
	}, err
}

func settingsBroken(w *world, random *rand.Rand) (verifier, error) {
	broken := []string{"traffic_asymmetry_ratio: [", "no_such_key: 1\n", "payload_entropy_threshold: 7\n", "\x00\x01\x02", strings.Repeat("a: ", 1<<12)}
	if err := os.WriteFile(w.config, []byte(broken[random.IntN(len(broken))]), 0o600); err != nil {
		return nil, err
	}
	return nil, w.during(degraded("settings"), w.goodFiles)
}

func allowlistBroken(w *world, random *rand.Rand) (verifier, error) {
	broken := []string{"rules:\n  - name: [", "rules:\n  - name: x\n    networks: [300.1.1.1/8]\n", "rules: 7\n", "\xff\xfe", "rules:\n  - name: x\n    who: everybody\n"}
	file := filepath.Join(w.dir, "etc", "allowlist.d", "rule.yaml")
	if err := os.WriteFile(file, []byte(broken[random.IntN(len(broken))]), 0o600); err != nil {
		return nil, err
	}
	return nil, w.during(func(rows map[string]map[string]string) error {
		rules, err := w.query("SELECT name FROM crypto_egress_allowlist WHERE name = 'approved'")
		if err == nil && len(rules) != 1 {
			err = fmt.Errorf("the last good rule is not in force: %v", rules)
		}
		return errors.Join(err, degraded("allowlist")(rows))
	}, w.goodFiles)
}

// filesSwapped asks for the crypto of files that become other files, links, folders and FIFOs meanwhile.
func filesSwapped(w *world, random *rand.Rand) (verifier, error) {
	dir := filepath.Join(w.dir, "scan")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	program = program[:min(len(program), 1<<20)]
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Add(1)
	go func() {
		defer swapping.Done()
		for {
			select {
			case <-stop:
				return
			default:
				swap(filepath.Join(dir, strconv.Itoa(random.IntN(8))), program, random)
			}
		}
	}()
	for range 3 {
		if _, err = w.query("SELECT path, provider, error FROM file_crypto_linkage WHERE path LIKE '" + dir + "/%'"); err != nil {
			break
		}
	}
	close(stop)
	swapping.Wait()
	return nil, err
}

func swap(name string, program []byte, random *rand.Rand) {
	_ = os.RemoveAll(name)
	switch random.IntN(6) {
	case 0:
		_ = os.WriteFile(name, program[:random.IntN(len(program))], 0o755)
	case 1:
		_ = os.Symlink(name, name)
	case 2:
		_ = os.Mkdir(name, 0o755)
	case 3:
		_ = syscall.Mkfifo(name, 0o755)
	case 4:
		_ = os.WriteFile(name, program, 0o755)
		_ = os.Truncate(name, int64(random.IntN(len(program))))
	case 5:
		_ = os.Symlink("/dev/zero", name)
	}
}
