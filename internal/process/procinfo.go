package process

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// What proc_info(2) of macOS fills in: bsd/sys/proc_info.h of xnu-11417.101.15, the same on arm64 and x86_64. The decoders are
// here, and not with the calls, so that they are tested where there is no such kernel.
const (
	bsdInfoSize       = 136 // proc_bsdinfo
	shortBSDInfoSize  = 64  // proc_bsdshortinfo
	fdInfoSize        = 8   // proc_fdinfo
	coalitionInfoSize = 40  // proc_pidcoalitioninfo
	socketInfoSize    = 792 // socket_fdinfo

	fdTypeSocket = 2

	socketKindIN  = 1
	socketKindTCP = 2
	tcpStateOpen  = 2 // TSI_S_SYN_SENT: what comes before has no other end

	vflagIPv4 = 0x1
	vflagIPv6 = 0x2
)

var host = binary.LittleEndian // of every Mac

// parseBSDInfo reads a proc_bsdinfo. The start time is in microseconds since 1970.
func parseBSDInfo(b []byte) (Process, uint64, error) {
	if len(b) < bsdInfoSize {
		return Process{}, 0, fmt.Errorf("proc_bsdinfo: %d bytes, not %d", len(b), bsdInfoSize)
	}
	p := Process{
		PID:       int(int32(host.Uint32(b[12:]))),
		PPID:      int(int32(host.Uint32(b[16:]))),
		UID:       int(host.Uint32(b[28:])),
		StartTime: int64(host.Uint64(b[120:])),
		Name:      text(b[64:96]),
	}
	if p.Name == "" {
		p.Name = text(b[48:64])
	}
	return p, host.Uint64(b[120:])*1_000_000 + host.Uint64(b[128:]), nil
}

// parseShortBSDInfo reads a proc_bsdshortinfo, which anybody may ask for. It has no start time.
func parseShortBSDInfo(b []byte) (Process, error) {
	if len(b) < shortBSDInfoSize {
		return Process{}, fmt.Errorf("proc_bsdshortinfo: %d bytes, not %d", len(b), shortBSDInfoSize)
	}
	return Process{
		PID:  int(int32(host.Uint32(b))),
		PPID: int(int32(host.Uint32(b[4:]))),
		UID:  int(host.Uint32(b[44:])),
		Name: text(b[16:32]),
	}, nil
}

// socketFDs gives the descriptors of sockets in an array of proc_fdinfo.
func socketFDs(b []byte) []int32 {
	var fds []int32
	for ; len(b) >= fdInfoSize; b = b[fdInfoSize:] {
		if host.Uint32(b[4:]) == fdTypeSocket {
			fds = append(fds, int32(host.Uint32(b)))
		}
	}
	return fds
}

// socket is the ends of a TCP or UDP socket. An address that is not bound or connected is unspecified, and so is the port.
type socket struct {
	protocol      uint8
	local, remote netip.AddrPort
}

// parseSocketInfo reads a socket_fdinfo; ok is false for sockets of other kinds and those that cannot have a flow.
func parseSocketInfo(b []byte) (s socket, ok bool) {
	if len(b) < socketInfoSize {
		return socket{}, false
	}
	switch kind, protocol := host.Uint32(b[256:]), host.Uint32(b[180:]); {
	case kind == socketKindTCP && host.Uint32(b[344:]) >= tcpStateOpen:
		s.protocol = protocolTCP
	case kind == socketKindIN && protocol == protocolUDP:
		s.protocol = protocolUDP
	default:
		return socket{}, false
	}
	flags := b[288]
	if flags&(vflagIPv4|vflagIPv6) == 0 {
		return socket{}, false
	}
	s.remote = address(b[296:312], b[264:], flags)
	s.local = address(b[312:328], b[268:], flags)
	return s, s.local.Port() != 0
}

// address reads one end of an in_sockinfo. IPv4 is in the last 4 of its 16 bytes; ports are in the network's order. A socket for
// both families that is not connected is IPv6 with no address.
func address(ip, port []byte, flags uint8) netip.AddrPort {
	addr := netip.AddrFrom16([16]byte(ip)).Unmap()
	if flags&vflagIPv6 == 0 {
		addr = netip.AddrFrom4([4]byte(ip[12:]))
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))
}

// matches says whether a flow between these ends may be this socket's. Unconnected and unbound sockets are for UDP only.
func (s socket) matches(protocol uint8, local, remote netip.AddrPort) bool {
	if s.protocol != protocol || s.local.Port() != local.Port() {
		return false
	}
	if s.local.Addr() != local.Addr() && !(protocol == protocolUDP && unbound(s.local.Addr(), local.Addr())) {
		return false
	}
	if s.remote.Port() == 0 {
		return protocol == protocolUDP
	}
	return s.remote == remote
}

// unbound says whether addr is unspecified, and for addresses like that one.
func unbound(addr, like netip.Addr) bool {
	return addr.IsUnspecified() && (addr.Is6() || like.Is4())
}

// parseProcArgs reads what sysctl kern.procargs2 gives: the number of arguments, the path, NULs, the arguments, the environment.
func parseProcArgs(b []byte) ([]string, error) {
	args, _, err := cutProcArgs(b)
	return args, err
}

// cutProcArgs also gives the environment, which is absent for programs that System Integrity Protection guards.
func cutProcArgs(b []byte) (args []string, environment []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("kern.procargs2: %d bytes", len(b))
	}
	count := host.Uint32(b)
	_, rest, ok := bytes.Cut(b[4:], []byte{0})
	if !ok {
		return nil, nil, errors.New("kern.procargs2: the path does not end")
	}
	rest = bytes.TrimLeft(rest, "\x00")
	for len(args) < int(count) {
		arg, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return args, nil, fmt.Errorf("kern.procargs2: %d arguments of %d", len(args), count)
		}
		args, rest = append(args, string(arg)), after
	}
	return args, rest, nil
}

// procEnvironment gives one variable of what sysctl kern.procargs2 gives, the first of that name; empty where there is none.
func procEnvironment(b []byte, name string) string {
	_, rest, err := cutProcArgs(b)
	for err == nil {
		entry, after, ok := bytes.Cut(rest, []byte{0})
		if !ok || len(entry) == 0 { // the kernel's own strings follow
			break
		}
		if key, value, _ := strings.Cut(string(entry), "="); key == name {
			return value
		}
		rest = after
	}
	return ""
}

// parseToken reads the text that csops(2) gives for an identity or team: 4 bytes of zero, the length in the network's order, text,
// NUL (xnu bsd/kern/kern_proc.c, csops_internal).
func parseToken(b []byte) (string, error) {
	if len(b) < 8 {
		return "", fmt.Errorf("code signing token: %d bytes", len(b))
	}
	size := binary.BigEndian.Uint32(b[4:])
	if size == 0 {
		return "", nil
	}
	if size < 8 || int64(size) > int64(len(b)) {
		return "", fmt.Errorf("code signing token: %d bytes of %d", size, len(b))
	}
	return text(b[8:size]), nil
}

// hexHash writes a hash, and an unset one as nothing.
func hexHash(b []byte) string {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return ""
	}
	return hex.EncodeToString(b)
}

// text is a C string in a field.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
