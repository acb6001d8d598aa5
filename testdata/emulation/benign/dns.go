//go:build !plain

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// serveDNS answers A queries over TLS (853), HTTPS (443) and QUIC (853) at one address.
func serveDNS(ctx context.Context, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(answered(q)) })
	overTLS, err := serverTLS("dot")
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() {
		failed <- (&dns.Server{Addr: host + ":853", Net: "tcp-tls", TLSConfig: overTLS, Handler: answer}).ListenAndServe()
	}()
	go func() { failed <- serveDoH(host + ":443") }()
	go func() { failed <- serveDoQ(ctx, host+":853") }()
	return <-failed
}

func answered(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	if len(q.Question) == 1 {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, 77, 200, 80)}}
	}
	return m
}

func serveDoH(addr string) error {
	config, err := serverTLS("h2", "http/1.1")
	if err != nil {
		return err
	}
	s := &http.Server{Addr: addr, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
		q := new(dns.Msg)
		if err != nil || q.Unpack(body) != nil {
			http.Error(w, "no message", http.StatusBadRequest)
			return
		}
		out, err := answered(q).Pack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/dns-message")
		_, _ = w.Write(out)
	})}
	return s.ListenAndServeTLS("", "")
}

func serveDoQ(ctx context.Context, addr string) error {
	config, err := serverTLS("doq")
	if err != nil {
		return err
	}
	l, err := quic.ListenAddr(addr, config, nil)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			for {
				s, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				_ = answerDoQ(s)
			}
		}()
	}
}

func answerDoQ(s *quic.Stream) error {
	body, err := io.ReadAll(io.LimitReader(s, 4096))
	if err != nil || len(body) < 2 {
		return err
	}
	q := new(dns.Msg)
	if err := q.Unpack(body[2:]); err != nil {
		return err
	}
	out, err := answered(q).Pack()
	if err != nil {
		return err
	}
	if _, err := s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
		return err
	}
	return s.Close()
}

// askDoQ asks as RFC 9250 has it: a stream a query, message id 0.
func askDoQ(ctx context.Context, addr string) error {
	c, err := quic.DialAddr(ctx, addr, clientTLS("doq"), nil)
	if err != nil {
		return err
	}
	defer c.CloseWithError(0, "")
	for i := range 5 {
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		q := new(dns.Msg).SetQuestion(fmt.Sprintf("host%d.example.com.", i), dns.TypeA)
		q.Id = 0
		b, err := q.Pack()
		if err != nil {
			return err
		}
		if _, err := s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return err
		}
		_ = s.Close()
		if _, err := io.ReadAll(s); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}
