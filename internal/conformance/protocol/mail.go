package protocol

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var mail = []entry{
	{"smtp", conformance.TCP, start, []uint16{25, 587}, starts{fold("EHL").orNothing(), plain}, smtp},
	{"ftp", conformance.TCP, start, []uint16{21}, starts{fold("UAFSOCHQN").orNothing(), plain}, ftp},
	{"nntp", conformance.TCP, start, []uint16{119}, starts{fold("MCLGAXIHDPSB"), of("2")}, nntp},
	{"pop3", conformance.TCP, start, []uint16{110}, starts{fold("UCASQNP").orNothing(), of("+-")}, pop3},
	{"imap", conformance.TCP, start, []uint16{143}, starts{plain.orNothing(), of("*")}, imap},
	{"irc", conformance.TCP, start, []uint16{6667}, starts{fold("NUPCSW"), of(":").or(fold("NPEAC")).orNothing()}, irc},
	{"xmpp", conformance.TCP, midstream, []uint16{5222, 5269}, either(of("< \r\n\t")), xmpp},
	{"telnet", conformance.TCP, start, []uint16{23}, either(those(func(x byte) bool { return x < 0x80 || x == 0xff })), telnet},
	{"whois", conformance.TCP, onPort, []uint16{43}, starts{plain, plain}, whois},
	{"git", conformance.TCP, start, []uint16{9418}, starts{hexadecimal, hexadecimal.orNothing()}, git},
	{"rsync", conformance.TCP, start, []uint16{873}, either(of("@")), rsync},
	{"stomp", conformance.TCP, start, []uint16{61613}, starts{of("CS"), of("CE").orNothing()}, stomp},
	{"nats", conformance.TCP, start, []uint16{4222}, starts{of("CP").orNothing(), of("I")}, nats},
	{"munin", conformance.TCP, start, []uint16{4949}, starts{fold("CLNFVQ").orNothing(), of("#")}, munin},
	{"checkmk", conformance.TCP, start, []uint16{6556}, starts{server: of("<")}, checkmk},
	{"bjnp", conformance.UDP, midstream, []uint16{8611, 8612}, spoken(of("BM")), bjnp},
}

// oneOf says whether l starts with one of the words, which are in upper case, in any case.
func oneOf(l []byte, words ...string) bool {
	w, _ := word(l)
	for _, x := range words {
		if len(w) == len(x) && hasFold(w, x) {
			return true
		}
	}
	return false
}

// replies says whether all that a server sent in lines starts with one of the codes of a reply class, and the first with greeting.
// Lines between the first and the last of a long reply are text of any kind.
func replies(s side, greeting int) bool {
	rest, within := s.data, 0
	for n := 0; len(rest) > 0; n++ {
		l, after, ok := line(rest)
		if !ok {
			return printable(rest) && (n > 0 || s.open)
		}
		code := replyCode(l)
		switch {
		case !printable(l), n == 0 && code != greeting, within == 0 && (code < 100 || code > 599):
			return false
		case within == 0 && len(l) > 3 && l[3] == '-':
			within = code
		case code == within && (len(l) == 3 || l[3] == ' '):
			within = 0
		}
		rest = after
	}
	return true
}

// commands says whether the client's first line is one of the words, and the others are text.
func commands(s side, words ...string) bool {
	l, _, ok := line(s.data)
	return ok && oneOf(l, words...) && printable(s.data[:min(len(s.data), 512)]) && mostlyPrintable(s.data)
}

// smtp is SMTP (RFC 5321): replies with codes from the greeting on, and a client that says hello. Greeting and hello: 2^-60.
func smtp(v *view) bool {
	if !replies(v.server, 220) || len(v.server.data) < 6 {
		return false
	}
	if len(v.client.data) > 0 {
		return commands(v.client, "EHLO", "HELO", "LHLO")
	}
	l, _, ok := line(v.server.data)
	return ok && bytes.Contains(l, []byte("SMTP"))
}

// ftp is FTP's control connection (RFC 959): as smtp, with other commands. 2^-60.
func ftp(v *view) bool {
	if !replies(v.server, 220) || len(v.server.data) < 6 {
		return false
	}
	if len(v.client.data) > 0 {
		return commands(v.client, "USER", "AUTH", "FEAT", "SYST", "OPTS", "CLNT", "HOST", "QUIT", "HELP", "NOOP")
	}
	l, _, ok := line(v.server.data)
	return ok && bytes.Contains(bytes.ToUpper(l), []byte("FTP"))
}

