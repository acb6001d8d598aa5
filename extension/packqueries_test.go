package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/sensor"
	"github.com/cipherlens/cipherlens/packs"
)

const (
	implantPath   = "/Library/Application Support/Updater/updated"
	implantLabel  = "com.example.updated"
	implantPlist  = "/Library/LaunchDaemons/com.example.updated.plist"
	implantRemote = "203.0.113.7"
	systemLibrary = "/usr/lib/libSystem.B.dylib"
)

// everythingSeen is the coverage of a host without blind spots.
var everythingSeen = []sensor.Coverage{{Name: "capture", State: sensor.OK}, {Name: "attribution", State: sensor.OK}, {Name: "launchd", State: sensor.OK, Count: 3},
	{Name: "processes", State: sensor.OK}, {Name: "settings", State: sensor.OK}, {Name: "allowlist", State: sensor.OK}}

// benignMac talks as a normal Mac does, and one approved messenger talks in random bytes.
func benignMac() *madeHost {
	safari := sensor.Owner{PID: 300, Path: "/Applications/Safari.app/Contents/MacOS/Safari", Name: "Safari", Attribution: sensor.ByPID}
	flow := func(remote string, v conformance.Verdict, app string) sensor.Flow {
		f := flowTo(remote, safari, v, int64(len(remote)))
		f.Judgement.AppProtocol = app
		return f
	}
	dns, quic := flow("192.0.2.1:53", conformance.KnownProtocol, "dns"), flow("198.51.100.9:443", conformance.QUIC, "")
	dns.Protocol, quic.Protocol = 17, 17
	dns.BytesIn, dns.BytesOut = 0, 60 // no answer
	inbound := flow("10.0.0.9:50123", conformance.TLS, "")
	inbound.Direction = sensor.Inbound
	return &madeHost{
		platform: "darwin",
		flows: []sensor.Flow{dns, quic, inbound, flow("198.51.100.8:443", conformance.TLS, ""), flow("198.51.100.77:22", conformance.KnownProtocol, "ssh"),
			flow("198.51.100.10:80", conformance.KnownProtocol, "http"), flow("198.51.100.12:587", conformance.StartTLS, "smtp")},
		jobs:      []launchd.Job{daemon("com.example.agent", "/Library/Agent/agent")},
		processes: []sensor.Process{processOf(300, 1, safari.Path, ""), processOf(301, 1, "/Library/Agent/agent", "com.example.agent")},
		images: map[string]*image.Report{
			safari.Path:            program(safari.Path, byApple("com.apple.Safari"), symmetric("commoncrypto", systemLibrary, "CCCrypt")),
			"/Library/Agent/agent": program("/Library/Agent/agent", signedBy("EXAMPLE123", "com.example.agent")),
		},
		coverage: everythingSeen,
		core:     map[string][]map[string]string{"processes": {coreProcess(1, 0, "/sbin/launchd"), coreProcess(300, 1, safari.Path)}},
	}
}

