package capture

import "encoding/binary"

// The link types of PKTAP: what BPF on macOS gives and pcap files from there have, and the registered one.
const (
	linkPKTAPDarwin = 149 // DLT_USER2
	linkPKTAP       = 258
)

func isPKTAP(link uint32) bool { return link == linkPKTAP || link == linkPKTAPDarwin }

// Offsets and values of struct pktap_header and struct pktap_v2_hdr (xnu, bsd/net/pktap.h), little-endian as every Mac that has
// them. tapFlags is the same in both.
const (
	tapMinimum   = 108 // up to and with pth_ecomm: OS X 10.9; pth_length is 156 since
	tapTypeNext  = 4
	tapLink      = 8
	tapIfname    = 12
	tapFlags     = 36
	tapPID       = 52
	tapComm      = 56
	tapEPID      = 84
	tapEComm     = 88
	tapUUID      = 124
	tapEUUID     = 140
	tapFull      = 156
	tapCommBytes = 17

	tap2Minimum = 40
	tap2Link    = 6
	tap2PID     = 28
	tap2EPID    = 32

	tapNextPacket = 1

	tapFlagIn        = 0x1
	tapFlagOut       = 0x2
	tapFlagDelegated = 0x4
	tapFlagV2        = 0x80000
)

// tapProcess is a process as a PKTAP header has it, and the key by which it is interned without allocation.
type tapProcess struct {
	pid  int32
	comm [tapCommBytes]byte
	uuid [16]byte
}

// unwrapper takes PKTAP headers off packets.
type unwrapper struct {
	processes processes
	owners    interned[tapProcess, *Process]
	ifaces    interfaces
}

func newUnwrapper() unwrapper {
	return unwrapper{processes: newProcesses(), owners: newInterned[tapProcess, *Process](maxProcesses)}
}

// unwrap replaces a PKTAP packet by the one inside. False means that the header does not hold together, or that there is
// no packet behind it that was on a wire: the firewall dropped it (droptap).
func (u *unwrapper) unwrap(p *Packet) bool {
	head := p.Data
	if len(head) < tap2Minimum {
		return false
	}
	flags := binary.LittleEndian.Uint32(head[tapFlags:])
	var length int
	var owner tapProcess
	var iface [24]byte
	if flags&tapFlagV2 != 0 {
		length = int(head[0])
		if length < tap2Minimum || length > len(head) {
			return false
		}
		owner, iface = tapV2(head[:length], flags)
		p.LinkType = uint32(binary.LittleEndian.Uint16(head[tap2Link:]))
	} else {
		claimed := binary.LittleEndian.Uint32(head)
		if claimed < tapMinimum || uint64(claimed) > uint64(len(head)) {
			return false
		}
		if binary.LittleEndian.Uint32(head[tapTypeNext:]) != tapNextPacket {
			return false
		}
		length = int(claimed)
		owner, iface = tapV1(head[:length], flags)
		p.LinkType = binary.LittleEndian.Uint32(head[tapLink:])
	}
	p.LinkType = linkType(p.LinkType)
	p.Data = head[length:]
	p.Length -= length
	p.Direction = tapDirection(flags)
	p.Interface = u.ifaces.named(iface)
	p.Process = u.owner(owner)
	return !isPKTAP(p.LinkType)
}

// tapV1 reads the owner and the interface of a version 1 header. The process that another one works for (a delegate, such as
// nsurlsessiond) is the owner.
func tapV1(head []byte, flags uint32) (owner tapProcess, iface [24]byte) {
	pid, comm, uuid := tapPID, tapComm, tapUUID
	if delegated(head, tapEPID, flags) {
		pid, comm, uuid = tapEPID, tapEComm, tapEUUID
	}
	owner.pid = int32(binary.LittleEndian.Uint32(head[pid:]))
	copy(owner.comm[:], head[comm:])
	if len(head) >= tapFull {
		copy(owner.uuid[:], head[uuid:])
	}
	copy(iface[:], head[tapIfname:])
	return owner, iface
}

// tapV2 reads the owner and the interface of a version 2 header, whose bytes 1 to 5 say where in it the variable fields are.
func tapV2(head []byte, flags uint32) (owner tapProcess, iface [24]byte) {
	pid, uuid, comm := tap2PID, head[1], head[4]
	if delegated(head, tap2EPID, flags) {
		pid, uuid, comm = tap2EPID, head[2], head[5]
	}
	owner.pid = int32(binary.LittleEndian.Uint32(head[pid:]))
	if field := variable(head, uuid); len(field) >= len(owner.uuid) {
		copy(owner.uuid[:], field)
	}
	copyText(owner.comm[:], variable(head, comm))
	copyText(iface[:], variable(head, head[3]))
	return owner, iface
}

// delegated says whether another process is behind the one that sent: the flag alone does not tell which.
func delegated(head []byte, epid int, flags uint32) bool {
	return flags&tapFlagDelegated != 0 && int32(binary.LittleEndian.Uint32(head[epid:])) > 0
}

// variable is the rest of a version 2 header from a field on; 0 means that there is none.
func variable(head []byte, offset uint8) []byte {
	if offset < tap2Minimum || int(offset) >= len(head) {
		return nil
	}
	return head[offset:]
}

// copyText copies up to the terminating NUL.
func copyText(to, from []byte) {
	for i := range min(len(to), len(from)) {
		if from[i] == 0 {
			return
		}
		to[i] = from[i]
	}
}

func tapDirection(flags uint32) Direction {
	switch flags & (tapFlagIn | tapFlagOut) {
	case tapFlagIn:
		return In
	case tapFlagOut:
		return Out
	}
	return Unknown
}

// owner interns a process; nil when the kernel did not find the socket (pid -1).
func (u *unwrapper) owner(t tapProcess) *Process {
	if known, ok := u.owners.get(t); ok {
		return known
	}
	p := u.processes.intern(Process{
		PID: max(t.pid, -1), Name: text(t.comm[:], len(t.comm)), UUID: uuidText(t.uuid[:]),
	})
	u.owners.put(t, p)
	return p
}
