// Package quic recognises QUIC by opening its Initial packets: their keys follow from the connection id, so a header that claims
// QUIC either holds a ClientHello that decrypts or is an imitation (RFC 9000, 9001, 9369, the drafts from 22 on; Google's versions
// by the structure of their own header).
package quic

import (
	"encoding/binary"
	"sync"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/tls"
)

const (
	udp = 17
	// maxDatagrams bounds how many datagrams of both directions are read.
	maxDatagrams = 24
	// maxPackets bounds the packets coalesced in one datagram.
	maxPackets = 8
	// maxIDs bounds the connection ids that keys are tried with.
	maxIDs = 4
	// leastInitial is what a client pads a datagram with an Initial packet to (RFC 9000 section 14.1).
	leastInitial = 1200
	// leastFirstID is the shortest connection id that a client may first address (RFC 9000 section 7.2).
	leastFirstID = 8
)

// Violations.
const (
	undecryptable       = "quic_initial_undecryptable"
	serverUndecryptable = "quic_server_initial_undecryptable"
	frameNotAllowed     = "quic_frame_not_allowed"
	helloMalformed      = "client_hello_malformed"
	notAHello           = "handshake_first_message"
	retryIntegrity      = "quic_retry_integrity"
)

// datagram is one UDP payload and the direction it went.
type datagram struct {
	data   []byte
	client bool
}

// connection is what was found out about one flow.
type connection struct {
	client, server   cryptoStream
	ids              []derivation // from the connection ids that Initial keys may follow from
	room             []byte       // for one packet's header and payload
	opened           bool         // a client Initial was decrypted
	serverOpened     bool
	failed           int // client Initials that did not decrypt
	serverFailed     int
	retried          bool
	joinedLate       bool // what was seen first is not the start of a connection
	negotiated       bool // a Version Negotiation packet answered
	clientNegotiates bool // a Version Negotiation packet came from the client, which never sends one (RFC 9000 section 17.2.1)
	greased          int  // whole, padded Initial packets of a version that asks for negotiation
	version          uint32
	violations       []string
	initials         int
	tokens           bool // the client repeats a Retry's token, or one of an earlier connection
	clientDatagrams  int
	clientSourceID   []byte
	firstDestination []byte
}

// Recognize judges QUIC flows and imitations of them. Flows that show short headers only are recognised by their look, with low
// confidence, where it is telling.
func Recognize(c *conformance.Conversation, _ conformance.Options) (conformance.Judgement, bool) {
	if c.Transport != udp {
		return conformance.Judgement{}, false
	}
	if j, ok := recognizeGoogle(c); ok {
		return j, true
	}
	client, server := &c.Client, &c.Server
	if !longHeader(client.Data) && !longHeader(server.Data) {
		return judgeShort(c)
	}
	j, ok := judge(c, client, server)
	if !ok || j.Verdict != conformance.QUIC {
		// Who sent first in the capture may be the server.
		if k, swapped := judge(c, server, client); swapped && k.Verdict == conformance.QUIC {
			return k, true
		}
	}
	return j, ok
}

// longHeader says whether a datagram starts with the long header of a version that can be opened, or that asks for another.
func longHeader(b []byte) bool {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return false
	}
	if v := binary.BigEndian.Uint32(b[1:]); v != negotiation && !isGREASE(v) && !known(v) {
		return false
	}
	_, _, ok := readLong(b)
	return ok
}

// connections keeps what was used, for the room of its packets.
var connections = sync.Pool{New: func() any {
	const packet = 2 * leastInitial // Ethernet's are shorter
	return &connection{room: make([]byte, 0, packet)}
}}

func judge(c *conformance.Conversation, client, server *conformance.Half) (conformance.Judgement, bool) {
	q := connections.Get().(*connection)
	defer connections.Put(q)
	*q = connection{
		client: cryptoStream{buf: q.client.buf[:0], spans: q.client.spans[:0]}, server: cryptoStream{buf: q.server.buf[:0], spans: q.server.spans[:0]},
		ids: q.ids[:0], room: q.room,
	}
	next := turns{halves: [2]*conformance.Half{client, server}}
	for d, ok := next.next(); ok && !q.done(); d, ok = next.next() {
		q.datagram(&d)
	}
	return q.judgement(c)
}

