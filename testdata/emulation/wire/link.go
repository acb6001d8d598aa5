package wire

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/rc4" // what such software uses
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// maxMessage bounds what a peer may announce.
const maxMessage = 1 << 20

// A Link is one end of a conversation: whole messages in a wire format.
type Link interface {
	Send(message []byte) error
	Receive() ([]byte, error)
}

// An End is what a format makes a Link of. Both ends of a flow have the same Key; Random differs by side and is repeatable.
type End struct {
	net.Conn
	Server bool
	Key    []byte // 64 bytes
	Random *rand.ChaCha8
}

// NewEnd makes an end whose secrets follow from the campaign's seed and the flow's name alone.
func NewEnd(c net.Conn, server bool, seed uint64, flow string) *End {
	secret := func(what string) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "%d %s %s", seed, flow, what)) }
	a, b := secret("key"), secret("more key")
	return &End{Conn: c, Server: server, Key: append(a[:], b[:]...), Random: rand.NewChaCha8(secret(fmt.Sprint(server)))}
}

// framed puts each message through a layer and behind a header.
type framed struct {
	w     io.Writer
	r     *bufio.Reader
	frame frame
	layer Layer
}

// A frame is a header: put fills it for a sealed body of a message, get says how long the body behind it is.
type frame struct {
	size int
	put  func(header, body, message []byte)
	get  func(header []byte) int
}

func newFramed(rw io.ReadWriter, f frame, l Layer) *framed {
	return &framed{w: rw, r: bufio.NewReader(rw), frame: f, layer: l}
}

func (f *framed) Send(message []byte) error {
	body, err := f.layer.Seal(message)
	if err != nil {
		return err
	}
	out := make([]byte, f.frame.size, f.frame.size+len(body))
	f.frame.put(out, body, message)
	_, err = f.w.Write(append(out, body...))
	return err
}

func (f *framed) Receive() ([]byte, error) {
	header := make([]byte, f.frame.size)
	if _, err := io.ReadFull(f.r, header); err != nil {
		return nil, err
	}
	n := f.frame.get(header)
	if n < 0 || n > maxMessage {
		return nil, fmt.Errorf("wire: a message of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(f.r, body); err != nil {
		return nil, err
	}
	return f.layer.Open(body)
}

// behind is a 32-bit length.
func behind(order binary.ByteOrder) frame {
	return frame{4, func(h, body, _ []byte) { order.PutUint32(h, uint32(len(body))) }, func(h []byte) int { return int(order.Uint32(h)) }}
}

// records is a TLS application data record's header of a version.
func records(version uint16) frame {
	return frame{5, func(h, body, _ []byte) {
		h[0] = 23
		binary.BigEndian.PutUint16(h[1:], version)
		binary.BigEndian.PutUint16(h[3:], uint16(len(body)))
	}, func(h []byte) int { return int(binary.BigEndian.Uint16(h[3:])) }}
}

// lines ends each message with a newline.
type lines struct {
	w     io.Writer
	r     *bufio.Reader
	layer Layer
}

func (l *lines) Send(message []byte) error {
	body, err := l.layer.Seal(message)
	if err == nil {
		_, err = l.w.Write(append(body, '\n'))
	}
	return err
}

func (l *lines) Receive() ([]byte, error) {
	body, err := l.r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return l.layer.Open(bytes.TrimSuffix(body, []byte("\n")))
}

// rc4Stream encrypts everything in both directions, from the first byte on, each direction with a stream of its own.
func rc4Stream(rw io.ReadWriter, key []byte) io.ReadWriter {
	return ciphered{cipher.StreamReader{S: must(rc4.NewCipher(key)), R: rw}, cipher.StreamWriter{S: must(rc4.NewCipher(key)), W: rw}}
}

type ciphered struct {
	io.Reader
	io.Writer
}

// dripping writes one byte a packet.
type dripping struct{ net.Conn }

func (d dripping) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(time.Millisecond)
	}
	return len(b), nil
}
