package report

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// made is a flow that the tables would show.
func made(i int, v conformance.Verdict) sensor.Flow {
	return sensor.Flow{
		File: "a.pcap", Protocol: 6, Direction: sensor.Outbound, CommunityID: fmt.Sprint("1:", i),
		Local:     netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 40000),
		Remote:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, 7}), 443),
		FirstSeen: int64(1_700_000_000 + i), LastSeen: int64(1_700_000_060 + i), BytesOut: 1000, BytesIn: 200,
		Owner:     sensor.Owner{PID: 7, Path: "/usr/local/bin/x", Label: "com.example.x"},
		Judgement: conformance.Judgement{Verdict: v},
	}
}

func finding() Finding {
	return Finding{"severity": "high", "launchd_label": "com.example.x", "path": "/usr/local/bin/x", "pid": "7", "signature": "adhoc", "provider": "commoncrypto",
		"symbols": "CCCrypt", "remote_address": "203.0.113.7", "remote_port": "443", "protocol": "6", "verdict": "random", "why": "random from the start"}
}

func write(t *testing.T, d Data) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, d))
	return b.String()
}

// elements counts the page's elements and checks what holds for every page: it is closed tag by tag, has no script, and refers to nothing but itself.
func elements(t *testing.T, page string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	ids := map[string]bool{}
	var refers []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			for _, id := range refers {
				require.True(t, ids[id], "nothing has the id %q", id)
			}
			return counts
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			counts[token.Data]++
			for _, a := range token.Attr {
				require.False(t, strings.HasPrefix(a.Key, "on"), "a script: %v", token)
				switch a.Key {
				case "src", "srcset", "data", "action", "xlink:href":
					t.Errorf("a request: %v", token)
				case "href":
					require.Equal(t, byte('#'), a.Val[0], "a link to elsewhere: %v", token)
					refers = append(refers, a.Val[1:])
				case "aria-labelledby":
					refers = append(refers, a.Val)
				case "id":
					require.False(t, ids[a.Val], "the id %q twice", a.Val)
					ids[a.Val] = true
				}
			}
		}
	}
}

func TestHostileNamesStayText(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert(1)</script>"><img src=x onerror=alert(1)>'javascript:alert(1)`
	f := finding()
	for column := range f {
		if column != "remote_port" && column != "protocol" {
			f[column] = evil
		}
	}
	one := made(1, conformance.Random)
	one.Owner = sensor.Owner{Path: evil, Name: evil, Label: evil}
	one.Judgement.Reasons, one.AllowlistRule = []string{evil}, evil
	page := write(t, Data{Title: evil, Version: evil, Sources: []string{evil}, Findings: []Finding{f}, Flows: []sensor.Flow{one},
		Coverage: []sensor.Coverage{{Name: evil, State: evil, Detail: evil, Advice: evil}}, Shapes: &Shapes{}})
	counts := elements(t, page)
	require.Zero(t, counts["script"])
	require.Zero(t, counts["img"])
	require.Equal(t, 1, counts["article"])
	require.Contains(t, page, `content="default-src 'none'; style-src 'unsafe-inline'"`)
	require.NotContains(t, page, "ZgotmplZ", "the template refused a value")
}

// look feeds one conversation to s, as a sensor does.
func look(s *Shapes, out sensor.Flow, client, server []byte) {
	half := func(b []byte) conformance.Half {
		return conformance.Half{Data: b, Total: uint64(len(b)), Segments: []conformance.Segment{{Offset: 0, Length: len(b) / 2}, {Offset: len(b) / 2, Length: len(b) - len(b)/2}}}
	}
	f := &flow.Flow{}
	s.Judged(f, &conformance.Conversation{Transport: 6, Client: half(client), Server: half(server)}, &out.Judgement)
	s.Removed(f, &out)
}

func TestShapes(t *testing.T) {
	t.Parallel()
	payload := make([]byte, 1024)
	_, _ = rand.Read(payload)
	client := append(bytes.Repeat([]byte{'A'}, 64), payload...)
	var s Shapes
	alert := made(1, conformance.Random)
	alert.Judgement.HeaderBytes = 64
	look(&s, alert, client, payload[:100])
	look(&s, made(2, conformance.TLS), payload, payload)
	look(&s, made(3, conformance.KnownProtocol), bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 9), nil)

	shape := s.of(&alert)
	require.NotNil(t, shape)
	require.Nil(t, s.of(&sensor.Flow{}))
	require.Len(t, shape.halves[0].windows, len(client)/window)
	require.Equal(t, []int{len(client) / 2}, shape.halves[0].ends)
	for i, ratio := range shape.halves[0].windows {
		if i < 64/window {
			require.Zero(t, ratio, "one value repeated has no entropy")
		} else {
			require.Greater(t, ratio, 0.5, "window %d", i)
		}
	}
	require.Equal(t, len(client)+100, shape.histogram.total())
	require.Equal(t, 2*len(payload), s.tls.total())

	page := write(t, Data{Title: "t", Findings: []Finding{finding()}, Flows: []sensor.Flow{alert}, Shapes: &s, Threshold: 0.999})
	counts := elements(t, page)
	require.Equal(t, 3+1+1, counts["svg"], "two maps, a histogram; the timeline; the population")
	require.Contains(t, page, "64 clear bytes first")
	require.Contains(t, page, "Green line: conformant TLS")
	for _, encoded := range []string{string(payload[:24]), hex.EncodeToString(payload[:12]), base64.StdEncoding.EncodeToString(payload[:12]), "AAAAAAAA"} {
		require.NotContains(t, page, encoded, "payload on the page")
	}
}