// turns gives the first datagrams of both directions, in the order they were seen.
type turns struct {
	halves [2]*conformance.Half // the client's, the server's
	given  [2]int
}

func (t *turns) next() (d datagram, ok bool) {
	if t.given[0]+t.given[1] >= maxDatagrams {
		return d, false
	}
	client, server := nth(t.halves[0], t.given[0]), nth(t.halves[1], t.given[1])
	d.client = len(client) > 0 && (len(server) == 0 || t.order(0) <= t.order(1))
	if d.client {
		d.data = client
		t.given[0]++
	} else {
		d.data = server
		t.given[1]++
	}
	return d, len(d.data) > 0
}

// order is the position of a direction's next datagram, which there is, among all.
func (t *turns) order(side int) int {
	if h := t.halves[side]; len(h.Segments) > 0 {
		return h.Segments[t.given[side]].Order
	}
	return 0
}

// nth is the i-th datagram of a direction; empty where there is none.
func nth(h *conformance.Half, i int) []byte {
	switch {
	case i < len(h.Segments):
		if s := &h.Segments[i]; s.Offset >= 0 && s.Length > 0 && s.Offset+s.Length <= len(h.Data) {
			return h.Data[s.Offset : s.Offset+s.Length]
		}
	case i == 0:
		return h.Data
	}
	return nil
}

// done says whether the ClientHello and an answer were read.
func (q *connection) done() bool {
	_, _, hello := q.client.message()
	_, _, reply := q.server.message()
	return hello && reply || len(q.violations) > 0
}

func (q *connection) datagram(d *datagram) {
	if d.client {
		q.clientDatagrams++
	} else if !q.opened && d.data[0]&0xc0 == 0x40 {
		q.joinedLate = true // a short header: the handshake is over
	}
	rest := d.data
	for range maxPackets {
		p, next, ok := readLong(rest)
		if !ok {
			return
		}
		switch {
		case p.typ == typeNegotiation:
			q.clientNegotiates = q.clientNegotiates || d.client
			q.negotiated = q.negotiated || !d.client && string(p.dcid) == string(q.clientSourceID) && len(p.rest) >= 4 && len(p.rest)%4 == 0
			return
		case d.client && isGREASE(p.version):
			q.remember(&p)
			if p.typ == typeInitial && !p.cut && len(next) == 0 && len(d.data) >= leastInitial && len(p.dcid) >= leastFirstID {
				q.greased++
			}
			return
		case !known(p.version):
			return
		case d.client:
			q.clientPacket(d, &p)
		default:
			q.serverPacket(&p)
		}
		rest = next
	}
}

func (q *connection) remember(p *packet) {
	if q.firstDestination == nil {
		q.firstDestination, q.clientSourceID = p.dcid, p.scid
	}
}

func (q *connection) clientPacket(d *datagram, p *packet) {
	q.version = p.version
	if p.typ != typeInitial {
		q.joinedLate = q.joinedLate || p.typ == typeHandshake && !q.opened
		return
	}
	q.remember(p)
	q.initials++
	q.tokens = q.tokens || len(p.token) > 0
	q.addID(p.dcid)
	payload, ok := q.open(p, true)
	if !ok {
		if !p.cut {
			q.failed++
		}
		return
	}
	q.opened = true
	if !q.client.readFrames(payload) && !google(p.version) {
		q.violations = append(q.violations, frameNotAllowed)
	}
}

func (q *connection) serverPacket(p *packet) {
	if q.firstDestination == nil || string(p.scid) == string(q.firstDestination) && len(p.scid) > 0 && !q.opened {
		q.joinedLate = true // the server's own id is what the client used from the start
	}
	switch p.typ {
	case typeRetry:
		q.retried = true
		// A second Retry answers an Initial before the token, whose id may not have been seen.
		if q.opened && !q.tokens && len(q.ids) == 1 && !retryVerifies(p, q.ids[0].id) {
			q.violations = append(q.violations, retryIntegrity)
		}
		q.addID(p.scid)
	case typeInitial:
		payload, ok := q.open(p, false)
		if !ok {
			if !p.cut {
				q.serverFailed++
			}
			return
		}
		q.serverOpened = true
		if !q.server.readFrames(payload) && !google(p.version) {
			q.violations = append(q.violations, frameNotAllowed)
		}
	}
}

