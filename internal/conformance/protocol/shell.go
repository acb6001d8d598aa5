package protocol

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/randomness"
)

const (
	// shellSample is how many bytes are judged of what each direction carries in a protocol of others.
	shellSample = 512
	// shellLook is how many of the first ones tell most of what is not random.
	shellLook = 64
	// leastCarried are needed of each direction, leastShell of both.
	leastCarried, leastShell = 32, 128
	// maxCarriers bounds the messages, frames or datagrams of a direction that are looked into.
	maxCarriers = 64
)

// randomReasons are those of a protocol whose payload is as uniform as ciphertext in both directions. That is no alert, in WebSocket neither: whoever
// speaks HTTP, WebSocket or DNS may encrypt or compress what is in it, and games, proxies and licence checks do. It is for hunting.
var randomReasons = []string{reasons[0], "random_payload"}

// payload is what HTTP's recognizer came across of what is carried.
type payload struct {
	body     []byte // of the first request that has one
	upgraded bool   // to WebSocket, in both directions
	frames   [2][]byte
}

// carried is what one direction carries, as far as it is judged.
type carried struct {
	b    []byte
	n    int // messages that it came in
	room [shellSample]byte
}

func (d *carried) add(b []byte) {
	d.b = append(d.b, b[:min(len(b), shellSample-len(d.b))]...)
	d.n++
}

func (d *carried) full() bool { return len(d.b) == shellSample || d.n >= maxCarriers }

// notUniform finds most of what is no ciphertext by a look.
var notUniform = randomness.NewExcluder(1e-6)

// carriesRandom says whether the payload of a protocol that others speak, too, is uniform in both directions and of no known format: bodies of HTTP,
// binary frames of WebSocket, names and texts of DNS.
func (v *views) carriesRandom(name string, o conformance.Options) bool {
	s, client, server := &v.straight, &v.carried[0], &v.carried[1]
	client.b, client.n, server.b, server.n = client.room[:0], 0, server.room[:0], 0
	switch {
	case len(s.client.data) == 0 || len(s.server.data) == 0:
		return false
	case name == "http" && s.payload.upgraded:
		client.frames(s.payload.frames[0])
		server.frames(s.payload.frames[1])
	case name == "http":
		look := s.payload.body[:min(len(s.payload.body), shellLook)]
		if len(look) == 0 || notUniform.Excludes(look) && !symbols(look) {
			return false
		}
		client.bodies(s.client.data, false)
		server.bodies(s.server.data, true)
	case name == "dns":
		const queries = 3
		if s.c.Transport != conformance.UDP || s.client.datagrams() < queries || s.server.datagrams() < queries {
			return false
		}
		if client.datagrams(&s.client, (*carried).question); len(client.b) >= leastCarried {
			server.datagrams(&s.server, (*carried).answer)
		}
	}
	return len(client.b)+len(server.b) >= leastShell && client.uniform(o) && server.uniform(o)
}

func (d *carried) uniform(o conformance.Options) bool {
	threshold := o.Threshold
	if threshold == 0 {
		threshold = conformance.DefaultThreshold
	}
	return len(d.b) >= leastCarried && !notUniform.Excludes(d.b) && randomness.Judge(d.b).Random(threshold) && !conformance.KnownFormat(d.b)
}

// bodies takes the bodies of HTTP/1 messages, decoded where they are an encoding, but for those that say that they are compressed or media. An
// answer's may last as long as the connection.
func (d *carried) bodies(data []byte, answers bool) {
	for !d.full() {
		h, after, ok := readHead(data)
		if !ok || !h.ended {
			return
		}
		fields := data[:len(data)-len(after)]
		body := after[:min(len(after), max(h.length, 0))]
		switch {
		case answers && h.length < 0 && !h.chunked:
			body = after
		case h.chunked:
			_, chunk, _ := line(after)
			size := hexNumber(bytes.TrimSpace(after[:len(after)-len(chunk)]))
			body = chunk[:min(len(chunk), max(size, 0))]
		}
		if len(body) > 0 && opaqueType(fields) && !conformance.KnownFormat(body) && !d.decode(body) {
			d.add(body)
		}
		rest, cut, ok := h.body(after, answers)
		if !ok || cut {
			return
		}
		data = rest
	}
}

// opaqueType says whether a message's head calls its body neither encoded nor media, archive or font.
func opaqueType(head []byte) bool {
	for {
		l, rest, ok := line(head)
		if !ok {
			return true
		}
		head = rest
		switch {
		case hasFold(l, "CONTENT-ENCODING:"):
			return hasFold(bytes.TrimSpace(l[len("CONTENT-ENCODING:"):]), "IDENTITY")
		case hasFold(l, "CONTENT-TYPE:"):
			kind := bytes.TrimSpace(l[len("CONTENT-TYPE:"):])
			for _, known := range [...]string{"IMAGE/", "VIDEO/", "AUDIO/", "FONT/", "MULTIPART/", "APPLICATION/ZIP", "APPLICATION/GZIP", "APPLICATION/PDF"} {
				if hasFold(kind, known) {
					return false
				}
			}
		}
	}
}

