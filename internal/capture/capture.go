// Package capture gives packets: from pcap and pcapng files (Apple's with process information too), from AF_PACKET on
// Linux and from PKTAP over BPF on macOS.
package capture

// Direction of a packet as its source states it.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota
	In
	Out
)

// Process is what a source says of a packet's owner. Sources intern them: one process, one pointer, as long as the source lives.
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
	Interface int      // index within the source
	Process   *Process // nil when the source does not know; the effective (delegating) process where there is one
}

// Stats are a source's counters since it was opened.
type Stats struct {
	Packets uint64
	Dropped uint64 // by the kernel, before we saw them
}

// Source gives packets in order. It is not safe for concurrent use, except Close, which ends a blocked Next.
type Source interface {
	// Next fills p. It returns io.EOF at the end; any other error names file and offset, and ends the source.
	// A live source returns ErrTimeout after a while without packets, so that the caller can look at its clock.
	Next(p *Packet) error
	Stats() Stats
	Close() error
}
