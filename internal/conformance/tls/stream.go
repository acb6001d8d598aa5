package tls

import "bytes"

// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4, RFC 6066, RFC 4680).
const (
	msgHelloRequest       = 0
	msgClientHello        = 1
	msgServerHello        = 2
	msgNewSessionTicket   = 4
	msgRetryDraft         = 6
	msgCertificate        = 11
	msgServerKeyExchange  = 12
	msgCertificateRequest = 13
	msgServerHelloDone    = 14
	msgCertificateVerify  = 15
	msgClientKeyExchange  = 16
	msgCertificateURL     = 21
	msgCertificateStatus  = 22
	msgSupplementalData   = 23
)

// stepKind is what one step of a direction is.
type stepKind uint8

const (
	stepMessage stepKind = iota // a handshake message in clear
	stepCCS
	stepAlert  // in clear
	stepSealed // a record that is encrypted, or application data
)

// step is one thing that a side did.
type step struct {
	kind   stepKind
	typ    uint8  // handshake type; for stepSealed the content type
	body   []byte // message without header, or the record's fragment as far as it was captured
	length int    // stepSealed: the record's length
	at     int    // stepSealed: where the record begins in its direction
}

// maxSteps bounds what is kept of one direction; framing is checked further.
const maxSteps = 128

// stream is one direction read record by record.
type stream struct {
	steps   []step
	secret  int // how many of them are sealed
	broken  rules
	cut     bool // bytes after data exist and were not seen, or may still come
	records int
	at      int  // where the record at hand begins
	closed  bool // an alert was sent: anything may follow

	pending   []byte // beginning of a handshake message that goes on in the next record
	owned     bool   // pending is our own memory
	version   uint16 // negotiated, 0 unknown
	client    bool
	retried   bool // a HelloRetryRequest was sent: the client says hello twice
	hellos    int
	sent      uint32 // a bit for each type of message below 32 that was sent in clear
	ccs       int
	noMessage bool // no more handshake messages in clear may come
	retry     *serverHello
	reply     *serverHello // both the first of their kind
	hello     serverHello  // the room of the first
}

// is13 says whether the negotiated version is TLS 1.3 or one of its drafts.
func (s *stream) is13() bool { return s.version == version13 || isDraft13(s.version) }

// read walks data record by record. Everything that data holds is looked at once.
func (s *stream) read(data []byte) {
	for off := 0; off < len(data); {
		r, next, ok := readRecord(data, off)
		if !ok {
			if !headerLooks(data[off:]) {
				s.lost(data[off:])
			}
			break
		}
		if broken := s.header(&r); broken != 0 {
			s.fail(broken, data[off:])
			return
		}
		s.records++
		s.at = off
		s.record(&r)
		if s.broken != 0 {
			return
		}
		off = next
	}
}

// header names what is wrong with r's header.
func (s *stream) header(r *record) rules {
	switch {
	case !headerLooks([]byte{r.typ, byte(r.version >> 8), byte(r.version)}):
		return ruleFramingLost
	case r.version == version13:
		return ruleVersion0304
	case r.version > version13:
		return ruleRecordVersion
	case r.length == 0:
		return ruleEmptyRecord
	case r.length > maxRecord, s.is13() && r.length > maxRecord13:
		return ruleRecordLength
	case s.otherVersion(r):
		return ruleSealedVersion
	}
	return 0
}

// otherVersion says whether a sealed record's version is not the negotiated one (RFC 5246 section 6.2.3), or in TLS 1.3 not 0x0303
// (RFC 8446 section 5.2). Drafts of TLS 1.3 had 0x0301 there.
func (s *stream) otherVersion(r *record) bool {
	if s.version == version13 {
		return r.typ == typeAppData && r.version != version12
	}
	return s.sealed() && r.version != s.version
}

// fail notes a broken record header; after an alert the connection is over and other bytes may follow.
func (s *stream) fail(broken rules, rest []byte) {
	if broken == ruleFramingLost {
		s.lost(rest)
		return
	}
	if !s.closed {
		s.broken |= broken
	}
}

// lost notes that what follows is no TLS. A few zeros are the padding of a frame that a broken middlebox counted as payload.
func (s *stream) lost(rest []byte) {
	const padding = 6 // an Ethernet frame's least payload minus the headers of IPv4 and TCP
	if !s.closed && (len(rest) > padding || bytes.Count(rest, []byte{0}) < len(rest)) {
		s.broken |= ruleFramingLost
	}
}

