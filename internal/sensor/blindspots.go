package sensor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/process"
)

// What decides over blind spots is here, apart from the system that is asked, so that it is tested on any.

// rootCoverage says what is hidden from a user who is not root.
func rootCoverage(euid int) Coverage {
	if euid == 0 {
		return Coverage{Name: "root", State: OK, Detail: "runs as root"}
	}
	return Coverage{Name: "root", State: Blind, Detail: fmt.Sprintf("runs as user %d: no live capture, no sockets and processes of others, no homes of others", euid),
		Advice: "let root's osqueryd start the extension"}
}

// fewAnswers is how often the system must have been asked before its silence means something.
const fewAnswers = 100

// responsibleCoverage says whether the processes that answer for others are known.
func responsibleCoverage(s process.ResponsibleStats) Coverage {
	row := Coverage{Name: "responsible_process", State: OK, Count: int64(s.Doubtful),
		Detail: fmt.Sprintf("known %d of %d times; not believed %d times: what the system named was gone, or younger than what it is to answer for", s.Found, s.Asked, s.Doubtful)}
	const instead = "helpers are tied to their launchd job by coalition and parent alone, and responsible_pid is -1"
	switch {
	case s.Err != nil:
		row.State, row.Err, row.Detail, row.Advice = Degraded, s.Err, "the system cannot be asked: "+instead, "nothing to mend on this host: please report its version of macOS"
	case s.Found == 0 && s.Asked >= fewAnswers:
		row.State, row.Detail, row.Advice = Degraded, fmt.Sprintf("the system was asked %d times and named nobody: %s", s.Asked, instead), "run as root"
	}
	return row
}

// privacyDatabases are what only a program with Full Disk Access may open, root or not; the one for login and background items has a
// version in its name.
var (
	privacyDatabase  = "/Library/Application Support/com.apple.TCC/TCC.db"
	backgroundFolder = "/private/var/db/com.apple.backgroundtaskmanagement"
)

// diskCoverage says whether we have Full Disk Access, by what happened when protected files were opened: by file, nil where it went well.
func diskCoverage(opened map[string]error) Coverage {
	row := Coverage{Name: "full_disk_access", State: OK, Detail: "protected files can be read"}
	var denied []error
	known := 0
	for _, err := range opened {
		switch {
		case err == nil:
			known++
		case errors.Is(err, fs.ErrPermission): // EPERM is TCC's word, EACCES the file mode's
			known++
			denied = append(denied, err)
		}
	}
	switch {
	case len(denied) > 0:
		row.State, row.Count, row.Err = Degraded, int64(len(denied)), errors.Join(denied...)
		row.Detail = fmt.Sprintf("%d of %d protected files cannot be read: login and background items, and programs in protected folders, are not seen", len(denied), known)
		row.Advice = "give osqueryd (or orbit), which starts the extension, Full Disk Access: System Settings or an MDM profile with SystemPolicyAllFiles"
	case known == 0:
		row.State, row.Detail = Degraded, "not known: none of the files by which it shows is there"
		row.Advice = "see whether the table's row launchd names folders that cannot be read"
	}
	return row
}

// networkExtension is an active system extension that may stand between programs and the network: a VPN, a transparent proxy, a content
// filter.
type networkExtension struct {
	identifier, team, origin string
}

// owns says whether path is the extension's executable.
func (e *networkExtension) owns(path string) bool {
	return strings.HasPrefix(path, "/Library/SystemExtensions/") && strings.Contains(path, "/"+e.identifier+".systemextension/")
}

const networkCategory = "com.apple.system_extension.network_extension"

// networkExtensions reads the system's database of extensions (/Library/SystemExtensions/db.plist, of which osquery's table system_extensions is made):
// those of the network that are active.
func networkExtensions(db any) []networkExtension {
	top, _ := db.(map[string]any)
	list, _ := top["extensions"].([]any)
	var found []networkExtension
	for _, entry := range list {
		e, _ := entry.(map[string]any)
		categories, _ := e["categories"].([]any)
		state, _ := e["state"].(string)
		network := false
		for _, c := range categories {
			network = network || c == networkCategory
		}
		if !network || !strings.HasPrefix(state, "activated_enabled") {
			continue
		}
		var x networkExtension
		x.identifier, _ = e["identifier"].(string)
		x.team, _ = e["teamID"].(string)
		x.origin, _ = e["originPath"].(string)
		if x.identifier != "" {
			found = append(found, x)
		}
	}
	return found
}

// maxTalkers is how many executables the outbound flows are counted by; the others share one place.
const maxTalkers = 512

// talkers counts outbound flows by the executable that owns them. The zero value is ready.
type talkers struct {
	by    map[string]int64
	total int64
}

func (t *talkers) add(path string) {
	if t.by == nil {
		t.by = map[string]int64{}
	}
	if _, known := t.by[path]; !known && len(t.by) >= maxTalkers {
		path = ""
	}
	t.by[path]++
	t.total++
}

// fade halves all counts, so that the past weighs less.
func (t *talkers) fade() {
	t.total = 0
	for path, n := range t.by {
		if n /= 2; n == 0 {
			delete(t.by, path)
			continue
		}
		t.by[path] = n
		t.total += n
	}
}

// first gives the executable that owns the most flows.
func (t *talkers) first() (path string, n int64) {
	for p, c := range t.by {
		if p != "" && (c > n || c == n && p < path) {
			path, n = p, c
		}
	}
	return path, n
}

const (
	// fewTalks is how many flows must be counted before shares mean anything.
	fewTalks = 100
	// ownsAll is the share of all outbound flows, in percent, from which one executable is said to talk for the others.
	ownsAll = 90
)

