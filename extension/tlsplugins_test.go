package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

// tlsAgent is the embedded host with osquery's TLS plugins: it enrols, refreshes its configuration, runs the packs in it, posts what they log, and
// polls for live queries. It is part of the tests alone: the extension itself connects to nothing.
type tlsAgent struct {
	host    *sqlhost.Host
	client  *http.Client
	base    string
	refresh time.Duration // --config_refresh
	period  time.Duration // --logger_tls_period, --distributed_interval

	mu      sync.Mutex
	key     string
	results []json.RawMessage // not yet posted
	status  []json.RawMessage
}

// startAgent runs the embedded host under a console until the test ends.
func startAgent(t *testing.T, c *console, host *sqlhost.Host, refresh time.Duration) {
	pemText, err := os.ReadFile(c.certFile)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pemText))
	a := &tlsAgent{host: host, base: "https://" + c.address + "/api/osquery/", refresh: refresh, period: 200 * time.Millisecond,
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.every(ctx, a.period, a.post) })
	running.Go(func() { a.every(ctx, a.period, a.distributed) })
	running.Go(func() { a.configured(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); a.client.CloseIdleConnections() })
}

// every calls f again and again; what fails is tried again at the next turn, as osquery does.
func (a *tlsAgent) every(ctx context.Context, period time.Duration, f func(context.Context) error) {
	for ctx.Err() == nil {
		_ = f(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
	}
}

var errNodeInvalid = errors.New("node_invalid")

// call posts one request as an enrolled node; a node that the console does not know enrols anew and asks again.
func (a *tlsAgent) call(ctx context.Context, endpoint string, request map[string]any, out any) error {
	for range 2 {
		key, err := a.enrolled(ctx)
		if err != nil {
			return err
		}
		request["node_key"] = key
		if err = a.send(ctx, endpoint, request, out); !errors.Is(err, errNodeInvalid) {
			return err
		}
		a.mu.Lock()
		a.key = ""
		a.mu.Unlock()
	}
	return errNodeInvalid
}

func (a *tlsAgent) enrolled(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.key == "" {
		var out struct {
			NodeKey string `json:"node_key"`
		}
		err := a.send(ctx, "enroll", map[string]any{"enroll_secret": enrollSecret, "host_identifier": "made-up-mac", "platform_type": "21", "host_details": map[string]any{}}, &out)
		if err != nil {
			return "", err
		}
		a.key = out.NodeKey
	}
	return a.key, nil
}

func (a *tlsAgent) send(ctx context.Context, endpoint string, request, out any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "osquery/"+sqlhost.DefaultVersion)
	response, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var raw json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&raw); err != nil {
		return err
	}
	var invalid struct {
		NodeInvalid bool `json:"node_invalid"`
	}
	if err := json.Unmarshal(raw, &invalid); err != nil || invalid.NodeInvalid {
		return errNodeInvalid
	}
	return json.Unmarshal(raw, out)
}

// configured fetches the configuration at each refresh. A changed one sets the options and starts the packs anew; the host itself goes on.
func (a *tlsAgent) configured(ctx context.Context) {
	var current json.RawMessage
	stop := func() {}
	defer func() { stop() }()
	a.every(ctx, a.refresh, func(ctx context.Context) error {
		var raw json.RawMessage
		if err := a.call(ctx, "config", map[string]any{}, &raw); err != nil || bytes.Equal(raw, current) {
			return err
		}
		var config struct {
			Options map[string]any             `json:"options"`
			Packs   map[string]json.RawMessage `json:"packs"`
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			return err
		}
		flags := map[string]string{}
		for name, value := range config.Options {
			flags[name] = fmt.Sprint(value)
		}
		a.host.SetFlags(flags)
		stop()
		stop = a.runPacks(ctx, config.Packs)
		current = raw
		return nil
	})
}

// runPacks schedules packs until the function that it gives is called.
func (a *tlsAgent) runPacks(ctx context.Context, packs map[string]json.RawMessage) func() {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for name, raw := range packs {
		pack, err := sqlhost.ParsePack(name, raw)
		if err != nil {
			_ = a.Status(sqlhost.Status{Severity: sqlhost.Error, Time: time.Now(), Source: "packs.cpp", Message: err.Error()})
			continue
		}
		running.Go(func() { _, _ = a.host.RunPack(ctx, pack, sqlhost.RunOptions{}, a) })
	}
	return func() { cancel(); running.Wait() }
}

var _ sqlhost.ResultLogger = (*tlsAgent)(nil)

func (a *tlsAgent) Results(item *sqlhost.LogItem) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, line := range item.Lines() {
		a.results = append(a.results, line)
	}
	return nil
}

func (a *tlsAgent) Snapshot(item *sqlhost.LogItem) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.results = append(a.results, item.SnapshotLine())
	return nil
}

func (a *tlsAgent) Status(s sqlhost.Status) error {
	line, err := json.Marshal(map[string]string{"severity": string(s.Severity), "filename": s.Source, "message": s.Message})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = append(a.status, line)
	return err
}

// post sends the buffered lines, and keeps them until the console has taken them.
func (a *tlsAgent) post(ctx context.Context) error {
	var err error
	for _, log := range []struct {
		kind  string
		lines *[]json.RawMessage
	}{{"result", &a.results}, {"status", &a.status}} {
		a.mu.Lock()
		batch := append([]json.RawMessage(nil), *log.lines...)
		a.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		var out struct{}
		if e := a.call(ctx, "log", map[string]any{"log_type": log.kind, "data": batch}, &out); e != nil {
			err = errors.Join(err, e)
			continue
		}
		a.mu.Lock()
		*log.lines = (*log.lines)[len(batch):]
		a.mu.Unlock()
	}
	return err
}

// distributed fetches live queries, runs them and posts their rows.
func (a *tlsAgent) distributed(ctx context.Context) error {
	var in struct {
		Queries map[string]string `json:"queries"`
	}
	if err := a.call(ctx, "distributed/read", map[string]any{}, &in); err != nil || len(in.Queries) == 0 {
		return err
	}
	rows, statuses, messages := map[string]any{}, map[string]int{}, map[string]string{}
	for id, sql := range in.Queries {
		result, err := a.host.Query(ctx, sql)
		if err != nil {
			rows[id], statuses[id], messages[id] = []any{}, 1, err.Error()
			continue
		}
		rows[id], statuses[id], messages[id] = result.Maps(), 0, ""
	}
	var out struct{}
	return a.call(ctx, "distributed/write", map[string]any{"queries": rows, "statuses": statuses, "messages": messages}, &out)
}
