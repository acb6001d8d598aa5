package main

import (
	"context"
	"log/slog"

	osquery "github.com/osquery/osquery-go"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/internal/state"
	"github.com/cipherlens/cipherlens/tables"
)

// benchOptions say what is looked at.
type benchOptions struct {
	root     string   // where the analysed host's "/" is
	captures []string // capture files; with none, live says whether to capture
	live     bool
	settings *config.Store
	log      *slog.Logger
	progress func(sensor.Progress) // called while captures are read; may be nil
	inspect  sensor.Inspector      // looks on while captures are judged; may be nil

	alerts     *state.File                                        // where live alerts outlast a restart; nil without
	alertsLost error                                              // why there is none although there should be one
	own        func() []sensor.Coverage                           // what coverage says of this process itself; may be nil
	sockets    *process.Owners                                    // opened while there was the right to; nil opens it
	elsewhere  func(context.Context) ([]sensor.OpenSocket, error) // sockets as osquery sees them; may be nil
}

// bench is everything wired together: one analysed host, its sensor, its tables.
type bench struct {
	root     *rootfs.Root
	settings *config.Store
	sensor   *sensor.Sensor
	plugins  []osquery.OsqueryPlugin
	start    func(func()) // starts the goroutine that the sensor runs in
}

func newBench(o benchOptions) (*bench, error) {
	root, err := rootfs.Open(o.root)
	if err != nil {
		return nil, err
	}
	images := image.NewAnalyzer(root)
	s := sensor.New(sensor.Options{Root: root, Captures: o.captures, Live: o.live, Settings: o.settings, Images: images, Log: o.log, Progress: o.progress, Inspect: o.inspect,
		Alerts: o.alerts, AlertsLost: o.alertsLost, Own: o.own, Sockets: o.sockets, Elsewhere: o.elsewhere})
	evidence := tables.Trusting(images, func() []string { return o.settings.Current().TrustedCryptoLibs })
	b := &bench{root: root, settings: o.settings, sensor: s, start: func(f func()) { go f() }}
	for _, p := range tables.Plugins(o.log,
		tables.FileCryptoLinkage(evidence, root),
		tables.LaunchdCryptoLinkage(s, evidence),
		tables.ProcessCryptoLinkage(s, evidence),
		tables.ProcessSocketEntropy(s, o.settings.Current),
		tables.SocketTLSConformance(s, o.settings.Current),
		tables.CryptoEgressAllowlist(s),
		tables.CipherlensCoverage(s.Coverage),
	) {
		b.plugins = append(b.plugins, p)
	}
	return b, nil
}

// Close lets go of the analysed host's root; the sensor's Run must have ended.
func (b *bench) Close() { _ = b.root.Close() }
