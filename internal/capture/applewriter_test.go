package capture

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rewrite reads a source and writes it as Apple's tcpdump would.
func rewrite(t *testing.T, src Source) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewAppleWriter(&out, AppleSection{Hardware: "arm64", OS: "Darwin 24.1.0", Program: "tcpdump (libpcap version 1.10.1)"})
	require.NoError(t, err)
	all, err := readAll(src)
	require.NoError(t, err)
	type iface struct {
		index int
		link  uint32
	}
	indexes := map[iface]int{}
	for _, p := range all {
		index, ok := indexes[iface{p.Interface, p.LinkType}]
		if !ok {
			index, err = w.AddInterface(p.Iface, uint16(p.LinkType))
			require.NoError(t, err)
			indexes[iface{p.Interface, p.LinkType}] = index
		}
		p.Interface = index
		require.NoError(t, w.Write(ApplePacket{Packet: p.Packet, Flags: 8}))
	}
	return out.Bytes()
}

// TestAppleWriterAsApple: Apple's file of one interface, read and written again, has Apple's own blocks byte for byte, but for the
// section header, the snapshot length and names' trailing NULs, which newer versions of Apple's libpcap leave out too.
func TestAppleWriterAsApple(t *testing.T) {
	t.Parallel()
	original, err := os.ReadFile(corpus + "/apple/radar-74957353.pcapng")
	if err != nil {
		t.Skip("no ../shared/corpus")
	}
	blocks := func(data []byte) (out []string) {
		for len(data) >= 12 {
			n := bigEndian(false).u32(data[4:])
			if kind := bigEndian(false).u32(data); kind == blockEnhanced {
				out = append(out, string(data[:n]))
			}
			data = data[n:]
		}
		return out
	}
	src := open(t, corpus+"/apple/radar-74957353.pcapng")
	want, got := blocks(original), blocks(rewrite(t, src))
	require.Len(t, got, len(want))
	require.Equal(t, want[0], got[0], "the first packet: process block 0, outbound, flags 8")
}

// TestAppleWriterAsTshark: tshark finds the same packets in what AppleWriter makes of a PKTAP file as inside the original.
func TestAppleWriterAsTshark(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("no tshark")
	}
	name := filepath.Join(t.TempDir(), "apple.pcapng")
	require.NoError(t, os.WriteFile(name, rewrite(t, open(t, "testdata/pktap258.pcap")), 0o600))
	fields := func(file string) string {
		out, err := exec.Command("tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.time_epoch",
			"-e", "ip.id", "-e", "udp.srcport", "-e", "udp.length").Output()
		require.NoError(t, err)
		return string(out)
	}
	require.Equal(t, fields("testdata/pktap258.pcap"), fields(name))
	out, err := exec.Command("tshark", "-n", "-r", name, "-T", "fields", "-e", "frame.packet_flags_direction", "-e", "frame.interface_name").Output()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(out), "0x00000002\ten0\n0x00000001\ten0\n"), string(out))
}

// TestAppleWriterReadBack: owner, delegate, direction and interface come back.
func TestAppleWriterReadBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := NewAppleWriter(&out, AppleSection{})
	require.NoError(t, err)
	_, err = w.AddInterface("en0", LinkEthernet)
	require.NoError(t, err)
	lo, err := w.AddInterface("lo0", LinkNull)
	require.NoError(t, err)
	owner := &Process{PID: 7, Name: "beacon", UUID: "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF"}
	packet := Packet{Time: 1700000000123456000, LinkType: LinkNull, Data: []byte{1, 2, 3, 4, 5}, Length: 9, Direction: In, Interface: lo, Process: owner}
	require.NoError(t, w.Write(ApplePacket{Packet: packet, Delegate: &Process{PID: 8, Name: "nsurlsessiond"}}))
	require.ErrorContains(t, w.Write(ApplePacket{Packet: Packet{Process: &Process{UUID: "no"}}}), "is no UUID")

	src, err := newFile("x", &out, nil)
	require.NoError(t, err)
	got, err := readAll(src)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, seen{packet, "lo0"}, got[0])
}
