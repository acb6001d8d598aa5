// Package report makes one HTML page of what was found: findings with their story, who talked when, what the bytes of flows look like, the whole
// population of flows, and what could not be seen. The page stands alone: no script, no request, nothing of any payload but figures.
package report

import (
	_ "embed"
	"html/template"
	"io"
	"time"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// MaxFindings is how many findings a page shows; those over it are counted.
const MaxFindings = 500

// The other limits of a page, whatever it is made of.
const (
	maxFlows     = 200 // shown by finding and in the table of alerts
	maxProcesses = 40  // in the timeline
)

// Data is what a page is made of.
type Data struct {
	Title     string
	Made      time.Time
	Version   string   // of the program
	Sources   []string // captures, root, logs: as they were given
	Findings  []Finding
	More      int // findings that are not among Findings, for want of room
	Flows     []sensor.Flow
	Coverage  []sensor.Coverage
	Shapes    *Shapes // may be nil: only logs were read
	Threshold float64 // payload_entropy_threshold
}

// Finding is one row of the detection: its columns by name.
type Finding map[string]string

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// Write makes the page.
func Write(w io.Writer, d Data) error { return page.Execute(w, compose(d)) }

// view is what the template shows.
type view struct {
	Data
	MadeText   string
	Stories    []story
	Total      int // findings
	Hidden     int // of these over the limit
	Verdicts   []count
	Timeline   timeline
	Population population
	Alerts     []alertRow
	MoreAlerts int
	Blind      []string
}

type count struct {
	Name, Class string
	N           int
}

func compose(d Data) view {
	v := view{Data: d, MadeText: d.Made.UTC().Format("2006-01-02 15:04 UTC"), Blind: blindSpots}
	flows := newFlowIndex(d.Flows)
	v.Total = len(d.Findings) + d.More
	v.Hidden = v.Total - min(len(d.Findings), MaxFindings)
	for i, f := range d.Findings[:min(len(d.Findings), MaxFindings)] {
		v.Stories = append(v.Stories, tell(f, flows, d.Shapes, i+1))
	}
	v.Verdicts = byVerdict(d.Flows)
	v.Timeline = draw(d.Flows)
	if d.Shapes != nil {
		v.Population = d.Shapes.population(d.Threshold)
	}
	v.Alerts, v.MoreAlerts = alerts(d.Flows)
	return v
}

// blindSpots are what no row of cipherlens_coverage can say of itself; README has them at length.
var blindSpots = []string{
	"Genuine TLS: an implant with a real TLS stack is conformant, and is left to other analytics.",
	"Use: linkage says what a program can call, not what it called. The join with random traffic of the same executable makes the finding.",
	"Hidden crypto: dlsym with made-up names, ciphers written by hand, packed code. The flow is random all the same, but the severity may be low.",
	"Interpreters: a script's crypto is no import of the interpreter's.",
	"Shells: ciphertext inside HTTP, WebSocket, DNS or mail is that protocol; the first play of a recorded TLS handshake is TLS.",
	"What was not captured: flows before the capture began, and packets that were dropped.",
}
