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
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		require.Equal(t, "00000000000000"+"0010270000"+"00000000", fmt.Sprintf("%x", d.timeout), "10 ms")
	}

	got := collectBPF(t, src)
	want, err := readAll(open(t, "testdata/pktap149.pcap"))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		got[i].Time, want[i].Time = 0, 0
	}
	require.Equal(t, want, got)
	require.Equal(t, Stats{Packets: 9, Skipped: 5, Dropped: 7, Mode: ModePKTAP, Since: fakeNow}, src.Stats())
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

// TestPKTAPLinkType: PKTAP is asked for where it does not come by itself, and anything else is not mistaken for it.
func TestPKTAPLinkType(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	k.rawFirst = true
	src, err := openBPF(k, LiveOptions{})
	require.NoError(t, err)
	require.Equal(t, Stats{Dropped: 7, Mode: ModePKTAP, Since: fakeNow}, src.Stats())
	require.NoError(t, src.Close())

	k = newFakeKernel(t)
	k.rawFirst, k.stubborn = true, true
	src, err = openBPF(k, LiveOptions{})
	require.NoError(t, err)
	require.Contains(t, src.Stats().Degraded, "pktap5 gives link type 12, not PKTAP")
	require.NoError(t, src.Close())
	require.Equal(t, k.created, k.removed)
	require.Empty(t, k.devices)
}

// TestPlainRescan: interfaces that come later are captured too, those that are captured already are left alone.
func TestPlainRescan(t *testing.T) {
	t.Parallel()
	k := newFakeKernel(t)
	s := newBPFSource(ModeBPF, 20*time.Millisecond, k.now())
	plain := newPlainCapture(k, LiveOptions{}.withDefaults(maxBPFBuffer), s, errors.New("for a test"))
	require.NoError(t, plain.scan())
	require.Equal(t, 2, s.count())
	k.list = append(k.list, bpfInterface{"utun4", true, false}, bpfInterface{"odd0", true, false})
	k.links["utun4"] = 0
	require.NoError(t, plain.scan())
	require.Equal(t, 3, s.count())
	require.Contains(t, s.Stats().Degraded, "for a test")
	require.Contains(t, s.Stats().Degraded, "not captured: odd0: BIOCSETIF odd0: ")
	require.NoError(t, s.Close())
	require.Empty(t, k.devices)

	named := newPlainCapture(k, LiveOptions{Interfaces: []string{"lo0"}}.withDefaults(maxBPFBuffer), newBPFSource(ModeBPF, time.Second, k.now()), nil)
	require.NoError(t, named.scan())
	require.True(t, named.s.has("lo0"), "by name also loopback")
	require.Equal(t, 1, named.s.count())
	require.NoError(t, named.s.Close())
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
