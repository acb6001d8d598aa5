package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The kernel's proc connector: a message for each process that starts or ends (linux/cn_proc.h, linux/connector.h).
const (
	cnProc       = 1 // CN_IDX_PROC, also its CN_VAL_PROC and its multicast group
	cnListen     = 1 // PROC_CN_MCAST_LISTEN
	eventNone    = 0 // the answer to a subscription
	eventFork    = 1
	eventExit    = 0x80000000
	eventWhat    = 16 + 20        // behind nlmsghdr and cn_msg
	eventData    = eventWhat + 16 // behind what, cpu, timestamp
	eventMinimum = eventData + 16
	eventBuffer  = 1 << 20 // bytes that the kernel may hold for us: some thousand events
	maxDrain     = 16 << 10
)

// events tells which processes have started and ended. They wait in the socket until somebody asks, so that a busy host does not wake us.
type events struct {
	fd  int
	buf [512]byte
}

// openEvents subscribes. It needs CAP_NET_ADMIN and the first pid namespace. The connector is in the first network namespace alone, so where ours is
// another the socket is opened there, if that is permitted.
func openEvents() (*events, error) {
	e, err := subscribe()
	if !errors.Is(err, unix.ECONNREFUSED) {
		return e, err
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is in another namespace then, ends with this function
		var inner error
		if inner = enterFirstNamespace(); inner == nil {
			e, inner = subscribe()
		}
		result <- inner
	}()
	if err := <-result; err != nil {
		return nil, err
	}
	return e, nil
}

func enterFirstNamespace() error {
	f, err := os.Open("/proc/1/ns/net")
	if err != nil {
		return fmt.Errorf("process: netlink proc connector: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("process: netlink proc connector: the first network namespace: %w", err)
	}
	return nil
}

// subscribe opens the socket, asks for events, and waits for the answer, which there is none of in another pid namespace.
func subscribe() (*events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("process: netlink proc connector: %w", err)
	}
	e := &events{fd: fd}
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("process: netlink proc connector: %w", err), e.close())
	}
	return e, nil
}

func (e *events) start() error {
	if unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		_ = unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer) // as much as is allowed: what is lost is noticed
	}
	if err := e.filter(); err != nil {
		return err
	}
	if err := unix.Bind(e.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnProc}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Sendto(e.fd, subscription(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for range 100 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, 100)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return errors.Join(errors.New("no answer: not the first pid namespace"), err)
		}
		message, err := e.receive()
		if err != nil {
			return err
		}
		if what, data, ok := parseEvent(message); ok && what == eventNone {
			if code := binary.NativeEndian.Uint32(data); code != 0 {
				return fmt.Errorf("refused: %w", unix.Errno(code))
			}
			return nil
		}
	}
	return errors.New("no answer among other events")
}

// subscription is a netlink message with a cn_msg that asks for all events.
func subscription() []byte {
	b := make([]byte, 16+20+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[16:], cnProc)
	binary.NativeEndian.PutUint32(b[20:], cnProc)
	binary.NativeEndian.PutUint16(b[32:], 4) // the length of what follows the cn_msg
	binary.NativeEndian.PutUint32(b[36:], cnListen)
	return b
}

// filter keeps starts and ends of processes, not those of threads, and answers to subscriptions.
func (e *events) filter() error {
	program, err := bpf.Assemble(eventFilter())
	if err != nil {
		return err
	}
	raw := make([]unix.SockFilter, len(program))
	for i, r := range program {
		raw[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	err = unix.SetsockoptSockFprog(e.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	return nil
}

// eventFilter compares in the order in which BPF loads: the network's.
func eventFilter() []bpf.Instruction {
	loaded := func(v uint32) uint32 { return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, v)) }
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: eventWhat, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(eventNone), SkipTrue: 12},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(eventFork), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(eventExit), SkipTrue: 5},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: eventData + 8, Size: 4}, // fork: the child's pid, then its process's
		bpf.TAX{},
		bpf.LoadAbsolute{Off: eventData + 12, Size: 4},
		bpf.Jump{Skip: 3},
		bpf.LoadAbsolute{Off: eventData, Size: 4}, // exit: pid, then its process's
		bpf.TAX{},
		bpf.LoadAbsolute{Off: eventData + 4, Size: 4},
		bpf.JumpIfX{Cond: bpf.JumpEqual, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 512},
	}
}

// receive gives the next message, or an error such as EAGAIN: none, or ENOBUFS: some were lost.
func (e *events) receive() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(e.fd, e.buf[:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return e.buf[:max(n, 0)], err
	}
}

// drain calls what it is given for each process that has started or ended since the last call. lost says that there were more than the kernel held.
func (e *events) drain(started, ended func(pid int)) (lost bool) {
	for range maxDrain {
		message, err := e.receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			lost = true
			continue
		case err != nil:
			return lost
		}
		what, data, ok := parseEvent(message)
		switch {
		case !ok:
		case what == eventFork:
			started(int(int32(binary.NativeEndian.Uint32(data[8:]))))
		case what == eventExit:
			ended(int(int32(binary.NativeEndian.Uint32(data))))
		}
	}
	return lost
}

// parseEvent reads one message. Threads do not count: their pid is not their process's.
func parseEvent(b []byte) (what uint32, data []byte, ok bool) {
	if len(b) < eventMinimum || binary.NativeEndian.Uint32(b[16:]) != cnProc || binary.NativeEndian.Uint32(b[20:]) != cnProc {
		return 0, nil, false
	}
	what, data = binary.NativeEndian.Uint32(b[eventWhat:]), b[eventData:]
	at := 0
	switch what {
	case eventNone:
		return what, data, true
	case eventFork:
		at = 8
	case eventExit:
	default:
		return 0, nil, false
	}
	return what, data, binary.NativeEndian.Uint32(data[at:]) == binary.NativeEndian.Uint32(data[at+4:])
}

func (e *events) close() error { return unix.Close(e.fd) }
