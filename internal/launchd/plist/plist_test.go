package plist

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	howett "howett.net/plist"
)

// spell writes a value as testdata/make.py does.
func spell(v any) any {
	one := func(k string, v any) any { return map[string]any{k: v} }
	switch v := v.(type) {
	case int64:
		return one("int", strconv.FormatInt(v, 10))
	case uint64:
		return one("int", strconv.FormatUint(v, 10))
	case float64:
		return one("real", fmt.Sprintf("%016x", math.Float64bits(v)))
	case []byte:
		return one("data", hex.EncodeToString(v))
	case time.Time:
		// Readers differ in the last digits of a fraction.
		return one("date", v.Round(time.Second).Format("2006-01-02T15:04:05Z"))
	case UID:
		return one("uid", float64(v))
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = spell(v[i])
		}
		return list
	case map[string]any:
		dict := map[string]any{}
		for k := range v {
			dict[k] = spell(v[k])
		}
		return one("dict", dict)
	}
	return v
}

func fixtures(t testing.TB) map[string][]byte {
	names, err := filepath.Glob("testdata/*.plist")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	files := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name) //nolint:gosec // a fixture
		require.NoError(t, err)
		files[filepath.Base(name)] = data
	}
	return files
}

// TestParseAgreesWithPython compares with what plistlib reads in the same files.
func TestParseAgreesWithPython(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var golden map[string]any
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Len(t, golden, len(fixtures(t))-1) // all but the old-style one
	for name, want := range golden {
		got, err := Parse(fixtures(t)[name])
		require.NoError(t, err, name)
		require.Equal(t, want, spell(got), name)
	}
}

// TestGoldenIsPythons checks that golden.json is what this machine's plistlib says.
func TestGoldenIsPythons(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not here")
	}
	got, err := exec.Command(python, "-I", "testdata/make.py", "check").Output() //nolint:gosec // our script
	if err != nil {
		t.Skipf("python3 does not run the script: %v", err)
	}
	want, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
}

// fromHowett turns howett.net/plist's values into ours.
func fromHowett(v any) any {
	switch v := v.(type) {
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case float32:
		return float64(v)
	case howett.UID:
		return UID(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = fromHowett(v[i])
		}
		return list
	case map[string]any:
		dict := map[string]any{}
		for k := range v {
			dict[k] = fromHowett(v[k])
		}
		return dict
	}
	return v
}

func TestParseAgreesWithHowett(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"job.xml.plist", "job.binary.plist", "uids.plist", "fragment.plist", "oldstyle.plist"} {
		data := fixtures(t)[name]
		var want any
		_, err := howett.Unmarshal(data, &want)
		require.NoError(t, err, name)
		got, err := Parse(data)
		require.NoError(t, err, name)
		require.Equal(t, spell(fromHowett(want)), spell(got), name)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", "", "plist: old-style: offset 0: empty"},
		{"cut in a tag", "<plist><dict><key>a</key><str", "plist: xml: offset 25: unexpected end"},
		{"cut in text", "<plist><string>abc", "plist: xml: offset 15: unexpected end"},
		{"no closing tag", "<plist><dict></plist>", "plist: xml: offset 21: </plist> where </dict> should be"},
		{"a value without key", "<plist><dict><true/></dict></plist>", "plist: xml: offset 20: <true> where <key> should be"},
		{"a key without value", "<plist><dict><key>a</key></dict></plist>", `plist: xml: offset 32: "a": unexpected </dict>`},
		{"two values", "<plist><true/><true/></plist>", "plist: xml: offset 21: <true> where </plist> should be"},
		{"an unknown element", "<plist><set/></plist>", "plist: xml: offset 13: unexpected <set>"},
		{"text without an end", "<plist><dict>x", "plist: xml: offset 13: unexpected end"},
		{"an unknown entity", "<plist><string>&xxe;</string></plist>", "plist: xml: offset 15: unknown entity &xxe;"},
		{"an entity of its own", `<!DOCTYPE p [<!ENTITY a "b">]><plist><string>&a;</string></plist>`, "plist: xml: offset 45: unknown entity &a;"},
		{"a strange encoding", `<?xml version="1.0" encoding="EBCDIC"?><plist/>`, `plist: xml: encoding "ebcdic" is not known`},
		{"an open dictionary", "{ a = b; ", "plist: old-style: offset 9: a value is missing"},
		{"no semicolon", "{ a = b }", `plist: old-style: offset 8: no ; behind "a"`},
		{"odd data", "{ a = <123>; }", "plist: old-style: offset 7: data that is not hexadecimal"},
		{"an open comment", "/* {", "plist: old-style: offset 0: a comment without end"},
		{"an open string", `"abc`, "plist: old-style: offset 4: a string without end"},
		{"rubbish behind", "{} {", "plist: old-style: offset 3: text behind the value"},
		{"a short binary", "bplist00", "plist: binary: not version 0, or too short"},
	}
	for _, tt := range tests {
		value, err := Parse([]byte(tt.text))
		require.EqualError(t, err, tt.want, tt.name)
		require.Nil(t, value)
	}
}

// TestParseKeepsTheRest: one bad value does not hide the others.
func TestParseKeepsTheRest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<integer>x</integer>":                    "<integer>: not a number of 64 bits",
		"<integer>18446744073709551616</integer>": "<integer>: not a number of 64 bits",
		"<integer/>":             "<integer>: not a number of 64 bits",
		"<real>one</real>":       "<real>: not a number",
		"<date>yesterday</date>": "<date>: not a date",
	} {
		value, err := Parse([]byte("<plist><dict><key>a</key>" + text + "<key>Label</key><string>x</string></dict></plist>"))
		require.ErrorIs(t, err, ErrBadValue)
		require.EqualError(t, err, fmt.Sprintf("plist: xml: offset %d: bad value: %s", 25+len(text), want))
		require.Equal(t, map[string]any{"a": nil, "Label": "x"}, value)
	}
	value, err := Parse([]byte("<plist><array><data>AA!\nA=A</data><data>AAAAA</data><data>=</data></array></plist>"))
	require.NoError(t, err)
	require.Equal(t, []any{[]byte{0, 0, 0}, []byte{0, 0, 0}, []byte{}}, value)
}

func TestParseSaysStrayText(t *testing.T) {
	t.Parallel()
	value, err := Parse([]byte("<plist>a<dict>b<key>Label</key>c<string>x</string>d</dict>e</plist>"))
	require.ErrorIs(t, err, ErrStrayText)
	require.EqualError(t, err, "plist: xml: offset 7: text between values")
	require.Equal(t, map[string]any{"Label": "x"}, value)
}

func TestParseSaysKeysGivenTwice(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"<plist><dict><key>Program</key><string>/a</string><key>Program</key><string>/b</string></dict></plist>",
		"{ Program = /a; Program = /b; }",
	} {
		value, err := Parse([]byte(text))
		require.ErrorIs(t, err, ErrDuplicateKey)
		require.EqualError(t, err, `plist: key given twice: "Program"`)
		require.Equal(t, map[string]any{"Program": "/b"}, value)
	}
}
