package judge

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/randomness"
)

// A recording is what the flow table asked about the flows of some captures, in order, and how many flows there were.
type recording struct {
	asked []conformance.Conversation
	flows int
}

// record plays all captures below dir.
func record(dir string) (r recording) {
	_ = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Ext(name), "cap") {
			r.play(name)
		}
		return nil
	})
	return r
}

func (r *recording) play(name string) {
	source, err := capture.OpenFile(name)
	if err != nil {
		return
	}
	defer source.Close()
	table := flow.New(flow.Config{
		Least: randomness.MaxSample, // as reading files does
		Judge: func(_ *flow.Flow, c *conformance.Conversation) conformance.Judgement {
			kept := *c
			for _, h := range [...]*conformance.Half{&kept.Client, &kept.Server} {
				h.Data, h.Segments = slices.Clone(h.Data), slices.Clone(h.Segments)
			}
			r.asked = append(r.asked, kept)
			return Judge(c, conformance.Options{})
		},
		Removed: func(*flow.Flow) { r.flows++ },
	})
	var p capture.Packet
	for source.Next(&p) == nil {
		table.Add(&p)
	}
	table.Close()
}

// BenchmarkFlows judges all flows of the captures that come with the project and of those beside it, as often as the table asks.
func BenchmarkFlows(b *testing.B) {
	root := filepath.Join("..", "..", "..")
	for name, dir := range map[string]string{"fixtures": root, "corpus": filepath.Join(root, "..", "shared", "corpus")} {
		b.Run(name, func(b *testing.B) {
			all := record(dir + string(filepath.Separator))
			if all.flows == 0 {
				b.Skip("no captures in", dir)
			}
			b.ReportAllocs()
			for b.Loop() {
				for i := range all.asked {
					Judge(&all.asked[i], conformance.Options{})
				}
			}
			ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(ns/float64(all.flows), "ns/flow")
			b.ReportMetric(float64(len(all.asked))/float64(all.flows), "judgements/flow")
		})
	}
}
