package sensor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// lateStart is how long after its start a live capture is said to miss what was there before.
const lateStart = 15 * time.Minute

// coverage of a live capture: is there one, did it lose packets, were flows dropped or left without owner, what stands in its way.
func (l *live) coverage() []Coverage {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.sourceCoverage()
	if l.source != nil {
		rows = append(rows, l.lateCoverage(), memoryCoverage(l.table.Stats(), int64(l.kept.dropped)), l.ownerCoverage())
	}
	if failed := l.unjudged.Load(); failed > 0 {
		rows = append(rows, Coverage{Name: "judge", State: Degraded, Detail: fmt.Sprintf("%d flows could not be judged", failed), Count: failed,
			Advice: "this is a bug: please report what the log says"})
	}
	carried := 0
	for _, a := range l.alerted {
		if a.carries {
			carried++
		}
	}
	return append(rows, l.links.coverage(), vpnCoverage(l.links.tunnels, len(l.inside), carried), proxyCoverage(&l.talkers, l.extensions),
		relayCoverage(l.relayed), clockCoverage(l.jumps, l.awake()-l.jumps.at), l.fileCoverage())
}

// sourceCoverage says whether there is a capture, and what it lost. The lock must be held.
func (l *live) sourceCoverage() []Coverage {
	if l.source != nil {
		row := packetCoverage(l.source.Stats())
		if l.lost > 0 {
			row.Detail += fmt.Sprintf("; lost and opened again %d times", l.lost)
		}
		return []Coverage{row}
	}
	row := Coverage{Name: "capture", State: Blind, Detail: "no live capture", Err: l.failed, Advice: "see the error; it is tried again, at least every " + longestRetry.String()}
	switch {
	case l.failed == nil:
		row.Detail = "the capture is just starting"
	case errors.Is(l.failed, fs.ErrPermission) && l.lost > 0:
		row.Detail = "the permission to capture was lost at run time"
		row.Advice = "find out what took the right to open " + packetDevice() + " away: a profile, a security product, or who runs osqueryd"
	case errors.Is(l.failed, fs.ErrPermission):
		row.Detail = "no permission to capture"
		row.Advice = "let root's osqueryd start the extension"
	case l.lost > 0:
		row.Detail = fmt.Sprintf("the capture was lost (%d times)", l.lost)
	}
	row.Count = l.lost
	return []Coverage{row}
}

func packetDevice() string {
	if _, err := os.Stat("/dev/bpf0"); err == nil {
		return "/dev/bpf*"
	}
	return "packet sockets (CAP_NET_RAW)"
}

// lateCoverage says what was there before the sensor. The lock must be held.
func (l *live) lateCoverage() Coverage {
	count := l.midstream
	for f := range l.table.Flows() {
		if midstream(f) {
			count++
		}
	}
	row := Coverage{Name: "late_start", State: OK, Count: count, Detail: fmt.Sprintf("connections that were open before %s UTC are seen from the middle only; %d connections were",
		l.started.Wall.UTC().Format(time.DateTime), count)}
	if l.awake()-l.started.Awake < lateStart {
		row.State, row.Advice = Degraded, "wait: most of them end soon; random_midstream shows those that look random"
	}
	return row
}

func memoryCoverage(stats flow.Stats, alerts int64) Coverage {
	row := Coverage{Name: "flow_memory", State: OK, Detail: fmt.Sprintf("%d flows, %d KiB of samples", stats.Flows, stats.SampleBytes>>10),
		Count: int64(stats.Early+stats.Unjudged) + alerts} // an alert that leaves the table for want of room is kept all the same
	if stats.Evicted > 0 {
		row.Detail += fmt.Sprintf("; %d flows left early, the longest judged benign first", stats.Evicted)
	}
	if row.Count > 0 {
		row.State, row.Advice = Degraded, "raise memory_budget"
		row.Detail += fmt.Sprintf("; %d judged early, %d dropped unjudged, %d alerts dropped", stats.Early, stats.Unjudged, alerts)
	}
	return row
}

// ownerCoverage says how many flows have no owner. The lock must be held.
func (l *live) ownerCoverage() Coverage {
	row := Coverage{Name: "attribution", State: OK, Detail: fmt.Sprintf("%d owners found", l.resolved.Load()), Count: l.unowned.Load() + l.unasked.Load() + l.doubtful.Load()}
	if missing := row.Count; missing > 0 {
		row.Detail += fmt.Sprintf(", %d not", missing)
		if doubtful := l.doubtful.Load(); doubtful > 0 {
			row.Detail += fmt.Sprintf(" (of %d another had the ports when they were found)", doubtful)
		}
		if missing*100 > l.resolved.Load() {
			row.State, row.Advice = Degraded, "flows of the kernel, of other network namespaces and of processes that are gone have no owner"
		}
	}
	if l.owners.sockets != nil {
		if why := l.owners.sockets.Degraded(); why != "" {
			row.Detail += "; " + why
		}
	}
	if l.owners.failed != nil && l.source.Stats().Mode != capture.ModePKTAP {
		row.State, row.Err, row.Advice = Blind, l.owners.failed, "flows have no owner: run as root"
	}
	if other := l.elsewhere.coverage(); other != "" {
		row.Detail += other
		if row.State != Blind || l.elsewhere.working() {
			row.State, row.Advice = Degraded, "run as root: our own look at the sockets is quicker than a query"
		}
	}
	return row
}

// fileCoverage says how alerts outlast a restart. The lock must be held.
func (l *live) fileCoverage() Coverage {
	row := Coverage{Name: "alerts", State: OK, Detail: fmt.Sprintf("%d are kept, for %d hours each", len(l.kept.by), keepAlerts/time.Hour), Count: int64(len(l.kept.by))}
	var advice []string
	if l.file == nil {
		row.Detail += "; they are lost when the extension ends"
		if l.fileless != nil {
			row.State, row.Err = Degraded, l.fileless
			row.Advice = "make the folder that the error names, for its owner alone, or name another with --state"
		}
		return row
	}
	row.Detail += fmt.Sprintf("; written to %s, %d taken over from the run before", l.file.Path(), l.restored)
	if l.unreadable != nil {
		row.State = Degraded
		advice = append(advice, "look at the file that was set aside, then remove it: alerts of before are reported again when they are seen again")
	}
	if l.unsavable != nil {
		row.State = Degraded
		advice = append(advice, "mend what keeps the file from being written")
	}
	if l.unwritten > 0 {
		row.State = Degraded
		row.Detail += fmt.Sprintf("; %d had no room in the file", l.unwritten)
		advice = append(advice, "approve or remove what makes so many alerts")
	}
	row.Err, row.Advice = errors.Join(l.unreadable, l.unsavable), strings.Join(advice, "; ")
	return row
}
