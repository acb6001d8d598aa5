package sensor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// rest is how long a flow must be silent before an alert that more bytes could take back is shown.
const rest = 2 * time.Second

// settled says whether an alert may be shown: a few bytes can look random that the next ones explain.
func settled(j *conformance.Judgement, ended bool, silent time.Duration) bool {
	return j.Final || ended || silent >= rest
}

// settled says so of a flow, whose owner must have been looked for as well: it is part of the alert. The lock must be held.
func (l *live) settled(f *flow.Flow) bool {
	carries, unsure := l.carrying(f)
	return settled(&f.Judgement, f.Ended, l.table.Silent(f)) && f.Owner != nil && l.labelled && !carries && !unsure
}

// convert copies a flow with its owner; the lock must be held.
func (l *live) convert(f *flow.Flow) Flow {
	out := l.owned(f)
	out.CommunityID = f.CommunityID()
	return out
}

// owned is convert without the Community ID.
func (l *live) owned(f *flow.Flow) Flow {
	out := unnamed(f)
	if owner, known := f.Owner.(*Owner); known {
		out.Owner = *owner
	} else {
		out.Owner = captured(f.Process, nil)
	}
	return out
}

// flows gives the judged flows of the window, and the alerts that are kept for longer.
func (l *live) flows(ctx context.Context, window time.Duration, keep func(*Flow) bool) []Flow {
	l.collect(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.Advance(int64(l.awake()))
	var found []Flow
	var shown []*kept
	var out Flow // one for all: keep lets it escape, and there are tens of thousands
	for f := range l.table.Flows() {
		silent := l.table.Silent(f)
		if !f.Judged || silent > window && !f.Alert() {
			continue
		}
		out = l.owned(f)
		if f.Alert() {
			out.CommunityID = f.CommunityID()
			if carries, _ := l.carrying(f); carries {
				out.Judgement = carrier(out.Judgement)
			} else if !l.settled(f) {
				out.Judgement = conformance.Judgement{Verdict: conformance.Undetermined, Reasons: []string{"too_early"}}
			} else if v := l.showAs(f, &out); v != nil {
				shown = append(shown, v)
			}
		}
		out.Kept = silent > window
		if keep(&out) {
			if out.CommunityID == "" {
				out.CommunityID = f.CommunityID()
			}
			found = append(found, out)
		}
	}
	for _, f := range l.kept.list(keep) {
		f.Kept = true
		found = append(found, f)
	}
	for _, v := range shown {
		v.shown = false
	}
	slices.SortFunc(found, inOrder)
	return found
}

// showAs makes out, an alert of the table, what is shown of the kept one, and gives that where the flow stands for it: no later flow does. The lock
// must be held.
func (l *live) showAs(f *flow.Flow, out *Flow) *kept {
	out.Contact.Flows = 1 // all that is known of one that was just judged
	a := l.alerted[f]
	if a == nil || a.id == 0 {
		return nil
	}
	v := l.kept.by[a.id]
	switch {
	case v == nil:
		return nil
	case v.first.key() != out.key():
		out.Owner.CDHash, out.Contact = v.key.cdhash, v.calls.contact()
		return nil
	}
	*out = v.flow(*out)
	v.shown = true
	return v
}

// inOrder compares by the first packet; what stands for an alert comes before its other flows.
func inOrder(a, b Flow) int {
	return cmp.Or(cmp.Compare(a.opened, b.opened), strings.Compare(a.CommunityID, b.CommunityID))
}
