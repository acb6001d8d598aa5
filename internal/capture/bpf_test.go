package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

func newFakeKernel(t *testing.T) *fakeKernel {
	return &fakeKernel{
		t: t, busy: 2, maxLen: 512 << 10, denied: map[uint32]error{}, next: 10, devices: map[int]*fakeDevice{},
		links: map[string]uint32{"en0": 1, "utun3": 0, "lo0": 0}, tags: map[string]string{}, users: map[string]uint32{},
		list:  []bpfInterface{{"lo0", true, true}, {"en0", true, false}, {"en1", false, false}, {"utun3", true, false}},
		input: map[string][][]byte{}, gone: map[string]bool{},
	}
}

func (k *fakeKernel) pid() int { return 4711 }

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
			if d.link = 12; d.wantTap {
				d.link = 149
			}
		} else if _, ok := k.links[d.iface]; !ok {
			return syscall.ENXIO
		}
	case 0x4004426a: // BIOCGDLT
		le.PutUint32(arg, d.link)
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

// records puts packets into a buffer as BPF does: header of 20 bytes (18, and padding, for Ethernet), the packet, padding to 4.
func records(header int, packets ...[]byte) []byte {
	var out []byte
	for i, data := range packets {
		h := make([]byte, header)
		binary.LittleEndian.PutUint32(h, uint32(1700000000+i))
		binary.LittleEndian.PutUint32(h[4:], 250000)
		binary.LittleEndian.PutUint32(h[8:], uint32(len(data)))
		binary.LittleEndian.PutUint32(h[12:], uint32(len(data)+5))
		binary.LittleEndian.PutUint16(h[16:], uint16(header))
		out = append(append(out, h...), data...)
		for i < len(packets)-1 && len(out)%4 != 0 {
			out = append(out, 0xee)
		}
	}
	return out
}

// tapPackets are the PKTAP packets of the fixture, headers included.
func tapPackets(t testing.TB) (all [][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/pktap149.pcap")
	require.NoError(t, err)
	for at := 24; at < len(data); {
		n := int(binary.LittleEndian.Uint32(data[at+8:]))
		all = append(all, data[at+16:at+16+n])
		at += 16 + n
	}
	return all
}

// TestPKTAPAttach: the whole sequence, and the same packets from a BPF buffer as from a file.
func TestPKTAPAttach(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	k.list = append(k.list, bpfInterface{"pktap0", true, false}, bpfInterface{"pktap1", true, false}, bpfInterface{"pktap2", true, false})
	k.tags = map[string]string{"pktap0": tapTag, "pktap1": tapTag, "pktap2": "libpcap auto cloned device"}
	k.users["pktap1"] = 1
	packets := tapPackets(t)
	k.input["pktap5"] = [][]byte{records(20, packets[:4]...), records(20, packets[4:]...)}
	src, err := openBPF(k, LiveOptions{Timeout: 50 * time.Millisecond})
	require.NoError(t, err)

	require.Equal(t, []string{"pktap0"}, k.removed, "ours and unused; not one in use, not another program's")
	require.Equal(t, tapTag, k.tags["pktap5"])
	require.Equal(t, "0100000001000000"+"06000000", fmt.Sprintf("%x", k.rules[:12]), "PASS IF_TYPE IFT_ETHER")
	require.Equal(t, make([]byte, 96), k.rules[160:], "the rest is PKTAP_FILTER_OP_NONE")
	for _, d := range k.devices {
		require.Equal(t, "pktap5", d.iface)
		require.EqualValues(t, 512<<10, d.buffer)
		require.NotEmpty(t, d.filter)
		require.Equal(t, "00000000000000"+"00401f0000"+"00000000", fmt.Sprintf("%x", d.timeout), "8 ms")
	}

	got := collectBPF(t, src)
	want, err := readAll(open(t, "testdata/pktap149.pcap"))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		got[i].Time, want[i].Time = 0, 0
	}
	require.Equal(t, want, got)
	require.Equal(t, Stats{Packets: 9, Skipped: 5, Dropped: 7, Mode: ModePKTAP}, src.Stats())
	require.NoError(t, src.Close())
	require.Equal(t, []string{"pktap0", "pktap5"}, k.removed)
	require.Empty(t, k.devices)
	require.ErrorIs(t, src.Next(&Packet{}), io.EOF)
	require.NoError(t, src.Close())
}