// foundMac has an implant: a job of nobody's, with Apple's ciphers, that calls its server every minute in random bytes. A second program of the
// same build lies beside it, another of the same team runs, and a program without owner talks midstream.
func foundMac() *madeHost {
	m := benignMac()
	owner := sensor.Owner{PID: 511, Path: implantPath, Name: "updated", Label: implantLabel, Attribution: sensor.ByPID}
	for i := range int64(6) {
		f := flowTo(implantRemote+":8443", owner, conformance.Random, i*60)
		f.Judgement.HeaderBytes, f.BytesOut = 4, 80_000
		f.Contact = sensor.Contact{Flows: 6, Gaps: 5, Gap: 60}
		m.flows = append(m.flows, f)
	}
	m.flows = append(m.flows, flowTo("198.51.100.8:443", owner, conformance.TLS, 400), // what else it reached
		flowTo("198.51.100.40:9000", sensor.Owner{PID: -1}, conformance.RandomMidstream, 500))
	short := flowTo("198.51.100.41:9001", sensor.Owner{PID: -1, Name: "x"}, conformance.Undetermined, 600)
	short.Judgement.Sample = sampleOf(conformance.Random)
	short.Judgement.Sample.N = 24
	approved := flowTo("198.51.100.42:5222", sensor.Owner{PID: 301, Path: "/Library/Agent/agent"}, conformance.Random, 700)
	approved.AllowlistRule = "messenger"
	deleted := flowTo("198.51.100.43:9002", sensor.Owner{PID: 513, Path: "/private/tmp/gone", Name: "gone"}, conformance.Random, 800)
	m.flows = append(m.flows, short, approved, deleted, hidden(owner))
	m.jobs = append(m.jobs, daemon(implantLabel, implantPath), daemon("com.example.second", "/usr/local/bin/second"))
	m.processes = append(m.processes, processOf(511, 1, implantPath, implantLabel), processOf(512, 511, "/usr/local/bin/second", ""))
	build := adHoc("updated", "b3")
	m.images[implantPath] = program(implantPath, build, symmetric("commoncrypto", systemLibrary, "CCCrypt", "CCCryptorCreate"))
	m.images["/Library/Application Support/Updater/copy"] = program("/Library/Application Support/Updater/copy", build)
	m.images["/usr/local/bin/second"] = program("/usr/local/bin/second", build)
	m.coverage = append(slices.Clone(everythingSeen[1:]), sensor.Coverage{Name: "capture", State: sensor.Blind, Detail: "no live capture", Advice: "run as root"})
	m.core = map[string][]map[string]string{
		"processes": {coreProcess(1, 0, "/sbin/launchd"), coreProcess(300, 1, "/Applications/Safari.app/Contents/MacOS/Safari"), coreProcess(511, 1, implantPath),
			coreProcess(512, 511, "/usr/local/bin/second")},
		"launchd":              {{"path": implantPlist, "label": implantLabel, "program_arguments": implantPath + " --quiet", "start_interval": "60"}},
		"file":                 {{"path": implantPlist, "mtime": "1788000000", "ctime": "1788000001", "btime": "1787000000", "uid": "0", "mode": "0644"}, {"path": implantPath, "size": "51200", "mtime": "1788000002"}},
		"hash":                 {{"path": implantPath, "sha256": strings.Repeat("5", 64)}},
		"signature":            {{"path": implantPath, "signed": "1", "identifier": "updated", "cdhash": build.CDHash, "authority": "", "hash_resources": "0"}},
		"process_open_sockets": {coreSocket(511, 40000, implantRemote+":8443", "ESTABLISHED"), coreSocket(511, 41234, "198.51.100.99:80", "SYN_SENT"), coreSocket(300, 42000, "198.51.100.8:443", "ESTABLISHED")},
	}
	return m
}

// hidden is a flow of HTTP whose bodies are random.
func hidden(owner sensor.Owner) sensor.Flow {
	f := flowTo("198.51.100.70:80", owner, conformance.KnownProtocol, 900)
	f.Judgement.AppProtocol, f.Judgement.Reasons = "http", []string{"protocol_structure", "random_payload"}
	return f
}

// calling is a Mac with an alert whose program came back 24 times; the flows but the first are gone.
func calling(gap, jitter float64) *madeHost {
	m := benignMac()
	f := flowTo(implantRemote+":8443", sensor.Owner{PID: 511, Path: implantPath, Name: "updated"}, conformance.Random, 0)
	f.Contact, f.Kept = sensor.Contact{Flows: 24, Gaps: 23, Gap: gap, Jitter: jitter}, true
	m.flows = append(m.flows, f)
	return m
}

// polling is a Mac with a program that asks nine times, every gap seconds and by turns so much sooner and later, in something that is no alert.
func polling(gap, off int64) *madeHost {
	m := benignMac()
	for i := range int64(9) {
		m.flows = append(m.flows, flowTo("198.51.100.60:7000", sensor.Owner{PID: 600, Path: "/opt/agent"}, conformance.Structured, i*gap+i%2*off))
	}
	return m
}

