package baseline

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// finding is one line as the filesystem logger writes it.
func finding(host string, day int, columns string) string {
	return fmt.Sprintf(`{"name":"pack_an0402_detection","hostIdentifier":%q,"calendarTime":"x","unixTime":%d,"epoch":0,"counter":0,"numerics":false,"columns":{%s},"action":"added"}`,
		host, (int(firstDay)+day)*86400+5, columns)
}

const (
	where  = `"remote_address":"192.0.2.1","remote_port":"443","protocol":"6","verdict":"random"`
	signed = `"team_id":"TEAM123456","signing_id":"com.x","signature":"developer_id","cdhash":"aa","path":"/x",` + where
)

func TestShapes(t *testing.T) {
	t.Parallel()
	at := int(firstDay) * 86400
	head := fmt.Sprintf(`"name":"pack/Global/an0402_detection","hostIdentifier":"h","unixTime":%d`, at)
	want := "signing:TEAM123456:com.x 192.0.2.1:443/6"
	for name, c := range map[string]struct {
		line string
		want []string
	}{
		"added":           {finding("h", 0, signed), []string{want}},
		"removed":         {strings.Replace(finding("h", 0, signed), `"added"`, `"removed"`, 1), nil},
		"numbers":         {`{` + head + `,"columns":{"cdhash":"","path":"/x","remote_address":"192.0.2.1","remote_port":443,"protocol":6,"verdict":"random"},"action":"added"}`, []string{"path:/x 192.0.2.1:443/6"}},
		"snapshot":        {`{"snapshot":[{` + signed + `},{` + signed + `}],"action":"snapshot",` + head + `}`, []string{want, want}},
		"empty snapshot":  {`{"snapshot":[],"action":"snapshot",` + head + `}`, nil},
		"snapshot event":  {`{` + head + `,"columns":{` + signed + `},"action":"snapshot"}`, []string{want}},
		"diffResults":     {`{` + head + `,"diffResults":{"added":[{` + signed + `}],"removed":[{` + signed + `}]}}`, []string{want}},
		"no differences":  {`{` + head + `,"diffResults":{"added":"","removed":""}}`, nil},
		"tls":             {`{"node_key":"k","log_type":"result","data":[` + finding("h", 0, signed) + `,` + finding("h", 0, signed) + `]}`, []string{want, want}},
		"kafka rest":      {`{"records":[{"value":` + finding("h", 0, signed) + `}]}`, []string{want}},
		"array":           {`[` + finding("h", 0, signed) + `]`, []string{want}},
		"status":          {`{"hostIdentifier":"h","severity":"0","filename":"a.cpp","line":"1","message":"m"}`, nil},
		"tls status":      {`{"node_key":"k","log_type":"status","data":[{"severity":"0","message":"m"}]}`, nil},
		"other query":     {finding("h", 0, `"remote_address":"192.0.2.1","remote_port":"443"`), nil},
		"no alert":        {finding("h", 0, strings.Replace(signed, `"random"`, `"random_midstream"`, 1)), nil},
		"key":             {finding("h", 0, signed+`,"exception_key":"cdhash:bb to 192.0.2.1 port 443"`), []string{"cdhash:bb 192.0.2.1:443/6"}},
		"key of a port":   {finding("h", 0, signed+`,"exception_key":"cdhash:bb port 443"`), []string{want}},
		"path with to":    {finding("h", 0, `"exception_key":"path:/a to b to 192.0.2.1 port 443",`+where), []string{"path:/a to b 192.0.2.1:443/6"}},
		"empty key":       {finding("h", 0, `"exception_key":"","path":"/x",`+where), []string{"path:/x 192.0.2.1:443/6"}},
		"apple":           {finding("h", 0, `"cdhash":"aa","signature":"apple","signing_id":"com.apple.x",`+where), []string{"signing:com.apple.x 192.0.2.1:443/6"}},
		"claimed":         {finding("h", 0, `"cdhash":"aa","signature":"adhoc","signing_id":"com.apple.x",`+where), []string{"cdhash:aa 192.0.2.1:443/6"}},
		"escapes":         {finding("h", 0, `"cdhash":"","path":"\/a\u00e4\"b",`+where), []string{`path:/aä"b 192.0.2.1:443/6`}},
		"mapped":          {finding("h", 0, `"cdhash":"aa",`+strings.Replace(where, "192", "::ffff:192", 1)), []string{"cdhash:aa 192.0.2.1:443/6"}},
		"calendar time":   {strings.Replace(finding("h", 0, signed), fmt.Sprintf(`"x","unixTime":%d`, at+5), `"Sat Jan  1 23:59:59 2000 UTC"`, 1), []string{want}},
		"unix time quote": {strings.Replace(finding("h", 0, signed), fmt.Sprint(at+5), fmt.Sprintf("%q", fmt.Sprint(at)), 1), []string{want}},
	} {
		var got []string
		err := (&Lines{}).Line([]byte(c.line), func(r Row) {
			require.Equal(t, "h", string(r.Host), name)
			require.Equal(t, firstDay, r.Day, name)
			got = append(got, fmt.Sprintf("%s %s:%d/%d", r.Identity, r.Where.Address(), r.Where.Port(), r.Where.Protocol()))
		})
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	none := func(Row) { t.Error("a row of another query, or of nobody") }
	nameless := &Lines{}
	require.NoError(t, nameless.Line([]byte(finding("h", 0, `"cdhash":"","exception_key":"",`+where)), none))
	require.EqualValues(t, 1, nameless.Nameless)
	require.NoError(t, (&Lines{Query: "an0401"}).Line([]byte(finding("h", 0, signed)), none))
}

func TestBadLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`nonsense`:                    "not JSON: at byte 0",
		`{"a":1`:                      "not JSON: at byte 6",
		`{} {}`:                       "not JSON: more after the first value, at byte 3",
		`[{}`:                         "not JSON: at byte 3",
		`17`:                          "not an osquery result",
		strings.Repeat("[", 1000):     "not",
		strings.Repeat(`{"a":`, 1000): "not JSON",
		strings.Repeat(`{"data":[`, 6) + strings.Repeat(`]}`, 6):            "batches within batches",
		finding("h", 0, strings.Replace(signed, "192.0.2.1", "nowhere", 1)): `remote_address: "nowhere" is no address`,
		finding("h", 0, strings.Replace(signed, `"443"`, `"70000"`, 1)):     `remote_port: "70000" is no port`,
		finding("h", 0, strings.Replace(signed, `"6"`, `"1"`, 1)):           `protocol: "1" is neither 6 nor 17`,
		finding("", 0, signed):       "no hostIdentifier",
		finding("h", 90_000, signed): "is not between the years 2000 and 2100",
	} {
		err := (&Lines{}).Line([]byte(line), func(Row) {})
		require.ErrorContains(t, err, want, "%.80s", line)
	}
}

