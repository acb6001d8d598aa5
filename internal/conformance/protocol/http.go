package protocol

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
)

// head is the first line and what matters of the fields of one message of HTTP/1 or a protocol that is written like it (RFC 9112,
// RFC 2326).
type head struct {
	first   []byte
	length  int // Content-Length; -1 when there is none
	chunked bool
	upgrade []byte
	key     []byte // Sec-WebSocket-Key
	accept  []byte // Sec-WebSocket-Accept
	ended   bool   // the empty line was seen
}

// readHead reads a message's head. ok is false where a line is not one of a head; a head may be cut by b's end.
func readHead(b []byte) (h head, rest []byte, ok bool) {
	h.length = -1
	if len(b) == 0 || !ofMethod(b[0]) {
		return h, nil, false
	}
	h.first, rest, ok = line(b)
	if !ok || !printable(h.first) {
		return h, nil, false
	}
	for {
		l, after, whole := line(rest)
		if !whole {
			return h, nil, len(rest) < maxLine && printable(rest)
		}
		rest = after
		if len(l) == 0 {
			h.ended = true
			return h, rest, true
		}
		if !h.field(l) {
			return h, nil, false
		}
	}
}

// field takes one line of fields.
func (h *head) field(l []byte) bool {
	if l[0] == ' ' || l[0] == '\t' {
		return printable(l)
	}
	i := bytes.IndexByte(l, ':')
	if i <= 0 || !printable(l) || i > 64 && bytes.IndexByte(l[:i], ' ') >= 0 {
		return false
	}
	switch l[0] &^ 0x20 { // what the fields that matter begin with
	case 'C', 'T', 'U', 'S':
	default:
		return true
	}
	value := bytes.TrimSpace(l[i+1:])
	switch name := l[:i]; {
	case hasFold(name, "CONTENT-LENGTH"):
		h.length = number(value)
	case hasFold(name, "TRANSFER-ENCODING"):
		h.chunked = len(value) >= 7 && hasFold(value[len(value)-7:], "CHUNKED")
	case hasFold(name, "UPGRADE") && i == 7:
		h.upgrade = value
	case hasFold(name, "SEC-WEBSOCKET-KEY"):
		h.key = value
	case hasFold(name, "SEC-WEBSOCKET-ACCEPT"):
		h.accept = value
	}
	return true
}

// skipChunks skips a chunked body. cut says that b ends before the body does.
func skipChunks(b []byte) (rest []byte, cut, ok bool) {
	for {
		l, after, whole := line(b)
		if !whole {
			return nil, true, len(b) < 64 && ascii(b)
		}
		if i := bytes.IndexByte(l, ';'); i >= 0 {
			l = l[:i]
		}
		n := hexNumber(bytes.TrimSpace(l))
		if n < 0 {
			return nil, false, false
		}
		if n == 0 {
			return skipTrailers(after)
		}
		if n+2 > len(after) {
			return nil, true, true
		}
		if after[n] != '\r' && after[n] != '\n' {
			return nil, false, false
		}
		_, b, _ = line(after[n:])
	}
}

func skipTrailers(b []byte) (rest []byte, cut, ok bool) {
	for {
		l, after, whole := line(b)
		if !whole {
			return nil, true, len(b) < maxLine && printable(b)
		}
		b = after
		if len(l) == 0 {
			return b, false, true
		}
		if !printable(l) {
			return nil, false, false
		}
	}
}

// body skips the body that the head announces; forever is for an answer without a length, which lasts until the connection ends.
func (h *head) body(b []byte, forever bool) (rest []byte, cut, ok bool) {
	switch {
	case h.chunked:
		return skipChunks(b)
	case h.length > len(b):
		return nil, true, true
	case h.length >= 0:
		return b[h.length:], false, true
	case forever:
		return nil, true, true
	}
	return b, false, true
}

// Methods that change what comes after them.
const (
	otherMethod = iota
	headMethod
	connectMethod
)

// maxRequests is how many requests are kept to read their answers by.
const maxRequests = 32

// exchange is what was read of an HTTP/1 conversation.
type exchange struct {
	methods  [maxRequests]uint8
	requests int
	tunnel   int // offset in the client's data of what is no HTTP any more; -1 where there is none
	asked    head
	upgraded int // the same for the server's data
	answered head
	body     []byte // of the first request that has one
}

