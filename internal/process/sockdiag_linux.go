package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// sock_diag(7): a netlink request for one socket by its addresses. Numbers in the netlink header are in the host's order, ports and
// addresses in the network's.
const (
	sockDiagByFamily = 20
	requestSize      = 16 + 56 // nlmsghdr, inet_diag_req_v2
	messageSize      = 16 + 72 // nlmsghdr, inet_diag_msg
	idOffset         = 16 + 8  // of inet_diag_sockid in a request
	replyIDOffset    = 16 + 4
	tcpListen        = 10 // include/net/tcp_states.h
)

// socketInfo is what the kernel says of a socket.
type socketInfo struct {
	inode uint32
	uid   uint32
}

// diag asks the kernel for sockets of its network namespace.
type diag struct {
	mu      sync.Mutex
	fd      int
	seq     uint32
	request [requestSize]byte
	reply   [8 << 10]byte
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("process: netlink sock_diag: %w", err)
	}
	// The kernel answers within the call. The time limit is for a kernel without the module for a protocol.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return nil, errors.Join(fmt.Errorf("process: netlink sock_diag: %w", err), unix.Close(fd))
	}
	return &diag{fd: fd}, nil
}

func (d *diag) close() error { return unix.Close(d.fd) }

// find gives the socket of a flow, as seen from its local end. UDP sockets need not be connected or bound to an address.
func (d *diag) find(protocol uint8, local, remote netip.AddrPort) (socketInfo, bool) {
	if local.Addr().Is4() != remote.Addr().Is4() || !local.IsValid() || !remote.IsValid() {
		return socketInfo{}, false
	}
	if protocol == protocolUDP { // "src and dst are swapped for historical reasons": net/ipv4/udp_diag.c, udp_dump_one
		return d.ask(protocol, remote, local, local.Port())
	}
	return d.ask(protocol, local, remote, local.Port())
}

// ask makes one request. The answer counts when it is for the local port and holds a file.
func (d *diag) ask(protocol uint8, source, destination netip.AddrPort, port uint16) (socketInfo, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq++
	if _, err := unix.Write(d.fd, diagRequest(d.request[:], d.seq, protocol, source, destination)); err != nil {
		return socketInfo{}, false
	}
	for {
		n, err := unix.Read(d.fd, d.reply[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n < 16 {
			return socketInfo{}, false
		}
		if binary.NativeEndian.Uint32(d.reply[8:]) == d.seq { // not the late answer to an earlier request
			return parseReply(d.reply[:n], protocol, port)
		}
	}
}

// diagRequest makes a request in b.
func diagRequest(b []byte, seq uint32, protocol uint8, source, destination netip.AddrPort) []byte {
	clear(b)
	binary.NativeEndian.PutUint32(b, requestSize)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[16], b[17] = unix.AF_INET6, protocol
	if source.Addr().Is4() {
		b[16] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(b[20:], 0xffffffff) // any state
	id := b[idOffset:]
	binary.BigEndian.PutUint16(id, source.Port())
	binary.BigEndian.PutUint16(id[2:], destination.Port())
	putAddress(id[4:20], source.Addr())
	putAddress(id[20:36], destination.Addr())
	binary.NativeEndian.PutUint64(id[40:], 0xffffffffffffffff) // INET_DIAG_NOCOOKIE
	return b
}

// putAddress writes 4 or 16 bytes.
func putAddress(b []byte, a netip.Addr) {
	if a.Is4() {
		four := a.As4()
		copy(b, four[:])
		return
	}
	sixteen := a.As16()
	copy(b, sixteen[:])
}

// parseReply reads an inet_diag_msg. Sockets without a file (TIME_WAIT, not yet accepted) have no inode.
func parseReply(b []byte, protocol uint8, port uint16) (socketInfo, bool) {
	if len(b) < messageSize || binary.NativeEndian.Uint16(b[4:]) != sockDiagByFamily {
		return socketInfo{}, false
	}
	if binary.BigEndian.Uint16(b[replyIDOffset:]) != port || protocol == protocolTCP && b[17] == tcpListen {
		return socketInfo{}, false
	}
	s := socketInfo{uid: binary.NativeEndian.Uint32(b[16+64:]), inode: binary.NativeEndian.Uint32(b[16+68:])}
	return s, s.inode != 0
}
