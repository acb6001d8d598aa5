//go:build linux

// Command client is a process that lives for a moment: it connects to the address that it is given, says its pid, and is gone 50 ms later. It uses
// system calls alone, so that hundreds can be started each second.
package main

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// lifetime is how long the process talks.
const lifetime = 50 * time.Millisecond

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		os.Exit(3)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{10, 77, 0, 2}}); err != nil {
		os.Exit(4)
	}
	said := "HELLO pid=" + strconv.Itoa(os.Getpid()) + " program=" + os.Args[0] + "\n"
	if _, err := syscall.Write(fd, []byte(said)); err != nil {
		os.Exit(5)
	}
	pause := syscall.NsecToTimespec(int64(lifetime))
	_ = syscall.Nanosleep(&pause, nil)
}