// A long capture's page stays as small as that of a short one: pictures of flows are counts, lists have limits and say what is left out.
func TestManyFlows(t *testing.T) {
	t.Parallel()
	var s Shapes
	var d Data
	client := make([]byte, 600)
	verdicts := []conformance.Verdict{conformance.TLS, conformance.Random, conformance.KnownProtocol, conformance.Structured, conformance.TLSMimic}
	for i := range 100_000 {
		f := made(i, verdicts[i%len(verdicts)])
		f.Owner.Label = fmt.Sprint("com.example.", i%300)
		d.Flows = append(d.Flows, f)
		if i%10 == 1 {
			_, _ = rand.Read(client)
			look(&s, f, client[:16+i%500], client[:16])
			one := finding()
			one["launchd_label"] = f.Owner.Label
			d.Findings = append(d.Findings, one)
		}
	}
	d.Shapes, d.Threshold = &s, 0.999
	page := write(t, d)
	require.Less(t, len(page), 5_000_000)
	counts := elements(t, page)
	require.Equal(t, MaxFindings, counts["article"])
	require.Contains(t, page, fmt.Sprint(len(d.Findings)-MaxFindings, " more findings are not shown"))
	require.Contains(t, page, fmt.Sprint(300-maxProcesses, " more processes"))
	require.Contains(t, page, fmt.Sprint(40_000-maxFlows, " more are not shown"))
	require.LessOrEqual(t, len(s.kept), maxShapes)
	require.Empty(t, s.pending)
}

// TestManyOwners: what is not shown takes no room. Without an owner each local address is a row, and a capture may have any number of them.
func TestManyOwners(t *testing.T) { // not parallel: it looks at what is allocated
	const n = 65_536
	flows := make([]sensor.Flow, n)
	for i := range flows {
		flows[i] = made(i, conformance.TLS)
		flows[i].Owner = sensor.Owner{}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	drawn := draw(flows)
	runtime.ReadMemStats(&after)
	require.Len(t, drawn.Rows, maxProcesses)
	require.Equal(t, n-maxProcesses, drawn.More)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(n*512))
}

func TestNothing(t *testing.T) {
	t.Parallel()
	page := write(t, Data{Title: "empty", Made: time.Unix(0, 0)})
	elements(t, page)
	require.Contains(t, page, "0 findings")
	require.Contains(t, page, "Nothing was found")
}

// The picture's columns hold every length, in order.
func TestColumns(t *testing.T) {
	t.Parallel()
	last := 0
	for n := randomness.MinSample; n <= 2*randomness.MaxSample; n++ {
		c := column(n)
		require.GreaterOrEqual(t, c, last)
		require.LessOrEqual(t, c, gridX-1)
		last = c
		if n <= randomness.MaxSample {
			require.InEpsilon(t, float64(n), length(c), 0.2)
		}
	}
	require.Equal(t, gridX-1, last)
}

func TestStory(t *testing.T) {
	t.Parallel()
	f := finding()
	flows := []sensor.Flow{made(5, conformance.Random), made(1, conformance.Random), made(2, conformance.TLS)}
	s := tell(f, newFlowIndex(flows), nil, 1)
	require.Equal(t, []string{
		"The launchd job com.example.x starts /usr/local/bin/x, process 7.",
		"Nobody vouches for it: it has an ad hoc signature.",
		"It can call symmetric crypto of commoncrypto: CCCrypt.",
		"It sent to 203.0.113.7 port 443/tcp: 2 flows, 2000 bytes out and 400 bytes in, from 2023-11-14 22:13:21 to 2023-11-14 22:14:25.",
		"Its bytes are random from the start: like ciphertext, and in no protocol that is known.",
	}, s.Sentences)
	for signature, want := range map[string]string{"unsigned": "not signed", "apple": "Apple signed it", "developer_id": "signed (developer id) of team ABCDE12345", "": "not known", "invalid": "not valid"} {
		f["signature"], f["team_id"] = signature, "ABCDE12345"
		require.Contains(t, signed(f), want)
	}
	f["verdict"], f["why"] = "tls_mimic", "no_server_hello,zero_length_record"
	require.Equal(t, "It looks like TLS, DTLS or QUIC and breaks their rules: no_server_hello, zero_length_record.", f.whyNotTLS())
}
