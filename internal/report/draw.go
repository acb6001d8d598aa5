package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// rect is a box of a picture, in its own units.
type rect struct {
	X, Y, W, H float64
	Class      string
	Title      string // what a pointer that rests on it is told
	Opacity    float64
}

// label is a word in a picture.
type label struct {
	X, Y float64
	Text string
}

// shapeView is the picture of one flow's first bytes.
type shapeView struct {
	ID        string
	Halves    []halfView
	Bars      string // path: the histogram of byte values
	TLS       string // path: that of conformant TLS in the same captures; empty when there is none
	Low, High float64
	Histogram string // in words
	Height    float64
}

type halfView struct {
	Name    string
	Cells   []rect
	Ends    []float64
	Header  float64 // end of the clear header; 0 without one
	Width   float64
	Caption string
}

// A cell of the map is this wide and high.
const (
	cellWidth  = 6.0
	cellHeight = 26.0
)

func (sh *shape) view(all *Shapes, id string) *shapeView {
	v := &shapeView{ID: id, Height: histogramHeight}
	for i, name := range []string{"from the client", "from the server"} {
		h := sh.halves[i]
		if h.bytes == 0 {
			continue
		}
		header := 0
		if i == 0 {
			header = sh.header
		}
		v.Halves = append(v.Halves, h.view(name, header))
	}
	total := sh.histogram.total()
	peak := max(sh.histogram.peak(), all.tls.peak(), 3.0/256)
	v.Bars = sh.histogram.path(peak)
	if all.tls.total() > 0 {
		v.TLS = all.tls.path(peak)
	}
	// 99.9 % of uniform samples of this size keep each value's share between these (normal approximation of the binomial).
	spread := 3.29 * math.Sqrt(1.0/256*(255.0/256)/float64(max(total, 1)))
	v.Low = histogramHeight * (1 - max(1.0/256-spread, 0)/peak)
	v.High = histogramHeight * (1 - min((1.0/256+spread)/peak, 1))
	outside := 0
	for _, n := range sh.histogram {
		if share := float64(n) / float64(max(total, 1)); math.Abs(share-1.0/256) > spread {
			outside++
		}
	}
	v.Histogram = fmt.Sprintf("Byte values of %d bytes: %d of 256 are more or less frequent than 99.9 %% of uniform samples allow.", total, outside)
	return v
}

func (h half) view(name string, header int) halfView {
	v := halfView{Name: name, Width: cellWidth * float64(len(h.windows)), Header: cellWidth / window * float64(header)}
	least := 2.0
	for i, ratio := range h.windows {
		v.Cells = append(v.Cells, rect{X: cellWidth * float64(i), W: cellWidth - 0.5, H: cellHeight, Class: heat(ratio),
			Title: fmt.Sprintf("bytes %d to %d: entropy %.2f of uniform", i*window, min((i+1)*window, h.bytes)-1, ratio)})
		least = min(least, ratio)
	}
	for _, end := range h.ends {
		v.Ends = append(v.Ends, cellWidth/window*float64(end))
	}
	v.Caption = fmt.Sprintf("%s: %d bytes, %s; the least random %d bytes have %.0f %% of the entropy of uniform ones", name, h.bytes, plural(len(h.ends)+1, "message"), window, 100*least)
	if header > 0 {
		v.Caption += fmt.Sprintf("; %d clear bytes first", header)
	}
	return v
}

// heat is the CSS class of a window: how random it is, in five steps.
func heat(ratio float64) string {
	switch {
	case ratio >= 0.95:
		return "h4"
	case ratio >= 0.85:
		return "h3"
	case ratio >= 0.7:
		return "h2"
	case ratio >= 0.4:
		return "h1"
	}
	return "h0"
}

const histogramHeight = 120.0

func (h *histogram) total() (n int) {
	for _, c := range h {
		n += int(c)
	}
	return n
}

func (h *histogram) peak() float64 {
	total := h.total()
	if total == 0 {
		return 0
	}
	return float64(slices.Max(h[:])) / float64(total)
}

// path draws the shares of byte values, two units a value, the peak as high as the picture.
func (h *histogram) path(peak float64) string {
	var b strings.Builder
	total := float64(max(h.total(), 1))
	fmt.Fprintf(&b, "M0 %g", histogramHeight)
	for i, n := range h {
		fmt.Fprintf(&b, "L%d %.1fh2", 2*i, histogramHeight*(1-float64(n)/total/peak))
	}
	fmt.Fprintf(&b, "V%gZ", histogramHeight)
	return b.String()
}

