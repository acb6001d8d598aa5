package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// story is one finding in words, and the first bytes of one of its flows.
type story struct {
	Number          int
	Severity, Title string
	Sentences       []string
	Facts           [][2]string // name, value
	Shape           *shapeView  // nil when no capture shows its bytes
}

// flowIndex finds the flows of a finding.
type flowIndex map[string][]*sensor.Flow

func newFlowIndex(flows []sensor.Flow) flowIndex {
	x := flowIndex{}
	for i := range flows {
		if f := &flows[i]; f.Judgement.Verdict.Alert() {
			k := key(f.Remote.Addr().String(), strconv.Itoa(int(f.Remote.Port())), strconv.Itoa(int(f.Protocol)), string(f.Judgement.Verdict))
			x[k] = append(x[k], f)
		}
	}
	return x
}

func key(parts ...string) string { return strings.Join(parts, "\x00") }

// of gives the flows that a finding stands for, oldest first.
func (x flowIndex) of(f Finding) []*sensor.Flow {
	var own []*sensor.Flow
	for _, flow := range x[key(f["remote_address"], f["remote_port"], f["protocol"], f["verdict"])] {
		if flow.Owner.Path == f["path"] && flow.Owner.Label == f["launchd_label"] {
			own = append(own, flow)
		}
	}
	slices.SortStableFunc(own, func(a, b *sensor.Flow) int { return cmp.Compare(a.FirstSeen, b.FirstSeen) })
	return own
}

func tell(f Finding, flows flowIndex, shapes *Shapes, number int) story {
	s := story{Number: number, Severity: f["severity"], Title: cmp.Or(f["launchd_label"], f["path"], f["process_name"], f["remote_address"])}
	own := flows.of(f)
	s.Sentences = []string{who(f), signed(f), can(f), talked(f, own), f.whyNotTLS()}
	for _, column := range []string{"launchd_label", "plist_path", "path", "pid", "process_name", "signature", "signing_id", "team_id", "cdhash", "provider", "symbols",
		"remote_address", "remote_port", "protocol", "verdict", "why", "exception_key", "host"} {
		if f[column] != "" {
			s.Facts = append(s.Facts, [2]string{column, f[column]})
		}
	}
	if shapes != nil {
		for _, flow := range own {
			if shape := shapes.of(flow); shape != nil {
				s.Shape = shape.view(shapes, fmt.Sprintf("finding-%d", number))
				break
			}
		}
	}
	return s
}

func who(f Finding) string {
	program := cmp.Or(f["path"], f["process_name"], "A program that is not known")
	process := ""
	if pid := f["pid"]; pid != "" && pid != "-1" {
		process = ", process " + pid
	}
	if f["launchd_label"] == "" {
		return program + process + " ran. No launchd job is known to start it."
	}
	plist := ""
	if f["plist_path"] != "" {
		plist = " (" + f["plist_path"] + ")"
	}
	return "The launchd job " + f["launchd_label"] + plist + " starts " + program + process + "."
}

func signed(f Finding) string {
	id := ""
	if f["signing_id"] != "" {
		id = " as " + f["signing_id"]
	}
	switch f["signature"] {
	case "":
		return "Who signed it is not known."
	case "adhoc":
		return "Nobody vouches for it: it has an ad hoc signature" + id + "."
	case "unsigned":
		return "Nobody vouches for it: it is not signed."
	case "invalid":
		return "Its signature is not valid."
	case "apple":
		return "Apple signed it" + id + "."
	}
	team := ""
	if f["team_id"] != "" {
		team = " of team " + f["team_id"]
	}
	return "It is signed (" + strings.ReplaceAll(f["signature"], "_", " ") + ")" + team + id + "."
}

func can(f Finding) string {
	if f["provider"] == "" {
		return "No import of symmetric crypto was found in it."
	}
	return "It can call symmetric crypto of " + strings.ReplaceAll(f["provider"], ",", " and ") + ": " + strings.ReplaceAll(f["symbols"], ",", ", ") + "."
}

func talked(f Finding, own []*sensor.Flow) string {
	where := fmt.Sprintf("It sent to %s port %s/%s", f["remote_address"], f["remote_port"], transport(f["protocol"]))
	if len(own) == 0 {
		return where + "."
	}
	var out, in uint64
	first, last := own[0].FirstSeen, own[0].LastSeen
	for _, flow := range own {
		out, in = out+flow.BytesOut, in+flow.BytesIn
		first, last = min(first, flow.FirstSeen), max(last, flow.LastSeen)
	}
	return fmt.Sprintf("%s: %s, %s out and %s in, from %s to %s.", where, plural(len(own), "flow"), size(out), size(in), clock(first), clock(last))
}

// whyNotTLS is the last sentence.
func (f Finding) whyNotTLS() string {
	if f["verdict"] == "tls_mimic" {
		return "It looks like TLS, DTLS or QUIC and breaks their rules: " + strings.ReplaceAll(f["why"], ",", ", ") + "."
	}
	return "Its bytes are " + cmp.Or(f["why"], "random") + ": like ciphertext, and in no protocol that is known."
}

func transport(number string) string {
	switch number {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	}
	return number
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size is bytes for people.
func size(n uint64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05") }
