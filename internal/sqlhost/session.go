package sqlhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
)

// maxSessions bounds how many queries run at once. A table may itself query its host: each such query takes one more.
const maxSessions = 8

// sqliteMemory bounds one connection's memory, in bytes: intermediate results and values.
const sqliteMemory = 256 << 20

// maxIdle is how many connections are kept open between queries.
const maxIdle = 2

var opened atomic.Int64

// Opened is how many SQLite connections this process has opened: zero where no Host was ever made.
func Opened() int64 { return opened.Load() }

// A session is one SQLite connection with the tables of one generation.
type session struct {
	conn       *sqlite3.Conn
	generation int
}

// sessions hands out connections. SQLite's are not safe for concurrent use, and a running one may be in a table's call.
type sessions struct {
	host   *Host
	memory int64 // of one connection, in bytes
	slots  chan struct{}

	mu     sync.Mutex
	idle   []*session
	closed bool
}

func newSessions(h *Host) *sessions {
	return &sessions{host: h, memory: sqliteMemory, slots: make(chan struct{}, maxSessions)}
}

var errClosed = errors.New("sqlhost: the host is closed")

// acquire gives a connection that has the host's tables of now.
func (p *sessions) acquire(ctx context.Context) (*session, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("sqlhost: waiting for one of %d queries to end: %w", maxSessions, ctx.Err())
	}
	s, err := p.take()
	if err != nil {
		<-p.slots
		return nil, err
	}
	return s, nil
}

func (p *sessions) take() (*session, error) {
	tables, generation := p.host.snapshot()
	p.mu.Lock()
	closed := p.closed
	idle := p.idle
	var found *session
	p.idle = nil
	for _, s := range idle {
		if found == nil && s.generation == generation && !closed {
			found = s
		} else if s.generation == generation {
			p.idle = append(p.idle, s)
		} else {
			_ = s.conn.Close() // it holds tables that are gone
		}
	}
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if found != nil {
		return found, nil
	}
	return p.open(tables, generation)
}

func (p *sessions) open(tables []*relation, generation int) (*session, error) {
	conn, err := sqlite3.OpenContext(sqlite3.WithMaxMemory(context.Background(), p.memory), ":memory:")
	if err != nil {
		return nil, fmt.Errorf("sqlhost: open SQLite: %w", err)
	}
	opened.Add(1)
	s := &session{conn: conn, generation: generation}
	for _, rel := range tables {
		if err := attach(conn, rel, p.host); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if err := conn.SetAuthorizer(s.authorize); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlhost: open SQLite: %w", err), conn.Close())
	}
	return s, nil
}

// authorize lets statements read and nothing else: no ATTACH of files, no tables that later queries would see.
func (s *session) authorize(action sqlite3.AuthorizerActionCode, _, _, _, _ string) sqlite3.AuthorizerReturnCode {
	switch action {
	case sqlite3.AUTH_SELECT, sqlite3.AUTH_READ, sqlite3.AUTH_FUNCTION, sqlite3.AUTH_RECURSIVE:
		return sqlite3.AUTH_OK
	}
	return sqlite3.AUTH_DENY
}

// release takes a connection back.
func (p *sessions) release(s *session) {
	defer func() { <-p.slots }()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < maxIdle
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		_ = s.conn.Close()
	}
}

// discard gives up the place of a connection that is not fit for use.
func (p *sessions) discard() { <-p.slots }

// close waits for running queries and closes every connection.
func (p *sessions) close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var errs []error
	for _, s := range idle {
		errs = append(errs, s.conn.Close())
	}
	for range maxSessions {
		p.slots <- struct{}{}
	}
	for range maxSessions {
		<-p.slots
	}
	return errors.Join(errs...)
}
