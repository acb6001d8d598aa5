package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/testdata/emulation/wire"
)

// write makes the report.
func (c *campaign) write() error {
	var b strings.Builder
	c.head(&b)
	c.implants(&b)
	c.blind(&b)
	c.evasions(&b)
	c.programs(&b)
	c.macSection(&b)
	c.layouts(&b)
	return os.WriteFile(c.out, []byte(b.String()), 0o644)
}

// A score counts the flows that should be found.
type score struct {
	must, found, low, soon, small, open, right int
}

func (c *campaign) score(want func(wire.Class) bool) (s score) {
	for i := range c.flows {
		r := &c.flows[i]
		if !r.mustBeFound() || !want(r.Format.Class) {
			continue
		}
		s.must++
		late, ok := r.late(embedded)
		if !ok {
			s.low += count(r.Low)
			continue
		}
		s.found++
		s.soon += count(late <= 2*c.interval)
		s.small += count(r.Needed > 0 && r.Needed <= 512)
		s.open += count(r.Open > 0 && r.Open <= 512)
		s.right += count(r.rightProcess(embedded))
	}
	return s
}

func (c *campaign) head(b *strings.Builder) {
	all := c.score(func(wire.Class) bool { return true })
	random := c.score(func(k wire.Class) bool { return k == wire.Random })
	mimic := c.score(func(k wire.Class) bool { return k == wire.Mimic })
	plain, approved, natural := 0, 0, 0
	for _, p := range c.benign {
		approved += p.Findings[withAllowlist]
		if p.ByNature != "" {
			natural += p.Findings[embedded]
		} else {
			plain += p.Findings[embedded]
		}
	}
	fmt.Fprintf(b, `# Detection report

Made by `+"`make emulate`"+` (seed %d, %d runs); do not edit. Clients of each wire format and real benign programs talk over a link between two network
namespaces, under the sensor with its pack. Emulation is traffic only: made-up facts, no function of any implant. Servers answer 25 ms late, as distant ones
do. Only the pack's interval is shortened, to %s from 300 s; within 2 of these means that the line is there %s after the first byte.

| goal | measured | random | pretending to be TLS |
|---|---|---|---|
| at least 99 %% of emulated flows that are not genuine TLS or plain HTTP are found | %s | %s | %s |
| not found, but of low severity, which only the hunt pack shows | %s | %s | %s |
| within 2 pack intervals, of those found | %s | %s | %s |
| from at most 512 bytes of both directions together, of those found | %s | %s | %s |
| the finding names the right process (pid and path), of those found | %s | %s | %s |
| no finding on benign programs with the allowlist | %d findings, %d programs | | |
| without it, only what is random by nature | %d findings on programs that are, %d on others | | |

`, c.seed, c.runs, c.interval, 2*c.interval, share(all.found, all.must), share(random.found, random.must), share(mimic.found, mimic.must),
		share(all.low, all.must), share(random.low, random.must), share(mimic.low, mimic.must),
		share(all.soon, all.found), share(random.soon, random.found), share(mimic.soon, mimic.found),
		share(all.small, all.found), share(random.small, random.found), share(mimic.small, mimic.found),
		share(all.right, all.found), share(random.right, random.found), share(mimic.right, mimic.found), approved, len(c.benign), natural, plain)
	b.WriteString("A recorded or well-made handshake is genuine until it ends, which takes more than 512 bytes. A random flow is shown once it was silent for 2 s, has ended, or 16 KiB of each direction are read: ")
	b.WriteString("until then the next bytes could explain it. ")
	fmt.Fprintf(b, "Sensors in this run: %s. ", strings.Join(c.sensors, ", "))
	if c.osqueryd == "" {
		b.WriteString("OSQUERYD was not set: no run under a real osqueryd. ")
	}
	for _, l := range c.losses {
		fmt.Fprintf(b, "The sensor says of this run: %s. ", l)
	}
	b.WriteString("Shapes:")
	for i, s := range wire.Shapes {
		fmt.Fprintf(b, "%s %s (%s)", map[bool]string{true: "", false: ";"}[i == 0], s.Name, s.Note)
	}
	b.WriteString(".\n\n")
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func share(n, of int) string {
	if of == 0 {
		return "none ran"
	}
	return fmt.Sprintf("%d of %d (%.1f %%)", n, of, 100*float64(n)/float64(of))
}

// groups are the flows of each format and shape, in the order of the table of formats.
func (c *campaign) groups(want func(wire.Format) bool) [][]*result {
	var all [][]*result
	for _, f := range wire.Formats() {
		if !want(f) {
			continue
		}
		for _, s := range f.Shapes() {
			var g []*result
			for i := range c.flows {
				if c.flows[i].Format.Name == f.Name && c.flows[i].Shape.Name == s.Name {
					g = append(g, &c.flows[i])
				}
			}
			if len(g) > 0 {
				all = append(all, g)
			}
		}
	}
	return all
}

func (c *campaign) implants(b *strings.Builder) {
	b.WriteString("## Implants that can be found\n\nBytes: the fewest payload bytes, both directions together, after which the verdict is an alert: where the connection ends there, and while it goes on. Time: from the first byte to the line in osquery's results log. Low: a finding of low severity, because no strong symmetric crypto was seen in the executable (Go programs with TLS linked in) or the owner was not known.\n\n")
	b.WriteString("| implant | ATT&CK | shape | found | verdicts | time, median and longest | bytes if ended, median and most | while open | right process |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, g := range c.groups(func(f wire.Format) bool { return f.Class == wire.Random || f.Class == wire.Mimic }) {
		f := g[0].Format
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", f.Name, cmp.Or(f.Software, "none"), g[0].Shape.Name, c.foundIn(g), verdicts(g), c.lateness(g),
			bytesNeeded(g, ifEnded), bytesNeeded(g, whileOpen), c.named(g))
	}
	b.WriteString("\n")
	for i := range c.flows {
		if r := &c.flows[i]; r.Log.Error != "" {
			fmt.Fprintf(b, "- %s did not run to its end: %s\n", r.Name(), r.Log.Error)
		} else if _, ok := r.Found[embedded]; r.mustBeFound() && !ok {
			fmt.Fprintf(b, "- %s was not found: verdict %s (%s)\n", r.Name(), cmp.Or(r.Verdict, "none"), strings.TrimSpace(r.Reasons))
		}
	}
	b.WriteString("\n")
}

