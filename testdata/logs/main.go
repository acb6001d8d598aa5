// Command logs makes osquery result logs of a made-up fleet, in the shapes that osquery's filesystem, TLS and Kafka loggers and Fleet write, and
// says what is in them: truth.tsv has the number of hosts, days and rows of each identity and of each of its destinations, counted by sorting
// what was made. The same seed makes the same files.
//
//	go run ./logs -hosts 10000 -days 30 -out /tmp/logs
package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	hosts := flag.Int("hosts", 100, "number of hosts")
	days := flag.Int("days", 30, "number of days")
	seed := flag.Uint64("seed", 1, "makes other logs of the same kind")
	start := flag.String("start", "2026-10-24", "first day, UTC")
	files := flag.Int("files", 20, "number of log files; every second one is compressed")
	out := flag.String("out", "", "folder, made anew")
	flag.Parse()
	first, err := time.Parse(time.DateOnly, *start)
	if err != nil || *out == "" || *files < 1 {
		flag.Usage()
		os.Exit(2)
	}
	f := fleet{hosts: *hosts, days: *days, seed: *seed, first: first, files: *files, destinations: map[destination]uint32{}}
	if err := f.write(*out); err != nil {
		log.Fatal(err)
	}
}

// software is one program of the fleet.
type software struct {
	signature, team, signing, cdhash, path, verdict, label string
	share                                                  float64 // of hosts that have it
	active                                                 float64 // chance that a host sees it on a day
	servers                                                int     // its servers; 0: peers, other ones each time
	port                                                   uint16
	protocol                                               uint8
	from                                                   int // first day
}

// identity is what the documentation of baseline learn defines.
func (s *software) identity() string {
	switch {
	case s.team != "":
		return "signing:" + s.team + ":" + s.signing
	case s.signature == "apple":
		return "signing:" + s.signing
	case s.cdhash != "":
		return "cdhash:" + s.cdhash
	}
	return "path:" + s.path
}

// catalogue is what the made-up fleet runs: a few programs that are everywhere, many that are somewhere, peers, and an implant that begins late.
func catalogue(r *rand.Rand) []software {
	list := []software{
		{signature: "developer_id", team: "6N38VWS5BX", signing: "ru.keepcoder.Telegram", path: "/Applications/Telegram.app/Contents/MacOS/Telegram", verdict: "random", share: 0.3, active: 0.8, servers: 12, port: 443, protocol: 6},
		{signature: "developer_id", team: "H7UGFBUGV6", signing: "com.teamviewer.TeamViewer", path: "/Applications/TeamViewer.app/Contents/MacOS/TeamViewer", verdict: "random", share: 0.2, active: 0.3, servers: 40, port: 5938, protocol: 6},
		{signature: "apple", signing: "com.apple.made.up", path: "/System/Library/PrivateFrameworks/MadeUp.framework/madeupd", label: "com.apple.madeupd", verdict: "random", share: 1, active: 0.1, servers: 3, port: 7443, protocol: 17},
		{signature: "developer_id", team: "PEERPEERPE", signing: "com.example.torrent", path: "/Applications/Torrent.app/Contents/MacOS/Torrent", verdict: "random", share: 0.05, active: 0.7, port: 6881, protocol: 17},
		{signature: "adhoc", path: "/Users/Shared/.cache/updater", label: "com.example.updater", verdict: "tls_mimic", share: 0.001, active: 0.9, servers: 1, port: 443, protocol: 6, from: 20},
	}
	for i := range 60 {
		s := software{
			verdict: "random", share: 0.002 + 0.2*r.Float64()*r.Float64(), active: 0.05 + 0.5*r.Float64(), servers: 1 + r.IntN(30),
			port: uint16(1024 + r.IntN(40000)), protocol: []uint8{6, 17}[r.IntN(2)], path: fmt.Sprintf("/opt/vendor %d/bin/tool", i), from: max(0, r.IntN(60)-40),
		}
		switch i % 4 {
		case 0, 1:
			s.signature, s.team, s.signing = "developer_id", fmt.Sprintf("TEAM%06d", i), fmt.Sprintf("com.vendor%d.tool", i)
		case 2:
			s.signature, s.cdhash = "adhoc", fmt.Sprintf("%040x", r.Uint64())
		case 3:
			s.signature, s.verdict = "unsigned", "tls_mimic"
		}
		list = append(list, s)
	}
	return list
}

type destination struct {
	address  netip.Addr
	port     uint16
	protocol uint8
}

// event is one row that was logged.
type event struct {
	software    uint16
	day         uint16
	destination uint32
	host        uint32
}

