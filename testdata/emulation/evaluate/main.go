// Command evaluate prints how the setting payload_entropy_threshold trades detection for false alarms, for each length of sample: points of the receiver
// operating characteristic as TSV, and as pictures. Of plain samples (uniform bytes against the kinds of internal/randomness/testdata/samples) the
// randomness tests alone are measured; of labelled captures, where there are any, the whole judgement on the first bytes of each direction.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

func main() {
	log.SetFlags(0)
	samples := flag.String("samples", "internal/randomness/testdata/samples", "folder with a file for each kind of bytes that is not random")
	corpus := flag.String("corpus", "../shared/corpus", "folder with labels.tsv and the captures that it labels; left out where absent")
	disputed := flag.String("disputed", "docs/disputed.tsv", "lines of labels.tsv to leave out")
	out := flag.String("out", "build/evaluate", "folder for roc-*.tsv, .svg and .png")
	seed := flag.Uint64("seed", 1, "what samples and places are drawn with")
	draws := flag.Int("draws", 2000, "samples for each length and kind")
	flag.Parse()
	if err := run(*samples, *corpus, *disputed, *out, *seed, *draws); err != nil {
		log.Fatal(err)
	}
}

func run(samples, corpus, disputed, out string, seed uint64, draws int) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	plain, compressed, err := measureSamples(samples, seed, draws)
	if err != nil {
		return err
	}
	err = errors.Join(
		save(out, "roc-plain", "Uniform bytes against text, Mach-O, protobuf, base64, LZ4", plain),
		save(out, "roc-compressed", "Uniform bytes against zlib, gzip, zstd, JPEG, by statistics alone", compressed))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(corpus, "labels.tsv")); err != nil {
		fmt.Println("evaluate: no labels in", corpus+": labelled captures are left out")
		return nil
	}
	labelled, err := measureCorpus(corpus, disputed)
	if err != nil {
		return err
	}
	return save(out, "roc-captures", "Labelled captures, the whole judgement", labelled)
}

// A point is one threshold's rates for one length of sample, in bytes.
type point struct {
	length               int
	threshold            float64
	truePositive, falseP float64
	positives, negatives int
}

// thresholds are those of a curve: the share of uniform samples that count as random.
func thresholds() []float64 {
	all := []float64{0.1, 0.25, 0.5, 0.75}
	for e := 1.0; e <= 5; e += 0.5 {
		all = append(all, 1-math.Pow(10, -e))
	}
	return all
}

// save writes points as TSV and as pictures, and prints where.
func save(dir, name, title string, points []point) error {
	var b strings.Builder
	b.WriteString("bytes\tthreshold\ttrue_positive_rate\tfalse_positive_rate\tpositives\tnegatives\n")
	for _, p := range points {
		fmt.Fprintf(&b, "%d\t%.6g\t%.5f\t%.5f\t%d\t%d\n", p.length, p.threshold, p.truePositive, p.falseP, p.positives, p.negatives)
	}
	base := filepath.Join(dir, name)
	if err := os.WriteFile(base+".tsv", []byte(b.String()), 0o644); err != nil {
		return err
	}
	picture, err := curves(title, points)
	if err != nil {
		return err
	}
	for _, kind := range []string{".svg", ".png"} {
		if err := picture.Save(18*vg.Centimeter, 13*vg.Centimeter, base+kind); err != nil {
			return err
		}
	}
	fmt.Printf("evaluate: %s.tsv, .svg, .png: %s\n%s", base, title, atDefault(points))
	return nil
}

// atDefault is the part of the points that the default setting has.
func atDefault(points []point) string {
	var b strings.Builder
	for _, p := range points {
		if math.Abs(p.threshold-0.999) < 1e-9 {
			fmt.Fprintf(&b, "  %5d bytes: detection rate %.4f of %d, false positive rate %.4f of %d\n", p.length, p.truePositive, p.positives, p.falseP, p.negatives)
		}
	}
	return b.String()
}

// curves draws one line a length.
func curves(title string, points []point) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "false positive rate"
	p.Y.Label.Text = "detection rate"
	p.Add(plotter.NewGrid())
	lines := map[int]plotter.XYs{}
	var lengths []int
	for _, at := range points {
		if lines[at.length] == nil {
			lengths = append(lengths, at.length)
		}
		lines[at.length] = append(lines[at.length], plotter.XY{X: at.falseP, Y: at.truePositive})
	}
	for i, n := range lengths {
		line, dots, err := plotter.NewLinePoints(lines[n])
		if err != nil {
			return nil, err
		}
		line.Color = plotutil.Color(i)
		dots.Color, dots.Radius = line.Color, vg.Points(2)
		p.Add(line, dots)
		p.Legend.Add(fmt.Sprintf("%d bytes", n), line)
	}
	p.X.Min, p.Y.Max = 0, 1
	return p, nil
}
