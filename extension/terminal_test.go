package main

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name          string
		width, indent int
		text, want    string
	}{
		{"no terminal", 0, 4, strings.Repeat("word ", 99), strings.Repeat("word ", 99)},
		{"fits", 40, 4, "one two", "one two"},
		{"breaks at spaces", 24, 4, "alpha beta gamma delta epsilon", "alpha beta gamma\n    delta epsilon"},
		{"a path has none", 24, 4, "in /Library/Application/Metadata/mdsync now", "in\n    /Library/Application\n    /Metadata/mdsync now"},
		{"characters, not bytes", 24, 4, strings.Repeat("é", 25), strings.Repeat("é", 20) + "\n    " + strings.Repeat("é", 5)},
		{"hardly any room", 24, 20, "alpha beta gamma delta", "alpha beta gamma delta"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := terminal{width: c.width}.wrap(c.indent, c.text)
			require.Equal(t, c.want, got)
			for _, line := range strings.Split(got, "\n")[1:] {
				require.LessOrEqual(t, utf8.RuneCountInString(line), c.width)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/Applications/Größe.app":     "/Applications/Größe.app",
		"\x1b[2J\x1b]0;title\a":       "?[2J?]0;title?",
		"a\tb\nc\rd\x7f":              "a?b?c?d?",
		"\u009b31m":                   "?31m", // CSI in one character
		"fdp.\u202egpj":               "fdp.?gpj",
		"zero\u200bwidth":             "zero?width",
		"not UTF-8: \xff\x9b":         "not UTF-8: \ufffd\ufffd",
		"two\u2028lines":              "two?lines",
		"cafe\u0301 \u4e2d\U0001f600": "cafe\u0301 \u4e2d\U0001f600",
	} {
		require.Equal(t, want, printable(in))
	}
}

func TestComplain(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	complain(&out, errors.Join(errors.New("/tmp/\x1b[2J: no such file"), errors.New("and more")))
	require.Equal(t, "cipherlens: /tmp/?[2J: no such file\nand more\n", out.String())
}

func TestPaint(t *testing.T) {
	t.Parallel()
	require.Equal(t, "blind", terminal{}.state("blind"))
	require.Equal(t, "\x1b[1;31mblind\x1b[0m", terminal{colour: true}.state("blind"))
	require.Equal(t, "\x1b[32mok\x1b[0m", terminal{colour: true}.state("ok"))
	require.Empty(t, terminal{colour: true}.paint(bold, ""))
}
