// Package sqlhost plays osqueryd: SQLite with virtual tables over extension tables, the extension manager's socket,
// a scheduler of query packs, and a writer of result logs. What it asks of a table, and what it logs, equals what
// osquery 5.23.1 was recorded doing (testdata/osqueryd-5.23.1).
//
// It knows tables only by osquery-go's plugin and Thrift interfaces. Importing the package starts nothing: SQLite is
// initialised by New, never before.
package sqlhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"sync"
	"time"

	osquery "github.com/osquery/osquery-go"
)

// DefaultVersion is the osquery version that a Host says it is: the one that was recorded.
const DefaultVersion = "5.23.1"

// Options say what a Host tells of itself. The zero value is a host of its own operating system, under its own name.
type Options struct {
	// HostIdentifier is the hostIdentifier of log lines; empty is the host name.
	HostIdentifier string
	// Decorations are added to every log line.
	Decorations map[string]string
	// Version is osquery's version, for osquery_info and for the version keys of packs; empty is DefaultVersion.
	Version string
	// Platform is the analysed platform as packs name it ("darwin", "linux", "windows"); empty is this one.
	Platform string
	// Flags are what the extension manager's Options and the table osquery_flags serve, like custom_cipherlens.
	Flags map[string]string
	// Clock is where time comes from; nil is the system's.
	Clock Clock
	// Warn gets the lines that osquery prints to stderr, like the one about a missing required column, one at a time; nil
	// drops them.
	Warn func(line string)
	// Offline says that the analysed host is not this one: what runs here is not to be shown.
	Offline bool
	// CoreRows are rows of osquery's own tables that a Host cannot make (absent.tsv), by table.
	CoreRows map[string][]map[string]string
	// Called gets the name of every table that is asked for rows, once for each time; nil drops it.
	Called func(table string)
	// MaxRows is how many rows a result may have; 0 is 1,000,000.
	MaxRows int
	// ExtensionsInterval is how often registered extensions are pinged; 0 is osquery's 3 s.
	ExtensionsInterval time.Duration
	// ExtensionsTimeout is how long a socket of an extension may take to appear; 0 is osquery's 3 s.
	ExtensionsTimeout time.Duration
}

// A Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	// Wait returns nil after d, or the context's error if that ends first.
	Wait(ctx context.Context, d time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Host is one stand-in for osqueryd. It is safe for use by several goroutines.
type Host struct {
	opts     Options
	hostname string
	started  time.Time
	sessions *sessions
	state    *State
	manager  *manager

	warnings sync.Mutex

	mu         sync.Mutex
	closed     bool
	generation int                  // changes with tables
	tables     map[string]*relation // by lower-case name
	extensions map[int64]*extension // by UUID
}

// New starts a Host with osquery's core tables that packs use, and opens its first SQLite connection.
func New(ctx context.Context, opts Options) (*Host, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("sqlhost: host name: %w", err)
	}
	h := &Host{
		opts:       withDefaults(opts, hostname),
		hostname:   hostname,
		state:      NewState(),
		tables:     map[string]*relation{},
		extensions: map[int64]*extension{},
	}
	h.started = h.opts.Clock.Now()
	h.sessions = newSessions(h)
	for _, plugin := range h.coreTables() {
		r, err := newRelation(plugin.Name(), plugin.Routes(), coreTable)
		if err != nil {
			return nil, err
		}
		r.call = inProcess(plugin)
		h.tables[r.key()] = r
	}
	s, err := h.sessions.acquire(ctx)
	if err != nil {
		return nil, err
	}
	h.sessions.release(s)
	return h, nil
}

func withDefaults(o Options, hostname string) Options {
	if o.HostIdentifier == "" {
		o.HostIdentifier = hostname
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if o.Platform == "" {
		o.Platform = runtime.GOOS
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Called == nil {
		o.Called = func(string) {}
	}
	if o.MaxRows == 0 {
		o.MaxRows = 1_000_000
	}
	if o.ExtensionsInterval == 0 {
		o.ExtensionsInterval = 3 * time.Second
	}
	if o.ExtensionsTimeout == 0 {
		o.ExtensionsTimeout = 3 * time.Second
	}
	o.Flags = maps.Clone(o.Flags)
	o.Decorations = maps.Clone(o.Decorations)
	return o
}

// Attach registers plugins that live in this process as the extension called name. Requests go through the plugin's
// Call, so that it gets the same JSON as over a socket. An attached extension stays until the Host is closed.
func (h *Host) Attach(name string, plugins ...osquery.OsqueryPlugin) error {
	ext := &extension{name: name, attached: true}
	for _, plugin := range plugins {
		if plugin.RegistryName() != "table" {
			return fmt.Errorf("sqlhost: attach %s: plugin %s: a %s plugin, not a table", name, plugin.Name(), plugin.RegistryName())
		}
		r, err := newRelation(plugin.Name(), plugin.Routes(), extensionTable)
		if err != nil {
			return fmt.Errorf("sqlhost: attach %s: %w", name, err)
		}
		r.call = inProcess(plugin)
		ext.tables = append(ext.tables, r)
	}
	if err := h.register(ext); err != nil {
		return fmt.Errorf("sqlhost: attach %s: %w", name, err)
	}
	return nil
}

// SetFlags replaces Options.Flags, as a refreshed configuration's options do in osqueryd.
func (h *Host) SetFlags(flags map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opts.Flags = maps.Clone(flags)
}

// Close tells every extension on the socket to shut down, stops serving, and frees SQLite. It waits for running queries.
func (h *Host) Close() error { return h.end((*manager).close) }

// Vanish ends the Host as if it were killed: connections break off, no extension is told, and the socket's file stays.
func (h *Host) Vanish() error { return h.end((*manager).end) }

func (h *Host) end(endManager func(*manager) error) error {
	h.mu.Lock()
	wasClosed, m := h.closed, h.manager
	h.closed = true
	h.mu.Unlock()
	if wasClosed {
		return nil
	}
	var err error
	if m != nil {
		err = endManager(m)
	}
	return errors.Join(err, h.sessions.close())
}

// warn passes a line to Options.Warn.
func (h *Host) warn(line string) {
	h.warnings.Lock()
	defer h.warnings.Unlock()
	h.opts.Warn(line)
}

// serving is the extension manager, or nil before Serve.
func (h *Host) serving() *manager {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.manager
}
