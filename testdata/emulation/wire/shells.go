//go:build !plain

package wire

import (
	"bufio"
	"bytes"
	"crypto/sha1" // RFC 6455
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
)

// shells are evasions inside of HTTP, and behind a recorded handshake.
func shells() []Format {
	return stated([]Format{
		{Name: "http-shell", Cipher: "AES-256-CTR", Port: 80, Layout: "POST of application/octet-stream", Open: func(e *End) (Link, error) {
			return newHTTP(e, e, httpShell{path: "/api/v1/events", agent: "Mozilla/5.0", binary: true}, ctr(e.Key[:32], e.Random)), nil
		}},
		{Name: "websocket-shell", Cipher: "AES-256-CTR", Port: 80, Layout: "RFC 6455 upgrade, then binary frames of ciphertext", Open: openWebSocket},
		{Name: "faketls-finished", Cipher: "AES-256-CTR", Layout: "as mtproto-faketls, the client's first record 53 bytes, as long as a Finished", Open: openMTProto(53, false)},
		{Name: "replayed-tls12", Cipher: "AES-256-CTR", Layout: "a recorded TLS 1.2 handshake, then 17 03 03 records", Open: openReplayed("tls12")},
		{Name: "replayed-tls13", Cipher: "AES-256-CTR", Layout: "a recorded TLS 1.3 handshake, then 17 03 03 records", Open: openReplayed("tls13")},
	})
}

func openReplayed(version string) func(*End) (Link, error) {
	return func(e *End) (Link, error) {
		return newFramed(e, records(0x0303), ctr(e.Key[:32], e.Random)), replay(e, version)
	}
}

// openWebSocket upgrades and sends binary frames, the client's masked.
func openWebSocket(e *End) (Link, error) {
	r := bufio.NewReader(e)
	if e.Server {
		q, err := http.ReadRequest(r)
		if err != nil {
			return nil, err
		}
		sum := sha1.Sum([]byte(q.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, err = fmt.Fprintf(e, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		return &webSocket{e, r, ctr(e.Key[:32], e.Random)}, err
	}
	_, err := fmt.Fprintf(e, "GET /live HTTP/1.1\r\nHost: live.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
		base64.StdEncoding.EncodeToString(take(e.Random, 16)))
	if err != nil {
		return nil, err
	}
	if _, err := http.ReadResponse(r, nil); err != nil {
		return nil, err
	}
	return &webSocket{e, r, ctr(e.Key[:32], e.Random)}, nil
}

type webSocket struct {
	e     *End
	r     *bufio.Reader
	layer Layer
}

func (s *webSocket) Send(message []byte) error {
	body, err := s.layer.Seal(message)
	if err != nil {
		return err
	}
	var mask []byte
	if !s.e.Server {
		mask = take(s.e.Random, 4)
		body, _ = xor(mask).Seal(body)
	}
	masked := byte(len(mask) << 5) // 0x80 for the client
	head := []byte{0x82, masked | byte(len(body))}
	if len(body) > 125 {
		head = binary.BigEndian.AppendUint16([]byte{0x82, masked | 126}, uint16(len(body)))
	}
	_, err = s.e.Write(bytes.Join([][]byte{head, mask, body}, nil))
	return err
}

func (s *webSocket) Receive() ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.r, head); err != nil {
		return nil, err
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		if _, err := io.ReadFull(s.r, head); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head))
	}
	mask := []byte{0}
	if s.e.Server {
		mask = make([]byte, 4)
		if _, err := io.ReadFull(s.r, mask); err != nil {
			return nil, err
		}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(s.r, body); err != nil {
		return nil, err
	}
	body, err := xor(mask).Seal(body)
	if err != nil {
		return nil, err
	}
	return s.layer.Open(body)
}
