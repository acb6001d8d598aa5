package report

import (
	"math"
	"math/bits"
	"sync"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// Bounds of what is kept of flows.
const (
	maxShapes = 1000
	window    = 16   // bytes a cell of the map of first bytes
	mapped    = 2048 // bytes of a direction that the map shows
)

// Shapes are figures of the first bytes of flows, gathered while these are judged. It keeps no payload byte. Its zero value is ready; it is safe for
// concurrent use.
type Shapes struct {
	mu      sync.Mutex
	pending map[*flow.Flow]*shape
	kept    map[identity]*shape
	tls     histogram // of conformant TLS, pooled
	grid    grid
}

var _ sensor.Inspector = (*Shapes)(nil)

// identity finds a flow's shape again.
type identity struct {
	file, community string
	first           int64
}

// shape is what one flow's first bytes look like.
type shape struct {
	halves    [2]half // from the client, from the server
	header    int
	histogram histogram // of both directions
	entropy   float64   // of the longer direction, over what uniform bytes give
	n         int       // bytes that it stands on
}

// half is one direction: how random each window is, and where messages end.
type half struct {
	bytes   int
	windows []float64 // entropy over what uniform bytes give
	ends    []int
}

// histogram counts byte values.
type histogram [256]uint32

func (h *histogram) add(data []byte) {
	for _, b := range data {
		h[b]++
	}
}

// Judged looks at a flow's first bytes as they are now.
func (s *Shapes) Judged(f *flow.Flow, c *conformance.Conversation, j *conformance.Judgement) {
	longer := c.Client.Data
	if len(c.Server.Data) > len(longer) {
		longer = c.Server.Data
	}
	st := randomness.Judge(longer)
	sh := &shape{entropy: st.EntropyRatio, n: st.N}
	if j.Verdict.Alert() || j.Verdict == conformance.TLS {
		sh.histogram.add(c.Client.Data)
		sh.histogram.add(c.Server.Data)
	}
	if j.Verdict.Alert() {
		sh.header = j.HeaderBytes
		sh.halves = [2]half{halfOf(&c.Client), halfOf(&c.Server)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		s.pending, s.kept = map[*flow.Flow]*shape{}, map[identity]*shape{}
	}
	s.pending[f] = sh
}

func halfOf(h *conformance.Half) half {
	data := h.Data[:min(len(h.Data), mapped)]
	out := half{bytes: len(h.Data)}
	for at := 0; at < len(data); at += window {
		out.windows = append(out.windows, randomness.Judge(data[at:min(at+window, len(data))]).EntropyRatio)
	}
	for _, segment := range h.Segments {
		if end := segment.Offset + segment.Length; end < len(data) {
			out.ends = append(out.ends, end)
		}
	}
	return out
}

// Removed takes leave of a flow: out is what the tables show of it.
func (s *Shapes) Removed(f *flow.Flow, out *sensor.Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.pending[f]
	if sh == nil {
		return
	}
	delete(s.pending, f)
	s.grid.add(sh.n, sh.entropy, class(out.Judgement.Verdict))
	switch v := out.Judgement.Verdict; {
	case v == conformance.TLS:
		for b, n := range sh.histogram {
			s.tls[b] += n
		}
	case v.Alert() && len(s.kept) < maxShapes:
		s.kept[identify(out)] = sh
	}
}

func identify(f *sensor.Flow) identity { return identity{f.File, f.CommunityID, f.FirstSeen} }

func (s *Shapes) of(f *sensor.Flow) *shape { return s.kept[identify(f)] }

// The classes of verdicts, as the page colours them.
const (
	classAlert = iota
	classHunt
	classTLS
	classKnown
	classOther
	classes
)

// classNames are CSS classes; classTitles are for people.
var (
	classNames  = [classes]string{"alert", "hunt", "tls", "known", "other"}
	classTitles = [classes]string{"alert: random or mimic", "random, joined late", "TLS, DTLS, QUIC", "known protocol, text or compressed", "structured or undetermined"}
)

func class(v conformance.Verdict) int {
	switch v {
	case conformance.Random, conformance.TLSMimic:
		return classAlert
	case conformance.RandomMidstream:
		return classHunt
	case conformance.TLS, conformance.DTLS, conformance.QUIC, conformance.StartTLS, conformance.TLSMidstream:
		return classTLS
	case conformance.KnownProtocol, conformance.Cleartext, conformance.Compressed:
		return classKnown
	}
	return classOther
}

// grid counts flows by the length of their sample and how random it is: a picture of any number of flows in bounded room.
type grid [gridX][gridY][classes]uint32

// Its cells: four to each doubling of the length from 16 to 4,096 bytes, and entropy ratios from 0 to 1.05.
const (
	gridX    = 8*4 + 1
	gridY    = 42
	gridStep = 0.025
)

func (g *grid) add(n int, entropy float64, class int) {
	if n < randomness.MinSample {
		return
	}
	y := min(max(int(entropy/gridStep), 0), gridY-1)
	g[column(n)][y][class]++
}

// column of a sample of n bytes, n >= 16.
func column(n int) int {
	n = min(n, randomness.MaxSample)
	whole := bits.Len(uint(n)) - 1
	quarter := int(4 * (math.Log2(float64(n)) - float64(whole)))
	return 4*(whole-4) + min(quarter, 3)
}

// length is the middle of a column, in bytes.
func length(column int) float64 { return 16 * math.Exp2((float64(column)+0.5)/4) }