// record takes one record with a valid header.
func (s *stream) record(r *record) {
	switch {
	case s.sealed():
		s.sealedRecord(r)
	case r.typ == typeCCS && s.ccs > 0 && s.version == 0 && r.length > 1:
		s.sealedRecord(r) // a renegotiation's, and the other side was not seen
	case r.typ == typeCCS:
		s.ccs++
		if r.length != 1 || r.whole() && r.frag[0] != 1 {
			s.broken |= ruleCCS
		}
		s.add(step{kind: stepCCS})
	case r.typ == typeAlert && s.ccs > 0 && s.version == 0:
		s.sealedRecord(r) // the other side was not seen: sealed, unless this is TLS 1.3
	case r.typ == typeAlert:
		s.closed = true
		if r.length%2 != 0 || len(r.frag) > 0 && r.frag[0] != 1 && r.frag[0] != 2 {
			s.broken |= ruleAlert
		}
		s.add(step{kind: stepAlert, typ: r.typ, body: r.frag})
	case r.typ == typeHandshake:
		if !s.plainHandshake(r) {
			s.sealedRecord(r)
			return
		}
		s.handshake(r)
	default:
		s.add(step{kind: stepSealed, typ: r.typ, body: r.frag, length: r.length, at: s.at})
	}
}

// sealed says whether everything in this direction is encrypted by now: in TLS 1.2 and before, after ChangeCipherSpec. TLS 1.3's
// is a dummy, and its alerts are sealed as application data or in clear.
func (s *stream) sealed() bool { return s.ccs > 0 && s.version != 0 && !s.is13() }

// plainHandshake says whether a handshake record is in clear. Only where the version is unknown (the other side was not seen) and
// ChangeCipherSpec has passed it depends on what it looks like: a second ClientHello, or ciphertext.
func (s *stream) plainHandshake(r *record) bool {
	if s.version != 0 || s.ccs == 0 || len(s.pending) > 0 {
		return true
	}
	f := r.frag
	return len(f) >= 6 && (f[0] == msgClientHello || f[0] == msgServerHello) && f[1] == 0 && f[4] == 3
}

func (s *stream) sealedRecord(r *record) {
	if r.typ == typeAlert {
		s.closed = true
	}
	s.add(step{kind: stepSealed, typ: r.typ, body: r.frag, length: r.length, at: s.at})
}

func (s *stream) add(st step) {
	if len(s.steps) < maxSteps {
		s.steps = append(s.steps, st)
		if st.kind == stepSealed {
			s.secret++
		}
	}
}

// handshake splits handshake records into messages; one message may span records and one record may hold several.
func (s *stream) handshake(r *record) {
	if s.noMessage {
		s.broken |= rulePlainAfterHello
		return
	}
	buf := r.frag
	if len(s.pending) > 0 {
		if !s.owned {
			s.pending, s.owned = append(make([]byte, 0, 2*(len(s.pending)+len(buf))), s.pending...), true
		}
		s.pending = append(s.pending, buf...)
		buf = s.pending
	} else {
		s.owned = false
	}
	for len(buf) >= 4 && s.broken == 0 {
		n := 4 + int(buf[1])<<16 + int(buf[2])<<8 + int(buf[3])
		if n > maxMessage {
			s.broken |= ruleMessageLength
			return
		}
		if len(buf) < n {
			break
		}
		s.message(buf[0], buf[4:n])
		buf = buf[n:]
	}
	if s.noMessage && len(buf) > 0 && s.broken == 0 {
		s.broken |= rulePlainAfterHello
	}
	s.pending = buf
}

// maxMessage is the longest handshake message in clear that is believed: certificate chains stay below (OpenSSL's default limit
// is 100 KiB).
const maxMessage = 1 << 18

// message takes one handshake message in clear.
func (s *stream) message(typ uint8, body []byte) {
	s.add(step{kind: stepMessage, typ: typ, body: body})
	s.sent |= 1 << typ
	switch {
	case s.client && typ == msgClientHello:
		s.hellos++
		s.noMessage = s.is13() && (!s.retried || s.hellos > 1)
	case !s.client && typ == msgServerHello:
		h := &s.hello
		if s.retry != nil || s.reply != nil {
			h = new(serverHello)
		}
		if !h.read(body) {
			s.broken |= ruleServerHello
			return
		}
		if h.retry && s.retry == nil {
			s.retry = h
		} else if !h.retry && s.reply == nil {
			s.reply = h
		}
		s.version = h.version
		s.retried = s.retried || h.retry
		s.noMessage = h.is13() && !h.retry
	case !s.client && typ == msgRetryDraft:
		s.retried = true
		if len(body) >= 2 {
			s.version = uint16(body[0])<<8 | uint16(body[1])
		}
	}
}

// first returns the first message of that type.
func (s *stream) first(typ uint8) ([]byte, bool) {
	if s.sent>>typ&1 == 0 {
		return nil, false
	}
	for i := range s.steps {
		if s.steps[i].kind == stepMessage && s.steps[i].typ == typ {
			return s.steps[i].body, true
		}
	}
	return nil, false
}

// has says whether a message of that type was sent in clear.
func (s *stream) has(typ uint8) bool {
	_, ok := s.first(typ)
	return ok
}
