//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch    = 64
	maxFrame = 1514
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	header unix.Msghdr
	sent   uint32
}

// sender sends frames over one interface, many in a system call.
type sender struct {
	fd       int
	src, dst [6]byte
	frames   [batch][maxFrame]byte
	pieces   [batch]unix.Iovec
	messages [batch]mmsghdr
	n        int
}

// newSender opens a packet socket that sends and receives nothing.
func newSender(iface string, src, dst [6]byte) (*sender, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
		return nil, fmt.Errorf("bind %s: %w", iface, err)
	}
	s := &sender{fd: fd, src: src, dst: dst}
	for n := range s.messages {
		s.pieces[n].Base = &s.frames[n][0]
		s.messages[n].header.Iov = &s.pieces[n]
		s.messages[n].header.Iovlen = 1
	}
	return s, nil
}

// add queues one packet and gives its length; the batch is sent when it is full.
func (s *sender) add(from, to netip.AddrPort, transport, flags byte, seq, ack uint32, payload []byte) int {
	if s.n == batch {
		_ = s.flush() // what fails will fail again at the end of the tick
	}
	n := frame(s.frames[s.n][:], s.src, s.dst, from, to, transport, flags, seq, ack, payload)
	s.pieces[s.n].SetLen(n)
	s.n++
	return n
}

func (s *sender) flush() error {
	for at := 0; at < s.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[at])), uintptr(s.n-at), 0, 0, 0)
		switch {
		case errors.Is(errno, unix.EINTR), errors.Is(errno, unix.ENOBUFS):
		case errno != 0:
			return fmt.Errorf("sendmmsg: %w", errno)
		}
		at += int(int32(n)) * boolInt(errno == 0)
	}
	s.n = 0
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
