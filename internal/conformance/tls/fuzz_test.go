package tls

import (
	"bytes"
	"testing"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

func FuzzTLS(f *testing.F) {
	for _, g := range fixtures(f) {
		f.Add(g.c.Client.Data, g.c.Server.Data, true, true)
	}
	f.Fuzz(func(t *testing.T, client, server []byte, started, ended bool) {
		text := 0
		for text < len(client) && (client[text] >= ' ' || bytes.IndexByte([]byte("\t\r\n"), client[text]) >= 0) {
			text++
		}
		if n := textLength(client); n != text {
			t.Fatalf("%d bytes of text, not %d", text, n)
		}
		for at := range client {
			if text == len(client) && beginsWithHello(client[at:]) {
				t.Fatal("a hello that is text")
			}
		}
		c := conversation(client, server)
		c.StartSeen, c.Ended = started, ended
		j, ok := Recognize(c, conformance.Options{})
		if ok && !started && j.Verdict.Alert() {
			t.Fatal("an alert for a connection joined late")
		}
		if (j.Verdict == conformance.TLSMimic) != (len(j.Violations) > 0) {
			t.Fatal("a mimic without a violation, or the other way round")
		}
	})
}

func FuzzClientHello(f *testing.F) {
	for _, g := range fixtures(f) {
		if data := g.c.Client.Data; len(data) > 9 && data[0] == typeHandshake {
			f.Add(data[9:min(len(data), 5+int(data[3])<<8+int(data[4]))], false)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, dtls bool) {
		h, err := ParseClientHello(body, dtls)
		if err != nil {
			return
		}
		if s := JA4(h, 't'); len(s) != 36 {
			t.Fatal(s)
		}
		h.OffersSuite(0x1301)
	})
}
