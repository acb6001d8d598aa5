package tls

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// turns is a conversation of what was sent by turns, the client first.
func turns(sent ...[]byte) *conformance.Conversation {
	t := tape{c: conformance.Conversation{Transport: tcp, ClientPort: 50000, ServerPort: 443, StartSeen: true, Ended: true}}
	for i, b := range sent {
		if len(b) > 0 {
			t.write(i%2 == 0, b)
		}
	}
	return &t.c
}

func sealed(n int) []byte { return rec(23, 0x0303, noise(n, uint64(n))) }

// TestServerFirst: where the client's first message is long enough for a certificate, the server's answers give the forgery away; whatever a genuine
// server may have sent there does not.
func TestServerFirst(t *testing.T) {
	t.Parallel()
	ccs := rec(20, 0x0303, []byte{1})
	opening := func(alpn ...string) (hello, reply []byte) {
		cc, sc := configs(true)
		cc.NextProtos, sc.NextProtos = alpn, alpn
		c := converse(cc, sc)
		return records(c.Client.Data)[0], join(records(c.Server.Data)[0], ccs)
	}
	hello, reply := opening()
	helloH2, replyH2 := opening("h2", "http/1.1")
	helloOther, replyOther := opening("mqtt")
	one, first := sealed(2500), join(ccs, sealed(1200))
	flight, flightH2 := join(reply, one), join(replyH2, one)
	cut := turns(hello, flight, first, sealed(45), sealed(180), sealed(40))
	cut.Server.Segments = cut.Server.Segments[:1]

	tests := []struct {
		name  string
		c     *conformance.Conversation
		mimic bool
	}{
		{"short answers", turns(hello, flight, first, sealed(45), sealed(180), sealed(40)), true},
		{"too short for a certificate and what must follow", turns(hello, flight, join(ccs, sealed(250)), sealed(45), sealed(160), sealed(40)), true},
		{"Finished in a record of its own", turns(hello, flight, join(ccs, sealed(250)), sealed(45), sealed(53), sealed(40)), false},
		{"HTTP/2 offered", turns(helloH2, flightH2, first, sealed(46), sealed(180), sealed(40)), true},
		{"one turn", turns(hello, flight, first, sealed(45), sealed(180)), false},
		{"HTTP/2's SETTINGS", turns(helloH2, flightH2, first, sealed(17+9+4*6), sealed(180), sealed(40)), false},
		{"HTTP/2's SETTINGS and WINDOW_UPDATE", turns(helloH2, flightH2, first, sealed(17+9+6+13), sealed(180), sealed(40)), false},
		{"OpenSSL's ticket", turns(hello, flight, first, sealed(74), sealed(180), sealed(40)), false},
		{"data in flight, then a ticket", turns(hello, flight, first, sealed(45), sealed(180), sealed(74)), false},
		{"alerts", turns(hello, flight, first, sealed(19), sealed(180), sealed(19)), false},
		{"more after an alert", turns(hello, flight, first, sealed(35), sealed(180), sealed(40)), true},
		{"KeyUpdate", turns(hello, flight, first, sealed(22), sealed(180), sealed(40)), false},
		{"a request behind the flight", turns(hello, flight, join(first, sealed(180)), sealed(45), sealed(180), sealed(40)), false},
		{"a flight in several records", turns(hello, flight, join(ccs, sealed(1000), sealed(281), sealed(53)), sealed(45), sealed(180), sealed(40)), false},
		{"a server's flight in several records", turns(hello, join(flight, sealed(281), sealed(53)), first, sealed(45), sealed(180), sealed(40)), false},
		{"all padded", turns(hello, join(reply, sealed(2512)), first, sealed(48), sealed(180), sealed(64)), false},
		{"a protocol of its own", turns(helloOther, join(replyOther, one), first, sealed(45), sealed(180), sealed(40)), false},
		{"order of segments not known", cut, false},
	}
	for _, tt := range tests {
		j, ok := Recognize(tt.c, conformance.Options{})
		require.True(t, ok, tt.name)
		if tt.mimic {
			require.Equal(t, []string{"server_spoke_first"}, j.Violations, tt.name)
			require.Equal(t, conformance.TLSMimic, j.Verdict, tt.name)
			continue
		}
		require.Equal(t, conformance.TLS, j.Verdict, "%s: %v", tt.name, j.Violations)
	}
	c := turns(hello, flight, first, sealed(45), sealed(180), sealed(40))
	c.ServerPort = 993
	j, _ := Recognize(c, conformance.Options{})
	require.Equal(t, conformance.TLS, j.Verdict, strings.Join(j.Violations, " "))

	// The judgement waits for the second answer, however much was seen of both sides.
	c = turns(hello, flight, first, sealed(45), sealed(900))
	c.Ended = false
	j, _ = Recognize(c, conformance.Options{})
	require.Equal(t, []bool{false, true}, []bool{j.Final, j.Pending})
}
