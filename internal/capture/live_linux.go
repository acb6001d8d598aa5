package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	defaultRing = 5 << 20 // half a second at 100 Mbit/s
	maxRing     = 256 << 20
	// A block is handed over when it is full or `latency` old. It is so large that at 100 Mbit/s it is not full before: to be woken costs more than
	// what is in it. 20 of them bridge an absence of the reader.
	ringBlockSize = 256 << 10
	ringFrameSize = 2 << 10 // only has to divide the block
	maxNamed      = 100     // interfaces by name; each is a jump of at most 255 instructions
)

// packetSocket is a cooked packet socket with its ring.
//
// Cooked (SOCK_DGRAM) rather than raw, because each packet then begins with its IP header, whatever the interface: Ethernet,
// Wi-Fi, PPP, WireGuard and other tunnels, VLANs, loopback. With SOCK_RAW on all interfaces each packet would need its own
// link type, and the kernel's filter a program for each.
type packetSocket struct {
	fd, wake int
	timeout  time.Duration
	next     int // the block that the kernel fills next
	block    ringBlock
	busy     bool   // a block was walked since the last wait
	data     []byte // a copy of the current packet, so that Close may unmap the ring at any time
	names    map[int]string
	degraded string
	packets  atomic.Uint64
	closing  atomic.Bool

	mu     sync.Mutex // held by Next; guards ring and closed
	ring   []byte
	closed bool

	stats   sync.Mutex // guards what follows, and the socket's end
	dropped uint64
}

func openLive(o LiveOptions) (Source, error) {
	o = o.withDefaults(defaultRing)
	o.Buffer = min(o.Buffer, maxRing)
	indexes, err := interfaceIndexes(o.Interfaces)
	if err != nil {
		return nil, err
	}
	filter, err := linuxFilter(uint32(o.Snaplen), indexes)
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing arrives before the filter is in place and bind asks for it.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("capture: live: packet socket: needs root or CAP_NET_RAW: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("capture: live: packet socket: %w", err)
	}
	s := &packetSocket{fd: fd, wake: -1, timeout: o.Timeout, data: make([]byte, maxSnaplen), names: map[int]string{}}
	if err := s.start(o, filter); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("capture: live: %w", err)
	}
	return s, nil
}

func interfaceIndexes(names []string) ([]int, error) {
	if len(names) > maxNamed {
		return nil, fmt.Errorf("capture: live: %d interfaces by name: more than %d", len(names), maxNamed)
	}
	var indexes []int
	for _, name := range names {
		iface, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("capture: live: interface %q: %w", name, err)
		}
		indexes = append(indexes, iface.Index)
	}
	return indexes, nil
}

// start sets the socket up: ring, filter, and only then packets.
func (s *packetSocket) start(o LiveOptions, filter []bpf.Instruction) (err error) {
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3: %w", err)
	}
	block, err := s.makeRing(o)
	if err != nil {
		return err
	}
	s.block.data = s.ring[:block]
	if err := attach(s.fd, filter); err != nil {
		return err
	}
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// makeRing makes and maps a ring of the size asked for, or of half, a quarter and so on where the system has no room for it. It
// gives the size of a block.
func (s *packetSocket) makeRing(o LiveOptions) (block int, err error) {
	block = ringBlockSize
	for block < o.Snaplen+4096 {
		block *= 2
	}
	wanted := max(2, o.Buffer/block)
	count := wanted
	for {
		req := unix.TpacketReq3{
			Block_size: uint32(block), Block_nr: uint32(count), Frame_size: ringFrameSize, Frame_nr: uint32(count * block / ringFrameSize),
			Retire_blk_tov: uint32(latency / time.Millisecond),
		}
		err := unix.SetsockoptTpacketReq3(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOMEM) || count <= 2 {
			return 0, fmt.Errorf("ring of %d bytes: %w", count*block, err)
		}
		count = max(2, count/2)
	}
	if count < wanted {
		s.degraded = fmt.Sprintf("no memory for a ring of %d bytes: %d", wanted*block, count*block)
	}
	s.ring, err = unix.Mmap(s.fd, 0, count*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("map the ring of %d bytes: %w", count*block, err)
	}
	return block, nil
}