// frames takes the payload of WebSocket's binary frames, unmasked, but for compressed ones (RFC 6455 section 5.2, RFC 7692 section 6).
func (d *carried) frames(data []byte) {
	const (
		continuation, binary  = 0, 2
		compressed, operation = 0x40, 0xf
	)
	taking := false
	for r := read(data); r.left() > 0 && !d.full(); {
		flags, n := r.u8(), r.u8()
		length := int(n & 0x7f)
		switch length {
		case 126:
			length = int(r.u16())
		case 127:
			length = int(min(r.u64(), 1<<31))
		}
		var mask []byte
		if n&0x80 != 0 {
			mask = r.take(4)
		}
		if r.short {
			return
		}
		if op := flags & operation; op < 8 && op != continuation {
			taking = op == binary && flags&compressed == 0
		}
		payload := r.take(min(length, r.left()))
		if taking && flags&operation < 8 {
			at := len(d.b)
			d.add(payload)
			for i := range d.b[at:] {
				if mask != nil {
					d.b[at+i] ^= mask[i&3]
				}
			}
		}
	}
}

// datagrams takes what of finds in each of the first datagrams.
func (d *carried) datagrams(s *side, of func(d *carried, b []byte)) {
	for i := 0; i < min(s.datagrams(), maxCarriers) && !d.full(); i++ {
		if b, whole := s.datagram(i); whole && len(b) > dnsHeaderLength {
			of(d, b)
		}
	}
}

const (
	dnsHeaderLength = 12
	// leastText is how many symbols of one message are decoded: shorter ones are words.
	leastText      = 16
	dnsTXT, dnsNUL = 16, 10
)

// question takes what the labels of a query's name encode, without the two last ones, which are somebody's domain.
func (d *carried) question(b []byte) {
	var text [256]byte
	n, domain, last := 0, 0, 0 // domain: where the last two labels begin
	for r := read(b[dnsHeaderLength:]); ; {
		l := r.take(int(r.u8()))
		if r.short || len(l) == 0 || len(l) > 63 || n+len(l) > len(text) {
			break
		}
		domain, last = last, n
		n += copy(text[n:], l)
	}
	d.decode(text[:domain])
}

// answer takes the text, decoded if it is an encoding, or the bytes of the first record of an answer, TXT or NULL (RFC 1035 section 3.3).
func (d *carried) answer(b []byte) {
	r := read(b[dnsHeaderLength:])
	if b[5] != 1 || b[7] == 0 || !dnsName(&r, len(b)) {
		return
	}
	r.skip(4)
	if !dnsName(&r, len(b)) {
		return
	}
	kind := r.u16()
	r.skip(6)
	data := r.take(int(r.u16()))
	switch {
	case kind == dnsNUL && len(data) >= leastText:
		d.add(data)
	case kind == dnsTXT && len(data) > 1:
		text := data[1:min(len(data), 1+int(data[0]))]
		if len(text) >= leastText && !ascii(text) {
			d.add(text)
			return
		}
		d.decode(text)
	}
}

// Alphabets of RFC 4648, the smallest first: what is hexadecimal is base32, too.
var (
	lowerBase32    = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	lowerBase32Hex = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
)

// symbols says whether text is letters, digits and what else base64 has.
func symbols(text []byte) bool {
	for _, x := range text {
		if !letter(x) && !digit(x) && bytes.IndexByte([]byte("+/-_=\r\n"), x) < 0 {
			return false
		}
	}
	return true
}

// decode takes what the start of a text encodes, and says whether it is an encoding; base32 and hexadecimal in any case of letters.
func (d *carried) decode(text []byte) bool {
	var to, folded [256]byte
	text = bytes.TrimRight(text[:min(len(text), len(folded))], "=\r\n")
	if len(text) < leastText || !symbols(text) {
		return false
	}
	lower := append(folded[:0], text...)
	for i, x := range lower {
		if 'A' <= x && x <= 'Z' {
			lower[i] = x | 0x20
		}
	}
	for _, e := range [...]struct {
		of     func(dst, src []byte) (int, error)
		symbol int // as many symbols are whole bytes
		text   []byte
	}{
		{hex.Decode, 2, lower}, {lowerBase32Hex.Decode, 8, lower}, {lowerBase32.Decode, 8, lower},
		{base64.RawStdEncoding.Decode, 4, text}, {base64.RawURLEncoding.Decode, 4, text},
	} {
		if n, err := e.of(to[:], e.text[:len(e.text)/e.symbol*e.symbol]); err == nil {
			d.add(to[:n])
			return true
		}
	}
	return false
}