// nntp is NNTP (RFC 3977): a greeting and a first command. 2^-60.
func nntp(v *view) bool {
	l, _, ok := line(v.server.data)
	code := replyCode(l)
	return ok && printable(l) && (code == 200 || code == 201) &&
		commands(v.client, "MODE", "CAPABILITIES", "LIST", "GROUP", "AUTHINFO", "ARTICLE", "XOVER", "IHAVE", "HELP", "DATE", "POST", "STAT", "BODY", "HEAD")
}

// pop3 is POP3 (RFC 1939): +OK and a first command. 2^-56.
func pop3(v *view) bool {
	l, _, ok := line(v.server.data)
	if !ok || !printable(l) || !has(l, "+OK") && !has(l, "-ERR") {
		return false
	}
	if len(v.client.data) == 0 {
		return len(l) >= 8
	}
	return commands(v.client, "USER", "CAPA", "AUTH", "APOP", "STLS", "QUIT", "NOOP", "PASS")
}

// imap is IMAP (RFC 9051): an untagged greeting, and a first command behind a tag. 2^-80.
func imap(v *view) bool {
	l, _, ok := line(v.server.data)
	if !ok || !printable(l) || !has(l, "* OK") && !has(l, "* PREAUTH") && !has(l, "* BYE") {
		return false
	}
	if len(v.client.data) == 0 {
		return len(l) >= 8
	}
	ask, _, whole := line(v.client.data)
	tag, rest := word(ask)
	return whole && ascii(ask) && len(tag) > 0 && len(tag) <= 16 &&
		oneOf(rest, "CAPABILITY", "LOGIN", "AUTHENTICATE", "STARTTLS", "NOOP", "LOGOUT", "ID", "SELECT", "LIST", "NAMESPACE", "ENABLE")
}

// irc is IRC (RFC 2812): the client registers, and the server's lines are messages. 2^-60.
func irc(v *view) bool {
	if !commands(v.client, "NICK", "USER", "PASS", "CAP", "SERVER", "WEBIRC") {
		return false
	}
	l, _, ok := line(v.server.data)
	if !ok {
		return len(v.server.data) == 0 && bytes.Count(v.client.data, []byte{'\n'}) > 1
	}
	return printable(l) && (has(l, ":") || oneOf(l, "NOTICE", "PING", "ERROR", "AUTHENTICATE", "CAP"))
}

// xmpp is XML streams (RFC 6120): a stream's header, or stanzas when the start was not seen. Their tags: 2^-64 and more.
func xmpp(v *view) bool {
	return len(v.client.data)+len(v.server.data) >= 16 && xmppSide(v, v.client) && xmppSide(v, v.server)
}

func xmppSide(v *view, s side) bool {
	if len(s.data) == 0 {
		return true
	}
	b := bytes.TrimLeft(s.data, " \r\n\t")
	head := b[:min(len(b), 1024)]
	if !printable(head) {
		return false
	}
	if has(b, "<?xml") || has(b, "<stream:") || has(b, "<flash:stream") {
		return bytes.Contains(head, []byte("jabber")) || bytes.Contains(head, []byte("etherx"))
	}
	if v.c.StartSeen {
		return len(b) == 0
	}
	for _, tag := range [...]string{"<iq ", "<presence", "<message", "<r ", "<a ", "<auth", "<success", "<stream:", "</stream:", "<response", "<challenge"} {
		if has(b, tag) {
			return true
		}
	}
	return len(b) == 0
}

// telnet is Telnet's negotiation of options (RFC 854, RFC 1143): at least two commands with options that exist, in both directions together.
// Two: 2^-32.
func telnet(v *view) bool {
	if bytes.IndexByte(telnetStart(v.client.data), 0xff) < 0 && bytes.IndexByte(telnetStart(v.server.data), 0xff) < 0 {
		return false
	}
	n, ok := telnetCommands(v.client.data)
	m, fits := telnetCommands(v.server.data)
	return ok && fits && n+m >= 2
}

// telnetCommands counts the commands in the first bytes; not ok where a command is none, or what is between them is not a terminal's.
func telnetCommands(b []byte) (n int, ok bool) {
	r := read(telnetStart(b))
	for r.left() > 0 {
		x := r.u8()
		if x != 0xff {
			if x >= 0x80 || x < ' ' && x != 0 && (x < 7 || x > 15) && x != 0x1b {
				return 0, false
			}
			continue
		}
		command := r.u8()
		if command >= 236 && command < 250 && n > 0 {
			continue // without an option
		}
		option := r.u8()
		switch {
		case r.short:
			return n, true
		case command < 250 || command > 254 || !telnetOption(option):
			return n, false
		}
		n++
		if end := bytes.Index(r.b, []byte{0xff, 0xf0}); command == 250 && end >= 0 {
			r.skip(end + 2)
		} else if command == 250 {
			return n, true
		}
	}
	return n, true
}

