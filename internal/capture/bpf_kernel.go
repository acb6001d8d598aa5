package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
)

// bpfKernel is what capturing on macOS needs of the system. What is decided on top of it is tested on any system.
type bpfKernel interface {
	socket() (fd int, err error)            // any that takes ioctls on interfaces
	open(device string) (fd int, err error) // for reading and writing
	read(fd int, buf []byte) (int, error)   // 0 after the time that was set
	close(fd int) error
	ioctl(fd int, request uint32, arg []byte) error // arg may be written to
	// ioctlPointer puts the address of target into arg at byte at.
	ioctlPointer(fd int, request uint32, arg []byte, at int, target []byte) error
	interfaces() ([]bpfInterface, error)
	pid() int
	now() time.Time // of the clock that packets' times are of
}

// bpfInterface is a network interface as the system lists it.
type bpfInterface struct {
	name     string
	up       bool
	loopback bool
}

// Requests of macOS, from bsd/net/bpf.h, bsd/sys/sockio.h and their private parts (Apple's own libpcap uses these).
const (
	biocSBLEN        = 0xc0044266
	biocSETF         = 0x80104267
	biocGDLT         = 0x4004426a
	biocSETIF        = 0x8020426c
	biocSRTIMEOUT    = 0x8010426d
	biocGSTATS       = 0x4008426f
	biocSDLT         = 0x80044278
	biocATTACHCOUNT  = 0xc020427d
	biocSWANTPKTAP   = 0xc004427f
	siocIFCREATE     = 0xc0206978
	siocIFDESTROY    = 0x80206979
	siocSDRVSPEC     = 0x8028697b
	siocSIFDESC      = 0xc094698f
	siocGIFDESC      = 0xc0946990
	maxBPFDevices    = 256
	ifreqSize        = 32
	ifreqValue       = 16
	interfaceNameLen = 16
)

// ifreq is a struct ifreq for an interface.
func ifreq(name string) []byte {
	b := make([]byte, ifreqSize)
	copy(b[:interfaceNameLen-1], name)
	return b
}

// ifdescreq is a struct if_descreq: name, length of the description, description.
func ifdescreq(name, description string) []byte {
	b := make([]byte, 148)
	copy(b[:interfaceNameLen-1], name)
	n := copy(b[20:147], description)
	binary.LittleEndian.PutUint32(b[16:], uint32(n))
	return b
}

// interfaceName reads the name at the start of a request.
func interfaceName(request []byte) string {
	name, _, _ := bytes.Cut(request[:interfaceNameLen], []byte{0})
	return string(name)
}

// number is a request's u_int.
func number(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// timeval is a struct timeval of 64-bit macOS.
func timeval(microseconds int64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(microseconds/1e6))
	b = binary.LittleEndian.AppendUint32(b, uint32(microseconds%1e6))
	return append(b, 0, 0, 0, 0)
}

// bpfDevice is one open BPF device.
type bpfDevice struct {
	k      bpfKernel
	fd     int
	buffer int // bytes: what each read must ask for

	retired atomic.Bool // it is read to its end, for PKTAP gives its packets
}

// openDevice opens the next free device. The system makes new ones as they are asked for.
func openDevice(k bpfKernel) (*bpfDevice, error) {
	var err error
	for n := range maxBPFDevices {
		name := fmt.Sprintf("/dev/bpf%d", n)
		var fd int
		if fd, err = k.open(name); err == nil {
			return &bpfDevice{k: k, fd: fd}, nil
		}
		err = fmt.Errorf("%s: %w", name, err)
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("needs root: %w", err)
		}
		if !errors.Is(err, syscall.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("all %d devices are in use: %w", maxBPFDevices, err)
}

func (d *bpfDevice) ioctl(what string, request uint32, arg []byte) error {
	if err := d.k.ioctl(d.fd, request, arg); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// attach binds the device to an interface with a buffer of at most size bytes. wantTap asks for PKTAP headers, which must
// come before the binding: later the system silently gives raw IP instead.
func (d *bpfDevice) attach(iface string, size int, wantTap bool) error {
	length := number(uint32(size))
	if err := d.ioctl("BIOCSBLEN", biocSBLEN, length); err != nil {
		return err
	}
	d.buffer = int(binary.LittleEndian.Uint32(length)) // the system's own limit may be lower
	if d.buffer < recordMinimum || d.buffer > maxBPFBuffer {
		return fmt.Errorf("BIOCSBLEN: a buffer of %d bytes", d.buffer)
	}
	if wantTap {
		if err := d.ioctl("BIOCSWANTPKTAP", biocSWANTPKTAP, number(1)); err != nil {
			return err
		}
	}
	return d.ioctl("BIOCSETIF "+iface, biocSETIF, ifreq(iface))
}

// linkType is the link type that the device gives.
func (d *bpfDevice) linkType() (uint32, error) {
	dlt := number(0)
	err := d.ioctl("BIOCGDLT", biocGDLT, dlt)
	return binary.LittleEndian.Uint32(dlt), err
}

// start sets the filter, which also empties the buffer, and how long a read waits. nil keeps every packet.
func (d *bpfDevice) start(filter []bpf.Instruction) error {
	if filter != nil {
		raw, err := bpf.Assemble(filter)
		if err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		var code []byte // struct bpf_insn
		for _, r := range raw {
			code = binary.LittleEndian.AppendUint16(code, r.Op)
			code = append(code, r.Jt, r.Jf)
			code = binary.LittleEndian.AppendUint32(code, r.K)
		}
		program := append(number(uint32(len(raw))), make([]byte, 12)...) // struct bpf_program: count, padding, pointer
		if err := d.k.ioctlPointer(d.fd, biocSETF, program, 8, code); err != nil {
			return fmt.Errorf("BIOCSETF: %w", err)
		}
	}
	// Without BIOCIMMEDIATE a read comes back when its buffer is full or this time is over, with what there is: bounded
	// delay, and one system call for many packets.
	return d.ioctl("BIOCSRTIMEOUT", biocSRTIMEOUT, timeval(latency.Microseconds()))
}

// read fills buf, which has the size of the device's buffer. It returns 0 when there was nothing for a while.
func (d *bpfDevice) read(buf []byte) (int, error) {
	n, err := d.k.read(d.fd, buf)
	if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}

// dropped is how many packets the kernel had no room for, since the device was opened.
func (d *bpfDevice) dropped() uint32 {
	stat := make([]byte, 8) // struct bpf_stat: received, dropped
	if err := d.k.ioctl(d.fd, biocGSTATS, stat); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(stat[4:])
}

func (d *bpfDevice) close() error { return d.k.close(d.fd) }
