package capture

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// AppleWriter writes a pcapng file as Apple's tcpdump does with `-i pktap -w`: little-endian, microseconds, PKTAP headers
// taken off, a process information block before the first packet that refers to it. It makes fixtures.
type AppleWriter struct {
	w      io.Writer
	ifaces int
	owners map[Process]uint32
}

// AppleSection is what a section header says of the writing system; all of it may be empty.
type AppleSection struct {
	Hardware string // "arm64"
	OS       string // "Darwin Kernel Version 24.1.0"
	Program  string // "tcpdump (libpcap version 1.10.1)"
}

// ApplePacket is a packet and what only Apple's files say of it.
type ApplePacket struct {
	Packet
	Delegate *Process // the process that did the work for Packet.Process, such as nsurlsessiond; normally nil
	Service  uint32   // SO_TRAFFIC_CLASS; 0 best effort
	Flags    uint32   // 0x1 new flow, 0x2 keep-alive, 0x4 retransmission, 0x8 socket, 0x10 nexus channel
}

// NewAppleWriter writes the section header.
func NewAppleWriter(w io.Writer, s AppleSection) (*AppleWriter, error) {
	body := binary.LittleEndian.AppendUint32(nil, byteOrderMagic)
	body = append(body, 1, 0, 0, 0) // version 1.0
	body = binary.LittleEndian.AppendUint64(body, ^uint64(0))
	for i, value := range []string{s.Hardware, s.OS, s.Program} {
		if value != "" {
			body = appendOption(body, uint16(2+i), []byte(value))
		}
	}
	a := &AppleWriter{w: w, owners: map[Process]uint32{}}
	return a, a.block(blockSection, appendOption(body, 0, nil))
}

// AddInterface describes an interface and gives the index that its packets carry.
func (a *AppleWriter) AddInterface(name string, link uint16) (int, error) {
	body := binary.LittleEndian.AppendUint16(nil, link)
	body = append(body, 0, 0)
	body = binary.LittleEndian.AppendUint32(body, 512<<10)
	body = appendOption(body, 2, []byte(name))
	a.ifaces++
	return a.ifaces - 1, a.block(blockInterface, appendOption(body, 0, nil))
}

// Write writes a packet, and before it the processes that it is the first to name. LinkType is the interface's.
func (a *AppleWriter) Write(p ApplePacket) error {
	worker := p.Delegate
	if worker == nil {
		worker = p.Process
	}
	tail, err := a.owner(nil, optProcess, worker)
	if err == nil && p.Delegate != nil {
		tail, err = a.owner(tail, optEffective, p.Process)
	}
	if err != nil {
		return err
	}
	for _, o := range []struct {
		code  uint16
		value uint32
	}{{2, uint32(p.Direction)}, {0x8002, p.Service}, {0x8004, p.Flags}} {
		tail = appendOption(tail, o.code, binary.LittleEndian.AppendUint32(nil, o.value))
	}
	body := make([]byte, 20, 20+len(p.Data)+len(tail)+8)
	ticks := uint64(p.Time / 1000)
	for i, field := range []uint32{
		uint32(p.Interface), uint32(ticks >> 32), uint32(ticks), uint32(len(p.Data)), uint32(max(p.Length, len(p.Data))),
	} {
		binary.LittleEndian.PutUint32(body[4*i:], field)
	}
	body = append(padded(append(body, p.Data...)), tail...)
	return a.block(blockEnhanced, appendOption(body, 0, nil))
}

// owner appends the option that refers to a process, if there is one.
func (a *AppleWriter) owner(to []byte, code uint16, p *Process) ([]byte, error) {
	if p == nil {
		return to, nil
	}
	index, err := a.process(*p)
	return appendOption(to, code, binary.LittleEndian.AppendUint32(nil, index)), err
}

// process gives the number of a process's block, which is written at its first use.
func (a *AppleWriter) process(p Process) (uint32, error) {
	if index, ok := a.owners[p]; ok {
		return index, nil
	}
	body := binary.LittleEndian.AppendUint32(nil, uint32(p.PID))
	body = appendOption(body, 2, []byte(p.Name))
	if p.UUID != "" {
		uuid, err := hex.DecodeString(strings.ReplaceAll(p.UUID, "-", ""))
		if err != nil || len(uuid) != 16 {
			return 0, fmt.Errorf("capture: process %d: %q is no UUID", p.PID, p.UUID)
		}
		body = appendOption(body, 4, uuid)
	}
	index := uint32(len(a.owners))
	a.owners[p] = index
	return index, a.block(blockProcess, appendOption(body, 0, nil))
}

func (a *AppleWriter) block(kind uint32, body []byte) error {
	total := uint32(len(body) + 12)
	block := binary.LittleEndian.AppendUint32(nil, kind)
	block = binary.LittleEndian.AppendUint32(block, total)
	block = append(block, body...)
	block = binary.LittleEndian.AppendUint32(block, total)
	_, err := a.w.Write(block)
	return err
}

// appendOption appends an option with its padding.
func appendOption(to []byte, code uint16, value []byte) []byte {
	to = binary.LittleEndian.AppendUint16(to, code)
	to = binary.LittleEndian.AppendUint16(to, uint16(len(value)))
	return append(to, padded(value)...)
}

// padded is b with zeros up to a multiple of 4.
func padded(b []byte) []byte {
	return append(b[:len(b):len(b)], make([]byte, -len(b)&3)...)
}