func collectBPF(t *testing.T, src Source) []seen {
	t.Helper()
	var all []seen
	for {
		var p Packet
		err := src.Next(&p)
		if errors.Is(err, ErrTimeout) {
			return all
		}
		require.NoError(t, err)
		p.Data = bytes.Clone(p.Data)
		all = append(all, seen{p, src.(InterfaceNamer).InterfaceName(p.Interface)})
	}
}

// TestPKTAPByName: named interfaces become name rules.
func TestPKTAPByName(t *testing.T) {
	t.Parallel()
	rules, err := tapRules([]string{"en0", "utun"})
	require.NoError(t, err)
	require.Equal(t, "0100000002000000656e3000", fmt.Sprintf("%x", rules[:12]))
	require.Equal(t, "01000000020000007574756e00", fmt.Sprintf("%x", rules[32:45]))
	_, err = tapRules(make([]string, 9))
	require.ErrorContains(t, err, "PKTAP takes 8")
}

// TestFallback: whatever step of PKTAP fails, each interface is captured by itself, and the source says why; nothing is left behind.
func TestFallback(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]uint32{
		"SIOCIFCREATE": siocIFCREATE, "SIOCSIFDESC": siocSIFDESC, "SIOCSDRVSPEC": siocSDRVSPEC, "BIOCSWANTPKTAP": biocSWANTPKTAP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newFakeKernel(t)
			k.denied[request] = syscall.EPERM
			k.input["en0"] = [][]byte{records(18, tapPackets(t)[0][tapFull:])}
			k.input["utun3"] = [][]byte{records(20, tapPackets(t)[3][tapFull:])}
			src, err := openBPF(k, LiveOptions{Timeout: 50 * time.Millisecond})
			require.NoError(t, err)
			got := collectBPF(t, src)
			require.Len(t, got, 2)
			names := map[string]uint32{}
			for _, p := range got {
				names[p.Iface] = p.LinkType
				require.Nil(t, p.Process)
				require.Equal(t, Unknown, p.Direction)
				require.EqualValues(t, 1700000000250000000, p.Time)
				require.Equal(t, len(p.Data)+5, p.Length)
			}
			require.Equal(t, map[string]uint32{"en0": LinkEthernet, "utun3": LinkNull}, names, "not lo0, not en1, which is down")
			stats := src.Stats()
			require.Equal(t, ModeBPF, stats.Mode)
			require.EqualValues(t, 14, stats.Dropped)
			require.Contains(t, stats.Degraded, name)
			require.Contains(t, stats.Degraded, "neither process nor direction")
			require.NoError(t, src.Close())
			require.Empty(t, k.devices)
			require.Equal(t, k.created, k.removed)
		})
	}
}

// TestNotRoot: the error says what is missing.
func TestNotRoot(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	k.noDevice = syscall.EACCES
	_, err := openBPF(k, LiveOptions{})
	require.ErrorContains(t, err, "capture: live: pktap: needs root: /dev/bpf0: permission denied")
	require.ErrorIs(t, err, os.ErrPermission)
	k.noDevice = syscall.ENOENT
	_, err = openBPF(k, LiveOptions{})
	require.ErrorContains(t, err, "/dev/bpf0: no such file")
	k.noDevice, k.busy = nil, 1000
	_, err = openBPF(k, LiveOptions{})
	require.ErrorContains(t, err, "all 256 devices are in use")
}

// TestInterfaceGone: one interface that goes away does not end the others; the last one does.
func TestInterfaceGone(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	k.denied[siocIFCREATE] = syscall.EPERM
	src, err := openBPF(k, LiveOptions{Timeout: 20 * time.Millisecond})
	require.NoError(t, err)
	unplug := func(name string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.gone[name] = true
	}
	unplug("utun3")
	require.ErrorIs(t, src.Next(&Packet{}), ErrTimeout)
	require.EqualValues(t, 14, src.Stats().Dropped, "what the lost one dropped still counts")
	unplug("en0")
	require.Eventually(t, func() bool {
		err := src.Next(&Packet{})
		return errors.Is(err, syscall.ENXIO)
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, src.Close())
	require.Empty(t, k.devices)
}

// TestBPFCloseEndsNext: Close wakes a reader.
func TestBPFCloseEndsNext(t *testing.T) {
	t.Parallel()
	src, err := openBPF(newFakeKernel(t), LiveOptions{Timeout: time.Minute})
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- src.Next(&Packet{}) }()
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, src.Close())
	require.ErrorIs(t, <-result, io.EOF)
}

