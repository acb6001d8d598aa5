package capture

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
)

// filterExpression says in tcpdump's language what the filter keeps of untagged packets.
const filterExpression = `(ip and ip[0] & 0xf0 = 0x40 and (ip[6:2] & 0x1fff != 0 or ip[2:2] = 0 or ip[9] = 4 or ip[9] = 41 or ip[9] = 47
	or (ip[9] = 17 and (ip[2:2] - ((ip[0] & 15) << 2) > 8))
	or (tcp and (tcp[13] & 7 != 0 or (ip[2:2] - ((ip[0] & 15) << 2) - ((tcp[12] & 0xf0) >> 2) != 0 and ip[2:2] - ((ip[0] & 15) << 2) - ((tcp[12] & 0xf0) >> 2) <= 65535)))))
or (ip6 and ip6[0] & 0xf0 = 0x60 and (ip6[4:2] = 0 or ip6[6] = 4 or ip6[6] = 41 or ip6[6] = 47
	or ((ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60) and ip6[40] != 58)
	or (ip6[6] = 17 and ip6[4:2] > 8)
	or (ip6[6] = 6 and (ip6[53] & 7 != 0 or (ip6[4:2] - ((ip6[52] & 0xf0) >> 2) != 0 and ip6[4:2] - ((ip6[52] & 0xf0) >> 2) <= 65535)))))`

// TestFilterAsTcpdump runs the filter over captures of many protocols and compares with tcpdump and the same condition.
func TestFilterAsTcpdump(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump")
	}
	names, err := filepath.Glob(corpus + "/*/*.pcap*")
	require.NoError(t, err)
	if len(names) == 0 {
		t.Skip("no ../shared/corpus")
	}
	kept, all := 0, 0
	for i, name := range names {
		if i%8 != 0 {
			continue
		}
		packets, err := readAll(open(t, name))
		if err != nil || len(packets) == 0 || packets[0].LinkType != LinkEthernet {
			continue // another link layer, or a file that tcpdump would not read to its end either
		}
		all += len(packets)
		kept += compareWithTcpdump(t, name, packets)
	}
	t.Logf("kept %d of %d packets", kept, all)
	require.Positive(t, kept)
}

func compareWithTcpdump(t *testing.T, name string, packets []seen) int {
	t.Helper()
	const snaplen = 1 << 18
	vm := machine(t)(plainFilter(LinkEthernet, snaplen))
	var want bytes.Buffer
	cmd := exec.Command("tcpdump", "-r", name, "-w", "-", filterExpression)
	cmd.Stdout = &want
	require.NoError(t, cmd.Run(), name)
	src, err := newFile(name, &want, nil)
	require.NoError(t, err)
	expected, err := readAll(src)
	require.NoError(t, err)
	n := 0
	for _, p := range packets {
		if len(p.Data) < 14 || binary.BigEndian.Uint16(p.Data[12:]) == 0x8100 {
			continue // the expression is about untagged packets
		}
		verdict, err := vm.Run(p.Data)
		require.NoError(t, err)
		if verdict == 0 {
			continue
		}
		require.Less(t, n, len(expected), name)
		require.True(t, bytes.Equal(expected[n].Data, p.Data), "%s: the %dth that is kept", name, n)
		n++
	}
	require.Len(t, expected, n, name)
	return n
}

// machine makes a virtual machine of a filter.
func machine(t *testing.T) func([]bpf.Instruction, error) *bpf.VM {
	return func(program []bpf.Instruction, err error) *bpf.VM {
		t.Helper()
		require.NoError(t, err)
		_, err = bpf.Assemble(program)
		require.NoError(t, err)
		require.Less(t, len(program), 512, "BPF_MAXINSNS on macOS")
		vm, err := bpf.NewVM(program)
		require.NoError(t, err)
		return vm
	}
}

// packet serializes layers with gopacket.
func packet(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, all...))
	return buf.Bytes()
}