func benignLinux() *madeHost {
	m := benignMac()
	m.platform = "linux"
	curl := sensor.Owner{PID: 700, Path: "/usr/bin/curl", Name: "curl", Attribution: sensor.BySocket}
	for i := range m.flows {
		m.flows[i].Owner = curl
	}
	upload := flowTo("198.51.100.8:443", curl, conformance.TLS, 30)
	upload.BytesOut = 9 << 20
	m.flows = append(m.flows, upload)
	m.jobs = nil
	m.images = map[string]*image.Report{"/usr/bin/curl": {Path: "/usr/bin/curl", Format: "elf", Evidence: []image.Evidence{symmetric("openssl", "libcrypto.so.3", "EVP_EncryptInit_ex")}}}
	m.processes = []sensor.Process{processOf(700, 1, "/usr/bin/curl", "")}
	m.core = nil
	return m
}

// foundLinux has a unit of no package, linked with libcrypto, that talks in random bytes and drains data; and python talking in random bytes.
func foundLinux() *madeHost {
	m := benignLinux()
	m.coverage = append(slices.Clone(everythingSeen[1:]), sensor.Coverage{Name: "capture", State: sensor.Degraded, Detail: "dropped", Advice: "wait"})
	drain := sensor.Owner{PID: 801, Path: "/opt/drain/drain", Name: "drain", Label: "drain.service", Attribution: sensor.BySocket}
	f := flowTo(implantRemote+":4444", drain, conformance.Random, 1)
	f.BytesOut, f.BytesIn = 4<<20, 100
	m.flows = append(m.flows, f)
	for i := range int64(5) {
		f := flowTo(implantRemote+":4445", sensor.Owner{PID: 802, Path: "/usr/bin/python3.13", Name: "python3"}, conformance.Random, 2+60*i)
		f.Contact = sensor.Contact{Flows: 5, Gaps: 4, Gap: 60}
		m.flows = append(m.flows, f)
	}
	m.flows = append(m.flows, hidden(drain))
	m.images[drain.Path] = &image.Report{Path: drain.Path, Format: "elf", Evidence: []image.Evidence{symmetric("openssl", "libcrypto.so.3", "EVP_EncryptInit_ex")}}
	m.images["/usr/bin/python3.13"] = &image.Report{Path: "/usr/bin/python3.13", Format: "elf"}
	m.processes = append(m.processes, processOf(801, 1, drain.Path, drain.Label))
	m.core = map[string][]map[string]string{
		"systemd_units":        {{"id": "drain.service", "fragment_path": "/etc/systemd/system/drain.service", "unit_file_state": "enabled"}, {"id": "cron.service", "fragment_path": "/usr/lib/systemd/system/cron.service"}},
		"processes":            {coreProcess(1, 0, "/usr/lib/systemd/systemd"), coreProcess(801, 1, drain.Path)},
		"process_open_sockets": {coreSocket(801, f.Local.Port(), implantRemote+":4444", "ESTABLISHED")},
	}
	return m
}

// packQueries are the queries of all packs that are for a platform, by pack/name.
func packQueries(t testing.TB, platform string) map[string]packs.Query {
	t.Helper()
	dir := os.DirFS("../packs")
	names, err := packs.Names(dir)
	require.NoError(t, err)
	found := map[string]packs.Query{}
	for _, name := range names {
		queries, err := packs.Queries(dir, name)
		require.NoError(t, err)
		for _, q := range queries {
			if slices.Contains(strings.Split(q.Platform, ","), platform) {
				found[name+"/"+q.Name] = q
			}
		}
	}
	return found
}

// pasted is a response query with a value where an analyst pastes it, any other as it is.
func pasted(q packs.Query, value string) string {
	sql, err := packs.Paste(q.SQL, value)
	if err != nil {
		return q.SQL
	}
	return sql
}

