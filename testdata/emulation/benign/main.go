// Command benign is the clients and servers of benign protocols for which Debian has no program that fits: made with the Go modules that real programs are
// made with.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"
)

// A part is one end of a protocol: addr is the server's address and port.
type part func(ctx context.Context, addr string) error

// parts need no TLS library; dressed ones, which a program built with the tag plain lacks, come to them.
var parts = map[string]part{
	"torrent-server": serveTorrent, "torrent-client": askTorrent,
	"noise-server": serveNoise, "noise-client": askNoise,
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 || parts[os.Args[1]] == nil {
		log.Fatal("usage: benign PART ADDRESS:PORT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := parts[os.Args[1]](ctx, os.Args[2]); err != nil {
		log.Fatal(fmt.Errorf("%s: %w", os.Args[1], err))
	}
}
