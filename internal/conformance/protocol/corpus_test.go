package protocol

import (
	"bufio"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
)

var corpus = filepath.Join("..", "..", "..", "..", "shared", "corpus")

// flowKey is how a label and a flow are matched: capture, transport and both ends, in either direction.
type flowKey struct {
	file      string
	transport uint8
	a, b      netip.AddrPort
}

type label struct {
	name, score string
	syn         bool
}

func readLabels(t testing.TB) map[flowKey]label {
	f, err := os.Open(filepath.Join(corpus, "labels.tsv"))
	if err != nil {
		t.Skip("no labelled captures beside the project: ", err)
	}
	defer f.Close()
	labels := map[flowKey]label{}
	lines := bufio.NewScanner(f)
	lines.Scan()
	for lines.Scan() {
		col := strings.Split(lines.Text(), "\t")
		k := flowKey{file: col[0], transport: map[string]uint8{"tcp": 6, "udp": 17}[col[1]]}
		ends := [2]netip.AddrPort{}
		for i := range ends {
			addr, err := netip.ParseAddr(col[2+2*i])
			require.NoError(t, err)
			ends[i] = netip.AddrPortFrom(addr, uint16(number([]byte(col[3+2*i]))))
		}
		k.a, k.b = ends[0], ends[1]
		labels[k] = label{strings.TrimPrefix(col[7], "protocol:"), col[8], col[6] == "syn"}
		k.a, k.b = k.b, k.a
		labels[k] = labels[flowKey{k.file, k.transport, k.b, k.a}]
	}
	require.NoError(t, lines.Err())
	return labels
}

// recognized calls found for each judgement of every labelled flow.
func recognized(t testing.TB, labels map[flowKey]label, found func(k flowKey, l label, name string)) {
	files := map[string]bool{}
	for k := range labels {
		files[k.file] = true
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		source, err := capture.OpenFile(filepath.Join(corpus, file))
		if err != nil {
			t.Log(err) // not all labelled captures are there
			continue
		}
		last := map[*flow.Flow]string{}
		table := flow.New(flow.Config{
			Judge: func(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
				checkIndex(t, c)
				j, _ := Recognize(c, conformance.Options{})
				last[f] = j.AppProtocol
				return conformance.Judgement{}
			},
			Removed: func(f *flow.Flow) {
				k := flowKey{file, f.Transport, f.Client(), f.Server()}
				if l, ok := labels[k]; ok {
					found(k, l, last[f])
				}
				delete(last, f)
			},
		})
		var p capture.Packet
		for source.Next(&p) == nil {
			table.Add(&p)
		}
		table.Close()
		require.NoError(t, source.Close())
	}
}

// sameName are the names that differ between this package and the labels.
var sameName = map[string][]string{
	"stun": {"turn", "rtp", "rtcp"}, "rtcp": {"stun", "rtp"}, "rtp": {"stun", "turn"}, "jabber": {"xmpp"}, "ftp_control": {"ftp"}, "resp": {"redis"},
	"whois-das": {"whois"}, "soap": {"http"}, "ipsec": {"ike", "esp"}, "netbios": {"smb"}, "http": {"http2", "websocket"}, "h323": {"tpkt", "q931"},
}

// TestCorpus names the labelled flows of other people's captures: no flow that should be an alert has a name, and of the others
// that were seen from their start, nearly all of HTTP and SSH and most of the rest get theirs. A few captures were damaged on purpose.
func TestCorpus(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("reads 49 MB of captures")
	}
	labels := readLabels(t)
	type tally struct{ named, other, none int }
	by := map[string]*tally{}
	recognized(t, labels, func(k flowKey, l label, name string) {
		if l.score == "positive" || l.name == "disguised" || l.name == "tls" || l.name == "quic" {
			require.Empty(t, name, "%v is %s", k, l.name)
		}
		if l.score != "negative" || !l.syn || strings.HasPrefix(filepath.Base(k.file), "fuzz-") {
			return
		}
		n := by[l.name]
		if n == nil {
			n = new(tally)
			by[l.name] = n
		}
		switch {
		case name == l.name || slices.Contains(sameName[l.name], name):
			n.named++
		case name == "":
			n.none++
		default:
			n.other++
		}
	})
	all := tally{}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		n := by[name]
		t.Logf("%-28s named %4d, otherwise %3d, not %3d", name, n.named, n.other, n.none)
		switch name {
		case "tls", "dtls", "quic":
		default:
			all.named, all.other, all.none = all.named+n.named, all.other+n.other, all.none+n.none
		}
	}
	t.Logf("in all %+v", all)
	for name, least := range map[string]float64{"ssh": 1, "http": 0.97, "dns": 0.99} {
		n := by[name]
		require.GreaterOrEqual(t, float64(n.named), least*float64(n.named+n.other+n.none), name)
	}
	require.Greater(t, float64(all.named), 0.95*float64(all.named+all.other+all.none))
}