// oneCall requires that each table was asked once at most.
func oneCall(t *testing.T, counted *calls, query string) {
	t.Helper()
	for table, n := range counted.take() {
		require.Equal(t, 1, n, "%s calls %s", query, table)
	}
}

// ask runs a statement on a host, requires one call a table, and gives its rows.
func ask(t *testing.T, m *madeHost, name, sql string) []map[string]string {
	t.Helper()
	host, counted := m.host(t)
	result, err := host.Query(t.Context(), sql)
	require.NoError(t, err, name)
	oneCall(t, counted, name)
	return result.Maps()
}

func TestEveryQueryFindsAndMakesOneCallATable(t *testing.T) {
	t.Parallel()
	for _, m := range []*madeHost{foundMac(), foundLinux()} {
		host, counted := m.host(t)
		values := map[string][]string{"darwin": {"511", implantPath, implantLabel, implantRemote}, "linux": {"801", "/opt/drain/drain", "drain.service", implantRemote}}[m.platform]
		for name, q := range packQueries(t, m.platform) {
			statements := []string{q.SQL}
			if q.Kind == packs.Response {
				result, err := host.Query(t.Context(), q.SQL)
				require.NoError(t, err, name)
				require.Empty(t, result.Rows, name)
				require.Empty(t, counted.take(), "%s, with nothing pasted, calls nothing", name)
				statements = nil
				for _, value := range values {
					statements = append(statements, pasted(q, value))
				}
			}
			for _, sql := range statements {
				result, err := host.Query(t.Context(), sql)
				require.NoError(t, err, name)
				require.NotEmpty(t, result.Rows, "%s on %s finds something: %.60s", name, m.platform, sql)
				oneCall(t, counted, name)
			}
		}
	}
}

func TestBenignHostsHaveNoFindings(t *testing.T) {
	t.Parallel()
	for _, m := range []*madeHost{benignMac(), benignLinux()} {
		host, _ := m.host(t)
		quiet := 0
		for name, q := range packQueries(t, m.platform) {
			if q.Kind != packs.Finding && q.Kind != packs.Figures {
				continue
			}
			result, err := host.Query(t.Context(), q.SQL)
			require.NoError(t, err, name)
			require.Empty(t, result.Maps(), "%s on %s", name, m.platform)
			quiet++
		}
		require.GreaterOrEqual(t, quiet, 4)
	}
}

// exceptionKey is what an allowlist rule copies: an identity in the short form, and where to.
var exceptionKey = regexp.MustCompile(`^(.+?)(?: to (\S+))?(?: port ([0-9]+))?$`)

func TestExceptionKeysCanBeCopied(t *testing.T) {
	t.Parallel()
	for _, m := range []*madeHost{foundMac(), foundLinux()} {
		host, _ := m.host(t)
		keys := 0
		for name, q := range packQueries(t, m.platform) {
			if q.Kind == packs.Evidence {
				continue
			}
			result, err := host.Query(t.Context(), pasted(q, implantRemote))
			require.NoError(t, err, name)
			for _, row := range result.Maps() {
				if row["exception_key"] == "" {
					require.False(t, strings.HasPrefix(row["path"], "/"), "%s: %v", name, row)
					continue
				}
				part := exceptionKey.FindStringSubmatch(row["exception_key"])
				require.NotNil(t, part, "%s: %s", name, row["exception_key"])
				_, err := allowlist.Short(part[1])
				require.NoError(t, err, name)
				if part[2] != "" {
					_, ok := config.Network(part[2])
					require.True(t, ok, "%s: %s", name, row["exception_key"])
				}
				keys++
			}
		}
		require.Greater(t, keys, 5)
	}
}