// requestLine says whether l is METHOD SP target SP protocol/1.x, and gives the method.
func requestLine(l []byte, protocol string) (method []byte, ok bool) {
	method, rest := word(l)
	i := bytes.LastIndexByte(rest, ' ')
	if i <= 0 || !token(method) || !has(rest[i+1:], protocol) || len(rest)-i-1 != len(protocol)+1 || !digit(rest[len(rest)-1]) {
		return nil, false
	}
	return method, true
}

// ofMethod says whether a method may have x, as the name of a protocol does at its start.
func ofMethod(x byte) bool { return x >= 'A' && x <= 'Z' || x == '-' || x == '_' }

// token says whether b is a method: upper case letters, hyphens and underscores.
func token(b []byte) bool {
	for _, x := range b {
		if !ofMethod(x) {
			return false
		}
	}
	return len(b) >= 3 && len(b) <= 24
}

// statusLine gives the code of protocol/1.x SP code; 0 where l is none.
func statusLine(l []byte, protocol string) int {
	w, rest := word(l)
	if !has(w, protocol) || len(w) != len(protocol)+1 || len(rest) < 3 || !digit(w[len(w)-1]) {
		return 0
	}
	return replyCode(rest)
}

// readRequests reads the client's messages, as far as they are HTTP.
func (e *exchange) readRequests(s side, protocol string) bool {
	rest := s.data
	e.tunnel = -1
	for len(rest) > 0 {
		for len(rest) > 0 && e.requests > 0 && (rest[0] == '\r' || rest[0] == '\n') {
			rest = rest[1:]
		}
		if e.requests > 0 && partial(rest, s.open) {
			return true
		}
		at := len(s.data) - len(rest)
		h, after, ok := readHead(rest)
		method, fits := requestLine(h.first, protocol)
		if !ok || !fits {
			if e.requests == 0 || len(rest) == 0 {
				return len(rest) == 0
			}
			e.tunnel = at
			return true
		}
		if e.requests < maxRequests {
			switch {
			case has(method, "HEAD"):
				e.methods[e.requests] = headMethod
			case has(method, "CONNECT"):
				e.methods[e.requests] = connectMethod
			}
		}
		e.requests++
		e.asked = h
		if !h.ended {
			return true
		}
		var cut bool
		if len(h.upgrade) > 0 || has(method, "CONNECT") {
			e.tunnel = len(s.data) - len(after)
			return true
		}
		if e.body == nil && h.length > 0 {
			e.body = after[:min(len(after), h.length)]
		} else if e.body == nil && h.chunked {
			_, e.body, _ = line(after)
		}
		if rest, cut, ok = h.body(after, false); !ok || cut {
			return ok
		}
	}
	return true
}

// partial says whether b may be the start of a first line that goes on.
func partial(b []byte, open bool) bool {
	return open && len(b) < maxLine && bytes.IndexByte(b, '\n') < 0 && ascii(b)
}

// readAnswers reads the server's messages.
func (e *exchange) readAnswers(s side, protocol string) bool {
	rest := s.data
	e.upgraded = -1
	for n := 0; len(rest) > 0; {
		for len(rest) > 0 && n > 0 && (rest[0] == '\r' || rest[0] == '\n') {
			rest = rest[1:]
		}
		if len(rest) == 0 || n > 0 && partial(rest, s.open) {
			return true
		}
		h, after, ok := readHead(rest)
		code := statusLine(h.first, protocol)
		if !ok || code < 100 || code > 699 {
			return false
		}
		if !h.ended {
			return true
		}
		method := uint8(otherMethod)
		if n < e.requests && n < maxRequests {
			method = e.methods[n]
		}
		switch {
		case code == 101, method == connectMethod && code/100 == 2:
			e.upgraded, e.answered = len(s.data)-len(after), h
			return true
		case code/100 == 1:
			rest = after
			continue
		case method == headMethod, code == 204, code == 304:
			rest = after
			n++
			continue
		}
		var cut bool
		if rest, cut, ok = h.body(after, true); !ok || cut {
			return ok
		}
		n++
	}
	return true
}