type fleet struct {
	hosts, days, files int
	seed               uint64
	first              time.Time
	software           []software
	destinations       map[destination]uint32
	places             []destination
	events             []event
	lines              int
}

func (f *fleet) write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return err
	}
	f.software = catalogue(rand.New(rand.NewPCG(f.seed, 0)))
	for file := range min(f.files, f.hosts) {
		if err := f.writeFile(filepath.Join(dir, "logs"), file); err != nil {
			return err
		}
	}
	return f.writeTruth(filepath.Join(dir, "truth.tsv"))
}

// shapes are how the hosts' lines reach the log, one shape a file.
var shapes = []string{"filesystem", "snapshot", "fleet", "tls", "diffresults"}

// writeFile writes the lines of every host that logs into this file, day by day.
func (f *fleet) writeFile(dir string, file int) (err error) {
	shape := shapes[file%len(shapes)]
	name := filepath.Join(dir, fmt.Sprintf("%02d-%s.log", file, shape))
	if file%2 == 1 {
		name += ".gz"
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, out.Close()) }()
	w := bufio.NewWriterSize(out, 1<<20)
	defer func() { err = cmp.Or(err, w.Flush()) }()
	var text io.Writer = w
	if strings.HasSuffix(name, ".gz") {
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		defer func() { err = cmp.Or(err, z.Close()) }()
		text = z
	}
	lines := bufio.NewWriterSize(text, 1<<16)
	defer func() { err = cmp.Or(err, lines.Flush()) }()
	var hosts []*host
	for number := file; number < f.hosts; number += f.files {
		hosts = append(hosts, f.host(number, shape))
	}
	for day := range f.days {
		for _, h := range hosts {
			if err := h.day(lines, day); err != nil {
				return err
			}
		}
	}
	return nil
}

// host is one host: what it has, and how it logs.
type host struct {
	*fleet
	number  int
	name    string
	shape   string
	old     bool // its pack is of before exception_key
	has     []int
	r       *rand.Rand
	counter int
}

func (f *fleet) host(number int, shape string) *host {
	h := &host{fleet: f, number: number, shape: shape, old: number%3 == 0, r: rand.New(rand.NewPCG(f.seed, uint64(number)+1))}
	h.name = fmt.Sprintf("%08X-0000-4000-8000-%012X", number*7919, number)
	for i, s := range f.software {
		if h.r.Float64() < s.share || i == 4 && number < 3 {
			h.has = append(h.has, i)
		}
	}
	return h
}

// day writes what one host logs on one day: its findings, and lines that no one learns from.
func (h *host) day(w io.Writer, day int) error {
	var rows []map[string]string
	for _, i := range h.has {
		s := &h.software[i]
		if day < s.from || h.r.Float64() >= s.active {
			continue
		}
		for range 1 + h.r.IntN(3) {
			d := h.place(i, s)
			h.events = append(h.events, event{uint16(i), uint16(day), h.number32(d), uint32(h.number)})
			rows = append(rows, h.row(s, d))
		}
	}
	at := h.first.AddDate(0, 0, day).Add(time.Duration(h.r.IntN(86400)) * time.Second)
	noise := map[string]any{"columns": map[string]string{"name": "capture", "state": "ok", "remote_port": "443"}, "action": "added"}
	lines := []map[string]any{h.line("coverage", at, noise)}
	if len(rows) > 0 {
		lines = append(lines, h.line("detection", at, map[string]any{"columns": rows[0], "action": "removed"}))
		lines = append(lines, h.findings(at, rows)...)
	}
	if h.shape == "tls" {
		lines = []map[string]any{{"node_key": "secret", "log_type": "result", "data": lines}}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		h.lines++
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// findings puts a day's rows into the shape's lines.
func (h *host) findings(at time.Time, rows []map[string]string) (lines []map[string]any) {
	switch h.shape {
	case "snapshot", "fleet":
		return []map[string]any{h.line("detection", at, map[string]any{"snapshot": rows, "action": "snapshot"})}
	case "diffresults":
		return []map[string]any{h.line("detection", at, map[string]any{"diffResults": map[string]any{"added": rows, "removed": rows[:1]}})}
	}
	for _, row := range rows {
		lines = append(lines, h.line("detection", at, map[string]any{"columns": row, "action": "added"}))
	}
	return lines
}

// line is one result of one query.
func (h *host) line(query string, at time.Time, what map[string]any) map[string]any {
	h.counter++
	what["name"] = "pack_an0402_" + query
	if h.shape == "fleet" {
		what["name"] = "pack/Global/an0402_" + query
	}
	what["hostIdentifier"] = h.name
	what["calendarTime"] = at.Format("Mon Jan _2 15:04:05 2006") + " UTC"
	what["unixTime"] = at.Unix()
	what["epoch"], what["counter"], what["numerics"] = 0, h.counter, false
	what["decorations"] = map[string]string{"asset_tag": fmt.Sprintf("mac-%05d", h.number)}
	return what
}

// row is one row of the pack's query detection.
func (h *host) row(s *software, d destination) map[string]string {
	row := map[string]string{
		"severity": "high", "reasons": "signature_" + s.signature + ",symmetric_api," + s.verdict, "launchd_label": s.label, "plist_path": "", "persistence": "",
		"path": s.path, "process_name": filepath.Base(s.path), "pid": fmt.Sprint(300 + h.r.IntN(9000)), "signature": s.signature, "signing_id": s.signing,
		"team_id": s.team, "cdhash": s.cdhash, "provider": "commoncrypto", "symbols": "CCCryptorCreate,CCCryptorUpdate", "protocol": fmt.Sprint(d.protocol),
		"remote_address": d.address.String(), "remote_port": fmt.Sprint(d.port), "verdict": s.verdict, "why": "random from the start",
	}
	if !h.old {
		row["exception_key"] = fmt.Sprintf("%s to %s port %d", s.identity(), d.address, d.port)
	}
	return row
}

// place is a server of the software, or any peer.
func (h *host) place(i int, s *software) destination {
	if s.servers == 0 {
		return destination{netip.AddrFrom4([4]byte{byte(1 + h.r.IntN(200)), byte(h.r.IntN(256)), byte(h.r.IntN(256)), byte(h.r.IntN(256))}), s.port + uint16(h.r.IntN(3)), s.protocol}
	}
	n := byte(h.r.IntN(s.servers))
	address := netip.AddrFrom4([4]byte{198, 18, byte(i), n})
	if i%5 == 4 {
		address = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i), 15: n})
	}
	return destination{address, s.port, s.protocol}
}