// has requires a row with these values.
func has(t *testing.T, rows []map[string]string, want map[string]string) {
	t.Helper()
	for _, row := range rows {
		same := true
		for column, value := range want {
			same = same && row[column] == value
		}
		if same {
			return
		}
	}
	require.Fail(t, "no such row", "want %v in %v", want, rows)
}

func TestWhatQueriesShow(t *testing.T) {
	t.Parallel()
	cdhash := "cdhash:" + strings.Repeat("b3", 20)
	for _, tt := range []struct {
		query, pasted string
		on            *madeHost
		rows          int // 0: any
		want          map[string]string
	}{
		{"an0402/detection", "", foundMac(), 1, map[string]string{"severity": "high", "reasons": "launchd_job,signature_adhoc,apple_symmetric_api,random", "persistence": "keep_alive",
			"plist_path": implantPlist, "provider": "commoncrypto", "why": "random after 4 clear bytes", "exception_key": cdhash + " to " + implantRemote + " port 8443"}},
		{"an0402/flows", "", foundMac(), 7, map[string]string{"lopsided": "1", "regular": "1", "contacts": "6", "contact_gap": "60.0", "contact_jitter": "0.0", "strong_symmetric": "1"}},
		{"an0402/jobs", "", foundMac(), 1, map[string]string{"label": implantLabel, "exception_key": "path:" + implantPath}},
		{"an0402-hunt/random", "", foundMac(), 10, map[string]string{"notes": "midstream,no_owner,no_crypto_seen", "remote_address": "198.51.100.40", "exception_key": ""}},
		{"an0402-hunt/random", "", foundMac(), 10, map[string]string{"notes": "short,no_owner,no_crypto_seen", "process_name": "x"}},
		{"an0402-hunt/random", "", foundMac(), 10, map[string]string{"notes": "allowlisted,no_crypto_seen", "allowlist_rule": "messenger", "exception_key": "signing:EXAMPLE123:com.example.agent to 198.51.100.42 port 5222"}},
		{"an0402-hunt/random", "", foundMac(), 10, map[string]string{"notes": "executable_gone,no_crypto_seen", "path": "/private/tmp/gone", "exception_key": "path:/private/tmp/gone to 198.51.100.43 port 9002"}},
		{"an0402-hunt/payload", "", foundMac(), 1, map[string]string{"path": implantPath, "app_protocol": "http", "remote_port": "80", "flows": "1", "signature": "adhoc", "strong_symmetric": "1",
			"exception_key": cdhash + " to 198.51.100.70 port 80"}},
		{"an0402-hunt/payload", "", foundLinux(), 1, map[string]string{"path": "/opt/drain/drain", "signature": ""}},
		{"an0402-hunt/regular", "", foundMac(), 1, map[string]string{"contacts": "6", "contact_gap": "60.0", "path": implantPath, "strong_symmetric": "1"}},
		{"an0402-hunt/regular", "", calling(3600, 0.125), 1, map[string]string{"contacts": "24", "contact_gap": "3600.0", "contact_jitter": "0.125", "verdicts": "random", "path": implantPath}},
		{"an0402/flows", "", calling(3600, 0.125), 1, map[string]string{"regular": "1", "contacts": "24", "contact_gap": "3600.0", "contact_jitter": "0.125"}},
		{"an0402/flows", "", calling(3600, 0.75), 1, map[string]string{"regular": "0", "contacts": "24", "contact_jitter": "0.75"}},
		{"an0402-hunt/regular", "", polling(60, 0), 1, map[string]string{"contacts": "9", "contact_gap": "60.0", "contact_jitter": "0.0", "verdicts": "structured"}},
		{"an0402-egress/outbound", "", foundMac(), 4, map[string]string{"identity": cdhash, "remote_port": "8443", "verdict": "random", "profile": "no_profile", "flows": "6", "bytes_out": "480000"}},
		{"an0402-egress/seen", "", foundMac(), 3, map[string]string{"identity": cdhash, "remote_port": "8443", "profile": "no_profile", "exception_key": cdhash + " port 8443"}},
		{"an0402-coverage/host", "", foundMac(), 1, map[string]string{"platform": "darwin", "state": "blind", "essential": "blind", "capture": "blind", "jobs": "ok", "items": "6", "items_ok": "5", "blind": "capture", "degraded": ""}},
		{"an0402-coverage/host", "", benignLinux(), 1, map[string]string{"platform": "linux", "state": "ok", "essential": "ok", "full_disk_access": "", "items_ok": "6", "blind": ""}},
		{"an0402-coverage/items", "", foundMac(), 6, map[string]string{"platform": "darwin", "name": "capture", "ok": "0", "degraded": "0", "blind": "1"}},
		{"an0402-coverage/gaps", "", foundMac(), 1, map[string]string{"name": "capture", "state": "blind", "advice": "run as root"}},
		{"an0402-coverage/extension", "", foundMac(), 1, map[string]string{"platform": "darwin", "present": "1", "exception_key": "extension:ok"}},
		{"an0402-response/job", "511", foundMac(), 1, map[string]string{"label": implantLabel, "plist_path": implantPlist, "plist_modified": "1788000000", "plist_created": "1787000000",
			"program_arguments": implantPath + " --quiet", "start_interval": "60", "symmetric_crypto": "commoncrypto"}},
		{"an0402-response/lineage", implantLabel, foundMac(), 2, map[string]string{"of_pid": "511", "generation": "1", "pid": "1", "path": "/sbin/launchd"}},
		{"an0402-response/lineage", "512", foundMac(), 3, map[string]string{"of_pid": "512", "generation": "1", "pid": "511", "launchd_label": implantLabel}},
		{"an0402-response/signature", implantRemote, foundMac(), 1, map[string]string{"path": implantPath, "sha256": strings.Repeat("5", 64), "signature": "adhoc", "codesign_identifier": "updated",
			"file_modified": "1788000002", "symmetric_crypto": "commoncrypto (strong)"}},
		{"an0402-response/signature", "/usr/local/bin/second", foundMac(), 1, map[string]string{"path": "/usr/local/bin/second", "sha256": "", "signature": "adhoc"}},
		{"an0402-response/sockets", implantPath, foundMac(), 9, map[string]string{"remote_address": "198.51.100.99", "state": "SYN_SENT", "verdict": ""}},
		{"an0402-response/sockets", implantPath, foundMac(), 9, map[string]string{"remote_address": implantRemote, "local_port": "40000", "state": "ESTABLISHED", "verdict": "random"}},
		{"an0402-response/related", implantRemote, foundMac(), 6, map[string]string{"kind": "file", "path": "/Library/Application Support/Updater/copy", "same": "cdhash,", "asked_for": "0"}},
		{"an0402-response/related", implantRemote, foundMac(), 6, map[string]string{"kind": "job", "name": "com.example.second", "same": "cdhash,"}},
		{"an0402-response/reach", "511", foundMac(), 3, map[string]string{"remote_address": "198.51.100.8", "verdict": "tls", "reached_by": "/Applications/Safari.app/Contents/MacOS/Safari"}},
		{"an0401/detection", "", foundLinux(), 2, map[string]string{"severity": "high", "reasons": "systemd_unit,unit_of_no_package,libcrypto,random", "systemd_unit": "drain.service",
			"unit_path": "/etc/systemd/system/drain.service", "exception_key": "path:/opt/drain/drain to " + implantRemote + " port 4444"}},
		{"an0401/detection", "", foundLinux(), 2, map[string]string{"severity": "medium", "unexpected": "interpreter", "path": "/usr/bin/python3.13", "reasons": "interpreter,random"}},
		{"an0401/libcrypto", "", foundLinux(), 1, map[string]string{"pid": "801", "random_flows": "1", "lopsided_flows": "1", "asymmetry_ratio": "41943.0", "library": "libcrypto.so.3"}},
		{"an0401/units", "", foundLinux(), 2, map[string]string{"systemd_unit": "drain.service", "persistence": "enabled", "provider": "openssl"}},
		{"an0402-response/reach", "drain.service", foundLinux(), 2, map[string]string{"remote_port": "4444", "verdict": "random"}},
	} {
		q, known := packQueries(t, tt.on.platform)[tt.query]
		require.True(t, known, tt.query)
		rows := ask(t, tt.on, tt.query, pasted(q, tt.pasted))
		if tt.rows > 0 {
			require.Len(t, rows, tt.rows, "%s %s: %v", tt.query, tt.pasted, rows)
		}
		has(t, rows, tt.want)
	}
}