// networkOrder is v as it stands in memory when its bytes are in network order.
func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

func attach(fd int, filter []bpf.Instruction) error {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach the filter of %d instructions: %w", len(program), err)
	}
	return nil
}

// Next implements Source.
func (s *packetSocket) Next(p *Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if s.block.next(p) {
			p.Data = s.data[:copy(s.data, p.Data)]
			s.packets.Add(1)
			return nil
		}
		if err := s.turn(); err != nil {
			return err
		}
	}
	return io.EOF
}

// turn gives the walked block back to the kernel, if it was ours, and takes the next one, waiting for it if need be.
func (s *packetSocket) turn() error {
	size := len(s.block.data)
	status := func() *uint32 { return (*uint32)(unsafe.Pointer(&s.ring[s.next*size+blockStatus])) }
	if atomic.LoadUint32(status())&unix.TP_STATUS_USER == 0 {
		return s.wait()
	}
	if s.block.at == 0 {
		s.block = newRingBlock(s.ring[s.next*size : (s.next+1)*size])
		return nil
	}
	s.block.at, s.block.left, s.busy = 0, 0, runtime.GOMAXPROCS(0) > 1
	atomic.StoreUint32(status(), unix.TP_STATUS_KERNEL)
	s.next = (s.next + 1) % (len(s.ring) / size)
	return nil
}

// wait waits for packets, for Close or for the timeout.
func (s *packetSocket) wait() error {
	fds := [...]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	if s.busy {
		s.busy = false
		if pollBriefly(fds[:]) == 0 {
			return nil
		}
	}
	n, err := unix.Poll(fds[:], int(s.timeout/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("capture: live: poll: %w", err)
	case n == 0:
		return ErrTimeout
	case fds[1].Revents != 0:
		return io.EOF
	case fds[0].Revents&unix.POLLERR == 0:
		return nil
	}
	// An interface that goes down is reported once, and the socket goes on.
	pending, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && pending != 0 && unix.Errno(pending) != unix.ENETDOWN {
		err = unix.Errno(pending)
	}
	if err != nil {
		return fmt.Errorf("capture: live: packet socket: %w", err)
	}
	return nil
}

// pollBriefly waits until the next block is due. Go's scheduler is not told: it would have its monitor look every 20 microseconds whether this call
// has begun to wait, and again when it has ended, which on a busy link is a third of what capturing costs. A processor of Go's is held meanwhile; its
// signal to stop for the collector ends the wait.
func pollBriefly(fds []unix.PollFd) (ready int) {
	limit := unix.NsecToTimespec(int64(2 * latency))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// InterfaceName implements InterfaceNamer; the index is the kernel's.
func (s *packetSocket) InterfaceName(index int) string {
	name, ok := s.names[index]
	if ok {
		return name
	}
	if iface, err := net.InterfaceByIndex(index); err == nil {
		name = iface.Name
	}
	if len(s.names) < maxInterfaces {
		s.names[index] = name
	}
	return name
}

// Stats implements Source.
func (s *packetSocket) Stats() Stats {
	s.stats.Lock()
	defer s.stats.Unlock()
	s.count()
	return Stats{Packets: s.packets.Load(), Dropped: s.dropped, Mode: ModeAFPacket, Degraded: s.degraded}
}

// count adds up what the kernel has dropped; its own counter starts again each time that it is read.
func (s *packetSocket) count() {
	if s.fd < 0 {
		return
	}
	if st, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		s.dropped += uint64(st.Drops)
	}
}

// Close implements Source.
func (s *packetSocket) Close() error {
	if s.closing.Swap(true) {
		return nil
	}
	if s.wake >= 0 {
		if _, err := unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			return fmt.Errorf("capture: live: close: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Lock()
	defer s.stats.Unlock()
	s.closed = true
	s.count()
	var errs []error
	if s.ring != nil {
		errs = append(errs, unix.Munmap(s.ring))
		s.ring, s.block = nil, ringBlock{}
	}
	errs = append(errs, os.NewSyscallError("close", unix.Close(s.fd)))
	if s.wake >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(s.wake)))
	}
	s.fd, s.wake = -1, -1
	return errors.Join(errs...)
}