// proxyCoverage says whether one program talks for all others, so that flows do not show who wanted them. An extension of the network that owns
// many flows does; another program that owns nearly all may be a proxy, or the only one that talks.
func proxyCoverage(t *talkers, extensions []networkExtension) Coverage {
	row := Coverage{Name: "proxy", State: OK, Detail: "flows belong to the programs that want them"}
	var names []string
	for _, e := range extensions {
		names = append(names, e.identifier)
	}
	if len(names) > 0 {
		row.Detail = "active network extensions: " + strings.Join(names, ", ")
	}
	var theirs int64
	for path, n := range t.by {
		for i := range extensions {
			if extensions[i].owns(path) {
				theirs += n
				break
			}
		}
	}
	path, most := t.first()
	switch {
	case theirs*10 >= t.total && t.total >= fewTalks:
		row.State, row.Count = Degraded, theirs
		row.Detail = fmt.Sprintf("network extensions (%s) own %d of %d outbound flows: a proxy or filter talks for other programs, whose names are lost", strings.Join(names, ", "), theirs, t.total)
		row.Advice = "ask the proxy's own log which program wanted a flow, or exempt programs from it; its flows to its own service are judged as its own"
	case most*100 >= ownsAll*t.total && t.total >= fewTalks:
		row.Count = most
		row.Detail = fmt.Sprintf("%s owns %d of %d outbound flows", path, most, t.total)
		if len(extensions) > 0 {
			row.State, row.Advice = Degraded, "if that is a proxy for other programs, ask its log who wanted a flow"
		} else {
			row.Detail += ": if it is a proxy, the programs behind it are not seen"
		}
	}
	return row
}

// relayHosts are what iCloud Private Relay's first hop is called (Apple, "Prepare your network or web server for iCloud Private Relay").
var relayHosts = []string{"mask.icloud.com", "mask-h2.icloud.com", "mask-canary.icloud.com"}

// relay says whether a server's name is Private Relay's.
func relay(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, host := range relayHosts {
		if name == host {
			return true
		}
	}
	return strings.HasSuffix(name, ".mask.apple-dns.net")
}

// relayCoverage says what Private Relay hides.
func relayCoverage(flows int64) Coverage {
	if flows == 0 {
		return Coverage{Name: "private_relay", State: OK, Detail: "no flow to iCloud Private Relay was seen"}
	}
	return Coverage{Name: "private_relay", State: Degraded, Count: flows,
		Detail: fmt.Sprintf("%d flows to iCloud Private Relay: what Safari, the system's DNS and plain HTTP of applications reach by it is hidden, inside conformant QUIC or TLS", flows),
		Advice: "a profile with allowCloudPrivateRelay false turns it off on managed hosts; raw sockets, as in what Cipherlens looks for, do not go through it"}
}

// clockCoverage says what the clocks did; awake is how long ago the last of it was.
func clockCoverage(j jumps, ago time.Duration) Coverage {
	row := Coverage{Name: "clock", State: OK, Detail: "no sleep, and the clock was not set", Count: j.sleeps + j.sets}
	if row.Count == 0 {
		return row
	}
	row.Detail = fmt.Sprintf("the host slept %d times, the clock was set %d times", j.sleeps, j.sets)
	if j.sets > 0 {
		row.Detail += fmt.Sprintf(", last by %v; first_seen and last_seen of older flows are by the clock as it was", j.by.Round(time.Second))
	}
	if ago < lateStart {
		row.State = Degraded
		row.Advice = "wait: flows that were open over it are seen with a gap; alerts and flows keep their age"
	}
	return row
}

// links counts what interfaces did.
type links struct {
	added, removed int64
	names          map[string]bool
	tunnels        []tunnel // up, with an address of their own
}

// tunnel is an interface whose packets leave the host inside others.
type tunnel struct {
	name      string
	addresses []netip.Addr
}

// link is one network interface.
type link struct {
	name      string
	up        bool
	addresses []netip.Addr
}

// tunnelNames are how drivers of tunnels call their interfaces: utun and ipsec on macOS; tun, tap, wg, ppp; and what vendors say.
var tunnelNames = []string{"utun", "ipsec", "tun", "tap", "wg", "ppp", "tailscale", "nordlynx", "zt", "cscotun", "gpd", "proton", "mullvad"}

// carries gives the addresses for which an interface is a tunnel. macOS itself keeps some utun interfaces up, but with link-local addresses alone.
func (l *link) carries() []netip.Addr {
	var addresses []netip.Addr
	named := false
	for _, prefix := range tunnelNames {
		rest, ok := strings.CutPrefix(l.name, prefix)
		named = named || ok && (rest == "" || rest[0] >= '0' && rest[0] <= '9' || rest[0] == '-')
	}
	if !named || !l.up {
		return nil
	}
	for _, a := range l.addresses {
		if a = a.Unmap(); a.IsValid() && !a.IsLinkLocalUnicast() && !a.IsLoopback() {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// look takes the interfaces as they are now, and says which came and went.
func (s *links) look(all []link) (added, removed []string) {
	now := map[string]bool{}
	s.tunnels = nil
	for i := range all {
		l := &all[i]
		now[l.name] = true
		if addresses := l.carries(); len(addresses) > 0 {
			s.tunnels = append(s.tunnels, tunnel{l.name, addresses})
		}
		if s.names != nil && !s.names[l.name] {
			added = append(added, l.name)
		}
	}
	for name := range s.names {
		if !now[name] {
			removed = append(removed, name)
		}
	}
	s.added += int64(len(added))
	s.removed += int64(len(removed))
	s.names = now
	return added, removed
}

func (s *links) coverage() Coverage {
	return Coverage{Name: "interfaces", State: OK, Detail: fmt.Sprintf("%d now; %d came and %d went since the start", len(s.names), s.added, s.removed), Count: s.added + s.removed}
}
