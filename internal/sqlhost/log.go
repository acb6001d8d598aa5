package sqlhost

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// A LogItem is what one run of a scheduled query has to tell.
type LogItem struct {
	Name           string // pack_<pack>_<query>
	HostIdentifier string
	Time           time.Time
	Epoch          uint64
	Counter        uint64
	Decorations    map[string]string
	Columns        []string // of the result, in order
	// Removed and Added are a differential query's changes.
	Removed, Added []Row
	// Snapshot is all rows of a snapshot query.
	Snapshot []Row
}

// A Severity is a status line's, as glog writes it.
type Severity byte

// The severities.
const (
	Info    Severity = 'I'
	Warning Severity = 'W'
	Error   Severity = 'E'
)

// A Status is one line for the status log.
type Status struct {
	Severity Severity
	Time     time.Time
	Source   string // the file and line of osquery that logs this, like scheduler.cpp:128
	Message  string
}

// A ResultLogger takes what a pack's queries give, as osquery's logger plugins do.
type ResultLogger interface {
	// Results takes the changes of a differential query: never none.
	Results(*LogItem) error
	// Snapshot takes all rows of a snapshot query, which may be none.
	Snapshot(*LogItem) error
	// Status takes what went wrong, and what is worth a word.
	Status(Status) error
}

// calendarTime is how osquery writes a time: asctime's format in UTC.
func calendarTime(t time.Time) string { return t.UTC().Format("Mon Jan _2 15:04:05 2006") + " UTC" }

// Lines are the lines of the results log, without line ends: the removed rows, then the added ones.
func (i *LogItem) Lines() [][]byte {
	var lines [][]byte
	for _, change := range []struct {
		action string
		rows   []Row
	}{{"removed", i.Removed}, {"added", i.Added}} {
		for _, row := range change.rows {
			b := i.appendHead([]byte{'{'})
			b = append(b, `,"columns":`...)
			b = appendRow(b, row)
			b = append(b, `,"action":"`+change.action+`"}`...)
			lines = append(lines, b)
		}
	}
	return lines
}

// SnapshotLine is the line of the snapshots log, without line end.
func (i *LogItem) SnapshotLine() []byte {
	b := []byte(`{"snapshot":[`)
	for n, row := range i.Snapshot {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendRow(b, row)
	}
	b = append(b, `],"action":"snapshot",`...)
	return append(i.appendHead(b), '}')
}

// appendHead appends the members that every line has.
func (i *LogItem) appendHead(b []byte) []byte {
	b = appendJSONString(append(b, `"name":`...), i.Name)
	b = appendJSONString(append(b, `,"hostIdentifier":`...), i.HostIdentifier)
	b = appendJSONString(append(b, `,"calendarTime":`...), calendarTime(i.Time))
	b = strconv.AppendInt(append(b, `,"unixTime":`...), i.Time.Unix(), 10)
	b = strconv.AppendUint(append(b, `,"epoch":`...), i.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"counter":`...), i.Counter, 10)
	b = append(b, `,"numerics":false`...)
	if len(i.Decorations) == 0 {
		return b
	}
	decorations := Row{}
	for name, text := range i.Decorations {
		decorations[name] = Value{Text: text, Kind: Text}
	}
	return appendRow(append(b, `,"decorations":`...), decorations)
}

// appendRow appends a JSON object of strings, ordered by name.
func appendRow(b []byte, row Row) []byte {
	b = append(b, '{')
	for n, name := range slices.Sorted(maps.Keys(row)) {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, name), ':')
		b = appendJSONString(b, row[name].Text)
	}
	return append(b, '}')
}

// escapeText writes control characters and bytes that are not UTF-8 as \xNN, as osquery does with the texts of
// differential results before it compares them (osquery/sql/sql.cpp, escapeNonPrintableBytes).
func escapeText(s string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r < 0x20 || r == utf8.RuneError && size == 1 {
			b = append(b, '\\', 'x', hex[s[i]>>4], hex[s[i]&15])
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return string(b)
}

// A FilesystemLogger writes the files of osquery's logger of that name: osqueryd.results.log, osqueryd.snapshots.log and
// osqueryd.INFO. It appends, and makes a file when it has the first line for it.
type FilesystemLogger struct {
	dir string
	mu  sync.Mutex
	out map[string]*os.File
}

// NewFilesystemLogger logs to files in dir, which it makes if it has to.
func NewFilesystemLogger(dir string) (*FilesystemLogger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("sqlhost: log directory: %w", err)
	}
	return &FilesystemLogger{dir: dir, out: map[string]*os.File{}}, nil
}

var _ ResultLogger = (*FilesystemLogger)(nil)

// Results appends to osqueryd.results.log.
func (l *FilesystemLogger) Results(item *LogItem) error {
	return l.append("osqueryd.results.log", item.Lines()...)
}

// Snapshot appends to osqueryd.snapshots.log.
func (l *FilesystemLogger) Snapshot(item *LogItem) error {
	return l.append("osqueryd.snapshots.log", item.SnapshotLine())
}

// Status appends to osqueryd.INFO, which has the lines of every severity.
func (l *FilesystemLogger) Status(s Status) error {
	return l.append("osqueryd.INFO", s.Line(os.Getpid()))
}

// Line is a status line as glog writes it, without line end; thread is osquery's thread id.
func (s Status) Line(thread int) []byte {
	return fmt.Appendf(nil, "%c%s %5d %s] %s", s.Severity, s.Time.Format("0102 15:04:05.000000"), thread, s.Source, s.Message)
}

// append writes lines with one write, so that a reader never sees half a batch.
func (l *FilesystemLogger) append(name string, lines ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.out[name]
	if f == nil {
		var err error
		if f, err = os.OpenFile(filepath.Join(l.dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return fmt.Errorf("sqlhost: log: %w", err)
		}
		l.out[name] = f
	}
	var b []byte
	for _, line := range lines {
		b = append(append(b, line...), '\n')
	}
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("sqlhost: log: %w", err)
	}
	return nil
}

// Close closes the files.
func (l *FilesystemLogger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, f := range l.out {
		err = errors.Join(err, f.Close())
	}
	l.out = map[string]*os.File{}
	return err
}
