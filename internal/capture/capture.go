// Package capture gives packets: from pcap and pcapng files (Apple's with process information too), from AF_PACKET on
// Linux and from PKTAP over BPF on macOS.
package capture

import (
	"errors"
	"time"
)

// Direction of a packet as its source states it.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota
	In
	Out
)

// Link types (LINKTYPE_ values of https://www.tcpdump.org/linktypes.html) that this package itself produces.
const (
	LinkNull     = 0   // BSD loopback: 4 bytes of address family in the writer's byte order
	LinkEthernet = 1   // Ethernet II or 802.3
	LinkRaw      = 101 // starts with an IPv4 or IPv6 header
)

// Process is what a source says of a packet's owner. Sources intern them: one process, one pointer, as long as it keeps
// showing up. (A source remembers the last several thousand; one that comes back after more than that is a new pointer.)
type Process struct {
	PID  int32  // -1 when not known
	Name string // at most 16 bytes on macOS; never a path
	UUID string // LC_UUID of the main executable, upper case with dashes; empty when not known
	Path string // only where a source gives it (Wireshark's process block); normally empty
}

// Packet is one captured packet. Data is valid until the next call of Next.
type Packet struct {
	Time      int64  // nanoseconds since 1970
	LinkType  uint32 // LINKTYPE_ of Data (a PKTAP header is already taken off): 1 Ethernet, 0 null, 101 raw, 113/276 Linux cooked, …
	Data      []byte
	Length    int // bytes on the wire; ≥ len(Data)
	Direction Direction
	Interface int      // index within the source; see InterfaceNamer
	Process   *Process // nil when the source does not know; the effective (delegating) process where there is one
}

// Stats are a source's counters since it was opened, and what kind of source it turned out to be.
type Stats struct {
	Packets uint64
	Dropped uint64 // by the kernel, before we saw them; in a file, what its interface statistics say
	Skipped uint64 // records without a packet in them: dropped by a firewall (droptap), or a PKTAP header that is no header

	Mode     Mode
	Since    time.Time // when Mode began, of sources that can change it (macOS); else zero
	Before   string    // which Mode it was before Since, and why; empty when there was none
	Degraded string    // why the source gives less than its platform could, and what is missing; empty when it does not
}

// Mode is the way in which a source gets its packets.
type Mode string

// The modes.
const (
	ModeFile     Mode = "file"
	ModeAFPacket Mode = "af_packet" // Linux: direction, no process
	ModePKTAP    Mode = "pktap"     // macOS: direction and process
	ModeBPF      Mode = "bpf"       // macOS without PKTAP: neither
)

// ErrTimeout says that a live source saw no packet for a while. The source goes on.
var ErrTimeout = errors.New("capture: no packet within the timeout")

// Source gives packets in order. It is not safe for concurrent use, except Close, which ends a blocked Next, and Stats.
type Source interface {
	// Next fills p. It returns io.EOF at the end and after Close; any other error names file and offset (or interface), and
	// ends the source. A live source returns ErrTimeout after a while without packets, so that the caller can look at its clock.
	Next(p *Packet) error
	Stats() Stats
	Close() error
}

// InterfaceNamer is what every source of this package is too.
type InterfaceNamer interface {
	// InterfaceName is the name of Packet.Interface, "en0", or empty where the source does not say. It may be called only
	// where Next may.
	InterfaceName(index int) string
}
