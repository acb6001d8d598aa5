package sqlhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	gen "github.com/osquery/osquery-go/gen/osquery"
)

// maxPeers bounds the connections that the manager serves at once.
const maxPeers = 64

// requestBounds bound one message to the manager: the largest is a registration with every column of every table.
var requestBounds = bounds{elements: 200_000, bytes: 4 << 20}

// shutdownTimeout is how long closing waits for extensions to take the message.
const shutdownTimeout = 2 * time.Second

// A manager serves the extension manager's socket and watches over what registered there.
type manager struct {
	host     *Host
	path     string
	listener *net.UnixListener
	stop     context.CancelFunc
	peers    sync.WaitGroup
	watcher  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// Serve starts the extension manager on a Unix socket that only this user may use, as osqueryd has it on
// /var/osquery/osquery.em, and returns when it accepts connections. Close ends it.
func (h *Host) Serve(socketPath string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return errClosed
	case h.manager != nil:
		return fmt.Errorf("sqlhost: serve %s: already serving %s", socketPath, h.manager.path)
	}
	listener, err := listenPrivate(socketPath)
	if err != nil {
		return fmt.Errorf("sqlhost: serve: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &manager{host: h, path: socketPath, listener: listener, stop: cancel, conns: map[net.Conn]bool{}}
	h.manager = m
	m.peers.Go(func() { m.accept(ctx) })
	m.watcher.Go(func() { m.watch(ctx) })
	return nil
}

// listenPrivate listens on a socket with mode 0600. The socket is made in a folder that is closed to others and then
// moved into place, so that nobody else can connect in between.
func listenPrivate(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s: exists and is not a socket", path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	private := filepath.Join(dir, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, 0o600), removeStale(path), os.Rename(private, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// removeStale removes the sockets of extensions that an earlier manager on the path left behind.
func removeStale(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	prefix := filepath.Base(path) + "."
	for _, e := range entries {
		name := e.Name()
		if e.Type() == os.ModeSocket && len(name) > len(prefix) && name[:len(prefix)] == prefix {
			err = errors.Join(err, removeIfThere(filepath.Join(filepath.Dir(path), name)))
		}
	}
	return err
}

func (m *manager) accept(ctx context.Context) {
	for {
		conn, err := m.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		if !m.add(conn) {
			_ = conn.Close()
			continue
		}
		m.peers.Go(func() {
			defer m.remove(conn)
			m.serve(ctx, conn)
		})
	}
}

func (m *manager) add(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil || len(m.conns) >= maxPeers {
		return false
	}
	m.conns[conn] = true
	return true
}

func (m *manager) remove(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
	_ = conn.Close()
}

// serve answers one connection until it ends or says something that is not Thrift.
func (m *manager) serve(ctx context.Context, conn net.Conn) {
	defer func() {
		if p := recover(); p != nil {
			m.host.warn(fmt.Sprintf("Extension manager: panic while serving a client: %v", p))
		}
	}()
	config := &thrift.TConfiguration{MaxMessageSize: int32(requestBounds.bytes)}
	transport := thrift.NewTBufferedTransport(thrift.NewTSocketFromConnConf(conn, config), 4096)
	protocol := newBoundedProtocol(transport, requestBounds, config)
	processor := gen.NewExtensionManagerProcessor(managerHandler{m})
	for ctx.Err() == nil {
		more, err := processor.Process(ctx, protocol, protocol)
		if !more || unreadable(err) {
			return
		}
	}
}

// unreadable says whether the connection's bytes can no longer be trusted to be at the start of a message.
func unreadable(err error) bool {
	var application thrift.TApplicationException
	return err != nil && !errors.As(err, &application)
}

// watch pings the registered extensions and drops those that no longer answer, as osquery's ExtensionManagerWatcher.
func (m *manager) watch(ctx context.Context) {
	ticker := time.NewTicker(m.host.opts.ExtensionsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var pings sync.WaitGroup
		for _, ext := range m.host.registered() {
			if ext.attached {
				continue
			}
			pings.Go(func() {
				if m.ping(ctx, ext) != nil && ctx.Err() == nil && m.host.deregister(ext.uuid) == nil {
					m.host.warn(fmt.Sprintf("Extension UUID %d has gone away", ext.uuid))
				}
			})
		}
		pings.Wait()
	}
}

// close tells extensions to shut down, ends the manager and removes its sockets.
func (m *manager) close() error {
	m.shutdownExtensions()
	return errors.Join(m.end(), removeIfThere(m.path), removeStale(m.path))
}

// shutdownExtensions tells every extension to shut down. They deregister while the manager still serves.
func (m *manager) shutdownExtensions() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var told sync.WaitGroup
	for _, ext := range m.host.registered() {
		if !ext.attached {
			told.Go(func() { _ = m.withClient(ctx, ext, (*gen.ExtensionClient).Shutdown) })
		}
	}
	told.Wait()
}

// end stops listening, watching and serving.
func (m *manager) end() error {
	m.stop()
	m.watcher.Wait()
	err := m.listener.Close()
	m.mu.Lock()
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.conns = nil
	m.mu.Unlock()
	m.peers.Wait()
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
