package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/anacrolix/torrent/mse"
	"github.com/flynn/noise"
)

// accept answers every connection to addr.
func accept(addr string, answer func(net.Conn) error) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			if err := answer(c); err != nil {
				fmt.Println(err)
			}
		}()
	}
}

// echo sends back what comes.
func echo(c io.ReadWriter) error {
	buf := make([]byte, 2048)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// chat sends some lines and takes their echo.
func chat(c io.ReadWriter) error {
	buf := make([]byte, 2048)
	for i := range 12 {
		if _, err := fmt.Fprintf(c, "%d %s", i, strings.Repeat("a message to a friend ", 1+i)); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// torrentHash is what both sides of the encrypted BitTorrent connection share.
var torrentHash = []byte("a made-up info hash.")

// serveTorrent answers Message Stream Encryption with RC4, and then the peer protocol within: handshake, unchoke, pieces.
func serveTorrent(_ context.Context, addr string) error {
	return accept(addr, func(c net.Conn) error {
		r, _, err := mse.ReceiveHandshake(context.Background(), c, func(f func([]byte) bool) { f(torrentHash) }, mse.DefaultCryptoSelector)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, make([]byte, 68)); err != nil {
			return err
		}
		if _, err := r.Write(append(btHandshake(), 0, 0, 0, 1, 1)); err != nil { // unchoke
			return err
		}
		block := make([]byte, 9+16384)
		for {
			request := make([]byte, 17)
			if _, err := io.ReadFull(r, request); err != nil {
				return err
			}
			copy(block, request[5:13])
			if _, err := r.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(block))), append([]byte{7}, block[:len(block)-1]...)...)); err != nil {
				return err
			}
		}
	})
}

func btHandshake() []byte {
	b := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05"), torrentHash...)
	return append(b, "-EM0001-abcdefghijkl"...)
}

func askTorrent(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	rw, _, err := mse.InitiateHandshake(c, torrentHash, btHandshake(), mse.CryptoMethodRC4)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, make([]byte, 68+5)); err != nil {
		return err
	}
	for i := range 8 {
		request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 13, 6}, 0)
		request = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(request, uint32(i)<<14), 16384)
		if _, err := rw.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(rw, make([]byte, 4+9+16384)); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// noiseConn is a messenger: Noise_XX over 16-bit lengths, as WhatsApp's and Lightning's transports are built.
type noiseConn struct {
	net.Conn
	send, receive *noise.CipherState
}

func newNoise(c net.Conn, initiator bool) (*noiseConn, error) {
	suite := noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)
	static, err := suite.GenerateKeypair(rand.Reader)
	if err != nil {
		return nil, err
	}
	h, err := noise.NewHandshakeState(noise.Config{CipherSuite: suite, Random: rand.Reader, Pattern: noise.HandshakeXX, Initiator: initiator, StaticKeypair: static})
	if err != nil {
		return nil, err
	}
	n := &noiseConn{Conn: c}
	for i := range 3 {
		var a, b *noise.CipherState
		if (i%2 == 0) == initiator {
			var m []byte
			if m, a, b, err = h.WriteMessage(nil, nil); err == nil {
				err = n.frame(m)
			}
		} else {
			var m []byte
			if m, err = n.unframe(); err == nil {
				_, a, b, err = h.ReadMessage(nil, m)
			}
		}
		if err != nil {
			return nil, err
		}
		if n.send, n.receive = a, b; !initiator {
			n.send, n.receive = b, a
		}
	}
	return n, nil
}

func (n *noiseConn) frame(m []byte) error {
	_, err := n.Conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	return err
}

func (n *noiseConn) unframe() ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(n.Conn, head); err != nil {
		return nil, err
	}
	m := make([]byte, binary.BigEndian.Uint16(head))
	_, err := io.ReadFull(n.Conn, m)
	return m, err
}

func (n *noiseConn) Write(b []byte) (int, error) {
	m, err := n.send.Encrypt(nil, nil, b)
	if err != nil {
		return 0, err
	}
	return len(b), n.frame(m)
}

func (n *noiseConn) Read(b []byte) (int, error) {
	m, err := n.unframe()
	if err != nil {
		return 0, err
	}
	m, err = n.receive.Decrypt(nil, nil, m)
	return copy(b, m), err
}

func serveNoise(_ context.Context, addr string) error {
	return accept(addr, func(c net.Conn) error {
		n, err := newNoise(c, false)
		if err != nil {
			return err
		}
		return echo(n)
	})
}

func askNoise(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := newNoise(c, true)
	if err != nil {
		return err
	}
	return chat(n)
}
