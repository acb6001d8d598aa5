// Package privilege gives up what a process that starts as root does not need, before it looks at anything that others wrote: the right to
// write, to start programs, to talk to the network, and the rest of root's powers, as far as the system's public interfaces go.
package privilege

import "strings"

// Report says what a process may still do.
type Report struct {
	Held    []string // rights that it keeps because it needs them
	Given   []string // what it gave up
	Missing []string // what it could not give up, and why
}

// String is the report on one line.
func (r Report) String() string {
	var parts []string
	for _, p := range []struct {
		what string
		list []string
	}{{"given up: ", r.Given}, {"kept: ", r.Held}, {"not given up: ", r.Missing}} {
		if len(p.list) > 0 {
			parts = append(parts, p.what+strings.Join(p.list, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func (r *Report) try(what string, err error) {
	if err != nil {
		r.Missing = append(r.Missing, what+" ("+err.Error()+")")
		return
	}
	r.Given = append(r.Given, what)
}

// Confine makes the file system read-only for this process, but for what is in the folders writable (those that do not exist are left out). It must be called before
// anything else: on Linux it starts the program anew, with the same pid, and then returns only in the new one. Where that is not possible, it returns
// and Drop's report says so. Only for a process of root.
func Confine(writable []string) error { return confine(writable) }

// Drop gives up everything that a sensor does not need once and for all, in all threads, and reports. What it keeps lets captures be opened again,
// files be read, and owners of sockets be found.
func Drop() Report { return drop() }

// Offline confines a program that looks at captures and volumes of others and at nothing of this host's own life: from now on, and for good, it reads files, writes in the
// folders writable (those that exist) and nowhere else, starts no program and makes no Internet socket. It is Linux's Landlock, as far as the kernel has it, and seccomp; elsewhere it does
// nothing.
func Offline(writable []string) error { return offline(writable) }
