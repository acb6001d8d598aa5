package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/launchd/plist"
	"github.com/cipherlens/cipherlens/internal/process"
)

// The checks of what the sensor itself needs.

const (
	darwin = "darwin"
	linux  = "linux"
)

// system says what runs here, and whether captures can be had on it at all.
func (d *doctor) system(context.Context) []diagnosis {
	switch d.goos {
	case linux:
		return []diagnosis{d.linuxSystem()}
	case darwin:
		return []diagnosis{d.darwinSystem()}
	}
	return []diagnosis{blind("system", d.goos+" has no live capture here", "use macOS or Linux; capture files can be analysed anywhere")}
}

var release = regexp.MustCompile(`^(\d+)\.(\d+)`)

// linuxSystem: TPACKET_V3 is there since Linux 3.2, pidfd_open since 5.3.
func (d *doctor) linuxSystem() diagnosis {
	data, err := d.readFile("/proc/sys/kernel/osrelease")
	text := strings.TrimSpace(string(data))
	found := release.FindStringSubmatch(text)
	if err != nil || found == nil {
		return degraded("system", "Linux of unknown version", "mount /proc")
	}
	name := "Linux " + text
	if about, err := d.readFile("/etc/os-release"); err == nil {
		if pretty := regexp.MustCompile(`(?m)^PRETTY_NAME="?([^"\n]+)`).FindSubmatch(about); pretty != nil {
			name += ", " + string(pretty[1])
		}
	}
	major, _ := strconv.Atoi(found[1])
	minor, _ := strconv.Atoi(found[2])
	switch {
	case major < 3 || major == 3 && minor < 2:
		return blind("system", name+": no TPACKET_V3", "use Linux 3.2 or later")
	case major < 5 || major == 5 && minor < 3:
		return degraded("system", name+": threads are not told from processes", "use Linux 5.3 or later")
	}
	return fine("system", name)
}

// darwinSystem: what is here was read from the sources of macOS 15 and holds since PKTAP has LC_UUIDs, OS X 10.10.
func (d *doctor) darwinSystem() diagnosis {
	data, err := d.readFile("/System/Library/CoreServices/SystemVersion.plist")
	if err != nil {
		return degraded("system", "macOS of unknown version: "+err.Error(), "")
	}
	parsed, err := plist.Parse(data)
	about, ok := parsed.(map[string]any)
	if err != nil || !ok {
		return degraded("system", "macOS of unknown version", "")
	}
	number, _ := about["ProductVersion"].(string)
	name := fmt.Sprintf("macOS %s (%v)", number, about["ProductBuildVersion"])
	major, err := strconv.Atoi(strings.SplitN(number, ".", 2)[0])
	if err != nil || major < 12 {
		return degraded("system", name+": not tested", "use macOS 12 or later")
	}
	return fine("system", name)
}

// neededCapabilities are those of capabilities(7) by number.
var neededCapabilities = []struct {
	number uint
	name   string
	state  string
	what   string
}{
	{13, "CAP_NET_RAW", stateBlind, "no capture"},
	{19, "CAP_SYS_PTRACE", stateDegraded, "other users' sockets and programs are hidden"},
	{2, "CAP_DAC_READ_SEARCH", stateDegraded, "other users' files are hidden"},
}

// rights says whether this process may do what the extension does. It is started by root's osqueryd.
func (d *doctor) rights(context.Context) []diagnosis {
	const mend = "run doctor as root: osqueryd starts the extension as its own user"
	if d.goos != linux {
		if d.euid != 0 {
			return []diagnosis{blind("rights", fmt.Sprintf("user %d: /dev/bpf* and PKTAP are root's", d.euid), mend)}
		}
		return []diagnosis{fine("rights", "root")}
	}
	status, err := d.readFile("/proc/self/status")
	effective := regexp.MustCompile(`(?m)^CapEff:\s*([0-9a-f]+)`).FindSubmatch(status)
	if err != nil || effective == nil {
		return []diagnosis{degraded("rights", fmt.Sprintf("user %d, capabilities unknown", d.euid), "mount /proc")}
	}
	bits, _ := strconv.ParseUint(string(effective[1]), 16, 64)
	var all []diagnosis
	for _, c := range neededCapabilities {
		if bits>>c.number&1 == 0 {
			all = append(all, diagnosis{c.state, "rights", fmt.Sprintf("user %d without %s: %s", d.euid, c.name, c.what), mend})
		}
	}
	if len(all) == 0 {
		all = []diagnosis{fine("rights", fmt.Sprintf("user %d with every capability that is needed", d.euid))}
	}
	return all
}