func (q *connection) addID(id []byte) {
	for i := range q.ids {
		if string(q.ids[i].id) == string(id) {
			return
		}
	}
	if len(q.ids) < maxIDs {
		q.ids = append(q.ids, derivation{id: id})
	}
}

// open decrypts an Initial packet, into room that the next one is put into, too.
func (q *connection) open(p *packet, client bool) ([]byte, bool) {
	for i := range q.ids {
		k, ok := q.ids[i].keys(p.version, client)
		if !ok {
			return nil, false
		}
		if payload, _, ok := k.open(q.room, p.raw, p.pnOff); ok {
			return payload, true
		}
	}
	return nil, false
}

// judgement turns what was read into a verdict.
func (q *connection) judgement(c *conformance.Conversation) (conformance.Judgement, bool) {
	j := conformance.Judgement{Verdict: conformance.QUIC, Confidence: 0.99, TLSVersion: "1.3", Violations: q.violations}
	switch {
	case q.opened:
		q.readHello(c, &j)
		if q.serverFailed > 0 && !q.serverOpened && !q.retried && q.serverFailed >= 2 {
			j.Violations = append(j.Violations, serverUndecryptable)
		}
	case q.negotiated && !q.clientNegotiates:
		j.Reasons, j.TLSVersion = []string{"version_negotiation"}, ""
	case q.greased > 0 && q.greased == q.clientDatagrams && c.Server.Total == 0:
		// A probe for Version Negotiation that was not answered, or whose answer was not captured.
		j.Reasons, j.TLSVersion, j.Confidence = []string{"version_probe"}, "", 0.6
	case q.forged(c):
		j.Violations = append(j.Violations, undecryptable)
	case q.initials > 0 && q.joinedLate:
		return conformance.Judgement{Verdict: conformance.Undetermined, Confidence: 0.5, Reasons: []string{"quic_joined_late"}}, true
	case q.joinedLate:
		return judgeShort(c)
	default:
		return conformance.Judgement{}, false
	}
	if len(j.Violations) > 0 {
		j.Verdict, j.Confidence, j.Final = conformance.TLSMimic, 0.98, true
		return j, true
	}
	j.Final = c.Ended || q.done()
	return j, true
}

// forged says whether what claims to be a first Initial packet is none: it came first, it is whole, nothing hints at a connection
// joined late, and its tag is wrong.
func (q *connection) forged(c *conformance.Conversation) bool {
	return c.StartSeen && q.failed > 0 && !q.joinedLate && !c.Client.Gap &&
		(c.Server.Total > 0 || q.clientDatagrams > 2)
}

// readHello takes server name, ALPN and JA4 from the ClientHello when all of it was seen.
func (q *connection) readHello(c *conformance.Conversation, j *conformance.Judgement) {
	j.Reasons = append(j.Reasons, "initial_decrypts")
	if google(q.version) && q.version == googleQ050 {
		j.TLSVersion, j.AppProtocol = "", "gquic"
		return
	}
	typ, body, ok := q.client.message()
	if len(q.client.contiguous()) > 0 && typ != 1 {
		j.Violations = append(j.Violations, notAHello)
		return
	}
	if !ok {
		return
	}
	h, err := tls.ParseClientHello(body, false)
	if err != nil {
		j.Violations = append(j.Violations, helloMalformed)
		return
	}
	j.Reasons = append(j.Reasons, "client_hello")
	j.SNI, j.ALPN = h.ServerName, string(h.ALPN)
	if !c.VerdictOnly {
		j.JA4 = tls.JA4(h, 'q')
	}
	switch j.ALPN {
	case "h3", "h3-29", "h3-27", "h3-32", "h3-34":
		j.AppProtocol = "http"
	case "doq":
		j.AppProtocol = "dns"
	case "smb":
		j.AppProtocol = "smb"
	}
}

func google(v uint32) bool { return v == googleQ050 || v == googleT050 || v == googleT051 }
