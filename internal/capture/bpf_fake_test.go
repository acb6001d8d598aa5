package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeKernel behaves as BPF and PKTAP of macOS do, as far as capturing depends on it (xnu, bsd/net/bpf.c and pktap.c).
type fakeKernel struct {
	t  *testing.T
	mu sync.Mutex

	rawFirst bool                // a pktap interface gives raw IP until it is asked for PKTAP
	stubborn bool                // and even then
	busy     int                 // how many of the first devices are taken
	denied   map[uint32]error    // what requests fail with
	noDevice error               // what opening a device fails with
	maxLen   uint32              // of a buffer
	links    map[string]uint32   // of interfaces
	list     []bpfInterface      // what there is
	tags     map[string]string   // descriptions of interfaces
	users    map[string]uint32   // how many devices are bound to an interface
	input    map[string][][]byte // what reads of an interface give
	gone     map[string]bool     // interfaces that have been unplugged

	clock   time.Time
	devices map[int]*fakeDevice
	next    int
	created []string
	removed []string
	rules   []byte
}

type fakeDevice struct {
	iface   string
	buffer  uint32
	wantTap bool
	link    uint32
	filter  []byte
	timeout []byte
}

var fakeNow = time.Unix(1700000002, 0)

func newFakeKernel(t *testing.T) *fakeKernel {
	return &fakeKernel{
		t: t, clock: fakeNow, busy: 2, maxLen: 512 << 10, denied: map[uint32]error{}, next: 10, devices: map[int]*fakeDevice{},
		links: map[string]uint32{"en0": 1, "utun3": 0, "lo0": 0}, tags: map[string]string{}, users: map[string]uint32{},
		list:  []bpfInterface{{"lo0", true, true}, {"en0", true, false}, {"en1", false, false}, {"utun3", true, false}},
		input: map[string][][]byte{}, gone: map[string]bool{},
	}
}

func (k *fakeKernel) pid() int { return 4711 }

func (k *fakeKernel) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clock
}

func (k *fakeKernel) socket() (int, error) { return 3, nil }

func (k *fakeKernel) interfaces() ([]bpfInterface, error) { return k.list, nil }

func (k *fakeKernel) open(device string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.noDevice != nil {
		return -1, k.noDevice
	}
	n, err := strconv.Atoi(regexp.MustCompile(`^/dev/bpf(\d+)$`).FindStringSubmatch(device)[1])
	require.NoError(k.t, err)
	if n < k.busy {
		return -1, syscall.EBUSY
	}
	k.busy++
	k.next++
	k.devices[k.next] = &fakeDevice{buffer: 4096}
	return k.next, nil
}

func (k *fakeKernel) close(fd int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if fd == 3 {
		return nil
	}
	if k.devices[fd] == nil {
		return syscall.EBADF
	}
	delete(k.devices, fd)
	return nil
}

func (k *fakeKernel) read(fd int, buf []byte) (int, error) {
	k.mu.Lock()
	d := k.devices[fd]
	require.NotNil(k.t, d)
	require.Len(k.t, buf, int(d.buffer), "EINVAL: a read of another size than the buffer")
	require.NotNil(k.t, d.timeout, "a read that nothing ends")
	if k.gone[d.iface] {
		k.mu.Unlock()
		return -1, syscall.ENXIO
	}
	if queue := k.input[d.iface]; len(queue) > 0 {
		k.input[d.iface] = queue[1:]
		k.mu.Unlock()
		return copy(buf, queue[0]), nil
	}
	k.mu.Unlock()
	time.Sleep(time.Millisecond)
	return 0, nil
}

func (k *fakeKernel) ioctl(fd int, request uint32, arg []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Len(k.t, arg, int(request>>16&0x1fff), "the size of the argument is part of the request %#x", request)
	if err := k.denied[request]; err != nil {
		return err
	}
	name := func() string { b, _, _ := bytes.Cut(arg[:16], []byte{0}); return string(b) }
	le := binary.LittleEndian
	d := k.devices[fd]
	switch request {
	case 0xc0206978: // SIOCIFCREATE
		require.Equal(k.t, "pktap", name())
		created := fmt.Sprintf("pktap%d", len(k.created)+5)
		k.created = append(k.created, created)
		copy(arg[:16], created)
	case 0x80206979: // SIOCIFDESTROY
		k.removed = append(k.removed, name())
	case 0xc094698f: // SIOCSIFDESC
		k.tags[name()] = string(arg[20:][:le.Uint32(arg[16:])])
	case 0xc0946990: // SIOCGIFDESC
		require.EqualValues(k.t, 128, le.Uint32(arg[16:]))
		copy(arg[20:], k.tags[name()])
	case 0xc020427d: // BIOCGIFATTACHCOUNT
		le.PutUint32(arg[16:], k.users[name()])
	case 0xc0044266: // BIOCSBLEN
		require.Empty(k.t, d.iface, "EINVAL: after BIOCSETIF")
		d.buffer = min(le.Uint32(arg), k.maxLen)
		le.PutUint32(arg, d.buffer)
	case 0xc004427f: // BIOCSWANTPKTAP
		d.wantTap = le.Uint32(arg) != 0
	case 0x8020426c: // BIOCSETIF
		d.iface = name()
		if d.link = k.links[d.iface]; len(k.created) > 0 && d.iface == k.created[len(k.created)-1] {
			if d.link = 12; d.wantTap && !k.rawFirst {
				d.link = 149
			}
		} else if _, ok := k.links[d.iface]; !ok {
			return syscall.ENXIO
		}
	case 0x4004426a: // BIOCGDLT
		le.PutUint32(arg, d.link)
	case 0x80044278: // BIOCSDLT
		require.EqualValues(k.t, 149, le.Uint32(arg))
		if !k.stubborn {
			d.link = 149
		}
	case 0x8010426d: // BIOCSRTIMEOUT
		d.timeout = bytes.Clone(arg)
	case 0x4008426f: // BIOCGSTATS
		le.PutUint32(arg, 100)
		le.PutUint32(arg[4:], 7)
	default:
		require.Fail(k.t, "request", "%#x is not known", request)
	}
	return nil
}

func (k *fakeKernel) ioctlPointer(fd int, request uint32, arg []byte, at int, target []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Len(k.t, arg, int(request>>16&0x1fff))
	if err := k.denied[request]; err != nil {
		return err
	}
	le := binary.LittleEndian
	switch request {
	case 0x8028697b: // SIOCSDRVSPEC64
		require.Equal(k.t, 32, at)
		require.EqualValues(k.t, 3, le.Uint64(arg[16:]), "PKTP_CMD_FILTER_SET")
		require.EqualValues(k.t, 256, le.Uint64(arg[24:]))
		require.Len(k.t, target, 256)
		k.rules = bytes.Clone(target)
	case 0x80104267: // BIOCSETF
		require.Equal(k.t, 8, at)
		require.EqualValues(k.t, len(target)/8, le.Uint32(arg))
		k.devices[fd].filter = bytes.Clone(target)
	default:
		require.Fail(k.t, "request", "%#x is not known", request)
	}
	return nil
}

func (k *fakeKernel) advance(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clock = k.clock.Add(d)
}

// give is what the next read of an interface gives.
func (k *fakeKernel) give(iface string, buffer []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.input[iface] = append(k.input[iface], buffer)
}

func (k *fakeKernel) allow(request uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.denied, request)
}
