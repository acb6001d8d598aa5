package launchd

import "strings"

// maxShellWords bounds how much of a shell's text is looked at.
const maxShellWords = 4_096

// shellWords are words in front of a command that are no program themselves.
var shellWords = map[string]bool{
	"exec": true, "command": true, "builtin": true, "then": true, "do": true, "else": true, "if": true, "elif": true, "while": true,
	"until": true, "!": true, "{": true, "(": true, "eval": true,
}

// shellCommands cuts shell text into its simple commands, roughly: quotes, backslashes and separators count, expansions do not.
func shellCommands(text string) []command {
	var commands []command
	var words []string
	end := func() {
		if c, ok := simpleCommand(words); ok {
			commands = append(commands, c)
		}
		words = nil
	}
	lexer := shellLexer{text: text}
	for range maxShellWords {
		word, separator, ok := lexer.next()
		if !ok {
			break
		}
		if separator {
			end()
		} else {
			words = append(words, word)
		}
	}
	end()
	return commands
}

// simpleCommand strips assignments and reserved words.
func simpleCommand(words []string) (command, bool) {
	c := command{does: runsProgram, env: map[string]string{}}
	for i, w := range words {
		if name, val, ok := strings.Cut(w, "="); ok && name != "" && !strings.Contains(name, "/") {
			c.env[name] = val
			continue
		}
		if shellWords[w] {
			continue
		}
		c.name, c.args = w, words[i+1:]
		return c, true
	}
	return c, false
}

// leads says whether a command is a known interpreter that is given something to run.
func (c command) leads() bool {
	in, ok := interpreterOf(c.name, c.name)
	if !ok || len(c.args) == 0 {
		return false
	}
	d := in.parse(c.args).does
	return d == runsProgram || d == runsFile || d == runsApplication
}

// shellLexer gives words and separators.
type shellLexer struct {
	text string
	pos  int
}

// next gives a word, or a separator between commands; ok is false at the end.
func (l *shellLexer) next() (word string, separator, ok bool) {
	for l.pos < len(l.text) && (l.text[l.pos] == ' ' || l.text[l.pos] == '\t') {
		l.pos++
	}
	if l.pos == len(l.text) {
		return "", false, false
	}
	switch c := l.text[l.pos]; {
	case strings.IndexByte(";&|\n()", c) >= 0:
		l.pos++
		return "", true, true
	case c == '#':
		l.comment()
		return "", true, true
	}
	return l.word(), false, true
}

// comment skips to the end of the line.
func (l *shellLexer) comment() {
	if end := strings.IndexByte(l.text[l.pos:], '\n'); end >= 0 {
		l.pos += end + 1
	} else {
		l.pos = len(l.text)
	}
}

func (l *shellLexer) word() string {
	var b strings.Builder
	var quote byte
	for ; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			b.WriteByte(c)
		case c == '\\' && l.pos+1 < len(l.text):
			l.pos++
			b.WriteByte(l.text[l.pos])
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote = c
		case strings.IndexByte(" \t;&|\n()", c) >= 0:
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
