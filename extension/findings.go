package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// findings is the result logger of run: it prints what is new to people, and hands everything on to osquery's log files.
type findings struct {
	out, err io.Writer
	terminal terminal                  // that out is
	files    *sqlhost.FilesystemLogger // nil without --log-dir

	mu              sync.Mutex
	found, failures int
}

var _ sqlhost.ResultLogger = (*findings)(nil)

func newFindings(out, errOut io.Writer, dir string) (*findings, error) {
	f := &findings{out: out, err: errOut, terminal: terminalOf(out)}
	if dir == "" {
		return f, nil
	}
	var err error
	f.files, err = sqlhost.NewFilesystemLogger(dir)
	return f, err
}

// Results prints findings as tables of their own, and of other queries how much is new.
func (f *findings) Results(item *sqlhost.LogItem) error {
	f.mu.Lock()
	for _, row := range item.Added {
		if _, finding := row["severity"]; finding {
			f.found++
			fmt.Fprintln(f.out, findingTable(row, f.terminal))
		}
	}
	if len(item.Added)+len(item.Removed) > 0 {
		fmt.Fprintf(f.err, "%s: %d new, %d gone\n", item.Name, len(item.Added), len(item.Removed))
	}
	f.mu.Unlock()
	if f.files == nil {
		return nil
	}
	return f.files.Results(item)
}

// Snapshot prints the size of a snapshot, and blind spots.
func (f *findings) Snapshot(item *sqlhost.LogItem) error {
	f.mu.Lock()
	fmt.Fprintf(f.err, "%s: %d rows\n", item.Name, len(item.Snapshot))
	for _, row := range item.Snapshot {
		if state := row["state"].Text; row["name"].Text != "" && (state == "degraded" || state == "blind") {
			fmt.Fprintf(f.err, "  %s %s: %s\n", terminalOf(f.err).state(state), printable(row["name"].Text), printable(row["detail"].Text))
		}
	}
	f.mu.Unlock()
	if f.files == nil {
		return nil
	}
	return f.files.Snapshot(item)
}

// Status prints what went wrong.
func (f *findings) Status(s sqlhost.Status) error {
	f.mu.Lock()
	if s.Severity == sqlhost.Error {
		f.failures++
		fmt.Fprintln(f.err, "cipherlens:", printable(s.Message))
	}
	f.mu.Unlock()
	if f.files == nil {
		return nil
	}
	return f.files.Status(s)
}

func (f *findings) say(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintln(f.err, line)
}

// summary ends the output.
func (f *findings) summary() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.found {
	case 0:
		fmt.Fprintln(f.out, "No findings.")
	case 1:
		fmt.Fprintln(f.out, "1 finding.")
	default:
		fmt.Fprintf(f.out, "%d findings.\n", f.found)
	}
}

func (f *findings) close() error {
	if f.files == nil {
		return nil
	}
	return f.files.Close()
}

// findingTable is one finding of the detection for people: a line a question.
func findingTable(row sqlhost.Row, t terminal) string {
	at := func(column string) string { return printable(row[column].Text) }
	lines := [][2]string{
		{"job", job(at)},
		{"executable", cmp.Or(at("path"), "not known (process name "+cmp.Or(at("process_name"), "not known")+")")},
		{"process", at("pid") + " " + at("process_name")},
		{"signed by", signer(at)},
		{"crypto API", crypto(at)},
		{"talks to", fmt.Sprintf("%s port %s/%s", at("remote_address"), at("remote_port"), protocolName(at("protocol")))},
		{"why not TLS", why(at)},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s", t.state(strings.ToUpper(at("severity"))), cmp.Or(at("launchd_label"), at("systemd_unit"), at("path"), at("process_name"), at("remote_address")))
	const indent = 15
	for _, l := range lines {
		fmt.Fprintf(&b, "\n  %-12s %s", l[0], t.wrap(indent, l[1]))
	}
	b.WriteString("\n")
	return b.String()
}

func job(at func(string) string) string {
	name, declared := cmp.Or(at("launchd_label"), at("systemd_unit")), cmp.Or(at("plist_path"), at("unit_path"))
	if name == "" {
		return "none that is known"
	}
	if declared == "" {
		return name
	}
	return name + " (" + declared + ")"
}

func signer(at func(string) string) string {
	id := ""
	if at("signing_id") != "" {
		id = ", identifier " + at("signing_id")
	}
	switch at("signature") {
	case "":
		return "not known"
	case "adhoc":
		return "nobody: ad hoc signature" + id
	case "unsigned":
		return "nobody: unsigned"
	case "invalid":
		return "the signature is not valid" + id
	case "apple":
		return "Apple" + id
	}
	return strings.TrimSuffix(at("signature")+" team "+at("team_id"), " team ") + id
}

func crypto(at func(string) string) string {
	if at("provider") == "" {
		return "none found"
	}
	return at("provider") + ": " + strings.ReplaceAll(at("symbols"), ",", ", ")
}

func protocolName(number string) string {
	switch number {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	}
	return number
}

func why(at func(string) string) string {
	if at("verdict") == "tls_mimic" {
		return "it pretends to be, but " + strings.ReplaceAll(at("why"), ",", ", ")
	}
	return at("why") + ": no protocol that is known, bytes like ciphertext"
}
