//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// soak is one run.
type soak struct {
	o        *options
	core     *core
	peer     *peerProcess
	programs []string // copies of the client, so that paths differ

	sent    atomic.Pointer[counts]
	series  []sample
	owned   owned
	missing []implant
	strange int // alerts that nobody sent
	expect  int
	dropped int64
	seen    int64
	started atomic.Int64
	total   counts
}

// sample is one second.
type sample struct {
	at    time.Duration
	usage usage
	sent  counts
}

// owned counts short-lived clients by what the extension said of them.
type owned struct{ right, wrong, unknown, absent int }

func (o owned) all() int { return o.right + o.wrong + o.unknown + o.absent }

// Of the time: the flood is from 1/5 to 2/5.
func (s *soak) flood(at time.Duration) bool { return at >= s.o.time/5 && at < 2*s.o.time/5 }

func (s *soak) flowRate(at time.Duration) int {
	if s.flood(at) {
		return s.o.flood
	}
	return s.o.flows
}

// play runs traffic and clients, measures each second, and compares at the end.
func (s *soak) play(ctx context.Context) error {
	g, err := newGenerator(s.o.rate, s.peer.pid(), hostMAC, peerMAC)
	if err != nil {
		return err
	}
	playing, stop := context.WithTimeout(ctx, s.o.time)
	defer stop()
	s.sent.Store(&counts{})
	var wait sync.WaitGroup
	failed := make(chan error, 1)
	wait.Go(func() {
		err := g.run(playing, s.flowRate, s.o.implants, func(c counts) { s.sent.Store(&c) })
		if err != nil {
			failed <- err
			stop()
		}
	})
	wait.Go(func() { s.startClients(playing) })
	wait.Go(func() { s.watch(playing) })
	err = s.compareOwners(playing)
	stop()
	wait.Wait()
	select {
	case failure := <-failed:
		return failure
	default:
	}
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	time.Sleep(3 * time.Second) // alerts are shown two seconds after the last byte
	s.total = *s.sent.Load()
	return s.compare(ctx, g.implants)
}

// copyClient copies the client's program under several names.
func copyClient(program, dir string) (copies []string, err error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"fetch", "beacon", "report", "agent"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o700); err != nil {
			return nil, err
		}
		copies = append(copies, file)
	}
	return copies, nil
}

// startClients starts so many processes a second, evenly.
func (s *soak) startClients(ctx context.Context) {
	if s.o.clients == 0 {
		return
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	pause := time.Second / time.Duration(s.o.clients)
	begin := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		next := begin.Add(time.Duration(n) * pause)
		if behind := time.Since(next); behind < 0 {
			time.Sleep(-behind)
		} else if behind > time.Second { // the machine is too slow: leave them out
			n += int(behind / pause)
		}
		program := s.programs[n%len(s.programs)]
		c := exec.Command(program, strconv.Itoa(firstPort+n%ports))
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			continue
		}
		s.started.Add(1)
		wait.Go(func() { _ = c.Wait() })
	}
}

// watch samples the extension once a second.
func (s *soak) watch(ctx context.Context) {
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		u, err := used(s.core.cmd.Process.Pid)
		if err != nil {
			return
		}
		s.series = append(s.series, sample{time.Since(begin), u, *s.sent.Load()})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settle is how long after a client's end its flow must be in the table; a FIN ends a flow at once.
const settle = 2 * time.Second

// How often the table is asked whose the connections of the last seconds were, and how many seconds' that are. Thousands of rows each time are this
// program's wish and nobody's detection: more of them would measure the measuring.
const (
	compareEvery = 20 * time.Second
	compareLast  = 5 * time.Second
)

// compareOwners asks who the clients of the last seconds were. Each of them is counted once.
func (s *soak) compareOwners(ctx context.Context) error {
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.peer.take(time.Now().Add(-settle - compareLast)) // nobody asks for those
		if err := s.compareVisits(context.WithoutCancel(ctx), s.peer.take(time.Now().Add(-settle))); err != nil {
			return err
		}
	}
}