// vanishing fails in the middle, as a file on a network share that went away does.
type vanishing struct{ io.Reader }

func (v vanishing) Read(p []byte) (int, error) {
	n, err := v.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("stale file handle")
	}
	return n, err
}

// TestBadFilesAreNamedAndTheRestIsCounted reads good and bad files together.
func TestBadFilesAreNamedAndTheRestIsCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := finding("h", 0, signed) + "\n"
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o644))
		return path
	}
	var half bytes.Buffer
	z := gzip.NewWriter(&half)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		fmt.Fprintln(z, finding(fmt.Sprint("h", r.Uint64()), i%9, signed))
	}
	require.NoError(t, z.Close())
	two := append(gzipped(t, good), gzipped(t, good)...)
	wrong := gzipped(t, good)
	wrong[len(wrong)-5] ^= 1 // the checksum
	files := []string{
		write("good.log", []byte(good+"\r\n\n"+strings.TrimSuffix(good, "\n"))),
		write("bad.log", []byte(good+"oops\n"+good+strings.Repeat("{\n", maxLineErrors)+good)),
		write("half.log.gz", half.Bytes()[:half.Len()/2]),
		write("two.log.gz", two),
		write("wrong.log.gz", wrong),
		write("header.gz", []byte{0x1f, 0x8b, 7}),
		write("empty.log", nil),
		filepath.Join(dir, "gone.log"),
		dir,
		"-",
	}
	c := NewCounter(DefaultBudget, NoDay)
	var problems []string
	reader := Reader{Workers: 2, Report: func(err error) { problems = append(problems, strings.ReplaceAll(err.Error(), dir+"/", "")) }}
	require.NoError(t, reader.Read(context.Background(), files, vanishing{strings.NewReader(good + good[:20])}, c))
	slices.Sort(problems)
	text := strings.Join(problems, "\n")
	for _, want := range []string{
		"baseline: bad.log:2: not JSON: at byte 0\n",
		"baseline: bad.log: 1 more bad lines\n",
		"baseline: half.log.gz:",
		": gzip: the file ends too early; what came before is counted",
		"baseline: wrong.log.gz:2: gzip: invalid checksum; what came before is counted",
		"baseline: header.gz: gzip: unexpected EOF",
		"baseline: open gone.log: no such file",
		"is a directory",
		"baseline: stdin:2: stale file handle",
	} {
		require.Contains(t, text, want)
	}
	require.Equal(t, maxLineErrors+1+6, len(problems), text)
	rows := c.Totals().Rows
	require.Greater(t, rows, uint64(2+3+2+1+1+100))
	require.Less(t, rows, uint64(2+3+2+1+1+2000))
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// endless gives n bytes of one line.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.n)
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.n -= n
	return int(n), nil
}

