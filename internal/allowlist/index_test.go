package allowlist

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIndexFindsWhatALookAtEveryRuleFinds compares the index with the definition: the first rule that identifies and reaches.
func TestIndexFindsWhatALookAtEveryRuleFinds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	some := func(list ...string) []string {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:max(0, r.IntN(len(list)+3)-3)]
	}
	teams, ids, paths, hashes := []string{"", "", "AAAAAAAAAA", "BBBBBBBBBB"}, []string{"", "", "com.a", "com.b"}, []string{"", "", "/a", "/b"}, []string{"", "", "", hash}
	networks := []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0", "::/0"}
	var rules []*Rule
	for i := 0; len(rules) < 400; i++ {
		rule := &Rule{
			Name: fmt.Sprint(i), TeamID: pick(teams...), SigningID: pick(ids...), Path: pick(paths...), CDHash: pick(hashes...),
			Verdicts: some("random", "tls_mimic"), AppProtocols: some("whatsapp", "telegram"), Networks: some(networks...),
			HostSuffixes: some("example.com", "a.example.com", "net"),
		}
		for range max(0, r.IntN(5)-2) {
			rule.Ports = append(rule.Ports, uint16(1+r.IntN(4)))
		}
		if rule.complete() == nil {
			rules = append(rules, rule)
		}
	}
	s, _ := NewSet(rules)
	found := 0
	for range 5000 {
		who := Identity{TeamID: pick(teams...), SigningID: pick(ids...), Path: pick(paths...), CDHash: pick(hashes...)}
		who.Apple = who.TeamID == "" && r.IntN(2) == 0
		where := Destination{
			Address: netip.MustParseAddr(pick("10.1.1.1", "::ffff:10.1.1.1", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db9::1")), Port: uint16(1 + r.IntN(5)),
			Host: pick("", "example.com", "b.A.example.com.", "notexample.com", "x.net"), Verdict: pick("random", "tls_mimic"), AppProtocol: pick("", "whatsapp"),
		}
		var want *Rule
		for _, rule := range s.rules {
			if rule.identifies(who) && rule.reaches(where) {
				want = rule
				break
			}
		}
		require.Same(t, want, s.Match(who, where, now), "%+v %+v", who, where)
		if want != nil {
			found++
		}
	}
	require.Greater(t, found, 1000)
}

// made writes n rules as a large site might have them: one software in ten at many places, the rest by hash, team or path.
func made(n int) []byte {
	var b bytes.Buffer
	b.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: rule-%d\n", i)
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "    team_id: TEAM%06d\n", i/4)
		case 1:
			fmt.Fprintf(&b, "    team_id: ONETEAM123\n    signing_id: com.one.app\n    networks: [10.%d.%d.%d]\n", i>>16, i>>8&255, i&255)
		case 2:
			fmt.Fprintf(&b, "    cdhash: abcdef%034x\n    networks: [10.%d.%d.0/24]\n", i, i>>8&255, i&255)
		case 3:
			fmt.Fprintf(&b, "    path: /Library/Application Support/Vendor/tool-%d\n    ports: [443, 8443]\n", i)
		}
		fmt.Fprintf(&b, "    verdicts: [random]\n    approved_by: secops\n    reason: its protocol is random by nature\n    expires: 2027-06-30\n")
	}
	return b.Bytes()
}

func TestManyRules(t *testing.T) {
	t.Parallel()
	rules, errs := Parse("many.yaml", made(MaxRules+10))
	require.Empty(t, errs)
	s, errs := NewSet(rules)
	require.Len(t, s.Rules(), MaxRules)
	require.Len(t, errs, 1)
	require.Regexp(t, `^allowlist: many.yaml:\d+: more than 100000 rules: this one and all after it are left out$`, errs[0].Error())
	who, where := last(MaxRules)
	require.Equal(t, fmt.Sprintf("rule-%d", MaxRules-3), s.Match(who, where, now).Name)
}

// TestIndexIsBounded: rules that name many things at once do not make the index larger than there is room for, and are still found.
func TestIndexIsBounded(t *testing.T) {
	t.Parallel()
	const n = 20_000
	rules := make([]*Rule, n)
	for i := range rules {
		r := &Rule{Name: fmt.Sprint(i), TeamID: fmt.Sprintf("TEAM%06d", i), Ports: []uint16{1, 2, 3, 4, 5, 6, 7, 8}}
		for k := range 16 {
			r.Networks = append(r.Networks, fmt.Sprintf("10.%d.%d.%d/32", i>>8, i&255, k))
		}
		require.NoError(t, r.complete())
		rules[i] = r
	}
	x := newIndex(rules)
	require.LessOrEqual(t, len(x.entries), maxAllEntries)
	for _, i := range []int{0, 1, n - 1} {
		where := Destination{Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 15}), Port: 8}
		require.Same(t, rules[i], x.match(rules, Identity{TeamID: rules[i].TeamID}, where, now))
		where.Port = 9
		require.Nil(t, x.match(rules, Identity{TeamID: rules[i].TeamID}, where, now))
	}
}

// last is a flow that the last rule of the one team covers.
func last(n int) (Identity, Destination) {
	i := n - 3
	return Identity{TeamID: "ONETEAM123", SigningID: "com.one.app", Path: "/Applications/One.app/Contents/MacOS/One", CDHash: strings.Repeat("e", 40)},
		Destination{Address: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Port: 5222, Verdict: "random"}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 10_000, MaxRules} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := made(n)
			before := heap()
			var s *Set
			for b.Loop() {
				rules, _ := Parse("bench.yaml", data)
				s, _ = NewSet(rules)
			}
			b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-kept")
			require.Len(b, s.Rules(), n)
			runtime.KeepAlive(data)
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 10_000, MaxRules} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules, _ := Parse("bench.yaml", made(n))
			s, _ := NewSet(rules)
			who, where := last(n)
			for b.Loop() {
				if s.Match(who, where, now) == nil {
					b.Fatal("no match")
				}
			}
		})
	}
}
