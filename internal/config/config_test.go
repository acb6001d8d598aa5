package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	c := Default()
	require.NoError(t, c.validate())
	require.Equal(t, 0.999, c.PayloadEntropyThreshold)
	require.Equal(t, Duration(15*time.Minute), c.TimeWindow)
	require.Equal(t, Bytes(32<<20), c.MemoryBudget)
}

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := Parse(Default(), "c.yaml", []byte(`payload_entropy_threshold: 0.99
doh_resolvers: [192.0.2.53, dns.example]
time_window: 30m
allowed_crypto_processes: ["team:ABCDE12345"]
trusted_crypto_libs: [libssl.3.dylib]
traffic_asymmetry_ratio: 8
port_profiles: [{port: 8443, protocol: tcp, verdicts: [tls]}]
traffic_volume_threshold: 1024
record_sni: none
memory_budget: 16MiB
state_file: /srv/alerts
`))
	require.NoError(t, err)
	require.Equal(t, Config{
		PayloadEntropyThreshold: 0.99, DoHResolvers: []string{"192.0.2.53", "dns.example"}, TimeWindow: Duration(30 * time.Minute),
		AllowedCryptoProcesses: []string{"team:ABCDE12345"}, TrustedCryptoLibs: []string{"libssl.3.dylib"}, TrafficAsymmetryRatio: 8,
		PortProfiles: []PortProfile{{8443, "tcp", []string{"tls"}}}, TrafficVolumeThreshold: 1024, RecordSNI: "none", MemoryBudget: 16 << 20,
		StateFile: "/srv/alerts",
	}, c)
	c, err = Parse(c, "custom_cipherlens", []byte(`{"time_window": 60}`))
	require.NoError(t, err)
	require.Equal(t, Duration(time.Minute), c.TimeWindow)
	require.Equal(t, "none", c.RecordSNI, "what JSON leaves out stays")
}

// panics is YAML over whose tag the parser panics: found by allowlist's FuzzParse.
const panics = "port_profiles:\n  - port: 1\n    protocol: tcp\n    verdicts: !00000000000000000000\n    000000000000000000"

func TestParseNamesSourceLineAndKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"record_sni: all\nrecord_dns: all\n":              `config: c.yaml: 2:1: unknown field "record_dns"`,
		"time_window: soon\n":                             `"soon" is not a duration like 15m`,
		"record_sni: all\npayload_entropy_threshold: 2\n": "config: c.yaml:2: payload_entropy_threshold: 2 is not between 0 and 1",
		"memory_budget: 12\n":                             "config: c.yaml:1: memory_budget: 12 bytes",
		"doh_resolvers: [10.0.0.0/99]\n":                  `doh_resolvers: "10.0.0.0/99"`,
		"port_profiles: [{port: 1}]\n":                    "port_profiles:",
		"state_file: alerts\n":                            `config: c.yaml:1: state_file: "alerts" is neither`,
		"state_file: /srv/\n":                             "state_file:",
		"record_sni: [\n":                                 "config: c.yaml: ",
		"payload_entropy_threshold: .nan\n":               "payload_entropy_threshold",
		panics:                                            "config: c.yaml: malformed YAML",
	} {
		c, err := Parse(Default(), "c.yaml", []byte(text))
		require.ErrorContains(t, err, want, text)
		require.Equal(t, Default(), c)
	}
}

func TestStoreKeepsTheLastGoodVersion(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	s := NewStore(file)
	require.Equal(t, Default(), s.Current())
	require.Empty(t, s.Problems(), "no file is no problem")

	write := func(text string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		s.Reload()
	}
	write("record_sni: all\n")
	require.Equal(t, SNIAll, s.Current().RecordSNI)
	write("record_sni: perhaps\n")
	require.Equal(t, SNIAll, s.Current().RecordSNI)
	require.Len(t, s.Problems(), 1)

	s.Override(`{"record_sni": "none", "time_window": "1h"}`)
	require.Equal(t, SNINone, s.Current().RecordSNI, "osquery's option goes over the file")
	s.Override(`{"record_sni": 7}`)
	require.Equal(t, SNINone, s.Current().RecordSNI)
	require.Len(t, s.Problems(), 2)
	s.Override("")
	write(panics)
	require.ErrorContains(t, s.Problems()[0], file+": malformed YAML")
	require.Equal(t, SNIAll, s.Current().RecordSNI)
	write("time_window: 2m\n")
	require.Empty(t, s.Problems())
	require.Equal(t, SNIAlerts, s.Current().RecordSNI)
	require.Equal(t, Duration(2*time.Minute), s.Current().TimeWindow)

	require.NoError(t, os.Chmod(file, 0o666))
	s.Reload()
	require.ErrorContains(t, s.Problems()[0], "writable by everybody")
	require.Equal(t, Duration(2*time.Minute), s.Current().TimeWindow)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("time_window: 30m\nmemory_budget: 16MiB\n"))
	f.Add([]byte(`{"port_profiles": [{"port": 8443, "protocol": "tcp", "verdicts": ["tls"]}]}`))
	f.Add([]byte(panics))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(Default(), "f", data)
		require.NoError(t, c.validate(), "%v", err)
	})
}

// TestGroupWritable: to root, a file that a group other than root's can write is not trusted.
func TestGroupWritable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte("record_sni: none\n"), 0o600))
	require.NoError(t, os.Chmod(file, 0o660))
	_, err := ReadTrusted(file)
	require.NoError(t, err)
	require.NoError(t, os.Chown(file, 0, 4242))
	_, err = ReadTrusted(file)
	require.ErrorContains(t, err, "writable by group 4242")
}