// filterCases are IP packets and whether they are kept.
func filterCases(t *testing.T) map[string]struct {
	data []byte
	keep bool
} {
	ip4 := func(p layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 9, Protocol: p, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	}
	ip6 := func(p layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: p, SrcIP: make([]byte, 16), DstIP: make([]byte, 16)}
	}
	options := []layers.TCPOption{{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
	syn, ack, fin := &layers.TCP{SYN: true}, &layers.TCP{ACK: true, Options: options}, &layers.TCP{ACK: true, FIN: true}
	data := gopacket.Payload("x")
	later := ip4(17)
	later.FragOffset = 100
	type c = struct {
		data []byte
		keep bool
	}
	return map[string]c{
		"syn":            {packet(t, ip4(6), syn), true},
		"fin":            {packet(t, ip4(6), fin), true},
		"rst":            {packet(t, ip4(6), &layers.TCP{RST: true}), true},
		"ack":            {packet(t, ip4(6), ack), false},
		"data":           {packet(t, ip4(6), ack, data), true},
		"udp":            {packet(t, ip4(17), &layers.UDP{}, data), true},
		"empty udp":      {packet(t, ip4(17), &layers.UDP{}), false},
		"later fragment": {packet(t, later, data), true},
		"icmp":           {packet(t, ip4(1), data), false},
		"gre":            {packet(t, ip4(47), data), true},
		"syn6":           {packet(t, ip6(6), syn), true},
		"ack6":           {packet(t, ip6(6), ack), false},
		"data6":          {packet(t, ip6(6), ack, data), true},
		"udp6":           {packet(t, ip6(17), &layers.UDP{}, data), true},
		"empty udp6":     {packet(t, ip6(17), &layers.UDP{}), false},
		"icmp6":          {packet(t, ip6(58), data), false},
		"mld":            {packet(t, ip6(0), gopacket.Payload{58, 0, 0, 0, 0, 0, 0, 0}), false},
		"extension":      {packet(t, ip6(60), gopacket.Payload{17, 0, 0, 0, 0, 0, 0, 0}, data), true},
		"nothing":        {nil, false},
		"version 0":      {make([]byte, 60), false},
	}
}

// TestTapFilter: the same packets behind PKTAP headers and every link layer; other processes' and our own.
func TestTapFilter(t *testing.T) {
	t.Parallel()
	const self, snaplen = 4711, 1000
	vm := machine(t)(tapFilter(snaplen, self))
	ether := func(kind uint16) []byte { return binary.BigEndian.AppendUint16(make([]byte, 12), kind) }
	tag := binary.BigEndian.AppendUint16
	for name, c := range filterCases(t) {
		kind := uint16(etherTypeIPv4)
		if len(c.data) > 0 && c.data[0]>>4 == 6 {
			kind = etherTypeIPv6
		}
		for _, link := range []struct {
			dlt  uint32
			head []byte
		}{
			{1, ether(kind)}, {1, tag(tag(ether(0x8100), 7), kind)}, {0, []byte{2, 0, 0, 0}}, {12, nil},
		} {
			run := func(pid uint32) int {
				head := make([]byte, tapFull)
				binary.LittleEndian.PutUint32(head, tapFull)
				binary.LittleEndian.PutUint32(head[tapLink:], link.dlt)
				binary.LittleEndian.PutUint32(head[tapPID:], pid)
				verdict, err := vm.Run(append(append(head, link.head...), c.data...))
				require.NoError(t, err)
				return verdict
			}
			want := 0
			if c.keep {
				want = tapFull + len(link.head) + snaplen
			}
			require.Equal(t, want, run(99), "%s over link type %d", name, link.dlt)
			require.Equal(t, want, run(0xffffffff), "%s: no pid", name)
			require.Zero(t, run(self), "our own")
		}
	}
	other := make([]byte, 200)
	for _, head := range [][]byte{{108, 0, 0, 0}, {156, 0, 0, 0, 1, 0, 0, 0, 9}, {40, 40, 56}} {
		copy(other, head)
		verdict, err := vm.Run(other)
		require.NoError(t, err)
		require.Positive(t, verdict, "what the filter does not know is for the reader to judge")
	}
}

// TestPlainFilter: the same without PKTAP.
func TestPlainFilter(t *testing.T) {
	t.Parallel()
	for name, c := range filterCases(t) {
		for link, head := range map[uint32][]byte{LinkNull: {2, 0, 0, 0}, darwinRaw: nil} {
			verdict, err := machine(t)(plainFilter(link, 50)).Run(append(bytes.Clone(head), c.data...))
			require.NoError(t, err)
			require.Equal(t, c.keep, verdict != 0, "%s over link type %d", name, link)
		}
	}
	program, err := plainFilter(9, 50)
	require.NoError(t, err)
	require.Nil(t, program)
}

func TestLinuxFilterAssembles(t *testing.T) {
	t.Parallel()
	program, err := linuxFilter(2000, make([]int, 100))
	require.NoError(t, err)
	_, err = bpf.Assemble(program)
	require.NoError(t, err)
}