// TestUnevenContactIsNotRegular: the standard deviation of gaps of 60 s that are by turns so much longer and shorter is 22% of 60 s, and 27%
// (statistics.stdev of Python).
func TestUnevenContactIsNotRegular(t *testing.T) {
	t.Parallel()
	sql := packQueries(t, "darwin")["an0402-hunt/regular"].SQL
	require.Len(t, ask(t, polling(60, 12), "regular", sql), 1)
	require.Empty(t, ask(t, polling(60, 15), "regular", sql))
	require.Empty(t, ask(t, calling(3600, 0.75), "regular", sql))
}

// TestTrustedCryptoLibs: AN0401's TrustedCryptoLibs take the evidence away.
func TestTrustedCryptoLibs(t *testing.T) {
	t.Parallel()
	m := foundLinux()
	m.trusted = []string{"libcrypto.so.3"}
	queries := packQueries(t, "linux")
	rows := ask(t, m, "an0401/detection", queries["an0401/detection"].SQL)
	require.Len(t, rows, 1, "the interpreter is left: it needs no library")
	require.Equal(t, "/usr/bin/python3.13", rows[0]["path"])
	require.Empty(t, ask(t, m, "an0401/libcrypto", queries["an0401/libcrypto"].SQL))
	require.Empty(t, ask(t, m, "an0401/units", queries["an0401/units"].SQL))
}