// population is the picture of all flows by length and randomness, with the threshold.
type population struct {
	Cells            []rect
	Threshold        string // path
	XLabels, YLabels []label
	Flows            int
	Counts           []count
	Width, Height    float64
	BoxW, BoxH       float64 // with room for the labels
	Caption          string
}

// A cell of the population is this wide and high.
const (
	popWidth  = 20.0
	popHeight = 8.0
)

func (s *Shapes) population(threshold float64) population {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := population{Width: popWidth * gridX, Height: popHeight * gridY}
	p.BoxW, p.BoxH = p.Width+60, p.Height+36
	var most uint32 = 1
	var sums [classes]int
	for x := range s.grid {
		for y := range s.grid[x] {
			for c, n := range s.grid[x][y] {
				most, sums[c] = max(most, n), sums[c]+int(n)
			}
		}
	}
	for x := range s.grid {
		for y := range s.grid[x] {
			p.Cells = append(p.Cells, cell(x, y, s.grid[x][y], most)...)
		}
	}
	for c, n := range sums {
		p.Flows += n
		p.Counts = append(p.Counts, count{classTitles[c], classNames[c], n})
	}
	p.Threshold = thresholdPath(threshold)
	for n := 16; n <= randomness.MaxSample; n *= 4 {
		p.XLabels = append(p.XLabels, label{popWidth * float64(column(n)), p.Height + 16, fmt.Sprint(n)})
	}
	for _, ratio := range []float64{0, 0.25, 0.5, 0.75, 1} {
		p.YLabels = append(p.YLabels, label{-6, p.Height - popHeight*ratio/gridStep + 4, fmt.Sprintf("%.2f", ratio)})
	}
	p.Caption = fmt.Sprintf("%s with at least %d bytes in one direction, by the length of that sample and its entropy over that of uniform bytes", plural(p.Flows, "flow"), randomness.MinSample)
	return p
}

// cell draws one cell: a strip for each class that has flows there, the darker the more.
func cell(x, y int, counts [classes]uint32, most uint32) []rect {
	var present []int
	for c, n := range counts {
		if n > 0 {
			present = append(present, c)
		}
	}
	var out []rect
	for i, c := range present {
		w := popWidth / float64(len(present))
		out = append(out, rect{X: popWidth*float64(x) + w*float64(i), Y: popHeight * float64(gridY-1-y), W: w, H: popHeight, Class: classNames[c],
			Opacity: 0.35 + 0.65*math.Log1p(float64(counts[c]))/math.Log1p(float64(most)),
			Title:   fmt.Sprintf("%s: %s, about %.0f bytes, entropy ratio %.2f", plural(int(counts[c]), "flow"), classTitles[c], length(x), gridStep*float64(y))})
	}
	return out
}

// thresholdPath is the entropy that a share threshold of uniform samples reaches, for each length: measured on pseudo-random bytes with a fixed seed. Entropy is one
// of sixteen tests, so that a flow above the line need not be random.
func thresholdPath(threshold float64) string {
	const samples = 2000
	random := rand.NewChaCha8([32]byte{'c', 'i', 'p', 'h', 'e', 'r', 'l', 'e', 'n', 's'})
	var b strings.Builder
	buffer := make([]byte, randomness.MaxSample)
	ratios := make([]float64, samples)
	for x := range gridX {
		n := min(int(length(x)), randomness.MaxSample)
		for i := range ratios {
			_, _ = random.Read(buffer[:n])
			ratios[i] = randomness.Judge(buffer[:n]).EntropyRatio
		}
		slices.Sort(ratios)
		least := ratios[min(int((1-threshold)*samples), samples-1)]
		op := "L"
		if x == 0 {
			op = "M"
		}
		fmt.Fprintf(&b, "%s%.0f %.1f", op, popWidth*(float64(x)+0.5), popHeight*gridY-popHeight*least/gridStep)
	}
	return b.String()
}

// timeline is who talked when.
type timeline struct {
	Rows          []timelineRow
	More          int // processes over the limit
	First, Last   string
	Width, Height float64
}

type timelineRow struct {
	Name  string
	Y     float64
	Bars  []rect
	Flows int
	Text  string
}

// The timeline has this many slots, each this wide; a row is this high.
const (
	slots     = 120
	slotWidth = 6.0
	rowHeight = 22.0
)

