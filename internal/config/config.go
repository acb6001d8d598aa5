// Package config holds the settings of the design: their defaults, what is valid, and where they come from.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Config is one valid set of settings. The zero value is not valid; start from Default.
type Config struct {
	// PayloadEntropyThreshold is the share, 0..1, of equally long uniform samples that count as random (ATT&CK:
	// PayloadEntropyThreshold, EntropyThreshold).
	PayloadEntropyThreshold float64 `yaml:"payload_entropy_threshold"`
	// DoHResolvers are CIDRs, addresses or host names to which DNS over HTTPS is expected (DoHResolvers).
	DoHResolvers []string `yaml:"doh_resolvers"`
	// TimeWindow is how long judged flows are kept and joined (TimeWindow).
	TimeWindow Duration `yaml:"time_window"`
	// AllowedCryptoProcesses are short allowlist rules for any destination: team:ID, signing:[TEAM:]ID, cdhash:HEX, path:PATH
	// (AllowedCryptoProcesses).
	AllowedCryptoProcesses []string `yaml:"allowed_crypto_processes"`
	// TrustedCryptoLibs are library paths or names whose use is no evidence (TrustedCryptoLibs).
	TrustedCryptoLibs []string `yaml:"trusted_crypto_libs"`
	// TrafficAsymmetryRatio is bytes out over bytes in from which a flow is lopsided (TrafficAsymmetryRatio).
	TrafficAsymmetryRatio float64 `yaml:"traffic_asymmetry_ratio"`
	// PortProfiles say which verdicts are normal on which port (PortProfiles).
	PortProfiles []PortProfile `yaml:"port_profiles"`
	// TrafficVolumeThreshold is the number of payload bytes below which a random flow is not yet an alert (TrafficVolumeThreshold).
	TrafficVolumeThreshold int64 `yaml:"traffic_volume_threshold"`
	// RecordSNI says whose server names are shown: alerts, all or none.
	RecordSNI string `yaml:"record_sni"`
	// MemoryBudget is the bytes for all flow state.
	MemoryBudget Bytes `yaml:"memory_budget"`
	// StateFile is the path of the file that keeps alerts over a restart, or NoStateFile. Read at the start alone.
	StateFile string `yaml:"state_file"`
}

// NoStateFile is the StateFile that keeps nothing.
const NoStateFile = "none"

// PortProfile is what is normal on one port.
type PortProfile struct {
	Port     uint16   `yaml:"port"`
	Protocol string   `yaml:"protocol"` // tcp or udp
	Verdicts []string `yaml:"verdicts"` // verdicts, or app_protocol names, that are expected there
}

// The values of RecordSNI.
const (
	SNIAlerts = "alerts"
	SNIAll    = "all"
	SNINone   = "none"
)

// Duration is a time.Duration written as "15m" or as a number of seconds.
type Duration time.Duration

// UnmarshalYAML reads "15m" or 900.
func (d *Duration) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		*d = Duration(time.Duration(seconds) * time.Second)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration like 15m", text)
	}
	*d = Duration(v)
	return nil
}

// Bytes is a size written as a number of bytes or as "32MiB", "512 KiB", "1GiB".
type Bytes int64

// UnmarshalYAML reads 33554432 or "32MiB".
func (b *Bytes) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	number, unit := text, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = strings.TrimSpace(n), factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<40)/unit {
		return fmt.Errorf("%q is not a size like 32MiB", text)
	}
	*b = Bytes(n * unit)
	return nil
}

// Default gives the settings that hold without a file.
func Default() Config {
	return Config{
		PayloadEntropyThreshold: 0.999,
		DoHResolvers:            slices.Clone(publicDoHResolvers),
		TimeWindow:              Duration(15 * time.Minute),
		TrafficAsymmetryRatio:   5,
		PortProfiles:            defaultPortProfiles(),
		RecordSNI:               SNIAlerts,
		MemoryBudget:            32 << 20,
		StateFile:               stateFile(),
	}
}

// stateFile is the system's place for it.
func stateFile() string {
	if runtime.GOOS == "darwin" {
		return "/Library/Application Support/Cipherlens/alerts"
	}
	return "/var/lib/cipherlens/alerts"
}

// publicDoHResolvers are the addresses and names that the operators publish: developers.cloudflare.com/1.1.1.1,
// developers.google.com/speed/public-dns, quad9.net, opendns.com, adguard-dns.io, nextdns.io, mullvad.net; doh.dns.apple.com is Apple's own.
var publicDoHResolvers = []string{
	"1.1.1.1", "1.0.0.1", "1.1.1.2", "1.0.0.2", "1.1.1.3", "1.0.0.3", "2606:4700:4700::/48",
	"8.8.8.8", "8.8.4.4", "2001:4860:4860::/48",
	"9.9.9.9", "9.9.9.10", "9.9.9.11", "149.112.112.0/24", "2620:fe::/48",
	"208.67.222.222", "208.67.220.220", "94.140.14.14", "94.140.15.15", "194.242.2.0/24",
	"cloudflare-dns.com", "one.one.one.one", "dns.google", "dns.quad9.net", "doh.opendns.com", "dns.adguard-dns.com",
	"dns.nextdns.io", "dns.mullvad.net", "doh.dns.apple.com",
}

