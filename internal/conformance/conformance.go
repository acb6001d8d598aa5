// Package conformance decides what a flow is from the first bytes of both directions: TLS, DTLS or QUIC that keeps its own
// rules, something that only pretends to, another known protocol, text, compressed data, or bytes as random as ciphertext.
// Pure functions: no I/O, no state between calls.
package conformance

import "github.com/cipherlens/cipherlens/internal/randomness"

// Verdict is what a flow is (the table of verdicts is in README.md).
type Verdict string

// The verdicts.
const (
	TLS             Verdict = "tls"
	DTLS            Verdict = "dtls"
	QUIC            Verdict = "quic"
	StartTLS        Verdict = "starttls"
	TLSMidstream    Verdict = "tls_midstream"
	TLSMimic        Verdict = "tls_mimic"
	KnownProtocol   Verdict = "known_protocol"
	Cleartext       Verdict = "cleartext"
	Compressed      Verdict = "compressed"
	Structured      Verdict = "structured"
	Random          Verdict = "random"
	RandomMidstream Verdict = "random_midstream"
	Undetermined    Verdict = "undetermined"
)

// Alert says whether v is an alert.
func (v Verdict) Alert() bool { return v == Random || v == TLSMimic }

// Conversation is the start of one flow, as far as it was seen. Client is the side that sent first (for TCP with a handshake,
// the side that sent the SYN).
type Conversation struct {
	Transport              uint8 // 6 TCP, 17 UDP
	ClientPort, ServerPort uint16
	StartSeen              bool // the TCP handshake was seen; for UDP, that nothing says otherwise
	Ended                  bool // no more bytes will come: FIN or RST, end of capture, idle
	VerdictOnly            bool // nobody wants JA4 and Sample: they may be left empty
	Client, Server         Half
	Proofs                 Proofs // of the server; nil: none are remembered
}

// Proofs remember which certificates' keys a conversation's server has proved to hold, so that it need not prove it in each connection,
// which is the dearest check of all. Who can prove it once, be it by asking somebody else, can always.
type Proofs interface {
	Has(certificate uint64) bool // certificate is a hash that nobody else can foresee
	Add(certificate uint64)
}

// Half is one direction.
type Half struct {
	Data     []byte    // the first payload bytes, in order, without gaps; UDP: datagrams end to end
	Segments []Segment // how Data arrived, in order of offset; may cover less than Data when a flow has many segments
	Total    uint64    // payload bytes seen in all, retransmissions not counted; > len(Data) when Data was cut
	Gap      bool      // bytes after Data were lost or not captured
}

// Segment is one TCP segment's or UDP datagram's share of Half.Data.
type Segment struct {
	Offset, Length int   // within Half.Data
	Order          int   // position among the segments of both directions, from 0
	Time           int64 // nanoseconds since the flow's first packet
}

// Options are the site's settings.
type Options struct {
	// Threshold is payload_entropy_threshold, 0..1: the share of equally long uniform samples that count as random.
	Threshold float64
}

// DefaultThreshold is the default of payload_entropy_threshold.
const DefaultThreshold = 0.999

// Judgement is what a conversation was found to be, and why.
type Judgement struct {
	Verdict     Verdict
	Confidence  float64  // 0..1
	Reasons     []string // short words, e.g. "client_hello", "random_body"
	Violations  []string // named rules of TLS, DTLS or QUIC that were broken
	AppProtocol string   // ssh, http, dns, …; for TLS what ALPN or port say when sure
	TLSVersion  string   // "1.0" … "1.3", DTLS likewise
	SNI, ALPN   string
	JA4         string
	HeaderBytes int              // clear bytes before ciphertext in a random flow
	Sample      randomness.Stats // of the unexplained bytes that were judged (random, structured, mimic)
	Final       bool             // more bytes would not change it: the flow's buffers can go
	Stable      bool             // only more bytes would change it: that the flow ends would not
	Pending     bool             // a few more bytes would decide it: worth another look soon after they come
}

// Recognizer knows one kind of protocol: it reads both directions and says what it found, or not ok when this is not its kind.
type Recognizer func(c *Conversation, o Options) (j Judgement, ok bool)
