// Command peer is one client, or the server of all formats, of package wire. It is started by command campaign in network namespaces of its making;
// each client under the name of its format.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/cipherlens/cipherlens/testdata/emulation/wire"
)

type options struct {
	seed   uint64
	runs   int
	flow   string
	server string
	linger time.Duration
	limit  time.Duration
}

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 1, "what keys, sizes and pauses follow from")
	flag.IntVar(&o.runs, "runs", 1, "runs of the campaign")
	flag.StringVar(&o.flow, "flow", "", "the client of this flow (format/shape/run); without it, the server of all")
	flag.StringVar(&o.server, "server", "", "address and port of the client's server")
	flag.DurationVar(&o.linger, "linger", time.Second, "how long a client lives on after its last byte")
	flag.DurationVar(&o.limit, "limit", time.Minute, "end after this time, whatever happens")
	flag.Parse()
	time.AfterFunc(o.limit, func() { os.Exit(3) })
	if err := o.run(); err != nil {
		log.Fatal(err)
	}
}

func (o options) run() error {
	if o.flow == "" {
		return o.serve(wire.Plan(o.runs))
	}
	f, err := wire.ParseFlow(o.flow, o.server)
	if err != nil {
		return err
	}
	said := wire.Log{Flow: o.flow, PID: os.Getpid(), Path: os.Args[0], Server: o.server}
	if err := o.talk(f, &said); err != nil {
		said.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		return err
	}
	time.Sleep(o.linger)
	return nil
}

// talk is the client: one connection, or one a beacon.
func (o options) talk(f wire.Flow, said *wire.Log) error {
	dice := f.Dice(o.seed, false)
	if !f.Format.ReconnectBeacons || f.Shape.Name != "beacon" {
		return o.connection(f, f.Shape, dice, said)
	}
	once := f.Shape
	once.Exchanges = 1
	for i := range f.Shape.Exchanges {
		if i > 0 {
			time.Sleep(f.Shape.Pause)
		}
		if err := o.connection(f, once, dice, said); err != nil {
			return err
		}
	}
	return nil
}

func (o options) connection(f wire.Flow, s wire.Shape, dice *rand.Rand, said *wire.Log) error {
	c, err := net.DialTimeout(network(f), f.Server.String(), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	said.Local = append(said.Local, c.LocalAddr().String())
	if err := c.SetDeadline(time.Now().Add(o.limit)); err != nil {
		return err
	}
	link, err := f.Format.Open(wire.NewEnd(&stamped{c, said}, false, o.seed, f.Name()))
	if err != nil {
		return err
	}
	return s.Talk(link, dice)
}

func network(f wire.Flow) string {
	if f.Format.UDP {
		return "udp"
	}
	return "tcp"
}

// distant is a server's end that answers after a round trip of the Internet's, not of a link in memory: a connection lives as long as one would.
type distant struct{ net.Conn }

func (d distant) Write(b []byte) (int, error) {
	time.Sleep(25 * time.Millisecond)
	return d.Conn.Write(b)
}

// stamped notes when the first and the last byte went out.
type stamped struct {
	net.Conn
	said *wire.Log
}

func (s *stamped) Write(b []byte) (int, error) {
	s.said.Last = time.Now()
	if s.said.First.IsZero() {
		s.said.First = s.said.Last
	}
	return s.Conn.Write(b)
}

// serve answers every flow of the plan at the address that is its own, and says "ready" when it can.
func (o options) serve(plan []wire.Flow) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.limit)
	defer cancel()
	for _, f := range plan {
		if f.Format.UDP {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(f.Server))
			if err != nil {
				return err
			}
			go o.answer(&datagrams{UDPConn: c}, f)
			continue
		}
		l, err := net.Listen("tcp", f.Server.String())
		if err != nil {
			return err
		}
		go o.accept(l, f)
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

func (o options) accept(l net.Listener, f wire.Flow) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go o.answer(c, f)
	}
}

func (o options) answer(c net.Conn, f wire.Flow) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(o.limit))
	link, err := f.Format.Open(wire.NewEnd(distant{c}, true, o.seed, f.Name()))
	if err == nil {
		err = f.Shape.Answer(link, f.Dice(o.seed, true))
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		fmt.Fprintf(os.Stderr, "server of %s: %v\n", f.Name(), err)
	}
}

// datagrams is a server's UDP socket that answers whoever spoke last.
type datagrams struct {
	*net.UDPConn
	peer netip.AddrPort
}

func (d *datagrams) Read(b []byte) (n int, err error) {
	n, d.peer, err = d.ReadFromUDPAddrPort(b)
	return n, err
}

func (d *datagrams) Write(b []byte) (int, error) { return d.WriteToUDPAddrPort(b, d.peer) }
