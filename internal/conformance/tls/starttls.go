package tls

import (
	"bytes"
	"encoding/binary"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// opening is what comes before TLS: how many bytes of each direction, and whose protocol that is.
type opening struct {
	client, server int
	name           string
}

// prelude reads one protocol's cleartext negotiation, or a proxy's; server may be empty where it was not captured.
type prelude func(client, server []byte) (opening, bool)

var preludes = [...]prelude{
	textPrelude, proxyProtocol2, socks5Prelude, socks4Prelude, postgresPrelude, mysqlPrelude, rdpPrelude, ldapPrelude, amqpPrelude,
}

// maxPreludes is how many may follow one another, as with STARTTLS inside a proxy's tunnel.
const maxPreludes = 3

// judgeStartTLS judges TLS that begins after a cleartext negotiation.
func judgeStartTLS(c *conformance.Conversation) (conformance.Judgement, bool) {
	if textLength(c.Client.Data) == len(c.Client.Data) {
		return conformance.Judgement{}, false // a ClientHello has control characters
	}
	client, server := c.Client, c.Server
	name := ""
	for range maxPreludes {
		o, ok := readPrelude(client.Data, server.Data)
		if !ok {
			break
		}
		client.Data, server.Data = client.Data[o.client:], server.Data[o.server:]
		client.Total, server.Total = client.Total-uint64(o.client), server.Total-uint64(o.server)
		client.Segments, server.Segments = nil, nil // their offsets count from the prelude on
		name = o.name
		if beginsWithHello(client.Data) {
			j, ok := judgeFromStart(c, &client, &server)
			return asStartTLS(j, name), ok
		}
	}
	return judgeUnknownPrelude(c)
}

func readPrelude(client, server []byte) (opening, bool) {
	for _, p := range preludes {
		if o, ok := p(client, server); ok {
			return o, true
		}
	}
	return opening{}, false
}

func asStartTLS(j conformance.Judgement, name string) conformance.Judgement {
	if j.Verdict == conformance.TLS {
		j.Verdict = conformance.StartTLS
	}
	j.Reasons = append(j.Reasons, "starttls")
	if name != "" {
		j.AppProtocol = name
		j.Reasons = append(j.Reasons, name)
	}
	return j
}

// judgeUnknownPrelude accepts TLS after bytes of an unknown protocol when both sides begin it with a segment of their own and the whole
// handshake is right.
func judgeUnknownPrelude(c *conformance.Conversation) (conformance.Judgement, bool) {
	const most = 16 // segments before TLS
	at := func(h *conformance.Half, starts func([]byte) bool) *conformance.Half {
		for i := range h.Segments[:min(most, len(h.Segments))] {
			off := h.Segments[i].Offset
			if off > 0 && off < len(h.Data) && starts(h.Data[off:]) {
				return &conformance.Half{Data: h.Data[off:], Total: h.Total - uint64(off), Gap: h.Gap}
			}
		}
		return nil
	}
	client := at(&c.Client, beginsWithHello)
	if client == nil {
		return conformance.Judgement{}, false
	}
	server := at(&c.Server, beginsWithReply)
	if server == nil {
		return conformance.Judgement{}, false
	}
	j, ok := judgeFromStart(c, client, server)
	if !ok || j.Verdict != conformance.TLS || j.Confidence < 0.95 {
		return conformance.Judgement{}, false
	}
	return asStartTLS(j, ""), true
}

// beginsWithReply says whether data starts with a ServerHello's first bytes.
func beginsWithReply(data []byte) bool {
	return len(data) > 10 && data[0] == typeHandshake && data[1] == 3 && data[5] == msgServerHello && data[6] == 0 && data[9] == 3
}

// textLength is how much of data is text: up to the first control character that text does not use.
func textLength(data []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for at := 0; at < len(data); {
		if len(data)-at >= 8 { // a byte below 0x20 shows in the high bit, and none does where there is none
			if w := binary.LittleEndian.Uint64(data[at:]); (w-ones*0x20)&^w&high == 0 {
				at += 8
				continue
			}
		}
		if c := data[at]; c < 0x20 && c != '\r' && c != '\n' && c != '\t' {
			return at
		}
		at++
	}
	return len(data)
}

// textPrelude reads the protocols that talk in lines or XML up to the command that starts TLS, and HTTP CONNECT.
func textPrelude(client, server []byte) (opening, bool) {
	n := textLength(client)
	if n < 6 {
		return opening{}, false
	}
	name, n := textTrigger(client[:n])
	if name == "" {
		return opening{}, false
	}
	if name == "starttls" {
		name = startTLSProtocol(server)
	}
	if name == "haproxy" {
		return opening{client: n, name: name}, true
	}
	m := textLength(server)
	if name == "http" {
		m = responseLength(server)
	}
	if len(server) > 0 && !textGreets(name, server[:m]) {
		return opening{}, false
	}
	return opening{client: n, server: m, name: name}, true
}

// textTrigger names the protocol whose command ends the text, and how long the text is up to there.
func textTrigger(text []byte) (string, int) {
	if bytes.HasPrefix(text, []byte("PROXY TCP")) || bytes.HasPrefix(text, []byte("PROXY UNKNOWN")) {
		if i := bytes.Index(text, []byte("\r\n")); i > 0 && i < 107 { // the proxy protocol's limit
			return "haproxy", i + 2
		}
		return "", 0
	}
	if bytes.HasPrefix(text, []byte("CONNECT ")) {
		return "http", connectLength(text)
	}
	trimmed := bytes.TrimRight(text, "\r\n\t ")
	if text[0] == '<' && bytes.Contains(trimmed, []byte("<starttls")) && trimmed[len(trimmed)-1] == '>' {
		return "xmpp", len(text)
	}
	if len(trimmed) == len(text) {
		return "", 0 // a command ends with its line
	}
	line := bytes.ToUpper(trimmed[bytes.LastIndexByte(trimmed, '\n')+1:])
	switch {
	case bytes.Equal(line, []byte("STARTTLS")):
		return "starttls", len(text)
	case bytes.Equal(line, []byte("STLS")):
		return "pop3", len(text)
	case bytes.HasPrefix(line, []byte("AUTH TLS")), bytes.Equal(line, []byte("AUTH SSL")):
		return "ftp", len(text)
	case bytes.HasSuffix(line, []byte(" STARTTLS")) && bytes.Count(line, []byte(" ")) == 1:
		return "imap", len(text)
	}
	return "", 0
}

// connectLength is the length of all CONNECT requests at the start of text: the first may be refused for want of credentials.
func connectLength(text []byte) int {
	n := 0
	for bytes.HasPrefix(text[n:], []byte("CONNECT ")) {
		i := bytes.Index(text[n:], []byte("\r\n\r\n"))
		if i < 0 {
			return n
		}
		n += i + 4
	}
	return n
}

// responseLength is the length of a proxy's answers up to the one that opens the tunnel, all of it text when none does.
func responseLength(server []byte) int {
	n, text := 0, server[:textLength(server)]
	for bytes.HasPrefix(text[n:], []byte("HTTP/")) {
		i := bytes.Index(text[n:], []byte("\r\n\r\n"))
		if i < 0 {
			break
		}
		opened := i > 12 && text[n+9] == '2'
		n += i + 4
		if opened {
			return n
		}
		if next := bytes.Index(text[n:], []byte("HTTP/1.")); next > 0 {
			n += next // a refusal's page
		}
	}
	return len(text)
}

// startTLSProtocol says by the server's greeting whose command STARTTLS is.
func startTLSProtocol(server []byte) string {
	switch {
	case bytes.HasPrefix(server, []byte("200")), bytes.HasPrefix(server, []byte("201")):
		return "nntp"
	case bytes.HasPrefix(server, []byte{'"'}), bytes.HasPrefix(server, []byte("OK")):
		return "sieve"
	case bytes.HasPrefix(server, []byte{':'}):
		return "irc"
	}
	return "smtp"
}

// greetings are how servers of each protocol begin.
var greetings = map[string][]string{
	"smtp":  {"220"},
	"nntp":  {"200", "201"},
	"sieve": {"\"", "OK"},
	"irc":   {":"},
	"pop3":  {"+OK"},
	"ftp":   {"220", "120"},
	"imap":  {"* OK", "* PREAUTH"},
	"http":  {"HTTP/"},
	"xmpp":  {"<"},
}

func textGreets(name string, text []byte) bool {
	for _, g := range greetings[name] {
		if bytes.HasPrefix(text, []byte(g)) {
			return true
		}
	}
	return false
}
