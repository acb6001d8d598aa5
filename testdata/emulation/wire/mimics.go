//go:build !plain

package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
)

// mimics are those that dress as TLS with a handshake.
func mimics() []Format {
	return []Format{
		{Name: "lazarus-faketls", Software: "S0181", Cipher: "RC4", Port: 443, Class: Mimic, Mac: inlineRC4,
			Layout: "a recorded TLS 1.0 handshake, then 17 03 01 records", Source: "CISA MAR 10135536 and others (FALLCHILL, HARDRAIN, HOPLIGHT)",
			Open: func(e *End) (Link, error) {
				return newFramed(e, records(0x0301), rc4Message(e.Key[:16])), replay(e, "tls10")
			}},
		{Name: "mtproto-faketls", Cipher: "AES-256-CTR", Port: 443, Class: Mimic, Mac: modes,
			Layout: "ClientHello whose random is an HMAC; ServerHello, CCS and one random record; then 17 03 03 records, the first with a 64-byte header", Source: "MTProto proxy 'ee' secrets as in 9seconds/mtg",
			Open: openMTProto(64, true)},
		{Name: "simple-obfs-tls", Cipher: "AES-256-CTR", Port: 443, Class: Mimic, Mac: MacImage{"EVP", "EVP_EncryptUpdate"},
			Layout: "ClientHello with data in the session ticket; ServerHello, CCS, 'Finished'; then 17 03 03 records", Source: "shadowsocks/simple-obfs: obfs_tls.c",
			Open: func(e *End) (Link, error) { return &simpleObfs{End: e, layer: ctr(e.Key[:32], e.Random)}, nil }},
	}
}

// dressed are the formats that have TLS or HTTP in them.
func dressed() []Format {
	all := slices.Concat(mimics(), web(), shells())
	for i := range all {
		all[i].Dressed = true
	}
	return all
}

// recordings are genuine handshakes, turn by turn, the client's first; TestRecorded makes them.
//
//go:embed recorded
var recordings embed.FS

func recorded(version string) (script [][]byte, err error) {
	data, err := recordings.ReadFile("recorded/" + version + ".json")
	if err == nil {
		err = json.Unmarshal(data, &script)
	}
	return script, err
}

// replay sends, turn by turn, what was sent in a recording, with no regard to what comes back. Both ends play the same one.
func replay(e *End, version string) error {
	script, err := recorded(version)
	if err != nil {
		return err
	}
	for i, turn := range script {
		if (i%2 == 1) == e.Server {
			_, err = e.Write(turn)
		} else {
			_, err = io.ReadFull(e, make([]byte, len(turn)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skipRecords reads as many TLS records as like holds.
func skipRecords(r io.Reader, like []byte) error {
	for len(like) >= 5 {
		header := make([]byte, 5)
		if _, err := io.ReadFull(r, header); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint16(header[3:]))); err != nil {
			return err
		}
		n := 5 + int(binary.BigEndian.Uint16(like[3:]))
		like = like[min(n, len(like)):]
	}
	return nil
}

// hello is a genuine TLS 1.3 ClientHello record.
func hello() ([]byte, error) {
	script, err := recorded("tls13")
	if err != nil {
		return nil, err
	}
	return bytes.Clone(script[0]), nil
}

// serverHello answers a TLS 1.3 ClientHello in form: AES-128-GCM, and an X25519 key as genuine as mtg's.
func serverHello(e *End, clientHello []byte) []byte {
	key := must(ecdh.X25519().NewPrivateKey(take(e.Random, 32))).PublicKey().Bytes()
	session := clientHello[44:76]
	body := append([]byte{3, 3}, take(e.Random, 32)...)
	body = append(append(append(body, 32), session...), 0x13, 0x01, 0)
	extensions := append([]byte{0, 0x2b, 0, 2, 3, 4, 0, 0x33, 0, 36, 0, 0x1d, 0, 32}, key...)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(extensions))), extensions...)
	message := append([]byte{2, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append(binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(len(message))), message...)
}

var changeCipherSpec = []byte{20, 3, 3, 0, 1, 1}

func record(kind byte, version uint16, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{kind}, version), uint16(len(body))), body...)
}

// openMTProto: the server proves nothing but that it knows the secret, and then both send records. The client's first begins with so many bytes of the
// obfuscated2 protocol's header, and has a message as well where together is set.
func openMTProto(header int, together bool) func(*End) (Link, error) {
	return func(e *End) (Link, error) {
		link := &headed{framed: newFramed(e, records(0x0303), ctr(e.Key[:32], e.Random)), size: header, together: together}
		if !e.Server {
			return link, link.hello(e)
		}
		h, err := readRecord(e)
		if err != nil {
			return nil, err
		}
		out := append(serverHello(e, h), changeCipherSpec...)
		if _, err := e.Write(append(out, record(23, 0x0303, take(e.Random, 1024+int(e.Random.Uint64()%3096)))...)); err != nil {
			return nil, err
		}
		return link, skipRecords(e, changeCipherSpec)
	}
}

// headed has a header in front of the client's first message: in its record, or in one of its own.
type headed struct {
	*framed
	size     int
	together bool
	past     bool // the header
}

// hello is the client's opening, up to the change of cipher.
func (h *headed) hello(e *End) error {
	first, err := hello()
	if err != nil {
		return err
	}
	copy(first[11:43], make([]byte, 32))
	digest := hmac.New(sha256.New, e.Key[:16])
	digest.Write(first)
	copy(first[11:], digest.Sum(nil))
	if _, err := e.Write(first); err != nil {
		return err
	}
	flight := append(append(record(22, 0x0303, nil), changeCipherSpec...), record(23, 0x0303, nil)...)
	if err := skipRecords(e, flight); err != nil {
		return err
	}
	_, err = e.Write(changeCipherSpec)
	return err
}

