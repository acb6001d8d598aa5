package dtls

const (
	handshakeHeader = 12
	// maxMessage bounds a reassembled message.
	maxMessage = 1 << 16
	// maxFragments bounds the fragments that are kept of the first message.
	maxFragments = 64
)

// Handshake types.
const (
	msgHelloRequest       = 0
	msgClientHello        = 1
	msgServerHello        = 2
	msgHelloVerifyRequest = 3
)

// fragment is one handshake fragment (RFC 6347 section 4.2.2).
type fragment struct {
	typ      uint8
	length   int // of the whole message
	sequence uint16
	offset   int
	body     []byte
}

// readFragment reads the fragment at b's start; ok is false where lengths do not add up.
func readFragment(b []byte) (f fragment, next []byte, ok bool) {
	if len(b) < handshakeHeader {
		return fragment{}, nil, false
	}
	u24 := func(p []byte) int { return int(p[0])<<16 | int(p[1])<<8 | int(p[2]) }
	f = fragment{typ: b[0], length: u24(b[1:]), sequence: uint16(b[4])<<8 | uint16(b[5]), offset: u24(b[6:])}
	n := u24(b[9:])
	if n > len(b)-handshakeHeader || f.offset+n > f.length || f.length > maxMessage {
		return fragment{}, nil, false
	}
	f.body = b[handshakeHeader : handshakeHeader+n]
	return f, b[handshakeHeader+n:], true
}

// message puts the fragments of one message together.
type message struct {
	typ      uint8
	sequence uint16
	started  bool
	buf      []byte
	spans    [][2]int
}

// add takes f; a fragment of a later message of the same type starts over, as a second ClientHello with a cookie does.
func (m *message) add(f *fragment) {
	if !m.started || f.sequence != m.sequence || len(m.buf) != f.length {
		*m = message{typ: f.typ, sequence: f.sequence, started: true}
		if len(f.body) == f.length {
			m.buf, m.spans = f.body, [][2]int{{0, f.length}}
			return
		}
		m.buf = make([]byte, f.length)
	} else if m.complete() {
		return
	}
	if len(m.spans) < maxFragments {
		copy(m.buf[f.offset:], f.body)
		m.spans = append(m.spans, [2]int{f.offset, f.offset + len(f.body)})
	}
}

// complete says whether every byte of the message is there.
func (m *message) complete() bool {
	if !m.started {
		return false
	}
	end := 0
	for grown := true; grown; {
		grown = false
		for _, s := range m.spans {
			if s[0] <= end && s[1] > end {
				end, grown = s[1], true
			}
		}
	}
	return end == len(m.buf)
}
