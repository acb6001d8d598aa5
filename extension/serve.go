package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	osquery "github.com/osquery/osquery-go"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/privilege"
	"github.com/cipherlens/cipherlens/internal/process"
)

// extensionName is the name under which osquery knows us.
const extensionName = "cipherlens"

// checkEvery is how often osquery is asked whether we are still registered, and for its options.
const checkEvery = 5 * time.Second

// shutdownLimit bounds what ending may take: osqueryd kills extensions that need more than a few seconds.
const shutdownLimit = 1500 * time.Millisecond

type serveOptions struct {
	socket            string
	timeout, interval time.Duration
	verbose           bool
	state             string // file that alerts are kept in; empty for the setting's
}

// serveHost is extension mode on this host.
func serveHost(ctx context.Context, o serveOptions, log *slog.Logger) error {
	return onHost(o, log, func(b *bench) error { return serve(ctx, o, b, log) })
}

// onHost runs f with the bench of this host. What needs root is opened first, then what is not needed of it is given up, and only then anything is
// looked at that others wrote.
func onHost(o serveOptions, log *slog.Logger, f func(*bench) error) error {
	settings := config.NewStore(config.Path())
	path := o.stateFile(settings.Current())
	o.confine(path, log)
	file, lost := openState(path, log)
	if file != nil {
		defer func() { _ = file.Close() }()
	}
	sockets, err := process.NewOwners()
	if err != nil {
		log.Warn("flows will have no owner", "error", err)
	}
	start := process.InFront(func(err error) { log.Debug("the capture runs like any other thread", "error", err) })
	rights := privilege.Drop()
	log.Info("rights", "report", rights.String())
	b, err := newBench(benchOptions{root: "/", live: true, settings: settings, log: log, alerts: file, alertsLost: lost, own: ownCoverage(rights, o.socket), sockets: sockets, elsewhere: osquerysSockets(o.socket)})
	if err != nil {
		return err
	}
	defer b.Close()
	b.start = start
	return f(b)
}

// serve registers with osquery and answers until osquery or the system ends it.
func serve(ctx context.Context, o serveOptions, b *bench, log *slog.Logger) error {
	return whileSensing(ctx, b, log, func(ctx context.Context) error { return answer(ctx, o, b, log) })
}

// whileSensing runs the sensor for as long as f runs.
func whileSensing(ctx context.Context, b *bench, log *slog.Logger, f func(context.Context) error) error {
	syscall.Umask(0o077) // our socket, like every file we make, is for root alone
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() { keepMemory(ctx, int64(b.settings.Current().MemoryBudget)) })
	sensing := make(chan error, 1)
	b.start(func() { sensing <- b.sensor.Run(ctx) })

	err := f(ctx)
	cancel()
	select {
	case <-sensing:
	case <-time.After(shutdownLimit):
		log.Warn("the capture did not end in time")
	}
	return err
}

// answer serves osquery's calls until ctx ends (nil), osquery shuts us down (nil), or osquery is gone or has dropped us (error).
func answer(ctx context.Context, o serveOptions, b *bench, log *slog.Logger) error {
	timeout := max(o.timeout, time.Second)
	client, err := osquery.NewClient(o.socket, timeout)
	if err != nil {
		return fmt.Errorf("osquery: %s: %w", o.socket, err)
	}
	defer client.Close()
	server, err := osquery.NewExtensionManagerServer(extensionName, o.socket,
		osquery.ExtensionVersion(version),
		osquery.ServerTimeout(timeout),
		osquery.WithClient(client),
		osquery.WithTransportFactory(thrift.NewTBufferedTransportFactory(16<<10)),
	)
	if err != nil {
		return fmt.Errorf("osquery: %s: %w", o.socket, err)
	}
	for _, p := range b.plugins {
		server.RegisterPlugin(p)
	}
	// Not server.Run: of its two goroutines one stays behind for good each time that osquery is gone.
	watchCtx, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	serving, pinging, watching := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { serving <- server.Start() }()
	go func() { pinging <- pingUntilGone(watchCtx, client, max(o.interval, time.Second)) }()
	go func() { watching <- watchRegistration(watchCtx, o.socket, b.settings, log) }()

	ended := false
	select {
	case err = <-serving:
		if ended = true; err == nil {
			log.Info("osquery ended us")
		} else {
			err = fmt.Errorf("osquery: %w", err)
		}
	case err = <-pinging:
	case err = <-watching:
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := server.Shutdown(bounded)
		if !ended {
			<-serving // it removes our socket
		}
		done <- err
	}()
	select {
	case <-done:
	case <-bounded.Done():
		log.Warn("osquery did not let go in time")
	}
	return err
}

// pingUntilGone asks osquery every interval whether it is there: nil when ctx ends, else why it is not.
func pingUntilGone(ctx context.Context, client *osquery.ExtensionManagerClient, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		status, err := client.PingContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("osquery: ping: %w", err)
		case status.Code != 0:
			return fmt.Errorf("osquery: ping: status %d", status.Code)
		}
	}
}

// errDropped says that osqueryd no longer knows us, though it still answers pings: it drops an extension that once was slow to answer and never
// says so (fleetdm/fleet#52093). Ending lets its watcher start us anew.
var errDropped = errors.New("the registration is gone")

// watchRegistration asks osquery, on a connection of its own since the server's is busy with pings, whether our name is still registered, and hands its option
// custom_cipherlens to the settings. It returns nil when ctx ends, errDropped after two checks in a row without our name.
func watchRegistration(ctx context.Context, socket string, settings *config.Store, log *slog.Logger) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	missing := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		registered, err := check(ctx, socket, settings)
		switch {
		case err != nil:
			log.Debug("osquery did not answer", "error", err) // pings decide whether it is gone
		case registered:
			missing = 0
		default:
			if missing++; missing == 2 {
				return fmt.Errorf("osquery: %w", errDropped)
			}
		}
		settings.Reload()
	}
}

func check(ctx context.Context, socket string, settings *config.Store) (registered bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkEvery)
	defer cancel()
	client, err := osquery.NewClient(socket, checkEvery)
	if err != nil {
		return false, err
	}
	defer client.Close()
	options, err := client.OptionsContext(ctx)
	if err != nil {
		return false, err
	}
	if option := options["custom_cipherlens"]; option != nil {
		settings.Override(option.Value)
	} else {
		settings.Override("")
	}
	known, err := client.ExtensionsContext(ctx)
	if err != nil {
		return false, err
	}
	for _, e := range known {
		registered = registered || e.Name == extensionName
	}
	return registered, nil
}