func (c *campaign) foundIn(g []*result) string {
	n := 0
	for _, r := range g {
		_, ok := r.Found[embedded]
		n += count(ok)
	}
	text := fmt.Sprintf("%d of %d", n, len(g))
	low := 0
	for _, r := range g {
		low += count(r.Low)
	}
	if low > 0 {
		text += fmt.Sprintf(" (low: %d)", low)
	}
	if c.osqueryd != "" {
		n = 0
		for _, r := range g {
			_, ok := r.Found["osqueryd"]
			n += count(ok)
		}
		text += fmt.Sprintf(", osqueryd %d", n)
	}
	return text
}

func verdicts(g []*result) string {
	n := map[string]int{}
	for _, r := range g {
		n[cmp.Or(r.Verdict, "none")]++
	}
	return counted(n)
}

// counted lists what was counted, the most frequent first.
func counted(n map[string]int) string {
	keys := make([]string, 0, len(n))
	for k := range n {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	if len(keys) == 1 {
		return keys[0]
	}
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, n[k])
	}
	return strings.Join(keys, ", ")
}

func (c *campaign) lateness(g []*result) string {
	var all []time.Duration
	for _, r := range g {
		if late, ok := r.late(embedded); ok {
			all = append(all, late)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return fmt.Sprintf("%.1f s, %.1f s", all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
}

func ifEnded(r *result) int   { return r.Needed }
func whileOpen(r *result) int { return r.Open }

func bytesNeeded(g []*result, of func(*result) int) string {
	var all []int
	for _, r := range g {
		if n := of(r); n > 0 {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return fmt.Sprintf("%d, %d", all[len(all)/2], all[len(all)-1])
}

func (c *campaign) named(g []*result) string {
	n, found := 0, 0
	for _, r := range g {
		if _, ok := r.Found[embedded]; ok {
			found++
			n += count(r.rightProcess(embedded))
		}
	}
	return fmt.Sprintf("%d of %d", n, found)
}

func (c *campaign) blind(b *strings.Builder) {
	b.WriteString("## Blind by principle\n\nGenuine TLS and plain HTTP are conformant: no finding is right. The row shows that nothing else was claimed, and what else sees such an implant.\n\n")
	b.WriteString("| implant | ATT&CK | found | in an0402-hunt/payload | verdicts | what would see it |\n|---|---|---|---|---|---|\n")
	for _, f := range wire.Formats() {
		if f.Class != wire.Blind {
			continue
		}
		if g := slices.Concat(c.groups(func(o wire.Format) bool { return o.Name == f.Name })...); len(g) > 0 {
			fmt.Fprintf(b, "| %s | %s | %s | %d of %d | %s | %s |\n", f.Name, cmp.Or(f.Software, "none"), c.foundIn(g), huntedIn(g), len(g), verdicts(g), f.Blind)
		}
	}
	b.WriteString("\n")
}

// huntedIn is how many of these an0402-hunt/payload lists.
func huntedIn(g []*result) (n int) {
	for _, r := range g {
		n += count(r.Hunted)
	}
	return n
}

func (c *campaign) evasions(b *strings.Builder) {
	b.WriteString("## Evasion\n\nFound: every flow. Partly: some. Hunt: no finding, as the protocol is what it says, but `an0402-hunt/payload` lists the flow's program, for bytes as random as ciphertext in both directions. The traffic of the last four is found like any other; what they hide is the crypto, see the macOS half below.\n\n")
	b.WriteString("| evasion | layout | result | by shape | verdicts | time, median and longest | bytes if ended, median and most |\n|---|---|---|---|---|---|---|\n")
	for _, f := range wire.Formats() {
		if f.Class != wire.Evades {
			continue
		}
		groups := c.groups(func(o wire.Format) bool { return o.Name == f.Name })
		g := slices.Concat(groups...)
		if len(g) == 0 {
			continue
		}
		var shapes []string
		found, listed := 0, huntedIn(g)
		for _, s := range groups {
			shape := s[0].Shape.Name + " " + c.foundIn(s)
			if n := huntedIn(s); n > 0 {
				shape += fmt.Sprintf(" (hunt: %d)", n)
			}
			shapes = append(shapes, shape)
			for _, r := range s {
				_, ok := r.Found[embedded]
				found += count(ok)
			}
		}
		word := "partly"
		switch {
		case found == 0 && listed > 0:
			word = fmt.Sprintf("partly (hunt: %d of %d)", listed, len(g))
		case found == 0:
			word = "not"
		case found == len(g):
			word = "found"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", f.Name, f.Layout, word, strings.Join(shapes, "; "), verdicts(g), c.lateness(g), bytesNeeded(g, ifEnded))
	}
	b.WriteString("\n")
}

func (c *campaign) programs(b *strings.Builder) {
	b.WriteString("## Benign programs\n\nAlerts: flows whose verdict is an alert. Findings: lines of the detection, without any allowlist, and with the shipped rules and one rule each for the programs that are random by nature.\n\n")
	b.WriteString("| program | what | from | flows by verdict | alerts | findings | with allowlist | |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range c.benign {
		note := p.ByNature
		if p.Error != "" {
			note = strings.TrimSpace(note + " client: " + strings.ReplaceAll(p.Error, "|", "/"))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d | %d | %s |\n", p.Name, p.What, p.From, cmp.Or(counted(p.Verdicts), "none seen"), p.Alerts, p.Findings[embedded], p.Findings[withAllowlist], note)
	}
	b.WriteString("\n")
	for _, p := range c.benign {
		if p.Hunted > 0 {
			fmt.Fprintf(b, "- an0402-hunt/payload lists %s\n", p.Name)
		}
	}
	for _, s := range c.skipped {
		fmt.Fprintf(b, "- skipped: %s\n", s)
	}
	b.WriteString("\n")
}

func (c *campaign) layouts(b *strings.Builder) {
	b.WriteString("## Wire formats\n\n\"stated\": no source publishes the layout, so this is ours.\n\n| name | ATT&CK | cipher | layout | source |\n|---|---|---|---|---|\n")
	for _, f := range wire.Formats() {
		if f.Class != wire.Evades {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", f.Name, cmp.Or(f.Software, "none"), f.Cipher, f.Layout, f.Source)
		}
	}
}
