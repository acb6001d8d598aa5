// Package baseline learns from the result logs of many hosts which software talks how to where: on how many hosts and days each identity and
// destination was seen, what is new since a day, and which allowlist rules would cover it.
//
// What the counts mean (docs/allowlists.md says the same for SQL):
//
//   - A row is learned when it has the columns exception_key or cdhash, verdict, remote_address, remote_port and protocol, its verdict is an
//     alert (random, tls_mimic), and its action is added or snapshot.
//   - A host is the line's hostIdentifier.
//   - A day is the UTC date of the line's unixTime.
//   - An identity is exception_key without its end " to ADDRESS port PORT"; where that is missing or empty: signing:TEAM:ID, else signing:ID
//     where signature is apple, else cdhash:HEX, else path:PATH. Rows without any are passed over.
//   - A destination is remote_address, remote_port and protocol (6, 17).
package baseline

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Row is one finding of one host, its texts valid only until the next one is read.
type Row struct {
	Host     []byte
	Day      Day
	Identity []byte // in the short form of allowed_crypto_processes
	Where    Destination
	Verdict  Verdict
}

// Destination is where to. It is comparable.
type Destination struct {
	address  [16]byte // IPv4 as IPv4 in IPv6
	port     uint16
	protocol uint8
	four     bool
}

// NewDestination makes a Destination; zones are left out.
func NewDestination(address netip.Addr, port uint16, protocol uint8) Destination {
	address = address.Unmap().WithZone("")
	return Destination{address.As16(), port, protocol, address.Is4()}
}

// Address is the remote address.
func (d Destination) Address() netip.Addr {
	a := netip.AddrFrom16(d.address)
	if d.four {
		return a.Unmap()
	}
	return a
}

// Port is the remote port.
func (d Destination) Port() uint16 { return d.port }

// Protocol is 6 for TCP, 17 for UDP.
func (d Destination) Protocol() uint8 { return d.protocol }

// Verdict is a set of alert verdicts.
type Verdict uint8

// The verdicts that are learned.
const (
	Random Verdict = 1 << iota
	TLSMimic
)

// Names lists the verdicts of the set.
func (v Verdict) Names() []string {
	var names []string
	if v&Random != 0 {
		names = append(names, "random")
	}
	if v&TLSMimic != 0 {
		names = append(names, "tls_mimic")
	}
	return names
}

// Day is a UTC day, counted from 1970-01-01.
type Day int32

// NoDay is before all days.
const NoDay Day = -1

// The days that logs can be from: what is outside is a host's broken clock or a broken line.
const (
	firstDay Day = 10957 // 2000-01-01
	lastDay  Day = 47482 // 2100-01-01
)

// DayOf gives the day of unix seconds.
func DayOf(unix int64) Day { return Day(time.Unix(unix, 0).UTC().Unix() / 86400) }

// ParseDay reads 2026-11-23.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("baseline: %q is not a date like 2026-11-23", text)
	}
	return DayOf(t.Unix()), nil
}

// Time is the day's begin.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// identityOf puts an identity together from a row's columns.
func identityOf(c *columns) []byte {
	if end := len(c.key) - len(c.address) - len(c.port) - len(" to  port "); end > 0 {
		if tail := string(c.key[end:]); strings.HasPrefix(tail, " to ") && tail == " to "+string(c.address)+" port "+string(c.port) {
			return c.key[:end]
		}
	}
	switch {
	case len(c.team) > 0 && len(c.signing) > 0:
		return join("signing:", c.team, ":", c.signing)
	case len(c.team) > 0:
		return join("team:", c.team, "", nil)
	case string(c.signature) == "apple" && len(c.signing) > 0:
		return join("signing:", c.signing, "", nil)
	case len(c.cdhash) > 0:
		return join("cdhash:", c.cdhash, "", nil)
	case len(c.path) > 0:
		return join("path:", c.path, "", nil)
	}
	return nil
}

func join(prefix string, a []byte, between string, b []byte) []byte {
	text := make([]byte, 0, len(prefix)+len(a)+len(between)+len(b))
	return append(append(append(append(text, prefix...), a...), between...), b...)
}