// http1 is HTTP/1 in both directions, message after message (RFC 9112). What follows CONNECT or an upgrade must be explained as
// well: bytes behind a head that announces none are not HTTP. The request line or status line alone: 2^-80.
func http1(v *view) bool {
	var e exchange
	if !e.readRequests(v.client, "HTTP/1.") || !e.readAnswers(v.server, "HTTP/1.") || e.requests == 0 && len(v.server.data) == 0 {
		return false
	}
	*v.payload = payload{body: e.body}
	switch {
	case e.upgraded >= 0:
		return e.explained(v)
	case e.tunnel >= 0 && len(v.server.data) > 0 && len(e.asked.upgrade) > 0:
		// The server did not agree; more requests may follow.
		return e.declined(v)
	case e.tunnel >= 0 && e.tunnel < len(v.client.data):
		return len(e.asked.upgrade) == 0 && e.requests > 0 && e.methods[min(e.requests, maxRequests)-1] == connectMethod
	}
	return true
}

// declined reads what follows a request for an upgrade that was answered without one.
func (e *exchange) declined(v *view) bool {
	if e.tunnel == len(v.client.data) {
		return true
	}
	after, cut, ok := e.asked.body(v.client.data[e.tunnel:], false)
	if !ok || cut || len(after) == 0 {
		return ok
	}
	h, _, ok := readHead(after)
	_, fits := requestLine(h.first, "HTTP/1.")
	return ok && fits
}

// explained says whether what follows an upgrade or CONNECT is what was agreed.
func (e *exchange) explained(v *view) bool {
	client, server := v.client, v.server
	server.data = server.data[e.upgraded:]
	if e.tunnel < 0 {
		client.data = nil
	} else {
		client.data = client.data[e.tunnel:]
	}
	if len(client.data) == 0 && len(server.data) == 0 {
		return len(e.answered.upgrade) == 0 || !hasFold(e.answered.upgrade, "WEBSOCKET") || e.accepted()
	}
	switch up := e.answered.upgrade; {
	case hasFold(up, "WEBSOCKET"):
		v.payload.upgraded, v.payload.frames = true, [2][]byte{client.data, server.data}
		return e.accepted() && webSocket(client, true) && webSocket(server, false)
	case hasFold(up, "H2C"):
		return http2Frames(client, true) && http2Frames(server, false)
	case len(up) == 0:
		return v.tunnels(len(v.client.data)-len(client.data), e.upgraded)
	}
	return false
}

// accepted says whether the server proved that it read the client's key (RFC 6455, section 4.2.2). Old drafts had no key.
func (e *exchange) accepted() bool {
	if len(e.asked.key) == 0 || len(e.asked.key) > 64 {
		return false
	}
	var b [64 + 36]byte
	n := copy(b[:], e.asked.key)
	n += copy(b[n:], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
	sum := sha1.Sum(b[:n])
	var want [28]byte
	base64.StdEncoding.Encode(want[:], sum[:])
	return bytes.Equal(want[:], e.answered.accept)
}

// webSocket says whether data is frames of RFC 6455: known operations, only the client's masked, lengths in their shortest form.
// One frame: 2^-4; the handshake's digest carries the proof.
func webSocket(s side, masked bool) bool {
	for r := read(s.data); r.left() > 0; {
		flags, n := r.u8(), r.u8()
		length := int(n & 0x7f)
		switch {
		case flags&0x30 != 0, flags&0xf > 2 && flags&0xf < 8, flags&0xf > 10:
			return false
		case !r.short && (n&0x80 != 0) != masked:
			return false
		case length == 126:
			length = int(r.u16())
			if !r.short && length < 126 {
				return false
			}
		case length == 127:
			long := r.u64()
			if !r.short && (long < 1<<16 || long >= 1<<48) {
				return false
			}
			length = int(long)
		}
		if masked {
			r.skip(4)
		}
		r.skip(length)
		if r.short {
			return s.open
		}
	}
	return true
}

// tunnels says whether what follows so many bytes of each direction is a protocol that is known, or text. Within a tunnel there is no
// other one.
func (v *view) tunnels(client, server int) bool {
	inner := *v.c
	inner.Client, inner.Server = v.client.behind(client), v.server.behind(server)
	if !v.inside {
		var w views
		w.look(&inner, true)
		w.turn()
		may := tcp.index.candidates(&w.straight)
		if tcp.first(&w, &may, &mask{^uint64(0), ^uint64(0)}) != nil {
			return true
		}
	}
	return ascii(inner.Client.Data) && ascii(inner.Server.Data)
}
