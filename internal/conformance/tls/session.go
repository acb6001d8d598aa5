package tls

import (
	"bytes"
	"sync"

	"golang.org/x/crypto/cryptobyte"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// session is one TLS connection: both directions and what they agreed on.
type session struct {
	client, server stream
	hello          *ClientHello // the one that the ServerHello answers: the second after a HelloRetryRequest
	firstHello     *ClientHello
	room           ClientHello // of the first
	reply          *serverHello
	retry          *serverHello
	suite          suite
	broken         rules
	clientSeen     bool // any byte of the client was captured
	serverSeen     bool
	v2             int  // length of an SSL 2.0 hello
	ended          bool // no more bytes will come
	undecided      bool // one more record would tell whether a rule is broken
	proofs         conformance.Proofs
}

// sessions keeps what was used, for the room of its steps.
var sessions = sync.Pool{New: func() any { return new(session) }}

// read reads both directions of a connection, of which the side that is called client here spoke as one. What s held before is gone.
func (s *session) read(c *conformance.Conversation, clientSide, serverSide *conformance.Half) {
	client, server := clientSide.Data, serverSide.Data
	*s = session{
		ended: c.Ended, clientSeen: len(client) > 0, serverSeen: len(server) > 0, proofs: c.Proofs,
		client: stream{client: true, cut: missing(c, clientSide), steps: s.client.steps[:0]},
		server: stream{cut: missing(c, serverSide), steps: s.server.steps[:0]},
	}
	if clientSide != &c.Client {
		s.proofs = nil // they are of the other side
	}
	if h, n, err := parseV2Hello(client); err == nil {
		s.firstHello, s.hello, s.v2 = h, h, n
		client = client[n:]
	}
	s.readServer(server)
	s.client.version = s.server.version
	s.client.retried = s.server.retried
	s.readClient(client)
	s.check()
}

func (s *session) readServer(data []byte) {
	if s.v2 > 0 && s.hello.Version == versionSSL2 {
		return // SSL 2.0 has framing of its own
	}
	s.server.read(data)
	if s.retry, s.reply = s.server.retry, s.server.reply; s.reply != nil {
		s.suite = lookupSuite(s.reply.suite)
	}
}

func (s *session) readClient(data []byte) {
	s.client.read(data)
	for i := range s.client.steps {
		st := &s.client.steps[i]
		if st.kind != stepMessage || st.typ != msgClientHello {
			continue
		}
		h := &s.room
		if s.hello != nil {
			h = new(ClientHello)
		}
		if !h.read(st.body, false) {
			s.broken |= ruleClientHello
			return
		}
		if s.firstHello == nil {
			s.firstHello = h
		}
		s.hello = h
	}
}

// check applies every rule to what was read.
func (s *session) check() {
	s.checkStart()
	if s.broken&(ruleAppDataFirst|ruleFirstMessage|ruleServerNotTLS) != 0 {
		return
	}
	s.broken |= s.client.broken | s.server.broken
	s.checkMessages()
	if s.reply != nil {
		s.checkReply()
		if s.hello != nil && s.doubtful() && s.thorough() {
			s.checkOtherShares()
		}
		if s.reply.is13() {
			s.check13()
		} else {
			s.check12()
		}
	} else if s.hello != nil && !s.serverSeen {
		s.checkAlone()
	}
	if !s.clientWentOn() {
		s.broken &^= enforced
	}
}

// thorough says whether to spend time on curves and signatures: once the handshake is done or nothing follows, so that a connection
// that is looked at several times pays for them about once; and where the client went on, without which they do not count.
func (s *session) thorough() bool { return (s.ended || s.established()) && s.clientWentOn() }

// clientWentOn says whether the client did anything after the server's answer but complain.
func (s *session) clientWentOn() bool {
	for i := range s.client.steps {
		switch st := &s.client.steps[i]; {
		case st.kind == stepSealed && st.typ != typeAlert, st.kind == stepMessage && st.typ != msgClientHello:
			return true
		}
	}
	return false
}

// checkStart: the client begins with a ClientHello, the server with its answer.
func (s *session) checkStart() {
	if len(s.client.steps) > 0 && s.v2 == 0 {
		s.broken |= firstStep(&s.client, msgClientHello, s.serverSeen)
	}
	if len(s.server.steps) > 0 {
		s.broken |= firstStep(&s.server, msgServerHello, s.clientSeen)
	} else if s.server.records == 0 && s.server.broken == ruleFramingLost {
		s.server.broken = 0
	}
}

// firstStep judges how a direction begins. ChangeCipherSpec first is believed to follow a lost hello where only one direction was
// captured.
func firstStep(d *stream, hello uint8, otherSeen bool) rules {
	switch st := &d.steps[0]; {
	case st.kind == stepAlert, st.kind == stepCCS && !otherSeen:
	case st.kind == stepSealed:
		return ruleAppDataFirst
	case st.kind == stepCCS:
		return ruleFirstMessage
	case st.typ == hello, hello == msgServerHello && (st.typ == msgHelloRequest || st.typ == msgRetryDraft):
	default:
		return ruleFirstMessage
	}
	return 0
}

// checkAlone: what can be said of a client whose server was not captured.
func (s *session) checkAlone() {
	if s.thorough() {
		s.checkOtherShares()
	}
	if len(s.hello.SupportedVersions) > 0 || s.client.ccs > 0 || s.hello.EarlyData {
		return
	}
	for i := range s.client.steps {
		if st := &s.client.steps[i]; st.kind == stepSealed && st.typ == typeAppData {
			s.broken |= ruleNoClientFinished
			return
		}
	}
}

// messageRank is the order of messages in clear (RFC 5246 section 7.3, RFC 4680, RFC 6066, RFC 5077); -1: the side never sends it.
func messageRank(client bool, typ uint8) int {
	if client {
		switch typ {
		case msgClientHello:
			return 0
		case msgSupplementalData:
			return 1
		case msgCertificate, msgCertificateURL:
			return 2
		case msgClientKeyExchange:
			return 3
		case msgCertificateVerify:
			return 4
		}
		return -1
	}
	switch typ {
	case msgHelloRequest, msgRetryDraft:
		return 0
	case msgServerHello:
		return 1
	case msgSupplementalData:
		return 2
	case msgCertificate:
		return 3
	case msgCertificateStatus:
		return 4
	case msgServerKeyExchange:
		return 5
	case msgCertificateRequest:
		return 6
	case msgServerHelloDone:
		return 7
	case msgNewSessionTicket:
		return 8
	}
	return -1
}

// checkMessages: only known messages, in order.
func (s *session) checkMessages() {
	for _, d := range [...]*stream{&s.client, &s.server} {
		last := 0
		for i := range d.steps {
			st := &d.steps[i]
			if st.kind != stepMessage {
				continue
			}
			rank := messageRank(d.client, st.typ)
			switch {
			case rank < 0:
				s.broken |= ruleMessageType
			case rank < last:
				s.broken |= ruleMessageOrder
			}
			last = max(last, rank)
		}
	}
}

// checkReply: the server chooses among what the client offered (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3).
func (s *session) checkReply() {
	r, h := s.reply, s.hello
	if s.suite.kex == kexTLS13 != r.is13() && s.suite.kex != kexOther {
		s.broken |= ruleSuiteVersion
	}
	if r.hasShare {
		s.broken |= s.checkShare(r.group, r.share, true)
	}
	if h == nil {
		return
	}
	if !h.offersVersion(r.version) {
		s.broken |= ruleServerVersion
	}
	if !h.OffersSuite(r.suite) {
		s.broken |= ruleServerSuite
	}
	if bytes.IndexByte(h.Compression, r.compression) < 0 {
		s.broken |= ruleServerCompression
	}
	if r.is13() {
		s.checkReply13()
	} else if s.unsolicited(r.extensions) {
		s.broken |= ruleServerExtension
	}
}

// checkReply13: session id echo, key share and PSK of a TLS 1.3 ServerHello.
func (s *session) checkReply13() {
	r, h := s.reply, s.hello
	if !r.draft && !bytes.Equal(r.sessionID, h.SessionID) {
		s.broken |= ruleSessionID
	}
	if r.hasPSK && int(r.psk) >= h.PSKs {
		s.broken |= ruleServerPSK
	}
	if !r.hasShare {
		if !r.hasPSK {
			s.broken |= ruleServerGroup
		}
		return
	}
	share, ok := h.share(r.group)
	if !ok {
		s.broken |= ruleServerGroup
		return
	}
	s.broken |= s.checkShare(r.group, share, false)
}

// unsolicited says whether a ServerHello carries an extension that the ClientHello did not ask for. Renegotiation info has a cipher
// suite as its other signal; point formats and tickets are sent unasked by some servers.
func (s *session) unsolicited(exts []byte) (found bool) {
	const most = 64 // real ServerHellos carry a handful
	n := 0
	eachExtension(exts, func(typ uint16, _ cryptobyte.String) bool {
		if n++; n > most {
			return false
		}
		switch typ {
		case extRenegotiation, extPointFormats, extSessionTicket, extServerName:
		default:
			found = !s.hello.offers(typ)
		}
		return !found
	})
	return found
}
