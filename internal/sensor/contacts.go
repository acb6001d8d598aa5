package sensor

import (
	"fmt"
	"math"
	"time"
)

const (
	// contactSpan is how far back from the last contact others count.
	contactSpan = 24 * time.Hour
	// contactStep is how finely what is older is forgotten.
	contactStep = time.Hour
	// contactSteps bounds the memory of one identity: steps begin contactStep apart at least.
	contactSteps = int(contactSpan / contactStep)
	// oneContact is how close flows begin that are one contact: a program that opens several connections at once comes back once.
	oneContact = time.Second
	// leastGaps is how many gaps must have been measured to say how even they are.
	leastGaps = 4
)

// Contact is how often flows of an alert's identity began within the 24 hours up to the last one, and how evenly.
type Contact struct {
	Flows  int     // at least 1; 0 where there is no alert
	Gaps   int     // how many gaps between their starts could be measured
	Gap    float64 // their mean, seconds
	Jitter float64 // their standard deviation over Gap; not known with fewer than four
}

// JitterKnown says whether there were enough gaps for Jitter.
func (c *Contact) JitterKnown() bool { return c.Gaps >= leastGaps }

// contacts are the running figures behind a Contact. Its times are by any one clock.
type contacts struct {
	steps []contactsStep // oldest first
	last  time.Duration  // when the last contact began
}

// contactsStep sums up the contacts of an hour. There may be a hundred thousand, so it is small.
type contactsStep struct {
	from  time.Duration // when the first of them began
	gaps  spread        // seconds, each counted where it ends
	flows uint32
}

// add counts a flow that began at start. measured says that nothing came between the last one and this that hides contacts or stretches the gap.
func (c *contacts) add(start time.Duration, measured bool) {
	n := len(c.steps)
	gap := start - c.last
	if n > 0 && gap < oneContact { // also a flow that was settled late: what was counted in between stays
		c.steps[n-1].flows++
		return
	}
	old := 0
	for old < n && c.steps[old].from <= start-contactSpan {
		old++
	}
	c.steps = c.steps[:copy(c.steps, c.steps[old:])]
	if len(c.steps) == 0 || start-c.steps[len(c.steps)-1].from >= contactStep {
		if len(c.steps) == cap(c.steps) {
			c.steps = append(make([]contactsStep, 0, min(2*len(c.steps)+1, contactSteps)), c.steps...)
		}
		c.steps = append(c.steps, contactsStep{from: start})
	}
	c.last = start
	step := &c.steps[len(c.steps)-1]
	step.flows++
	if n > 0 && measured {
		step.gaps.add(gap.Seconds())
	}
}

// contact sums up.
func (c *contacts) contact() Contact {
	var sum Contact
	var gaps spread
	for i := range c.steps {
		sum.Flows += int(c.steps[i].flows)
		gaps.merge(c.steps[i].gaps)
	}
	sum.Gaps, sum.Gap = int(gaps.n), gaps.mean
	if sum.JitterKnown() {
		sum.Jitter = gaps.deviation() / gaps.mean
	}
	return sum
}

// spread is the mean of numbers and the sum of the squares of their distances from it, as they come (Welford, Technometrics 4, 1962).
type spread struct {
	mean, m2 float64
	n        uint32
}

func (s *spread) add(x float64) { s.merge(spread{x, 0, 1}) }

// merge adds the numbers of another one (Chan, Golub and LeVeque, Yale University Technical Report 222, 1979).
func (s *spread) merge(o spread) {
	if o.n == 0 {
		return
	}
	n, d := float64(s.n)+float64(o.n), o.mean-s.mean
	s.mean += d * float64(o.n) / n
	s.m2 += o.m2 + d*d*float64(s.n)*float64(o.n)/n
	s.n += o.n
}

// deviation is the sample's standard deviation; there must be two numbers at least.
func (s *spread) deviation() float64 { return math.Sqrt(s.m2 / (float64(s.n) - 1)) }

// countContacts fills in the contacts of the alerts among flows, which are in order of their first packet.
func countContacts(flows []Flow) {
	by := map[alertKey]*contacts{}
	for i := range flows {
		if f := &flows[i]; f.Judgement.Verdict.Alert() {
			k := alertKeyOf(f)
			if by[k] == nil {
				by[k] = &contacts{}
			}
			by[k].add(time.Duration(f.opened), true)
		}
	}
	for i := range flows {
		if c := by[alertKeyOf(&flows[i])]; c != nil {
			flows[i].Contact = c.contact()
		}
	}
}

// contactsRecord is contacts in the file of alerts.
type contactsRecord struct {
	Age   int64        `json:"age"`   // nanoseconds from the last contact's start to when this was written
	Steps [][5]float64 `json:"steps"` // oldest first: its start, seconds before the last contact's; flows; gaps; their mean, seconds; their m2
}

func (c *contacts) record(now time.Duration) *contactsRecord {
	if len(c.steps) == 0 {
		return nil
	}
	short := func(x float64) float64 { return math.Round(x*1000) / 1000 }
	r := &contactsRecord{Age: int64(max(0, now-c.last)), Steps: make([][5]float64, len(c.steps))}
	for i, s := range c.steps {
		r.Steps[i] = [5]float64{short((c.last - s.from).Seconds()), float64(s.flows), float64(s.gaps.n), short(s.gaps.mean), short(s.gaps.m2)}
	}
	return r
}

// check says what cannot be in a record of ours.
func (r *contactsRecord) check() error {
	if r.Age < 0 || len(r.Steps) == 0 || len(r.Steps) > contactSteps {
		return fmt.Errorf("contacts of age %d in %d steps", r.Age, len(r.Steps))
	}
	before := contactSpan.Seconds()
	for _, s := range r.Steps {
		from, flows, gaps, mean, m2 := s[0], s[1], s[2], s[3], s[4]
		if from < 0 || from > before || flows < 1 || flows > math.MaxInt32 || gaps < 0 || gaps > flows || mean < 0 || mean > math.MaxInt32 || m2 < 0 || m2 > 1e18 ||
			gaps > 0 && mean < oneContact.Seconds() {
			return fmt.Errorf("contacts %v", s)
		}
		before = from
	}
	return nil
}

// contacts gives back the figures, by a clock on which the last contact began at last.
func (r *contactsRecord) contacts(last time.Duration) contacts {
	c := contacts{last: last, steps: make([]contactsStep, len(r.Steps))}
	for i, s := range r.Steps {
		c.steps[i] = contactsStep{last - time.Duration(s[0]*float64(time.Second)), spread{s[3], s[4], uint32(s[2])}, uint32(s[1])}
	}
	return c
}
