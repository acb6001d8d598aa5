package launchd

import (
	"path"
	"strings"
)

// does is what an interpreter makes of its arguments.
type does uint8

const (
	runsNothing     does = iota // standard input, or nothing that could be named
	runsFile                    // reads a script
	runsText                    // reads the program in its arguments
	runsShellText               // the same, in a shell's language
	runsModule                  // looks a name up by itself
	runsProgram                 // executes another program
	runsApplication             // opens an application
)

// command is a parsed command line: name is a path, a text or a program, and args are what is behind it.
type command struct {
	does does
	name string
	args []string
	env  map[string]string // variables that are set in front of the program
}

// effect is what an option does.
type effect uint8

const (
	flag     effect = iota // nothing that matters
	value                  // has an argument, in the same word or the next
	attached               // has an argument in the same word only
	text                   // its argument is the program
	module                 // its argument is a module's name
	script_                // its argument is the script's file
	shell                  // the first word that is no option is the program's text
	split                  // its argument and the rest are a command line (env -S)
	assign                 // its argument sets a variable (arch -e)
	app                    // its argument is an application
)

// syntax is how one interpreter reads its command line.
type syntax struct {
	then    does              // what the first word that is no option is
	letters map[byte]effect   // options of one letter, which may share a word
	words   map[string]effect // options that are a word; without letters every other word with a dash is a flag
	assigns bool              // NAME=value may stand in front
	subs    map[string]effect // subcommands in front of the file: what they make of the next word
	users   int               // words in front of the program: the user of su and login
}

// shell says whether the scripts are in a shell's language.
func (s syntax) shell() bool { return s.letters['c'] == shell }

func effects(e effect, names ...string) map[string]effect {
	m := make(map[string]effect, len(names))
	for _, n := range names {
		m[n] = e
	}
	return m
}

var shellSyntax = syntax{
	then:    runsFile,
	letters: map[byte]effect{'c': shell, 'o': value, 'O': value},
	words:   effects(value, "--rcfile", "--init-file"),
}

var javaWords = func() map[string]effect {
	m := effects(value, "-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--add-exports", "--add-opens",
		"--add-reads", "--patch-module", "--upgrade-module-path")
	m["-jar"], m["-m"], m["--module"] = script_, module, module
	return m
}()

// interpreters by the name of their executable, without its version. Their options are those of macOS's own builds and of the
// interpreters' documentation.
var interpreters = map[string]syntax{
	"sh": shellSyntax, "bash": shellSyntax, "zsh": shellSyntax, "dash": shellSyntax, "ksh": shellSyntax,
	"csh":  {then: runsFile, letters: map[byte]effect{'c': shell}},
	"tcsh": {then: runsFile, letters: map[byte]effect{'c': shell}},
	"fish": {then: runsFile, letters: map[byte]effect{'c': shell, 'C': value, 'd': value, 'o': value}},
	"su":   {then: runsFile, letters: map[byte]effect{'c': shell}, users: 1},

	"env":        {then: runsProgram, letters: map[byte]effect{'u': value, 'P': value, 'C': value, 'S': split}, assigns: true},
	"sudo":       {then: runsProgram, letters: letters("ugpChrtTURD"), words: effects(value, "--user", "--group"), assigns: true},
	"nohup":      {then: runsProgram, letters: map[byte]effect{}},
	"nice":       {then: runsProgram, letters: letters("n")},
	"time":       {then: runsProgram, letters: letters("o")},
	"caffeinate": {then: runsProgram, letters: letters("tw")},
	"login":      {then: runsProgram, letters: letters("h"), users: 1},
	"arch":       {then: runsProgram, words: map[string]effect{"-arch": value, "-d": value, "-e": assign}},
	"xcrun":      {then: runsProgram, words: effects(value, "--sdk", "-sdk", "--toolchain", "-toolchain")},

	"open": {then: runsApplication, words: map[string]effect{
		"-a": app, "-b": module, "-u": value, "--env": value, "-i": value, "--stdin": value, "-o": value, "--stdout": value,
		"--stderr": value, "-s": value, "--arch": value}},
	"osascript": {then: runsFile, letters: map[byte]effect{'e': text, 'l': value, 's': value}},
	"perl": {then: runsFile, letters: map[byte]effect{'e': text, 'E': text, 'I': value, 'M': attached, 'm': attached, 'i': attached,
		'x': attached, '0': attached, 'l': attached, 'F': attached, 'C': attached, 'D': attached, 'V': attached, 'd': attached}},
	"python": {then: runsFile, letters: map[byte]effect{'c': text, 'm': module, 'W': value, 'X': value, 'Q': value},
		words: effects(value, "--check-hash-based-pycs")},
	"ruby": {then: runsFile, letters: map[byte]effect{'e': text, 'I': value, 'r': value, 'C': value, 'E': value, 'F': attached,
		'i': attached, 'K': attached, 'T': attached, 'W': attached, 'x': attached, '0': attached}},
	"node": {then: runsFile, letters: map[byte]effect{'e': text, 'p': text, 'r': value, 'C': value}, words: map[string]effect{
		"--eval": text, "--print": text, "--require": value, "--import": value, "--loader": value, "--experimental-loader": value,
		"--conditions": value, "--env-file": value}},
	"deno": {then: runsFile, letters: letters("c"), words: effects(value, "--config", "--import-map"),
		subs: map[string]effect{"run": flag, "serve": flag, "eval": text}},
	"bun": {then: runsFile, letters: map[byte]effect{'e': text, 'r': value, 'p': text}, words: effects(text, "--eval", "--print"),
		subs: map[string]effect{"run": flag, "x": module}},
	"java": {then: runsModule, words: javaWords},
	"php": {then: runsFile, letters: map[byte]effect{'f': script_, 'F': script_, 'r': text, 'R': text, 'B': text, 'E': text, 'd': value,
		'c': value, 'z': value, 't': value}},
	"lua":    {then: runsFile, letters: map[byte]effect{'e': text, 'l': value}},
	"tclsh":  {then: runsFile, words: effects(value, "-encoding")},
	"expect": {then: runsFile, letters: map[byte]effect{'c': text, 'f': script_, 'b': script_}},
	"swift":  {then: runsFile, letters: map[byte]effect{'e': text, 'I': value, 'F': value, 'L': value, 'D': attached, 'O': attached}},
	"curl":   {then: runsNothing, letters: map[byte]effect{}},
}

// letters are options of one letter that have an argument.
func letters(options string) map[byte]effect {
	m := make(map[byte]effect, len(options))
	for i := range len(options) {
		m[options[i]] = value
	}
	return m
}

// interpreterOf knows an interpreter by its name, or by the name of the file that a link leads to.
func interpreterOf(program, real string) (syntax, bool) {
	for _, name := range []string{program, real} {
		base := strings.ToLower(path.Base(name))
		if s, ok := interpreters[base]; ok {
			return s, true
		}
		if s, ok := interpreters[strings.TrimRight(base, "0123456789.-")]; ok {
			return s, true
		}
	}
	return syntax{}, false
}
