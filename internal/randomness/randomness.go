package randomness

import "math"

// The bounds of a sample, in bytes. A shorter one is too short to say anything; of a longer one the first MaxSample bytes
// are judged.
const (
	MinSample = 16
	MaxSample = 4096
)

// Stats are the figures of one sample.
type Stats struct {
	N              int     // bytes sampled
	Entropy        float64 // Shannon entropy, bits a byte (plug-in)
	EntropyRatio   float64 // Entropy over what N uniform bytes give on average
	Chi2P          float64 // p-value of the chi-square test against uniform bytes
	PrintableRatio float64 // share of bytes in 0x20..0x7e, tab, CR, LF

	// Likelihood is the share of equally long uniform samples that look no more random than this one, 0..1. It is spread evenly
	// over 0..1 where the bytes are uniform, and is 0 for samples shorter than MinSample.
	Likelihood float64
}

// Judge measures a sample. It does not allocate; its cost is linear in the sample's length.
func Judge(sample []byte) Stats {
	sample = sample[:min(len(sample), MaxSample)]
	var c counts
	c.count(sample)
	s := c.figures()
	if s.N >= MinSample {
		s.Likelihood = calibrated(s.N, c.combined(sample, &s))
	}
	return s
}

// Weigh is Judge for those to whom a likelihood below level is as good as none: where it is that by far, it is left 0, for a fraction of
// the cost.
func Weigh(sample []byte, level float64) Stats {
	sample = sample[:min(len(sample), MaxSample)]
	var c counts
	c.count(sample)
	s := c.figures()
	if s.N >= MinSample && !c.excludes(level) {
		s.Likelihood = c.likelihood(sample, &s, level)
	}
	return s
}

// Likely is Judge for those who only want the figures of samples whose likelihood is at least level; of others it says so, and nothing more.
func Likely(sample []byte, level float64) (s Stats, ok bool) {
	sample = sample[:min(len(sample), MaxSample)]
	var c counts
	c.count(sample)
	if c.n < MinSample || c.excludes(level) {
		return Stats{}, false
	}
	s = c.figures()
	s.Likelihood = c.likelihood(sample, &s, level)
	return s, s.Likelihood >= level
}

// likelihood is Stats.Likelihood, or 0 where it is below level by far.
func (c *counts) likelihood(sample []byte, s *Stats, level float64) float64 {
	enough := tests / combinedBelow(c.n, level)
	sum := c.unlikelihood(sample, s, enough)
	if sum > enough {
		return 0
	}
	return calibrated(c.n, tests/sum)
}

func (c *counts) figures() Stats {
	s := Stats{N: c.n}
	if s.N == 0 {
		return s
	}
	s.Entropy = c.entropy()
	if mean := expected(s.N).entropy; mean > 0 {
		s.EntropyRatio = s.Entropy / mean
	}
	s.Chi2P = c.chiSquareP()
	s.PrintableRatio = float64(c.text) / float64(c.n)
	return s
}

// Random says whether a share threshold (0..1) of equally long uniform samples would be called random along with this one.
func (s Stats) Random(threshold float64) bool {
	return s.N >= MinSample && s.Likelihood >= 1-threshold
}

// combined is the harmonic mean of the p-values of dependent tests: small where any of them is small, and hardly larger than their
// smallest times their number (Wilson, PNAS 116:1195, 2019).
func (c *counts) combined(sample []byte, s *Stats) float64 {
	return tests / c.unlikelihood(sample, s, math.Inf(1))
}

// calibrated turns the combined p-value of n uniform bytes into one that is spread evenly over 0..1, by the table that
// TestCalibration makes.
func calibrated(n int, combined float64) float64 {
	row, weight, p := expected(n).row, expected(n).weight, math.Log(combined)
	if weight == 0 {
		return math.Exp(row.level(p))
	}
	return math.Exp((1-weight)*row.level(p) + weight*row.next.level(p))
}

// gridPlace is the place of n in the calibration: the index of the row before or at it, and the weight of the row after that.
func gridPlace(n int) (i int, weight float64) {
	i = gridIndex(n)
	if i+1 == len(calibration) || calibration[i].n >= n {
		return i, 0
	}
	lo, hi := &calibration[i], &calibration[i+1]
	return i, math.Log(float64(n)/float64(lo.n)) / math.Log(float64(hi.n)/float64(lo.n))
}

// gridIndex is the index of the last row of the calibration whose n is not above n.
func gridIndex(n int) int {
	lo, hi := 0, len(calibration)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; calibration[mid].n <= n {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// A calibrationRow says for uniform samples of n bytes which combined p-value the share levels[i] of them stays at or below.
type calibrationRow struct {
	n         int
	entropySD float64 // standard deviation of the plug-in entropy, bits a byte
	quantiles [len(levels)]float64
}

// levels are the shares at which the calibration is tabulated.
var levels = [...]float64{1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1}

// A logRow has the logarithms of a calibrationRow's quantiles.
type logRow struct {
	quantiles [len(levels)]float64
	next      *logRow
}

// logLevels are the logarithms of levels, logRows those of the calibration.
var (
	logLevels = logarithms(levels)
	logRows   = func() []logRow {
		rows := make([]logRow, len(calibration))
		for i := range rows {
			rows[i].quantiles = logarithms(calibration[i].quantiles)
			if i > 0 {
				rows[i-1].next = &rows[i]
			}
		}
		return rows
	}()
)

func logarithms(all [len(levels)]float64) (logs [len(levels)]float64) {
	for i, x := range all {
		logs[i] = math.Log(x)
	}
	return logs
}

// level is the share of uniform samples whose combined p-value is at most p: between the tabulated points in proportion on
// logarithmic scales, below them in proportion to p. All are logarithms.
func (r *logRow) level(p float64) float64 {
	const least = -460.51701859880916 // of 1e-200
	if p <= r.quantiles[0] {
		return max(logLevels[0]+p-r.quantiles[0], least)
	}
	for i := 1; i < len(levels); i++ {
		if b := r.quantiles[i]; p <= b {
			a := r.quantiles[i-1]
			return logLevels[i-1] + (logLevels[i]-logLevels[i-1])*(p-a)/(b-a)
		}
	}
	return 0
}
