//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// firstPort and ports are where the peer listens: enough that no client's port is used again within a minute.
const (
	firstPort = 7001
	ports     = 4
)

// visit is one connection of a short-lived client, as it said itself.
type visit struct {
	port, from int // the server's, the client's
	pid        int
	program    string
	at         time.Time
}

// peer is the other end of the veth pair: it listens for short-lived clients and prints a line for each. It begins when stdin says so, for only then
// is there a network.
func peer(ctx context.Context) error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", peerAddress + "/24", "dev", "soak1"}, {"link", "set", "soak1", "up"}} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	for n := range ports {
		l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", peerAddress, firstPort+n))
		if err != nil {
			return fmt.Errorf("peer: %w", err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go hear(c, firstPort+n, &mu, out)
			}
		}()
	}
	fmt.Fprintln(out, "ready")
	_ = out.Flush()
	<-ctx.Done()
	return nil
}

// hear writes down who a client is and waits until it is gone.
func hear(c net.Conn, port int, mu *sync.Mutex, out *bufio.Writer) {
	defer c.Close()
	all, err := io.ReadAll(c)
	if err != nil {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	fmt.Fprintln(out, port, c.RemoteAddr().(*net.TCPAddr).Port, strings.TrimSpace(string(all)))
	_ = out.Flush()
}

// peerProcess is the peer as the host knows it.
type peerProcess struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner

	mu     sync.Mutex
	visits []visit
}

func startPeer(ctx context.Context) (*peerProcess, error) {
	c, err := inNewNamespace(ctx, "peer")
	if err != nil {
		return nil, err
	}
	c.Stderr = os.Stderr
	p := &peerProcess{cmd: c}
	if p.stdin, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(out)
	return p, c.Start()
}

func (p *peerProcess) pid() int { return p.cmd.Process.Pid }

// begin has the peer set up its network and listen.
func (p *peerProcess) begin() error {
	if _, err := io.WriteString(p.stdin, "begin\n"); err != nil {
		return err
	}
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		return fmt.Errorf("the peer did not begin: %q", p.lines.Text())
	}
	go func() {
		for p.lines.Scan() {
			if v, ok := parseVisit(p.lines.Text()); ok {
				p.mu.Lock()
				p.visits = append(p.visits, v)
				p.mu.Unlock()
			}
		}
	}()
	return nil
}

// parseVisit reads "7001 40000 HELLO pid=123 program=/tmp/x".
func parseVisit(line string) (visit, bool) {
	f := strings.Fields(line)
	if len(f) != 5 {
		return visit{}, false
	}
	v := visit{program: strings.TrimPrefix(f[4], "program="), at: time.Now()}
	var err [3]error
	v.port, err[0] = strconv.Atoi(f[0])
	v.from, err[1] = strconv.Atoi(f[1])
	v.pid, err[2] = strconv.Atoi(strings.TrimPrefix(f[3], "pid="))
	return v, err == [3]error{}
}

// take gives the visits until a time and forgets them.
func (p *peerProcess) take(until time.Time) (taken []visit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.visits) && p.visits[n].at.Before(until) {
		n++
	}
	taken = append(taken, p.visits[:n]...)
	p.visits = append(p.visits[:0], p.visits[n:]...)
	return taken
}

func (p *peerProcess) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
