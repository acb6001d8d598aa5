//go:build !plain

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/cipherlens/cipherlens/testdata/emulation/wire"
)

func serverTLS(protocols ...string) (*tls.Config, error) {
	cert, err := wire.Certificate("www.example.com")
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols}, err
}

// clientTLS trusts the servers of this program, whose certificates nobody signed.
func clientTLS(protocols ...string) *tls.Config {
	return &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, NextProtos: protocols}
}

// serveFiles serves the working directory over HTTPS.
func serveFiles(_ context.Context, addr string) error {
	config, err := serverTLS("h2", "http/1.1")
	if err != nil {
		return err
	}
	s := &http.Server{Addr: addr, Handler: http.FileServer(http.Dir(".")), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServeTLS("", "")
}

func page(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, strings.Repeat("<p>Nothing to see here.</p>\n", 400))
}

func serveQUIC(_ context.Context, addr string) error {
	config, err := serverTLS(http3.NextProtoH3)
	if err != nil {
		return err
	}
	s := &http3.Server{Addr: addr, Handler: http.HandlerFunc(page), TLSConfig: config}
	return s.ListenAndServe()
}

func askQUIC(ctx context.Context, addr string) error {
	t := &http3.Transport{TLSClientConfig: clientTLS(http3.NextProtoH3)}
	defer t.Close()
	for range 5 {
		q, err := http.NewRequestWithContext(ctx, "GET", "https://"+addr+"/", nil)
		if err != nil {
			return err
		}
		r, err := t.RoundTrip(q)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r.Body)
		if _ = r.Body.Close(); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

// serveSMTP takes mail, and offers STARTTLS.
func serveSMTP(_ context.Context, addr string) error {
	config, err := serverTLS()
	if err != nil {
		return err
	}
	return accept(addr, func(c net.Conn) error {
		_, err := fmt.Fprint(c, "220 mail.example.com ESMTP\r\n")
		r, data := bufio.NewReader(c), false
		for err == nil {
			var line string
			if line, err = r.ReadString('\n'); err != nil {
				break
			}
			word := strings.ToUpper(strings.TrimSpace(line))
			answer := "250 OK"
			switch {
			case data && word == ".":
				data = false
			case data:
				continue
			case strings.HasPrefix(word, "EHLO"):
				answer = "250-mail.example.com\r\n250-8BITMIME\r\n250 STARTTLS"
			case word == "STARTTLS":
				answer = "220 go ahead"
			case word == "DATA":
				data, answer = true, "354 end with a dot"
			case word == "QUIT":
				_, err = fmt.Fprint(c, "221 bye\r\n")
				return err
			}
			_, err = fmt.Fprint(c, answer+"\r\n")
			if word == "STARTTLS" {
				c = tls.Server(c, config)
				r = bufio.NewReader(c)
			}
		}
		return err
	})
}