// TestDifferencesAreNews: what changes while a finding lasts is not in the lines of queries that log differences.
func TestDifferencesAreNews(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]string{{"darwin", "an0402/detection"}, {"darwin", "an0402/jobs"}, {"darwin", "an0402-egress/seen"}, {"linux", "an0401/detection"}, {"linux", "an0401/units"}} {
		platform, name := tt[0], tt[1]
		m := map[string]func() *madeHost{"darwin": foundMac, "linux": foundLinux}[platform]()
		q := packQueries(t, platform)[name]
		require.False(t, q.Snapshot)
		before := ask(t, m, name, q.SQL)
		for i := range m.flows {
			f := &m.flows[i]
			f.LastSeen, f.BytesOut, f.BytesIn, f.PacketsIn = f.LastSeen+600, f.BytesOut+5, f.BytesIn*90, f.PacketsIn+4
		}
		again := flowTo(implantRemote+":8443", sensor.Owner{PID: 999, Path: implantPath, Name: "updated", Label: implantLabel}, conformance.Random, 3600)
		again.Local = netip.MustParseAddrPort("192.0.2.10:50999")
		if platform == "darwin" {
			m.flows = append(m.flows, again)
		}
		for i := range m.processes {
			m.processes[i].StartTime += 60
		}
		require.Equal(t, before, ask(t, m, name, q.SQL))
	}
}

// TestWithoutExtension: the query that says whether the sensor runs answers where it does not.
func TestWithoutExtension(t *testing.T) {
	t.Parallel()
	q := packQueries(t, "darwin")["an0402-coverage/extension"]
	host, _ := benignMac().coreOnly(t)
	result, err := host.Query(t.Context(), q.SQL)
	require.NoError(t, err)
	require.Len(t, result.Rows, 1)
	row := result.Maps()[0]
	require.Equal(t, map[string]string{"platform": "darwin", "osquery_version": "5.23.1", "present": "0", "extension_version": "", "exception_key": "extension:blind"}, row)
}

