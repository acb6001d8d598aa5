package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is how an output is read: by people on so many columns and perhaps in colour, or (the zero value) by anything, unwrapped and plain.
type terminal struct {
	width  int // 0: lines are not wrapped
	colour bool
}

// leastWidth is the narrowest terminal that lines are wrapped for.
const leastWidth = 24

// terminalOf looks at an output. $NO_COLOR (no-color.org) and TERM=dumb are respected.
func terminalOf(w io.Writer) terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return terminal{}
	}
	t := terminal{colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		t.width = max(width, leastWidth)
	}
	return t
}

// SGR parameters (ECMA-48).
const (
	bold   = "1"
	red    = "1;31"
	yellow = "33"
	green  = "32"
)

// paint gives text in a style, where colours are welcome.
func (t terminal) paint(style, text string) string {
	if !t.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// state paints ok, degraded and blind, and severities.
func (t terminal) state(text string) string {
	switch strings.ToLower(text) {
	case "blind", "high", "error":
		return t.paint(red, text)
	case "degraded", "medium":
		return t.paint(yellow, text)
	case "ok":
		return t.paint(green, text)
	}
	return t.paint(bold, text)
}

// wrap breaks text at spaces so that it fits beside an indent of that many columns, which goes before every line but the first. A word that is
// too long is broken anywhere.
func (t terminal) wrap(indent int, text string) string {
	room := t.width - indent
	if t.width == 0 || utf8.RuneCountInString(text) <= room {
		return text
	}
	if room < leastWidth/2 {
		indent = 2
		room = t.width - indent
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > room {
			head, rest := split(word, room)
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, head), rest
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= room:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}

// split cuts a word after so many characters.
func split(word string, characters int) (head, rest string) {
	at := 0
	for range characters {
		_, size := utf8.DecodeRuneInString(word[at:])
		at += size
	}
	return word[:at], word[at:]
}

// printable keeps what others named from playing with the terminal, or with who reads it: no control characters, no line breaks, nothing
// invisible, nothing that turns the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// complain prints an error, which may quote what others named.
func complain(w io.Writer, err error) {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	fmt.Fprintln(w, "cipherlens:", strings.Join(lines, "\n"))
}