func (s *soak) compareVisits(ctx context.Context, visits []visit) error {
	type ends struct{ port, from int }
	rows, err := s.core.query(ctx, fmt.Sprintf(
		"SELECT local_port, remote_port, pid, path, first_seen FROM socket_tls_conformance WHERE remote_address = '%s' AND last_seen >= %d", peerAddress, time.Now().Add(-settle-compareLast-2*time.Second).Unix()))
	if err != nil {
		return err
	}
	said := map[ends][]map[string]string{} // several where a client got a port that another one had a while ago
	for _, r := range rows {
		e := ends{atoi(r["remote_port"]), atoi(r["local_port"])}
		said[e] = append(said[e], r)
	}
	for _, v := range visits {
		r := nearest(said[ends{v.port, v.from}], v.at)
		switch {
		case r == nil:
			s.owned.absent++
		case r["pid"] == strconv.Itoa(v.pid) && r["path"] == v.program:
			s.owned.right++
		case r["pid"] == "-1", r["path"] == "": // or an owner whose program could not be read any more
			s.owned.unknown++
		default:
			s.owned.wrong++
			fmt.Fprintf(os.Stderr, "soak: wrong owner: port %d to %d: %d %s at %d, the table has %s %s at %s\n", v.from, v.port, v.pid, v.program, v.at.Unix(), r["pid"], r["path"], r["first_seen"])
		}
	}
	return nil
}

// nearest gives the flow that began when a client of that time did; nil when there is none within two seconds.
func nearest(rows []map[string]string, at time.Time) (found map[string]string) {
	best := 2.0
	for _, r := range rows {
		if away := math.Abs(float64(at.Unix()) - float64(atoi(r["first_seen"]))); away <= best {
			best, found = away, r
		}
	}
	return found
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

var packetsSeen = regexp.MustCompile(`(\d+) packets`)

// compare asks for the alerts and for what was dropped.
func (s *soak) compare(ctx context.Context, implants []implant) error {
	rows, err := s.core.query(ctx, "SELECT remote_address, remote_port, verdict FROM socket_tls_conformance WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound'")
	if err != nil {
		return err
	}
	alerts := map[string]bool{}
	for _, r := range rows {
		alerts[r["verdict"]+" "+r["remote_address"]+":"+r["remote_port"]] = true
	}
	// One that began in the last second may not have said enough.
	s.expect = max(0, len(implants)-2)
	for n, i := range implants[:s.expect] {
		if !alerts[i.verdict+" "+i.remote.String()] {
			s.missing = append(s.missing, i)
			said, err := s.core.query(ctx, fmt.Sprintf("SELECT * FROM socket_tls_conformance WHERE remote_address = '%s' AND remote_port = %d", i.remote.Addr(), i.remote.Port()))
			fmt.Fprintf(os.Stderr, "soak: missing: %s %s, number %d of %d: the table has %v %v\n", i.verdict, i.remote, n+1, len(implants), said, err)
		}
	}
	for _, i := range implants {
		delete(alerts, i.verdict+" "+i.remote.String())
	}
	s.strange = len(alerts)
	rows, err = s.core.query(ctx, "SELECT name, state, detail, count FROM cipherlens_coverage")
	if err != nil {
		return err
	}
	for _, r := range rows {
		fmt.Printf("coverage  %-14s %-9s %s\n", r["name"], r["state"], r["detail"])
		if r["name"] == "capture" {
			s.dropped = int64(atoi(r["count"]))
			if found := packetsSeen.FindStringSubmatch(r["detail"]); found != nil {
				s.seen = int64(atoi(found[1]))
			}
		}
	}
	return s.writeSeries()
}

// writeSeries writes what was measured, for drawing.
func (s *soak) writeSeries() error {
	if s.o.profile == "" {
		return nil
	}
	f, err := os.Create(s.o.profile)
	if err != nil {
		return err
	}
	defer f.Close()
	_, _ = io.WriteString(f, "seconds\tcpu_seconds\tresident\tanonymous\tfiles\tpackets\tflows\n")
	for _, x := range s.series {
		fmt.Fprintf(f, "%.1f\t%.2f\t%d\t%d\t%d\t%d\t%d\n", x.at.Seconds(), x.usage.cpu.Seconds(), x.usage.resident, x.usage.anonymous, x.usage.files, x.sent.packets, x.sent.flows)
	}
	return f.Close()
}