func TestLineOfAGigabyte(t *testing.T) {
	t.Parallel()
	good := finding("h", 0, signed) + "\n"
	c := NewCounter(DefaultBudget, NoDay)
	var problems []string
	reader := Reader{Workers: 1, Report: func(err error) { problems = append(problems, err.Error()) }}
	in := io.MultiReader(strings.NewReader(good), &endless{1 << 30}, strings.NewReader("\n"+good), &endless{maxLine + 1})
	require.NoError(t, reader.Read(context.Background(), []string{"-"}, in, c))
	require.Equal(t, []string{"baseline: stdin:2: longer than 64 MiB: passed over", "baseline: stdin:4: longer than 64 MiB: passed over"}, problems)
	require.EqualValues(t, 2, c.Totals().Rows)
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	reader := Reader{Workers: 1, Report: func(error) {}}
	in := io.MultiReader(strings.NewReader(strings.Repeat(finding("h", 0, signed)+"\n", 1000)))
	require.ErrorIs(t, reader.Read(ctx, []string{"-", "-"}, in, NewCounter(DefaultBudget, NoDay)), context.Canceled)
}

// TestInterrupted: neither a line without end nor an input that says nothing keeps an interrupt waiting.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	silent, hold := io.Pipe()
	t.Cleanup(func() { _ = hold.Close() })
	for name, in := range map[string]io.Reader{"a line without end": zeros{}, "a silent terminal": silent} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		done := make(chan error, 1)
		go func() {
			reader := Reader{Workers: 1, Report: func(error) {}}
			done <- reader.Read(ctx, []string{"-"}, in, NewCounter(DefaultBudget, NoDay))
		}()
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
		case <-time.After(10 * time.Second):
			t.Error(name, "is still read")
		}
		cancel()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestRecordedLogs reads what a real osqueryd wrote: no line of it is wrong, and none has findings.
func TestRecordedLogs(t *testing.T) {
	t.Parallel()
	const dir = "../../../../shared/osqueryd-5.23.1/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no recorded logs beside the project")
	}
	c := NewCounter(DefaultBudget, NoDay)
	p := read(t, []string{dir + "results.log", dir + "snapshots.log"}, c)
	require.Positive(t, p.Lines.Load())
	require.Zero(t, c.Totals().Rows)
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(finding("h", 0, signed)))
	f.Add([]byte(`{"data":[` + finding("h", 0, signed) + `]}`))
	f.Add([]byte(`{"snapshot":[{` + signed + `}],"hostIdentifier":"h","unixTime":"1700000000"}`))
	f.Add([]byte(`{"records":[{"value":{"diffResults":{"added":[{` + signed + `}]}}}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		c := NewCounter(64<<10, firstDay)
		err := (&Lines{}).Line(line, c.Add)
		if err == nil && !json.Valid(line) {
			t.Fatalf("took %q, which is not JSON", line)
		}
		if errors.Is(err, errNotJSON) && json.Valid(line) && bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) < maxDepth {
			t.Fatalf("refused %q: %v", line, err)
		}
	})
}

// FuzzScanner compares with encoding/json what is taken.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{`{"a":[1,-0.5e+3,"\u00e4\n",true,false,null]}`, `[]`, `{`, `01`, `1.`, `"` + "\x01" + `"`, `{"a" : {} , "b":[ ]}`, `-`, ` "\ud800" `} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) >= maxDepth {
			return
		}
		s := scanner{data: data}
		require.Equal(t, json.Valid(data), s.skip(0) && s.end(), "%q", data)
		s = scanner{data: data}
		if raw, escaped, ok := s.text(); ok && s.end() && escaped {
			var want string
			require.NoError(t, json.Unmarshal(data, &want))
			require.Equal(t, want, string(unescape(raw)))
		}
	})
}

// FuzzSet compares the sets with maps.
func FuzzSet(f *testing.F) {
	f.Add(uint64(1), uint16(10), uint32(100))
	f.Add(uint64(2), uint16(9000), uint32(70000))
	f.Add(uint64(3), uint16(60000), uint32(1<<31))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, most uint32) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s set
		var d days
		numbers, dates := map[uint32]bool{}, map[Day]bool{}
		for range n {
			v := r.Uint32N(max(most, 1))
			s.add(v)
			numbers[v] = true
			day := Day(v % 200)
			d.add(day)
			dates[day] = true
		}
		require.Equal(t, len(numbers), s.count())
		require.Equal(t, len(dates), d.count())
		s.each(func(v uint32) { require.True(t, numbers[v]); delete(numbers, v) })
		require.Empty(t, numbers)
	})
}