// telnetStart is as much of a direction as is looked at.
func telnetStart(b []byte) []byte { return b[:min(len(b), 256)] }

// telnetOption says whether an option is assigned or in use.
func telnetOption(x uint8) bool {
	return x <= 49 || x >= 138 && x <= 140 || x == 70 || x == 200 || x == 201
}

// whois is one line, answered with text (RFC 3912). As it has no structure of its own, it is only called so on its port.
func whois(v *view) bool {
	l, rest, ok := line(v.client.data)
	return ok && v.serverPort == 43 && len(l) > 0 && len(l) < 256 && printable(l) && len(rest) == 0 && len(v.server.data) >= 16 &&
		printable(v.server.data[:min(len(v.server.data), 2048)])
}

// git is git's own transport: lines behind four hexadecimal digits of length, the first a request for a service. 2^-100.
func git(v *view) bool {
	b := v.client.data
	n := hexNumber(b[:min(len(b), 4)])
	if n < 8 || n > len(b) || len(b) < 8 {
		return false
	}
	ask := b[4:n]
	if !has(ask, "git-upload-pack ") && !has(ask, "git-receive-pack ") && !has(ask, "git-upload-archive ") {
		return false
	}
	s := v.server.data
	return len(s) < 4 || hexNumber(s[:4]) >= 0
}

// rsync is the daemon's greeting from both sides. 2^-64 each.
func rsync(v *view) bool {
	const greeting = "@RSYNCD: "
	l, _, ok := line(v.server.data)
	if len(v.server.data) == 0 {
		l, _, ok = line(v.client.data)
	}
	return ok && has(l, greeting) && ascii(l) && len(l) > len(greeting) && digit(l[len(greeting)]) && (len(v.client.data) == 0 || has(v.client.data, greeting))
}

// stomp is STOMP's frames: CONNECT with fields, answered by CONNECTED or ERROR. 2^-100.
func stomp(v *view) bool {
	l, _, ok := line(v.client.data)
	if !ok || string(l) != "CONNECT" && string(l) != "STOMP" {
		return false
	}
	answer, _, whole := line(v.server.data)
	if len(v.server.data) == 0 {
		return bytes.Contains(v.client.data[:min(len(v.client.data), 512)], []byte("accept-version:"))
	}
	return whole && (string(answer) == "CONNECTED" || string(answer) == "ERROR")
}

// nats is NATS's client protocol: the server's INFO, then the client's CONNECT. 2^-100.
func nats(v *view) bool {
	l, _, ok := line(v.server.data)
	if !ok || !has(l, "INFO {") || !bytes.Contains(l, []byte(`"server_id"`)) {
		return false
	}
	return len(v.client.data) == 0 || has(v.client.data, "CONNECT {") || has(v.client.data, "PING\r\n")
}

// munin is munin's node: a comment that greets, then commands of a line. 2^-100.
func munin(v *view) bool {
	l, _, ok := line(v.server.data)
	return ok && has(l, "# munin node at ") && printable(l) && (len(v.client.data) == 0 ||
		commands(v.client, "CAP", "LIST", "NODES", "CONFIG", "FETCH", "VERSION", "QUIT"))
}

// checkmk is the monitoring agent's output: sections between triple brackets. 2^-100.
func checkmk(v *view) bool {
	l, _, ok := line(v.server.data)
	return ok && string(l) == "<<<check_mk>>>" && printable(v.server.data[:min(len(v.server.data), 2048)])
}

// bjnp is Canon's printer protocol: a magic, kind, command, and a length that adds up. 2^-64.
func bjnp(v *view) bool {
	return len(v.client.first()) > 0 && v.client.every(8, bjnpMessage) && v.server.every(8, bjnpMessage)
}

func bjnpMessage(b []byte) bool {
	r := read(b)
	magic := r.take(4)
	kind := r.u8() & 0x7f
	r.skip(7)
	length := int(r.u32())
	return !r.short && (has(magic, "BJN") || has(magic, "MFN") || has(magic, "BNJ")) && kind <= 3 && length == r.left()
}
