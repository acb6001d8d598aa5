package process

import "sync/atomic"

// Responsible is the process that macOS holds responsible for another one: the application behind a helper, itself where nobody else is.
type Responsible struct {
	PID  int
	UID  int    // real user id
	Path string // of its executable
}

// ResponsibleStats counts what was asked about responsible processes, since this program started.
type ResponsibleStats struct {
	Asked    uint64
	Found    uint64
	None     uint64 // the system named none
	Doubtful uint64 // it named one that is gone, whose pid is another's by now, or that this cannot be said of
	Err      error  // why the system cannot be asked; it wraps errors.ErrUnsupported where there is no such question, on Linux
}

// Responsibility says how well responsible processes are known.
func Responsibility() ResponsibleStats { return responsibility.stats() }

// accountability asks who is responsible for a process, and doubts the answer: a pid alone is a process's name only while it runs.
type accountability struct {
	ask                          func(pid int) (int, error)             // the system's word: a pid, or none (0 or less)
	look                         func(pid int) (Process, uint64, error) // of a process path, user and start time, in the system's own unit; 0 when we may not know it
	self                         int                                    // our own pid
	lost                         atomic.Pointer[error]                  // why it cannot be asked
	asked, found, none, doubtful atomic.Uint64
}

// of gives who is responsible for p, which started at start; nil where that is not known for sure.
func (a *accountability) of(p Process, start uint64) *Responsible {
	pid, err := a.ask(p.PID)
	if err != nil {
		a.lost.Store(&err)
		return nil
	}
	a.asked.Add(1)
	switch {
	case pid <= 0:
		a.none.Add(1)
		return nil
	case pid == p.PID:
		a.found.Add(1)
		return &Responsible{PID: p.PID, UID: p.UID, Path: p.Path}
	}
	r, ok := a.check(p, start, pid)
	if !ok {
		a.doubtful.Add(1)
		return nil
	}
	a.found.Add(1)
	return r
}

// check looks at the process that was named; false where it may not be the one that was meant.
func (a *accountability) check(p Process, start uint64, pid int) (*Responsible, bool) {
	if pid == a.self && p.PPID != a.self { // we, who did not start it: the answer is about who asks
		return nil, false
	}
	r, began, err := a.look(pid)
	if err != nil || began == 0 || start == 0 || began > start { // gone; not to be compared; younger than p: its pid was another's then
		return nil, false
	}
	if _, again, err := a.look(p.PID); err != nil || again != start { // it may be about a later one with p's pid
		return nil, false
	}
	return &Responsible{PID: pid, UID: r.UID, Path: r.Path}, true
}

func (a *accountability) stats() ResponsibleStats {
	s := ResponsibleStats{Asked: a.asked.Load(), Found: a.found.Load(), None: a.none.Load(), Doubtful: a.doubtful.Load()}
	if err := a.lost.Load(); err != nil {
		s.Err = *err
	}
	return s
}
