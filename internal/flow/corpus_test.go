package flow

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
)

// corpus is the folder of labelled captures beside the project; it is not always there.
func corpus(t testing.TB) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "corpus")
	if _, err := os.Stat(filepath.Join(dir, "labels.tsv")); err != nil {
		t.Skip("no labelled captures beside the project:", err)
	}
	return dir
}

// play puts a capture file's packets to a table. Damaged files are played as far as they go.
func play(t testing.TB, table *Table, file string) {
	t.Helper()
	source, err := capture.OpenFile(file)
	if err != nil {
		return
	}
	defer source.Close()
	var p capture.Packet
	for {
		if err := source.Next(&p); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Log(err)
			}
			return
		}
		table.Add(&p)
	}
}

type tuple struct {
	transport uint8
	a, b      netip.AddrPort
}

func tupleOf(transport uint8, a, b netip.AddrPort) tuple {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return tuple{transport, a, b}
}

// TestCorpusLabels looks for every labelled flow, and compares what was seen of its start with the label. The labels were made
// with tshark, which knows nothing of this package.
func TestCorpusLabels(t *testing.T) {
	t.Parallel()
	dir := corpus(t)
	raw, err := os.ReadFile(filepath.Join(dir, "labels.tsv"))
	require.NoError(t, err)
	type label struct{ line, start, client string }
	want := map[string]map[tuple]label{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		f := strings.Split(line, "\t")
		if f[8] == "skip" {
			continue
		}
		transport := uint8(TCP)
		if f[1] == "udp" {
			transport = UDP
		}
		if want[f[0]] == nil {
			want[f[0]] = map[tuple]label{}
		}
		client := end(t, f[2], f[3])
		want[f[0]][tupleOf(transport, client, end(t, f[4], f[5]))] = label{line, f[6], client.String()}
	}
	flows, missing, start, client := 0, 0, 0, 0
	for file, labels := range want {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Log("labelled, but not there:", file)
			continue
		}
		got := map[tuple]*Flow{}
		table := New(Config{Removed: func(f *Flow) {
			k := tupleOf(f.Transport, f.Client(), f.Server())
			if old := got[k]; old == nil || f.FirstSeen < old.FirstSeen {
				got[k] = f
			}
		}})
		play(t, table, filepath.Join(dir, file))
		table.Close()
		require.Zero(t, table.Stats().Flows)
		require.Zero(t, table.Stats().SampleBytes)
		for k, l := range labels {
			flows++
			f := got[k]
			if f == nil {
				missing++
				t.Log("missing:", l.line)
				continue
			}
			if (l.start == "syn") != f.StartSeen && f.Transport == TCP {
				start++
				t.Log("start:", f.StartSeen, l.line)
			}
			if l.client != f.Client().String() {
				client++
				t.Log("client:", f.Client(), l.line)
			}
		}
	}
	t.Logf("%d labelled flows, %d missing, %d with another start, %d with another client", flows, missing, start, client)
	require.Zero(t, missing)
}

func end(t *testing.T, addr, port string) netip.AddrPort {
	t.Helper()
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(n))
}