// TestCallsAreCounted: the check for one call a table sees a statement that makes more.
func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	host, counted := foundMac().host(t)
	_, err := host.Query(t.Context(), "SELECT 1 FROM socket_tls_conformance AS flow JOIN file_crypto_linkage AS linkage ON linkage.path = flow.path")
	require.NoError(t, err)
	require.Greater(t, counted.take()["file_crypto_linkage"], 1)
}

// TestCopiedKeysApprove: rules made of the demo's exception keys, as docs/packs.md says, leave no finding.
func TestCopiedKeysApprove(t *testing.T) {
	t.Parallel()
	detection := packQueries(t, "darwin")["an0402/detection"].SQL
	found := func(settings string) []map[string]string {
		var out, errs bytes.Buffer
		require.Zero(t, execute([]string{"query", "--json", "--root", demo + "/root", "--capture", demo + "/capture.pcapng", "--config", settings, detection}, &out, &errs), errs.String())
		var rows []map[string]string
		require.NoError(t, json.Unmarshal(out.Bytes(), &rows))
		return rows
	}
	before := found(demo + "/config.yaml")
	require.Len(t, before, 2)
	rules := "rules:\n"
	for i, row := range before {
		part := exceptionKey.FindStringSubmatch(row["exception_key"])
		kind, value, _ := strings.Cut(part[1], ":")
		rules += fmt.Sprintf("  - {name: copied-%d, %s: %s, networks: [%s], ports: [%s], approved_by: test, reason: copied}\n", i, kind, value, part[2], part[3])
	}
	dir := t.TempDir()
	messenger, err := os.ReadFile(demo + "/allowlist.d/messenger.yaml")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(dir+"/allowlist.d", 0o755))
	require.NoError(t, os.WriteFile(dir+"/config.yaml", nil, 0o644))
	require.NoError(t, os.WriteFile(dir+"/allowlist.d/messenger.yaml", messenger, 0o644))
	require.NoError(t, os.WriteFile(dir+"/allowlist.d/copied.yaml", []byte(rules), 0o644))
	require.Empty(t, found(dir+"/config.yaml"))
}

// TestMarksCountWhereNobodyVouches: what a linked-in library leaves in a program is evidence in one that nobody vouches for, and not in signed software, which often
// brings a TLS library.
func TestMarksCountWhereNobodyVouches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		signature string
		evidence  string
		severity  string // empty: no finding
	}{
		{image.SignedAdhoc, "weak", "medium"},
		{image.Unsigned, "weak", "medium"},
		{image.SignedDeveloperID, "weak", ""},
		{image.SignedApple, "weak", ""},
		{image.SignedAdhoc, "", ""},
		{image.SignedDeveloperID, "strong", "medium"},
	} {
		m := &madeHost{platform: "darwin", images: map[string]*image.Report{}}
		report := &image.Report{Path: "/opt/x", Signature: image.Signature{Kind: tt.signature}}
		if tt.evidence != "" {
			report.Evidence = []image.Evidence{{Provider: "go", Class: "symmetric", Strength: tt.evidence, Symbols: []string{"crypto/aes"}}}
		}
		m.images["/opt/x"] = report
		m.flows = []sensor.Flow{flowTo("203.0.113.9:4444", sensor.Owner{PID: 7, Path: "/opt/x"}, conformance.Random, 1)}
		rows := ask(t, m, "an0402/detection", packQueries(t, m.platform)["an0402/detection"].SQL)
		if tt.severity == "" {
			require.Empty(t, rows, "%+v", tt)
			continue
		}
		require.Len(t, rows, 1, "%+v", tt)
		require.Equal(t, tt.severity, rows[0]["severity"])
		require.Equal(t, "go", rows[0]["provider"])
		if tt.evidence == "weak" {
			require.Contains(t, rows[0]["reasons"], "symmetric_marker,random")
		}
	}
}
