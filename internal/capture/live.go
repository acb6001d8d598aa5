package capture

import "time"

// LiveOptions say what a live source captures. The zero value is all interfaces but with the defaults below.
type LiveOptions struct {
	// Interfaces are the names to capture on; empty means all, also those that come later. On macOS that is all but
	// loopback and bridges. On Linux names are looked up once: an interface that is made anew under its name is not seen.
	Interfaces []string
	// Snaplen is how many bytes of a packet, from its IP header on, are copied; 0 is DefaultSnaplen.
	Snaplen int
	// Buffer is how many bytes the kernel may hold for us; 0 is 5 MiB on Linux (at most 256 MiB) and 512 KiB,
	// its largest, on macOS.
	Buffer int
	// Timeout is how long Next waits for a packet before it returns ErrTimeout; 0 is 250 ms.
	Timeout time.Duration
}

// DefaultSnaplen is more than one packet on a wire has. Kernels merge segments before they show them, and a server's first flight
// (4 to 6 KiB with TLS 1.2 certificates) often comes as one: cutting it would hide the certificates.
const DefaultSnaplen = 8 << 10

// maxSnaplen is the longest packet that IP knows.
const maxSnaplen = 64 << 10

// latency is how long the kernel may keep a packet to itself to hand over several at once. Owners are asked for when the
// packet is seen, and processes that live 50 ms should still be there.
const latency = 10 * time.Millisecond

// withDefaults fills in what is not set.
func (o LiveOptions) withDefaults(buffer int) LiveOptions {
	if o.Snaplen <= 0 || o.Snaplen > maxSnaplen {
		o.Snaplen = DefaultSnaplen
	}
	if o.Buffer <= 0 {
		o.Buffer = buffer
	}
	if o.Timeout <= 0 {
		o.Timeout = 250 * time.Millisecond
	}
	return o
}

// OpenLive captures what this host sends and receives: TCP with data or SYN, FIN, RST, and UDP with data, each packet once for each
// interface that it passes. It needs root (on Linux CAP_NET_RAW) and says so where it is missing.
//
// On Linux that is AF_PACKET with a memory-mapped ring: direction, but no process. On macOS PKTAP over BPF, with direction
// and process; where that fails, plain BPF on each interface, with neither, and Stats().Degraded says why; PKTAP is tried
// again from time to time, and then takes over within the same source, which is a Retrier. Elsewhere it is an
// error.
func OpenLive(o LiveOptions) (Source, error) { return openLive(o) }