func (h *headed) Send(message []byte) error {
	e, ok := h.w.(*End)
	if h.past || !ok || e.Server {
		return h.framed.Send(message)
	}
	h.past = true
	front := take(e.Random, h.size)
	if !h.together {
		if _, err := e.Write(record(23, 0x0303, front)); err != nil {
			return err
		}
		return h.framed.Send(message)
	}
	body, err := h.layer.Seal(message)
	if err == nil {
		_, err = e.Write(record(23, 0x0303, append(front, body...)))
	}
	return err
}

func (h *headed) Receive() ([]byte, error) {
	e, ok := h.w.(*End)
	if h.past || !ok || !e.Server {
		return h.framed.Receive()
	}
	h.past = true
	if !h.together {
		if err := skipRecords(h.r, record(23, 0x0303, nil)); err != nil {
			return nil, err
		}
		return h.framed.Receive()
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(h.r, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(h.r, body); err != nil {
		return nil, err
	}
	return h.layer.Open(body[min(h.size, len(body)):])
}

func readRecord(r io.Reader) ([]byte, error) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	b = append(b, make([]byte, binary.BigEndian.Uint16(b[3:]))...)
	if len(b) < 80 {
		return nil, io.ErrUnexpectedEOF
	}
	_, err := io.ReadFull(r, b[5:])
	return b, err
}

// simpleObfs puts each side's first message into a hello and the others into records.
type simpleObfs struct {
	*End
	layer        Layer
	sent, gotten bool
	session      []byte // of the client's hello
}

func (s *simpleObfs) Send(message []byte) error {
	body, err := s.layer.Seal(message)
	if err != nil {
		return err
	}
	first := !s.sent
	s.sent = true
	switch {
	case !first:
		_, err = s.Write(record(23, 0x0303, body))
	case s.Server:
		out := append(obfsServerHello(s.End, s.session), changeCipherSpec...)
		_, err = s.Write(append(out, record(22, 0x0303, body)...))
	default:
		_, err = s.Write(obfsHello(s.End, body))
	}
	return err
}

func (s *simpleObfs) Receive() ([]byte, error) {
	skip := 0
	if !s.gotten && !s.Server {
		skip = 2 // ServerHello and CCS
	}
	first := !s.gotten
	s.gotten = true
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(s, head); err != nil {
			return nil, err
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(s, body); err != nil {
			return nil, err
		}
		if skip--; skip >= 0 {
			continue
		}
		if first && s.Server {
			s.session = bytes.Clone(body[obfsSession : obfsSession+32])
			n := int(binary.BigEndian.Uint16(body[obfsTicket-2:]))
			body = body[obfsTicket:min(obfsTicket+n, len(body))]
		}
		return s.layer.Open(body)
	}
}

// Where session id and session ticket are in obfs_tls.c's ClientHello.
const (
	obfsSession = 4 + 2 + 32 + 1
	obfsTicket  = obfsSession + 32 + 2 + 56 + 2 + 2 + 4
)

// obfsServerHello is obfs_tls.c's: ChaCha20-Poly1305, no version and no key of TLS 1.3.
func obfsServerHello(e *End, session []byte) []byte {
	body := append([]byte{3, 3}, take(e.Random, 32)...)
	body = append(append(append(body, 32), session...), 0xcc, 0xa8, 0, 0, 15, 0xff, 1, 0, 1, 0, 0, 0x17, 0, 0, 0, 0x0b, 0, 2, 1, 0)
	return record(22, 0x0301, append([]byte{2, 0, 0, byte(len(body))}, body...))
}

// obfsHello is simple-obfs's fixed ClientHello with the ticket filled.
func obfsHello(e *End, ticket []byte) []byte {
	suites := []byte("\xc0\x2c\xc0\x30\x00\x9f\xcc\xa9\xcc\xa8\xcc\xaa\xc0\x2b\xc0\x2f\x00\x9e\xc0\x24\xc0\x28\x00\x6b\xc0\x23\xc0\x27\x00\x67\xc0\x0a\xc0\x14\x00\x39" +
		"\xc0\x09\xc0\x13\x00\x33\x00\x9d\x00\x9c\x00\x3d\x00\x3c\x00\x35\x00\x2f\x00\xff")
	host := "www.bing.com"
	name := append([]byte{0, 0, 0, byte(len(host) + 5), 0, byte(len(host) + 3), 0, 0, byte(len(host))}, host...)
	other := []byte{0, 0x0b, 0, 4, 3, 1, 0, 2, 0, 0x0a, 0, 0x0a, 0, 8, 0, 0x1d, 0, 0x17, 0, 0x19, 0, 0x18, 0, 0x0d, 0, 0x16, 0, 0x14, 6, 1, 6, 3, 5, 1, 5, 3, 4, 1, 4, 3, 3, 1, 3, 3, 2, 1, 2, 3,
		0, 0x16, 0, 0, 0, 0x17, 0, 0}
	extensions := append(binary.BigEndian.AppendUint16([]byte{0, 0x23}, uint16(len(ticket))), ticket...)
	extensions = append(append(extensions, name...), other...)
	body := append([]byte{3, 3}, take(e.Random, 32)...)
	body = append(append(body, 32), take(e.Random, 32)...)
	body = append(append(body, 0, byte(len(suites))), suites...)
	body = append(body, 1, 0)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(extensions))), extensions...)
	return record(22, 0x0301, append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...))
}
