package flow

// class says what a flow waits for. Flows of one class and transport are in one list, in order of their last packet.
type class uint8

const (
	bare     class = iota // no payload yet
	fresh                 // has bytes that were not judged
	pressing              // the same, and the last judgement waits for them
	quiet                 // all its bytes were judged, but more could change the verdict
	closing               // RST, or FIN with bytes missing: what was reordered may still come
	idle                  // ended, but keeps its bytes in case it goes on
	benign                // judged for good, no alert
	done                  // ended and judged, no alert
	alert                 // judged for good, an alert
	classes
)

// list is a doubly linked list through the flows themselves: no allocation, and a flow is in one list at a time.
type list struct {
	head, tail *Flow
}

func (l *list) push(f *Flow) {
	f.prev, f.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = f
	} else {
		l.head = f
	}
	l.tail = f
}

func (l *list) unlink(f *Flow) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		l.tail = f.prev
	}
	f.prev, f.next = nil, nil
}

// lists are all lists of one table.
type lists [classes][2]list

func (ls *lists) of(f *Flow) *list {
	if f.Transport == UDP {
		return &ls[f.class][1]
	}
	return &ls[f.class][0]
}

// put moves f to the end of the list of class c.
func (ls *lists) put(f *Flow, c class, now int64) {
	ls.remove(f)
	f.class, f.queued, f.listed = c, now, true
	ls.of(f).push(f)
}

func (ls *lists) remove(f *Flow) {
	if f.listed {
		ls.of(f).unlink(f)
		f.listed = false
	}
}

// oldest is the flow of class c that was queued first, other than not; nil when there is none.
func (ls *lists) oldest(c class, not *Flow) *Flow {
	var first *Flow
	for i := range ls[c] {
		f := ls[c][i].head
		if f != nil && f == not {
			f = f.next
		}
		if f != nil && (first == nil || f.queued < first.queued) {
			first = f
		}
	}
	return first
}

// oldestOf is the flow of these classes that was queued first; nil when there is none.
func (ls *lists) oldestOf(these ...class) *Flow {
	var first *Flow
	for _, c := range these {
		if f := ls.oldest(c, nil); f != nil && (first == nil || f.queued < first.queued) {
			first = f
		}
	}
	return first
}
