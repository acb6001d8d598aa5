package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/judge"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// cuts are how many bytes of each direction are kept and judged.
var cuts = []int{32, 64, 128, 256, 512, 1024, 4096, flow.MaxSample}

// A flowKey is a 5-tuple in either direction.
type flowKey struct {
	transport uint8
	low, high netip.AddrPort
}

func keyOf(transport uint8, a, b netip.AddrPort) flowKey {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return flowKey{transport, a, b}
}

// A tally counts alerts by cut and threshold.
type tally map[int]map[float64]int

func (t tally) add(n int, threshold float64) {
	if t[n] == nil {
		t[n] = map[float64]int{}
	}
	t[n][threshold]++
}

// measureCorpus judges every labelled flow at every cut and threshold.
func measureCorpus(dir, disputed string) ([]point, error) {
	labels, err := readLabels(filepath.Join(dir, "labels.tsv"), disputed)
	if err != nil {
		return nil, err
	}
	files := make([]string, 0, len(labels))
	for f := range labels {
		files = append(files, f)
	}
	slices.Sort(files)
	alerts, total := map[bool]tally{true: {}, false: {}}, map[bool]int{}
	for _, f := range files {
		heard, err := conversations(filepath.Join(dir, f))
		if err != nil {
			fmt.Fprintf(os.Stderr, "evaluate: %s: %v\n", f, err) // what came before the fault counts
		}
		for key, positive := range labels[f] {
			if len(heard[key]) == 0 {
				continue
			}
			total[positive]++
			count(heard[key], alerts[positive])
		}
	}
	var points []point
	for _, n := range cuts {
		for _, t := range thresholds() {
			rate := func(positive bool) float64 { return float64(alerts[positive][n][t]) / float64(max(total[positive], 1)) }
			points = append(points, point{n, t, rate(true), rate(false), total[true], total[false]})
		}
	}
	return points, nil
}

// count adds to alerts where any of a 5-tuple's flows is one.
func count(heard []*conformance.Conversation, alerts tally) {
	for _, n := range cuts {
		for _, t := range thresholds() {
			if slices.ContainsFunc(heard, func(c *conformance.Conversation) bool {
				start := *c
				start.Client, start.Server = firstBytes(c, &c.Client, n), firstBytes(c, &c.Server, n)
				return judge.Judge(&start, conformance.Options{Threshold: t}).Verdict.Alert()
			}) {
				alerts.add(n, t)
			}
		}
	}
}

// firstBytes is a direction of which only n bytes were kept: of UDP whole datagrams, as they come. How many there were in all is still known.
func firstBytes(c *conformance.Conversation, h *conformance.Half, n int) conformance.Half {
	if c.Transport == conformance.UDP {
		at := n
		for _, s := range h.Segments {
			if s.Offset < at {
				n = max(n, s.Offset+s.Length)
			}
		}
	}
	if len(h.Data) <= n {
		return *h
	}
	cut := *h
	cut.Data, cut.Segments = h.Data[:n], nil
	for _, s := range h.Segments {
		if s.Offset < n {
			s.Length = min(s.Length, n-s.Offset)
			cut.Segments = append(cut.Segments, s)
		}
	}
	return cut
}

// conversations are the flows of a capture as they were last judged, by 5-tuple.
func conversations(file string) (map[flowKey][]*conformance.Conversation, error) {
	source, err := capture.OpenFile(file)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	last := map[*flow.Flow]*conformance.Conversation{}
	heard := map[flowKey][]*conformance.Conversation{}
	table := flow.New(flow.Config{Memory: 512 << 20,
		Judge: func(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
			copied := *c
			for _, h := range []*conformance.Half{&copied.Client, &copied.Server} {
				h.Data, h.Segments = slices.Clone(h.Data), slices.Clone(h.Segments)
			}
			last[f] = &copied
			return conformance.Judgement{Verdict: conformance.Undetermined} // never final: all that is kept is wanted
		},
		Removed: func(f *flow.Flow) {
			if c := last[f]; c != nil {
				key := keyOf(f.Transport, f.Client(), f.Server())
				heard[key] = append(heard[key], c)
			}
			delete(last, f)
		}})
	for {
		var p capture.Packet
		err := source.Next(&p)
		if err != nil {
			table.Close()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return heard, err
		}
		table.Add(&p)
	}
}

// readLabels gives for each capture which flows an alert is right for, without the disputed ones.
func readLabels(file, disputed string) (map[string]map[flowKey]bool, error) {
	skip := map[string]bool{}
	if data, err := os.ReadFile(disputed); err == nil {
		for line := range strings.Lines(string(data)) {
			skip[firstFields(line)] = true
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	labels := map[string]map[flowKey]bool{}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if number == 1 || len(f) < 9 || skip[firstFields(line)] || f[8] != "positive" && f[8] != "negative" {
			continue
		}
		client, err := end(f[2], f[3])
		server, err2 := end(f[4], f[5])
		if err := cmp.Or(err, err2); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		if labels[f[0]] == nil {
			labels[f[0]] = map[flowKey]bool{}
		}
		labels[f[0]][keyOf(map[string]uint8{"tcp": conformance.TCP, "udp": conformance.UDP}[f[1]], client, server)] = f[8] == "positive"
	}
	return labels, nil
}

// firstFields are what names a label's flow.
func firstFields(line string) string {
	f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	return strings.Join(f[:min(7, len(f))], "\t")
}

func end(address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err
}