// draw puts flows into the slots in which they were active, a row a process, those with alerts first.
func draw(flows []sensor.Flow) timeline {
	if len(flows) == 0 {
		return timeline{}
	}
	first, last := flows[0].FirstSeen, flows[0].LastSeen
	totals := map[string]*[classes]int{}
	for i := range flows {
		f := &flows[i]
		first, last = min(first, f.FirstSeen), max(last, f.LastSeen)
		name := talker(f)
		if totals[name] == nil {
			totals[name] = new([classes]int)
		}
		totals[name][class(f.Judgement.Verdict)]++
	}
	names := slices.SortedFunc(maps.Keys(totals), func(a, b string) int {
		return cmp.Or(cmp.Compare(totals[b][classAlert], totals[a][classAlert]), cmp.Compare(sum(totals[b]), sum(totals[a])), cmp.Compare(a, b))
	})
	shown := names[:min(len(names), maxProcesses)]
	active := map[string]*[slots][classes]bool{}
	for _, name := range shown {
		active[name] = new([slots][classes]bool)
	}
	slot := func(t int64) int { return int((t - first) * (slots - 1) / max(last-first, 1)) }
	for i := range flows {
		f := &flows[i]
		if row := active[talker(f)]; row != nil {
			for t := slot(f.FirstSeen); t <= slot(f.LastSeen); t++ {
				row[t][class(f.Judgement.Verdict)] = true
			}
		}
	}
	t := timeline{First: clock(first), Last: clock(last), Width: slots * slotWidth, Height: rowHeight * float64(len(shown)), More: len(names) - len(shown)}
	for i, name := range shown {
		t.Rows = append(t.Rows, rowOf(name, active[name], totals[name], float64(i)*rowHeight))
	}
	return t
}

// talker names the row that a flow is in.
func talker(f *sensor.Flow) string {
	return cmp.Or(f.Owner.Label, f.Owner.Path, f.Owner.Name, "owner not known, "+f.Local.Addr().String())
}

func sum(counts *[classes]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func rowOf(name string, active *[slots][classes]bool, totals *[classes]int, y float64) timelineRow {
	row := timelineRow{Name: name, Y: y, Flows: sum(totals)}
	var parts []string
	for c, n := range totals {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, classTitles[c]))
		}
	}
	row.Text = strings.Join(parts, ", ")
	for c := range classes { // runs of slots, a lane a class
		lane := (rowHeight - 4) / classes
		for at := 0; at < slots; at++ {
			if !active[at][c] {
				continue
			}
			end := at
			for end < slots && active[end][c] {
				end++
			}
			row.Bars = append(row.Bars, rect{X: slotWidth * float64(at), Y: y + 2 + lane*float64(c), W: slotWidth * float64(end-at), H: lane,
				Class: classNames[c], Title: name + ": " + classTitles[c]})
			at = end
		}
	}
	return row
}

// byVerdict counts flows.
func byVerdict(flows []sensor.Flow) []count {
	n := map[conformance.Verdict]int{}
	for i := range flows {
		n[flows[i].Judgement.Verdict]++
	}
	var out []count
	for v, n := range n {
		out = append(out, count{string(v), classNames[class(v)], n})
	}
	slices.SortFunc(out, func(a, b count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	return out
}

// alertRow is one flow of the table of alerts.
type alertRow struct {
	Verdict, Protocol, Local, Remote, Out, In, Owner, Why, Rule, First string
}

// alerts lists the flows that are alerts, oldest first, and how many are left out.
func alerts(flows []sensor.Flow) (rows []alertRow, more int) {
	for i := range flows {
		f := &flows[i]
		if !f.Judgement.Verdict.Alert() {
			continue
		}
		if len(rows) == maxFlows {
			more++
			continue
		}
		rows = append(rows, alertRow{
			Verdict: string(f.Judgement.Verdict), Protocol: transport(fmt.Sprint(f.Protocol)), Local: f.Local.String(), Remote: f.Remote.String(),
			Out: size(f.BytesOut), In: size(f.BytesIn), Owner: cmp.Or(f.Owner.Path, f.Owner.Name, "not known"),
			Why:  strings.Join(slices.Concat(f.Judgement.Violations, f.Judgement.Reasons), ", "),
			Rule: f.AllowlistRule, First: clock(f.FirstSeen),
		})
	}
	return rows, more
}
