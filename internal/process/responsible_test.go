package process

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestResponsible: what the system says is believed only where the process that it names can have been meant.
func TestResponsible(t *testing.T) {
	t.Parallel()
	type seen struct {
		Process
		start uint64
	}
	running := map[int]seen{
		1:   {Process{PID: 1, Path: "/sbin/launchd"}, 1},
		10:  {Process{PID: 10, UID: 501, Path: "/Applications/Mail.app/Contents/MacOS/Mail"}, 100},
		20:  {Process{PID: 20, PPID: 1, UID: 501, Path: "/opt/helper"}, 200},
		21:  {Process{PID: 21, PPID: 10, UID: 0, Path: "/usr/bin/sudo"}, 200},
		22:  {Process{PID: 22, PPID: 99, UID: 501, Path: "/usr/bin/true"}, 200},
		30:  {Process{PID: 30, UID: 501, Path: "/opt/young"}, 201},
		31:  {Process{PID: 31, UID: 501, Path: "/opt/same"}, 200},
		40:  {Process{PID: 40, UID: 0, Path: "/opt/hidden"}, 0}, // of which only root learns the start time
		99:  {Process{PID: 99, UID: 0, Path: "/opt/cipherlens.ext"}, 50},
		100: {Process{PID: 100, PPID: 1, UID: 0, Path: "/opt/other"}, 100},
	}
	mail := &Responsible{PID: 10, UID: 501, Path: "/Applications/Mail.app/Contents/MacOS/Mail"}
	for name, c := range map[string]struct {
		of, answer int
		replaced   bool // the process that is asked about ended meanwhile, and its pid is another's
		want       *Responsible
		count      ResponsibleStats
	}{
		"an application's helper":           {of: 20, answer: 10, want: mail, count: ResponsibleStats{Asked: 1, Found: 1}},
		"another user's":                    {of: 21, answer: 10, want: mail, count: ResponsibleStats{Asked: 1, Found: 1}},
		"itself":                            {of: 20, answer: 20, want: &Responsible{PID: 20, UID: 501, Path: "/opt/helper"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"itself, start not known":           {of: 40, answer: 40, want: &Responsible{PID: 40, Path: "/opt/hidden"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"launchd":                           {of: 20, answer: 1, want: &Responsible{PID: 1, Path: "/sbin/launchd"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"started in the same tick":          {of: 20, answer: 31, want: &Responsible{PID: 31, UID: 501, Path: "/opt/same"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"our own child":                     {of: 22, answer: 99, want: &Responsible{PID: 99, Path: "/opt/cipherlens.ext"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"ourselves":                         {of: 99, answer: 99, want: &Responsible{PID: 99, Path: "/opt/cipherlens.ext"}, count: ResponsibleStats{Asked: 1, Found: 1}},
		"we, who did not start it":          {of: 100, answer: 99, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
		"nobody":                            {of: 20, answer: 0, count: ResponsibleStats{Asked: 1, None: 1}},
		"not known":                         {of: 20, answer: -1, count: ResponsibleStats{Asked: 1, None: 1}},
		"gone":                              {of: 20, answer: 12345, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
		"its pid is another's":              {of: 20, answer: 30, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
		"its start is not known":            {of: 20, answer: 40, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
		"the start of the asked is unknown": {of: 40, answer: 10, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
		"the asked is another by now":       {of: 20, answer: 10, replaced: true, count: ResponsibleStats{Asked: 1, Doubtful: 1}},
	} {
		a := &accountability{self: 99, ask: func(pid int) (int, error) {
			require.Equal(t, c.of, pid, name)
			return c.answer, nil
		}, look: func(pid int) (Process, uint64, error) {
			s, ok := running[pid]
			if !ok {
				return Process{}, 0, ErrNotFound
			}
			if pid == c.of && c.replaced {
				s.start += 5
			}
			return s.Process, s.start, nil
		}}
		asked := running[c.of]
		require.Equal(t, c.want, a.of(asked.Process, asked.start), name)
		require.Equal(t, c.count, a.stats(), name)
	}
}

// TestResponsibleCannotBeAsked: a macOS without the function says so, and nothing else changes.
func TestResponsibleCannotBeAsked(t *testing.T) {
	t.Parallel()
	missing := errors.New("libSystem has no such function")
	a := &accountability{ask: func(int) (int, error) { return 0, missing }}
	require.Nil(t, a.of(Process{PID: 20}, 200))
	require.Equal(t, ResponsibleStats{Err: missing}, a.stats())
}
