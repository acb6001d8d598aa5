package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// diagnosis is one thing that the sensor needs, and how it stands. States are those of cipherlens_coverage.
type diagnosis struct {
	State  string `json:"state"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"`
}

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	d := thisHost()
	cmd := &cobra.Command{
		Use:   "doctor [--json] [--socket PATH]",
		Short: "Check, one by one, what the sensor needs on this host",
		Long: `Check what the sensor needs on this host, as root and not: rights, the capture with its filter, a packet and a connection of its own over loopback, other users'
processes, protected files, settings and allowlist, the state folder, osquery with its autoload entry, the tables. Each line says ok, degraded or blind, and how to mend
what is not ok. Nothing is changed, and nothing is sent but over loopback. It ends with status 1 where the detection would be blind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := d.examine(cmd.Context())
			if asJSON {
				if err := printDiagnosesJSON(cmd.OutOrStdout(), found); err != nil {
					return err
				}
			} else {
				printDiagnoses(cmd.OutOrStdout(), terminalOf(cmd.OutOrStdout()), found)
			}
			if worst(found) == stateBlind {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.Flags().StringVar(&d.socket, "socket", "", "osquery's extension socket, or a pattern for it (default: where osquery, Fleet's orbit and Kolide's launcher have it)")
	return cmd
}

// checkLimit is how long one check may take.
const checkLimit = 10 * time.Second

// examine makes all checks, one after the other.
func (d *doctor) examine(ctx context.Context) []diagnosis {
	var all []diagnosis
	for _, c := range []struct {
		what  string
		check func(context.Context) []diagnosis
	}{
		{"system", d.system}, {"rights", d.rights}, {"capture", d.capture}, {"packet", d.packet}, {"owner", d.owner}, {"processes", d.processes}, {"responsible process", d.responsibleProcess},
		{"full disk access", d.diskAccess}, {"launchd", d.launchd}, {"settings", d.settingsFile}, {"allowlist", d.allowlist}, {"state", d.stateFolder},
		{"memory", d.memory}, {"clock", d.clock}, {"autoload", d.autoload}, {"osquery", d.osquery},
	} {
		if ctx.Err() != nil {
			break
		}
		all = append(all, bounded(ctx, c.what, c.check)...)
	}
	return all
}

// bounded makes one check; one that panics or does not come back says so.
func bounded(ctx context.Context, what string, check func(context.Context) []diagnosis) []diagnosis {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	done := make(chan []diagnosis, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- []diagnosis{degraded(what, fmt.Sprintf("the check failed: %v", p), "please report this")}
			}
		}()
		done <- check(ctx)
	}()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
		return []diagnosis{degraded(what, "no answer within "+checkLimit.String(), "run doctor again; if it stays so, please report it")}
	}
}

const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateBlind    = "blind"
)

func fine(what, detail string) diagnosis {
	return diagnosis{State: stateOK, What: what, Detail: detail}
}

func degraded(what, detail, mend string) diagnosis {
	return diagnosis{stateDegraded, what, detail, mend}
}

func blind(what, detail, mend string) diagnosis { return diagnosis{stateBlind, what, detail, mend} }

// worst is the worst state of all.
func worst(all []diagnosis) string {
	state := stateOK
	for _, d := range all {
		if d.State == stateBlind || d.State == stateDegraded && state == stateOK {
			state = d.State
		}
	}
	return state
}

// printDiagnoses prints "state  what  detail  -> how to mend", in columns.
func printDiagnoses(w io.Writer, t terminal, all []diagnosis) {
	wide := 0
	for _, d := range all {
		wide = max(wide, utf8.RuneCountInString(d.What))
	}
	for _, d := range all {
		line := d.Detail
		if d.Mend != "" {
			line += "  -> " + d.Mend
		}
		indent := len(stateDegraded) + 2 + wide + 2
		fmt.Fprintf(w, "%s%*s  %-*s  %s\n", t.state(d.State), len(stateDegraded)-len(d.State), "", wide, d.What, t.wrap(indent, printable(line)))
	}
}

func printDiagnosesJSON(w io.Writer, all []diagnosis) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	return nil
}

// oneLine is an error without line breaks.
func oneLine(err error) string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) && len(many.Unwrap()) > 1 {
		return fmt.Sprintf("%v, and %d more", many.Unwrap()[0], len(many.Unwrap())-1)
	}
	return err.Error()
}
