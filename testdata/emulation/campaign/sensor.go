package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A sensor is the extension at work with the pack, and what its results log says.
type sensor struct {
	Name string
	dir  string
	cmd  *exec.Cmd
	log  *os.File

	mu       sync.Mutex
	findings map[string]finding // by remote address and port
	low      map[string]finding // those that the detection leaves to the hunt pack
}

// A finding is one line of the detection.
type finding struct {
	Seen    time.Time // when the line stood in the log
	Columns map[string]string
}

// A pack is what osquery reads.
type pack struct {
	Queries map[string]map[string]any `json:"queries"`
}

func readPack(file string) (p pack, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// packs writes the pack with the campaign's interval, a second one that shows what the detection leaves out for its low severity, and two that list
// every flow's verdict, and known protocols with random payload, once at the end.
func packs(o options, dir string) ([]string, error) {
	pack, err := readPack(o.pack)
	if err != nil {
		return nil, err
	}
	hunt, err := readPack(strings.TrimSuffix(o.pack, ".conf") + "-hunt.conf")
	if err != nil {
		return nil, err
	}
	for name, q := range pack.Queries {
		q["interval"] = 3600
		if name == "detection" {
			q["interval"] = int(o.interval.Seconds())
		}
	}
	verdicts := map[string]any{"queries": map[string]any{"flows": map[string]any{"interval": 3600, "snapshot": true,
		"query": "SELECT pid, path, protocol, local_port, remote_address, remote_port, direction, verdict, app_protocol, reasons, violations, header_bytes, sampled_bytes, allowlist_rule FROM socket_tls_conformance"}}}
	files := map[string]any{"an0402": pack, "verdicts": verdicts}
	if q := hunt.Queries["payload"]; q != nil {
		q["interval"] = 3600
		files["hunt"] = map[string]any{"queries": map[string]any{"payload": q}}
	}
	if d := pack.Queries["detection"]; d != nil {
		low := maps.Clone(d)
		low["query"] = strings.ReplaceAll(fmt.Sprint(d["query"]), "severity <> 'low'", "severity = 'low'")
		files["low"] = map[string]any{"queries": map[string]any{"detection": low}}
	}
	var names []string
	for name, pack := range files {
		names = append(names, filepath.Join(dir, name+".conf"))
		err = errors.Join(err, writeJSON(names[len(names)-1], pack))
	}
	return names, err
}

func writeJSON(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// startSensor starts the embedded host, with a settings file where one is given.
func startSensor(ctx context.Context, o options, name, config string, length time.Duration) (*sensor, error) {
	s, packs, err := newSensor(o, name)
	if err != nil {
		return nil, err
	}
	args := []string{"run", "--verbose", "--for", length.String(), "--log-dir", s.dir, "--config", config}
	for _, p := range packs {
		args = append(args, "--pack", p)
	}
	s.cmd = exec.CommandContext(ctx, o.ext, args...)
	return s, s.start(ctx)
}

// startOsqueryd starts a real osqueryd with the extension.
func startOsqueryd(ctx context.Context, o options) (*sensor, error) {
	s, packs, err := newSensor(o, "osqueryd")
	if err != nil {
		return nil, err
	}
	named := map[string]string{}
	for _, p := range packs {
		named[strings.TrimSuffix(filepath.Base(p), ".conf")] = p
	}
	config := filepath.Join(s.dir, "osquery.conf")
	if err := writeJSON(config, map[string]any{"packs": named}); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, o.osqueryd, "--ephemeral", "--disable_database", "--disable_watchdog", "--config_plugin=filesystem", "--config_path="+config, "--database_path="+s.dir+"/db", "--logger_plugin=filesystem",
		"--logger_path="+s.dir, "--pidfile="+s.dir+"/pid", "--extensions_socket="+s.dir+"/em", "--extension="+o.ext, "--schedule_splay_percent=0", "--allow_unsafe")
	return s, s.start(ctx)
}

func newSensor(o options, name string) (*sensor, []string, error) {
	s := &sensor{Name: name, dir: filepath.Join(o.work, "sensor-"+name), findings: map[string]finding{}, low: map[string]finding{}}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, nil, err
	}
	packs, err := packs(o, s.dir)
	return s, packs, err
}

func (s *sensor) start(ctx context.Context) error {
	var err error
	if s.log, err = os.Create(filepath.Join(s.dir, "output")); err != nil {
		return err
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go s.follow(ctx)
	return nil
}

// captures waits until the sensor says that it does. osqueryd keeps its extension's words to itself, and gets the time.
func (s *sensor) captures(ctx context.Context) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if said, err := os.ReadFile(filepath.Join(s.dir, "output")); err == nil && bytes.Contains(said, []byte("msg=capturing")) {
			return nil
		}
	}
	if s.Name == "osqueryd" {
		return nil
	}
	return fmt.Errorf("sensor %s does not capture after 20 s", s.Name)
}

// follow reads the results log as it grows.
func (s *sensor) follow(ctx context.Context) {
	var f *os.File
	for f == nil {
		if ctx.Err() != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
		f, _ = os.Open(filepath.Join(s.dir, "osqueryd.results.log"))
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var line []byte
	for ctx.Err() == nil {
		part, err := r.ReadBytes('\n')
		line = append(line, part...)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		s.take(line)
		line = nil
	}
}

// A resultLine is one of osquery's differential results.
type resultLine struct {
	Name, Action string
	Columns      map[string]string
}

// resultLines reads a whole results log.
func resultLines(file string) ([]resultLine, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []resultLine
	for line := range strings.Lines(string(data)) {
		var l resultLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func (s *sensor) take(line []byte) {
	var item resultLine
	if json.Unmarshal(line, &item) != nil || item.Action != "added" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.findings
	switch {
	case strings.HasSuffix(item.Name, "low_detection"):
		to = s.low
	case !strings.HasSuffix(item.Name, "an0402_detection"):
		return
	}
	key := item.Columns["remote_address"] + ":" + item.Columns["remote_port"]
	if _, known := to[key]; !known {
		to[key] = finding{time.Now(), item.Columns}
	}
}

// wait lets the sensor end, and gives every flow that it saw.
func (s *sensor) wait() ([]map[string]string, error) {
	err := s.cmd.Wait()
	time.Sleep(200 * time.Millisecond) // what follow has not read yet
	if err != nil {
		out, _ := os.ReadFile(filepath.Join(s.dir, "output"))
		return nil, fmt.Errorf("sensor %s: %w: %s", s.Name, err, out)
	}
	return s.snapshot("verdicts_flows")
}

// snapshot gives the rows of a query's last snapshot.
func (s *sensor) snapshot(query string) ([]map[string]string, error) {
	f, err := os.Open(filepath.Join(s.dir, "osqueryd.snapshots.log"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []map[string]string
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		var item struct {
			Name     string
			Snapshot []map[string]string
		}
		if len(line) > 0 && json.Unmarshal(line, &item) == nil && strings.HasSuffix(item.Name, query) {
			rows = item.Snapshot
		}
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