// capture opens what the extension opens: devices or sockets, the ring or the interface, the filter.
func (d *doctor) capture(context.Context) []diagnosis {
	source, err := d.openCapture(capture.LiveOptions{Timeout: 50 * time.Millisecond})
	if err != nil {
		return []diagnosis{blind("capture", oneLine(err), mendCapture(d.goos, err))}
	}
	stats := source.Stats()
	if err := source.Close(); err != nil {
		return []diagnosis{degraded("capture", "does not close: "+err.Error(), "please report this")}
	}
	filter := fine("filter", "installed in the kernel")
	switch {
	case stats.Degraded != "" && stats.Mode == capture.ModeBPF:
		return []diagnosis{degraded("capture", stats.Degraded, "see whether another program or a profile keeps PKTAP from root; owners come from the socket table meanwhile"), filter}
	case stats.Degraded != "":
		return []diagnosis{degraded("capture", fmt.Sprintf("%s: %s", stats.Mode, stats.Degraded), "free memory, or take the interfaces named away from what holds them"), filter}
	}
	return []diagnosis{fine("capture", string(stats.Mode)), filter}
}

// mendCapture says what to do about a capture that cannot be had.
func mendCapture(goos string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission) && goos == linux:
		return "run as root, or give CAP_NET_RAW; in a container also --cap-add NET_RAW"
	case errors.Is(err, fs.ErrPermission):
		return "run as root"
	case strings.Contains(err.Error(), "devices are in use"):
		return "end programs that hold /dev/bpf*: lsof /dev/bpf*"
	}
	return "see the error"
}

// packet sends one datagram over loopback and looks for it in a capture there.
func (d *doctor) packet(ctx context.Context) []diagnosis {
	iface := "lo"
	if d.goos != linux {
		iface = "lo0"
	}
	source, err := d.openCapture(capture.LiveOptions{Interfaces: []string{iface}, Timeout: 50 * time.Millisecond})
	if err != nil {
		return []diagnosis{blind("packet", "none can be looked for: "+oneLine(err), "mend the capture first")}
	}
	defer func() { _ = source.Close() }()
	conn, err := net.Dial("udp", "127.0.0.1:9") // discard (RFC 863); that nobody listens does not matter
	if err != nil {
		return []diagnosis{degraded("packet", "none can be sent over loopback: "+err.Error(), "bring the loopback interface up")}
	}
	defer func() { _ = conn.Close() }()
	mark := make([]byte, 16)
	_, _ = rand.Read(mark) // never fails
	text := []byte("cipherlens doctor " + hex.EncodeToString(mark))
	for end := d.now().Add(3 * time.Second); d.now().Before(end) && ctx.Err() == nil; {
		_, _ = conn.Write(text) // the answer to the one before may be an error: nobody listens
		if seen, err := sees(source, text); err != nil {
			return []diagnosis{blind("packet", "the capture ended: "+err.Error(), "see the error")}
		} else if seen {
			return []diagnosis{fine("packet", "one of our own over "+iface+" was seen")}
		}
	}
	mend := "another program may take packets away before BPF sees them: look for a content filter or an endpoint product"
	if d.goos == darwin {
		// PKTAP leaves out our own packets, on loopback as well.
		return []diagnosis{fine("packet", "the capture on "+iface+" runs; packets of our own are left out by its filter")}
	}
	return []diagnosis{blind("packet", "one of our own over "+iface+" was not seen within 3 s", mend)}
}

// sees reads what the source has.
func sees(source capture.Source, text []byte) (bool, error) {
	var p capture.Packet
	for range 1000 {
		err := source.Next(&p)
		if errors.Is(err, capture.ErrTimeout) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if bytes.Contains(p.Data, text) {
			return true, nil
		}
	}
	return false, nil
}

// owner makes a connection over loopback and asks whose it is.
func (d *doctor) owner(ctx context.Context) []diagnosis {
	owners, err := d.openOwners()
	if err != nil {
		return []diagnosis{blind("owner", oneLine(err), "run as root")}
	}
	defer func() { _ = owners.Close() }()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return []diagnosis{degraded("owner", "no connection over loopback: "+err.Error(), "bring the loopback interface up")}
	}
	defer func() { _ = listener.Close() }()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		return []diagnosis{degraded("owner", "no connection over loopback: "+err.Error(), "look for a firewall on loopback")}
	}
	defer func() { _ = conn.Close() }()
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	p, ok := owners.Owner(6, local, remote)
	for end := d.now().Add(time.Second); !ok && d.now().Before(end) && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
		p, ok = owners.Owner(6, local, remote)
	}
	return append([]diagnosis{d.ownerFound(p, ok)}, d.shortLived(owners)...)
}

