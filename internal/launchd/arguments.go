package launchd

import (
	"slices"
	"strings"
)

// arguments is a command line while an interpreter's syntax is applied to it.
type arguments struct {
	syntax syntax
	rest   []string
	users  int
	shell  bool // -c was seen: the next word that is no option is shell text
	found  command
}

// parse says what an interpreter does when it is started with args (without argv[0]).
func (s syntax) parse(args []string) command {
	a := &arguments{syntax: s, rest: args, users: s.users, found: command{env: map[string]string{}}}
	for len(a.rest) > 0 {
		word := a.rest[0]
		a.rest = a.rest[1:]
		if done := a.word(word); done {
			break
		}
	}
	return a.found
}

// word takes one word; it is true when what runs is known.
func (a *arguments) word(w string) bool {
	switch {
	case w == "--":
		return len(a.rest) > 0 && a.operand(a.next())
	case w == "-" || w == "":
		return false
	case w[0] == '-' || w[0] == '+' && a.syntax.shell():
		return a.option(w)
	}
	return a.operand(w)
}

func (a *arguments) next() string {
	if len(a.rest) == 0 {
		return ""
	}
	w := a.rest[0]
	a.rest = a.rest[1:]
	return w
}

func (a *arguments) option(w string) bool {
	name, val, joined := strings.Cut(w, "=")
	if e, ok := a.syntax.words[name]; ok {
		if e != flag && !joined {
			val = a.next()
		}
		return a.effect(e, val)
	}
	if strings.HasPrefix(w, "--") || len(a.syntax.letters) == 0 {
		return false
	}
	for i := 1; i < len(w); i++ {
		e := a.syntax.letters[w[i]]
		switch e {
		case flag:
			continue
		case attached:
			return false
		case shell:
			a.shell = true
			continue
		}
		val := w[i+1:]
		if val == "" {
			val = a.next()
		}
		return a.effect(e, val)
	}
	return false
}

// effect carries out an option; it is true when what runs is known.
func (a *arguments) effect(e effect, val string) bool {
	switch e {
	case text:
		return a.set(runsText, val)
	case module:
		return a.set(runsModule, val)
	case script_:
		return a.set(runsFile, val)
	case app:
		return a.set(runsApplication, val)
	case split:
		a.rest = append(strings.Fields(val), a.rest...)
	case assign:
		a.assign(val)
	}
	return false
}

func (a *arguments) assign(w string) bool {
	name, val, ok := strings.Cut(w, "=")
	if ok && name != "" {
		a.found.env[name] = val
	}
	return ok
}

func (a *arguments) set(d does, name string) bool {
	a.found.does, a.found.name, a.found.args = d, name, slices.Clone(a.rest)
	return true
}

// operand takes a word that is no option.
func (a *arguments) operand(w string) bool {
	switch {
	case a.users > 0:
		a.users--
		return false
	case a.shell:
		return a.set(runsShellText, w)
	case a.syntax.assigns && strings.Contains(w, "=") && !strings.HasPrefix(w, "/"):
		a.assign(w)
		return false
	}
	if e, ok := a.syntax.subs[w]; ok {
		a.syntax.subs = nil
		return e != flag && a.effect(e, a.next())
	}
	if a.syntax.then == runsModule && strings.HasSuffix(w, ".java") {
		return a.set(runsFile, w)
	}
	return a.set(a.syntax.then, w)
}