// TestRequestsAsGo compares our numbers with those that golang.org/x/sys/unix has for darwin, and the private ones with
// how they are made: direction, size, group, number (bsd/sys/ioccom.h).
func TestRequestsAsGo(t *testing.T) {
	t.Parallel()
	const in, inOut = 0x80000000, 0xc0000000 // IOC_IN, IOC_INOUT
	ioc := func(direction, size uint32, group byte, number uint32) uint32 {
		return direction | size<<16 | uint32(group)<<8 | number
	}
	require.EqualValues(t, biocATTACHCOUNT, ioc(inOut, 32, 'B', 125))
	require.EqualValues(t, biocSWANTPKTAP, ioc(inOut, 4, 'B', 127))
	require.EqualValues(t, siocSIFDESC, ioc(inOut, 16+4+128, 'i', 143))
	require.EqualValues(t, siocGIFDESC, ioc(inOut, 16+4+128, 'i', 144))
	require.EqualValues(t, siocSDRVSPEC, ioc(in, 16+8+8+8, 'i', 123))

	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Skip("no go command")
	}
	source, err := os.ReadFile(filepath.Join(string(bytes.TrimSpace(dir)), "unix", "zerrors_darwin_arm64.go"))
	if err != nil {
		t.Skip("no source of golang.org/x/sys")
	}
	for name, ours := range map[string]uint32{
		"BIOCSBLEN": biocSBLEN, "BIOCSETF": biocSETF, "BIOCGDLT": biocGDLT, "BIOCSETIF": biocSETIF, "BIOCSRTIMEOUT": biocSRTIMEOUT,
		"BIOCGSTATS": biocGSTATS, "BIOCSDLT": biocSDLT, "SIOCIFCREATE": siocIFCREATE, "SIOCIFDESTROY": siocIFDESTROY,
		"SIOCSDRVSPEC": siocSDRVSPEC, "DLT_RAW": darwinRaw, "DLT_USER2": linkPKTAPDarwin, "IFT_OTHER": ifTypeOther,
		"IFT_ETHER": ifTypeEther, "IFT_PPP": ifTypePPP, "IFT_IEEE1394": ifTypeIEEE1394, "IFT_CELLULAR": ifTypeCellular,
	} {
		found := regexp.MustCompile(`(?m)^\t` + name + `\s+= (\S+)$`).FindSubmatch(source)
		require.NotNil(t, found, name)
		theirs, err := strconv.ParseUint(string(found[1]), 0, 32)
		require.NoError(t, err)
		require.EqualValues(t, theirs, ours, name)
	}
}

// TestBrokenRecords: a record that does not hold together ends its buffer and nothing else.
func TestBrokenRecords(t *testing.T) {
	t.Parallel()
	whole := records(18, []byte("first packet"), []byte("second"), []byte("x"))
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   int
	}{
		{"whole", func(b []byte) []byte { return b }, 3},
		{"cut in the last packet", func(b []byte) []byte { return b[:len(b)-1] }, 2},
		{"cut in the last header", func(b []byte) []byte { return b[:len(b)-10] }, 2},
		{"captured", func(b []byte) []byte { b[8+3] = 0xff; return b }, 0},
		{"header of 0", func(b []byte) []byte { b[16] = 0; return b }, 0},
		{"header beyond the end", func(b []byte) []byte { b[17] = 0xff; return b }, 0},
		{"nothing", func([]byte) []byte { return nil }, 0},
	} {
		b := bpfRecords{c.change(bytes.Clone(whole))}
		n := 0
		for p := (Packet{}); b.next(&p); {
			n++
		}
		require.Equal(t, c.want, n, c.name)
	}
}

func FuzzBPFBuffer(f *testing.F) {
	packets := tapPackets(f)
	f.Add(records(20, packets...), true)
	f.Add(records(18, packets[0][tapFull:], packets[1][tapFull:]), false)
	f.Add(records(26, []byte{}, []byte{1}), false)
	u := newUnwrapper()
	f.Fuzz(func(t *testing.T, data []byte, tap bool) {
		b := bpfRecords{data}
		for n := 0; ; n++ {
			require.LessOrEqual(t, n, len(data)/recordMinimum)
			var p Packet
			if !b.next(&p) {
				return
			}
			require.GreaterOrEqual(t, p.Length, len(p.Data))
			if p.LinkType = linkPKTAP; tap && u.unwrap(&p) {
				check(t, &p)
			}
		}
	})
}