func (d *doctor) ownerFound(p process.Process, ok bool) diagnosis {
	switch {
	case !ok:
		return blind("owner", "nobody was found to own a connection of ours", "see whether a security module hides /proc or sockets; flows would have no owner")
	case p.PID != d.pid:
		return blind("owner", fmt.Sprintf("process %d (%s) owns a connection of ours, says the system", p.PID, p.Path), "look for a transparent proxy: it owns everybody's connections")
	case p.Path == "":
		return degraded("owner", "found, but not its path", "run as root")
	}
	return fine("owner", fmt.Sprintf("of a connection over loopback: process %d, %s", p.PID, p.Path))
}

// shortLived says whether the system tells which processes start.
func (d *doctor) shortLived(owners socketOwners) []diagnosis {
	if d.goos != linux {
		return nil // PKTAP gives the process with each packet
	}
	if why := owners.Degraded(); why != "" {
		return []diagnosis{degraded("process events", why, "run as root in the first pid and network namespaces, or with CAP_NET_ADMIN: some processes that live for milliseconds have no name")}
	}
	return []diagnosis{fine("process events", "starts and ends come from the kernel")}
}

// processes looks at another user's process: the first one.
func (d *doctor) processes(context.Context) []diagnosis {
	p, err := d.process(1)
	switch {
	case err != nil:
		return []diagnosis{degraded("processes", oneLine(err), "run as root")}
	case p.Path == "":
		return []diagnosis{degraded("processes", "the program of process 1 cannot be read: those of other users are hidden", "run as root; in a container with the host's pid namespace")}
	}
	return []diagnosis{fine("processes", "process 1 is "+p.Path)}
}

// responsibleProcess asks macOS who answers for our own process.
func (d *doctor) responsibleProcess(context.Context) []diagnosis {
	if d.goos != darwin {
		return nil
	}
	const instead = "helpers are tied to their launchd job by coalition and parent alone"
	p, err := d.process(d.pid)
	stats := d.responsible()
	switch {
	case stats.Err != nil:
		return []diagnosis{degraded("responsible process", fmt.Sprintf("%v: %s", stats.Err, instead), "nothing to mend on this host: please report its version of macOS")}
	case err != nil:
		return []diagnosis{degraded("responsible process", oneLine(err), "run as root")}
	case p.Responsible == nil:
		return []diagnosis{degraded("responsible process", "not known of this process: "+instead, "run as root")}
	}
	return []diagnosis{fine("responsible process", fmt.Sprintf("%d, %s, answers for this one", p.Responsible.PID, p.Responsible.Path))}
}

// protected are files that only a program with Full Disk Access may open, root or not; the second is that of login and background items.
const (
	protectedFile = "/Library/Application Support/com.apple.TCC/TCC.db"
	loginItems    = "/private/var/db/com.apple.backgroundtaskmanagement/BackgroundItems-v*.btm"
)

// diskAccess probes Full Disk Access of macOS.
func (d *doctor) diskAccess(context.Context) []diagnosis {
	if d.goos != darwin {
		return nil
	}
	const mend = "give Full Disk Access to osqueryd (or orbit), which starts the extension: System Settings, Privacy & Security, or an MDM profile with SystemPolicyAllFiles; a shell has its own"
	var all []diagnosis
	if err := d.open(protectedFile); errors.Is(err, fs.ErrPermission) {
		all = append(all, degraded("full disk access", "not given to this program: "+err.Error(), mend))
	} else if err != nil {
		all = append(all, degraded("full disk access", "not known: "+err.Error(), mend))
	} else {
		all = append(all, fine("full disk access", "given"))
	}
	files, err := d.glob(loginItems)
	if err == nil && len(files) == 0 {
		err = fs.ErrNotExist
	}
	for _, name := range files {
		err = errors.Join(err, d.open(name))
	}
	if err != nil {
		return append(all, degraded("login items", filepath.Dir(loginItems)+": "+oneLine(err), mend))
	}
	return append(all, fine("login items", "can be read"))
}

// launchd reads every place where jobs are declared.
func (d *doctor) launchd(ctx context.Context) []diagnosis {
	n, errs := d.jobs(ctx)
	switch {
	case len(errs) > 0:
		return []diagnosis{degraded("launchd", fmt.Sprintf("%d jobs; %d places or files could not be read: %v", n, len(errs), errs[0]), "run as root, with Full Disk Access; mend the files that are named")}
	case n == 0 && d.goos == darwin:
		return []diagnosis{degraded("launchd", "no jobs at all", "look at /Library/LaunchDaemons and /System/Library/LaunchDaemons")}
	case n == 0:
		return []diagnosis{fine("launchd", "none on this system")}
	}
	return []diagnosis{fine("launchd", fmt.Sprintf("%d jobs", n))}
}
