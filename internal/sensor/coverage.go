package sensor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/process"
)

// Coverage says what this host can and cannot see, right now.
func (s *Sensor) Coverage(ctx context.Context) []Coverage {
	rows := s.captureCoverage()
	rows = append(rows, s.jobCoverage(ctx), s.processCoverage(), s.settingsCoverage())
	if s.o.Root.Live() {
		rows = append(rows, rootCoverage(os.Geteuid()))
		if runtime.GOOS == "darwin" {
			rows = append(rows, diskCoverage(openPrivate(s.o.Root)), responsibleCoverage(process.Responsibility()))
		}
	}
	if s.live != nil {
		rows = append(rows, s.rowCoverage())
	}
	if s.o.Own != nil {
		rows = append(rows, s.o.Own()...)
	}
	_, problems := s.rules.current()
	rows = append(rows, problemsCoverage("allowlist", "every rule is in force", "mend the rules that are named", problems))
	return rows
}

// maxRows bounds the flows that one call of a table is given live: each is some kilobytes on its way to osquery, and osqueryd's watchdog counts them.
const maxRows = 10_000

// MostRows is how many flows a table should show at once; 0 is any number.
func (s *Sensor) MostRows() int {
	if s.live == nil {
		return 0
	}
	return maxRows
}

// LeftOut counts flows that a table did not show because there were more than MostRows.
func (s *Sensor) LeftOut(n int) { s.leftOut.Add(int64(n)) }

func (s *Sensor) rowCoverage() Coverage {
	row := Coverage{Name: "rows", State: OK, Detail: fmt.Sprintf("queries show up to %d flows each", maxRows), Count: s.leftOut.Load()}
	if row.Count > 0 {
		row.State, row.Advice = Degraded, "ask with verdict, direction or last_seen; alerts are never left out before others"
		row.Detail += fmt.Sprintf("; %d were left out so far, the oldest that are no alerts", row.Count)
	}
	return row
}

func (s *Sensor) captureCoverage() []Coverage {
	switch {
	case s.live != nil:
		return s.live.coverage()
	case len(s.o.Captures) == 0:
		return []Coverage{{Name: "capture", State: Blind, Detail: "no packets: no capture file was given and nothing is captured live",
			Advice: "give capture files, or run as root on the host itself"}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := Coverage{Name: "capture", State: OK, Detail: fmt.Sprintf("%d flows of %d capture files", len(s.flows), len(s.o.Captures)), Count: int64(len(s.flows))}
	if len(s.problems) > 0 {
		row.State, row.Err, row.Advice = Degraded, errors.Join(s.problems...), "mend or leave out the files that are named"
	}
	return []Coverage{row}
}

func packetCoverage(stats capture.Stats) Coverage {
	mode := string(stats.Mode)
	if !stats.Since.IsZero() {
		mode += fmt.Sprintf(" since %s UTC", stats.Since.UTC().Format(time.DateTime))
	}
	if stats.Before != "" {
		mode += fmt.Sprintf(" (%s)", stats.Before)
	}
	row := Coverage{Name: "capture", State: OK, Detail: fmt.Sprintf("%s, %d packets", mode, stats.Packets), Count: int64(stats.Dropped)}
	if stats.Degraded != "" {
		row.State, row.Detail, row.Advice = Degraded, row.Detail+": "+stats.Degraded, "run as root; see the log for what failed"
	}
	if stats.Dropped > 0 {
		row.Detail += fmt.Sprintf(", %d dropped by the kernel", stats.Dropped)
		if stats.Dropped*1000 > stats.Packets {
			row.State, row.Advice = Degraded, "the host is too busy for the capture: flows may be seen with gaps"
		}
	}
	return row
}

// jobCoverage says whether every folder of launchd jobs could be read.
func (s *Sensor) jobCoverage(ctx context.Context) Coverage {
	jobs, problems := s.Jobs(ctx)
	advice := "give osqueryd Full Disk Access, or run as root"
	row := problemsCoverage("launchd", fmt.Sprintf("%d jobs", len(jobs)), advice, problems)
	row.Count = int64(len(jobs))
	if len(jobs) == 0 && len(problems) == 0 {
		row.Detail = "no launchd jobs on this host"
	}
	return row
}

func (s *Sensor) processCoverage() Coverage {
	switch {
	case !s.o.Root.Live():
		return Coverage{Name: "processes", State: Degraded, Detail: "this host is looked at from outside: no running processes",
			Advice: "process_crypto_linkage needs the running host"}
	case os.Geteuid() != 0:
		return Coverage{Name: "processes", State: Degraded, Detail: "not root: other users' processes and sockets are hidden", Advice: "run as root"}
	case runtime.GOOS == "darwin":
		return Coverage{Name: "processes", State: OK, Detail: "all processes"}
	}
	return Coverage{Name: "processes", State: OK, Detail: "all processes of this process namespace"}
}

func (s *Sensor) settingsCoverage() Coverage {
	return problemsCoverage("settings", "in force: "+s.o.Settings.Path(), "mend the settings; the last good ones are in force", s.o.Settings.Problems())
}

func problemsCoverage(name, detail, advice string, problems []error) Coverage {
	if len(problems) == 0 {
		return Coverage{Name: name, State: OK, Detail: detail}
	}
	return Coverage{Name: name, State: Degraded, Detail: fmt.Sprintf("%s; %d problems", detail, len(problems)), Advice: advice, Err: errors.Join(problems...)}
}
