//go:build !plain

package main

import (
	"context"
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/webrtc/v4"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

func curve25519Base(private []byte) ([]byte, error) {
	key, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	return key.PublicKey().Bytes(), nil
}

func serveDTLS(_ context.Context, addr string) error {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return err
	}
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	l, err := dtls.ListenWithOptions("udp", at, dtls.WithCertificates(cert))
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { _ = echo(c) }()
	}
}

func askDTLS(ctx context.Context, addr string) error {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	c, err := dtls.DialWithOptions("udp", at, dtls.WithInsecureSkipVerify(true))
	if err != nil {
		return err
	}
	defer c.Close()
	return errors.Join(c.HandshakeContext(ctx), chat(c))
}

// peerConnection is a WebRTC end whose descriptions travel over a TCP connection, each once, complete with its candidates.
func peerConnection() (*webrtc.PeerConnection, error) {
	return webrtc.NewPeerConnection(webrtc.Configuration{})
}

func describe(p *webrtc.PeerConnection, d webrtc.SessionDescription, to io.Writer) error {
	gathered := webrtc.GatheringCompletePromise(p)
	if err := p.SetLocalDescription(d); err != nil {
		return err
	}
	<-gathered
	return json.NewEncoder(to).Encode(p.LocalDescription())
}

func described(p *webrtc.PeerConnection, from io.Reader) error {
	var d webrtc.SessionDescription
	if err := json.NewDecoder(from).Decode(&d); err != nil {
		return err
	}
	return p.SetRemoteDescription(d)
}

func serveWebRTC(_ context.Context, addr string) error {
	return accept(addr, func(c net.Conn) error {
		p, err := peerConnection()
		if err != nil {
			return err
		}
		defer p.Close()
		p.OnDataChannel(func(d *webrtc.DataChannel) {
			d.OnMessage(func(m webrtc.DataChannelMessage) { _ = d.Send(m.Data) })
		})
		if err := described(p, c); err != nil {
			return err
		}
		answer, err := p.CreateAnswer(nil)
		if err == nil {
			err = describe(p, answer, c)
		}
		_, _ = io.Copy(io.Discard, c) // until the other side hangs up
		return err
	})
}

func askWebRTC(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := peerConnection()
	if err != nil {
		return err
	}
	defer p.Close()
	d, err := p.CreateDataChannel("chat", nil)
	if err != nil {
		return err
	}
	opened, echoed := make(chan struct{}), make(chan []byte)
	d.OnOpen(func() { close(opened) })
	d.OnMessage(func(m webrtc.DataChannelMessage) { echoed <- m.Data })
	offer, err := p.CreateOffer(nil)
	if err := errors.Join(err, describe(p, offer, c), described(p, c)); err != nil {
		return err
	}
	select {
	case <-opened:
	case <-time.After(15 * time.Second):
		return errors.New("no data channel")
	}
	return chat(channel{d, echoed})
}

type channel struct {
	*webrtc.DataChannel
	echoed chan []byte
}

func (c channel) Write(b []byte) (int, error) { return len(b), c.Send(b) }
func (c channel) Read(b []byte) (int, error)  { return copy(b, <-c.echoed), nil }

// The ends of the WireGuard tunnel; keys are made up.
const (
	wireguardNear, wireguardFar = "10.78.0.1", "10.78.0.2"
	privateA                    = "e0b4a1a2c4f0d3b5968778695a4b3c2d1e0f1021324354657687980a1b2c3d4e"
	privateB                    = "98f7e6d5c4b3a29180716253443526170819fae0d1c2b3a495867768594a3b7c"
)

// wireguard makes a tunnel device and its address.
func wireguard(name, local, config string) (*device.Device, error) {
	t, err := tun.CreateTUN(name, device.DefaultMTU)
	if err != nil {
		return nil, err
	}
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	if err := errors.Join(d.IpcSet(config), d.Up()); err != nil {
		return nil, err
	}
	for _, args := range []string{"addr add " + local + "/30 dev " + name, "link set " + name + " up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return d, nil
}

func serveWireGuard(_ context.Context, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	public, err := publicKey(privateA)
	if err != nil {
		return err
	}
	_, err = wireguard("emuwg1", wireguardFar, fmt.Sprintf("private_key=%s\nlisten_port=%s\npublic_key=%s\nallowed_ip=%s/32\n", privateB, port, public, wireguardNear))
	if err != nil {
		return err
	}
	return accept(wireguardFar+":8000", func(c net.Conn) error { return echo(c) })
}

func askWireGuard(ctx context.Context, addr string) error {
	public, err := publicKey(privateB)
	if err != nil {
		return err
	}
	d, err := wireguard("emuwg0", wireguardNear, fmt.Sprintf("private_key=%s\npublic_key=%s\nallowed_ip=%s/32\nendpoint=%s\n", privateA, public, wireguardFar, addr))
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", wireguardFar+":8000")
	if err != nil {
		return err
	}
	defer c.Close()
	return chat(c)
}

// publicKey asks for the private key's other half.
func publicKey(private string) (string, error) {
	var key device.NoisePrivateKey
	if err := key.FromHex(private); err != nil {
		return "", err
	}
	public, err := curve25519Base(key[:])
	return fmt.Sprintf("%x", public), err
}