func defaultPortProfiles() []PortProfile {
	return []PortProfile{
		{Port: 22, Protocol: "tcp", Verdicts: []string{"ssh"}},
		{Port: 53, Protocol: "udp", Verdicts: []string{"dns"}},
		{Port: 80, Protocol: "tcp", Verdicts: []string{"http", "cleartext"}},
		{Port: 123, Protocol: "udp", Verdicts: []string{"ntp"}},
		{Port: 443, Protocol: "tcp", Verdicts: []string{"tls"}},
		{Port: 443, Protocol: "udp", Verdicts: []string{"quic"}},
		{Port: 587, Protocol: "tcp", Verdicts: []string{"starttls", "smtp"}},
		{Port: 853, Protocol: "tcp", Verdicts: []string{"tls"}},
		{Port: 993, Protocol: "tcp", Verdicts: []string{"tls"}},
		{Port: 5223, Protocol: "tcp", Verdicts: []string{"tls"}},
	}
}

// Parse reads settings (YAML, of which JSON is a part) on top of base: a key that is present replaces base's value whole. The error names
// source, line and key; the result is then base.
func Parse(base Config, source string, data []byte) (Config, error) {
	got := base
	// Lists are replaced, not appended to or written through into base's arrays.
	got.DoHResolvers, got.AllowedCryptoProcesses = slices.Clone(base.DoHResolvers), slices.Clone(base.AllowedCryptoProcesses)
	got.TrustedCryptoLibs, got.PortProfiles = slices.Clone(base.TrustedCryptoLibs), slices.Clone(base.PortProfiles)
	if len(strings.TrimSpace(string(data))) == 0 {
		return base, nil
	}
	if err := decode(data, &got); err != nil {
		return base, fmt.Errorf("config: %s: %s", source, Reason(err))
	}
	if err := got.validate(); err != nil {
		return base, fmt.Errorf("config: %s:%s %w", source, lineOf(data, err), err)
	}
	return got, nil
}

// decode reads YAML. The package panics over some malformed tags and anchors: that is an error of the text, too.
func decode(data []byte, into *Config) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("malformed YAML")
		}
	}()
	return yaml.UnmarshalWithOptions(data, into, yaml.Strict())
}

// Reason is a YAML error on one line: "12:3: unknown field "x"".
func Reason(err error) string {
	var yerr yaml.Error
	if !errors.As(err, &yerr) {
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	message := strings.ReplaceAll(yerr.GetMessage(), "\n", " ")
	if token := yerr.GetToken(); token != nil && token.Position != nil {
		return fmt.Sprintf("%d:%d: %s", token.Position.Line, token.Position.Column, message)
	}
	return message
}

// keyError is a value that is well-formed but not allowed.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

func bad(key, format string, args ...any) error { return &keyError{key, fmt.Errorf(format, args...)} }

// lineOf gives "12:" for the line on which the key of err stands, and nothing where it can't be found.
func lineOf(data []byte, err error) string {
	ke, ok := errors.AsType[*keyError](err)
	if !ok {
		return ""
	}
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " {\"'"), ke.key) {
			return strconv.Itoa(i+1) + ":"
		}
	}
	return ""
}

func (c *Config) validate() error {
	switch {
	case !(c.PayloadEntropyThreshold > 0 && c.PayloadEntropyThreshold < 1):
		return bad("payload_entropy_threshold", "%v is not between 0 and 1", c.PayloadEntropyThreshold)
	case c.TimeWindow < Duration(time.Second) || c.TimeWindow > Duration(24*time.Hour):
		return bad("time_window", "%v is not between 1s and 24h", time.Duration(c.TimeWindow))
	case !(c.TrafficAsymmetryRatio >= 1 && c.TrafficAsymmetryRatio <= 1e9):
		return bad("traffic_asymmetry_ratio", "%v is not between 1 and 1e9", c.TrafficAsymmetryRatio)
	case c.TrafficVolumeThreshold < 0:
		return bad("traffic_volume_threshold", "%d is negative", c.TrafficVolumeThreshold)
	case c.MemoryBudget < 1<<20 || c.MemoryBudget > 4<<30:
		return bad("memory_budget", "%d bytes is not between 1MiB and 4GiB", c.MemoryBudget)
	case !slices.Contains([]string{SNIAlerts, SNIAll, SNINone}, c.RecordSNI):
		return bad("record_sni", "%q is none of alerts, all, none", c.RecordSNI)
	case c.StateFile != NoStateFile && (!filepath.IsAbs(c.StateFile) || strings.HasSuffix(c.StateFile, "/")):
		return bad("state_file", "%q is neither the full path of a file nor none", c.StateFile)
	}
	for _, r := range c.DoHResolvers {
		if !validResolver(r) {
			return bad("doh_resolvers", "%q is neither address, CIDR nor host name", r)
		}
	}
	for _, p := range c.PortProfiles {
		if p.Port == 0 || p.Protocol != "tcp" && p.Protocol != "udp" || len(p.Verdicts) == 0 {
			return bad("port_profiles", "%+v needs port, protocol (tcp or udp) and verdicts", p)
		}
	}
	return nil
}

func validResolver(r string) bool {
	if _, ok := Network(r); ok {
		return true
	}
	ok := strings.Contains(r, ".") && !strings.ContainsAny(r, "/: \t")
	return ok && strings.Trim(r, "0123456789.") != ""
}

// Network reads a CIDR or a single address.
func Network(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}