// number32 numbers destinations.
func (f *fleet) number32(d destination) uint32 {
	n, known := f.destinations[d]
	if !known {
		n = uint32(len(f.places))
		f.destinations[d] = n
		f.places = append(f.places, d)
	}
	return n
}

// writeTruth counts by sorting: kind, identity, remote_address, remote_port, protocol, hosts, days, rows, destinations.
func (f *fleet) writeTruth(name string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	all := group{}
	all.count(f.events)
	var pairs int
	identities := f.split(func(e event) uint64 { return uint64(e.software) })
	for _, of := range identities {
		pairs += len(f.splitEvents(of, func(e event) uint64 { return uint64(e.destination) }))
	}
	fmt.Fprintf(w, "total\t\t\t\t\t%d\t%d\t%d\t%d\n", all.hosts, all.days, len(f.events), pairs)
	for _, of := range identities {
		name := f.software[of[0].software].identity()
		places := f.splitEvents(of, func(e event) uint64 { return uint64(e.destination) })
		var g group
		g.count(of)
		fmt.Fprintf(w, "identity\t%s\t\t\t\t%d\t%d\t%d\t%d\n", name, g.hosts, g.days, len(of), len(places))
		for _, events := range places {
			d := f.places[events[0].destination]
			g.count(events)
			fmt.Fprintf(w, "destination\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", name, d.address, d.port, d.protocol, g.hosts, g.days, len(events))
		}
	}
	fmt.Fprintf(w, "lines\t\t\t\t\t\t\t%d\t\n", f.lines)
	return cmp.Or(w.Flush(), out.Close())
}

// split sorts all events by a key and cuts them where it changes.
func (f *fleet) split(key func(event) uint64) [][]event { return f.splitEvents(f.events, key) }

func (f *fleet) splitEvents(events []event, key func(event) uint64) [][]event {
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(key(a), key(b)) })
	var parts [][]event
	from := 0
	for i := range events {
		if i > 0 && key(events[i]) != key(events[i-1]) {
			parts = append(parts, events[from:i])
			from = i
		}
	}
	if len(events) > 0 {
		parts = append(parts, events[from:])
	}
	return parts
}

// group is how many hosts and days some events have.
type group struct{ hosts, days int }

func (g *group) count(events []event) {
	distinct := func(value func(event) int) int {
		values := make([]int, len(events))
		for i, e := range events {
			values[i] = value(e)
		}
		slices.Sort(values)
		return len(slices.Compact(values))
	}
	g.hosts = distinct(func(e event) int { return int(e.host) })
	g.days = distinct(func(e event) int { return int(e.day) })
}
