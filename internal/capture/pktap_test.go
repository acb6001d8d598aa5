package capture

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPKTAPAsTshark compares with what tshark reads in the same headers. It takes no side between a process and the one that it
// works for; we take the latter.
func TestPKTAPAsTshark(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/pktap258.txt")
	require.NoError(t, err)
	for _, name := range []string{"pktap258.pcap", "pktap149.pcap"} {
		got, err := readAll(open(t, "testdata/"+name))
		require.NoError(t, err)
		for i, line := range strings.Split(strings.TrimSpace(string(golden)), "\n") {
			want := strings.Split(line, "\t")
			pid, comm := want[0], want[1]
			flags, err := strconv.ParseUint(want[5], 0, 32)
			require.NoError(t, err)
			if flags&tapFlagDelegated != 0 {
				pid, comm = want[2], want[3]
			}
			requireOwner(t, pid, comm, got[i].Process)
			require.Equal(t, want[4], got[i].Iface)
			require.Equal(t, flags&1 != 0, got[i].Direction == In)
			require.Equal(t, flags&2 != 0, got[i].Direction == Out)
			require.Equal(t, strings.Split(want[6], ":")[2], linkName(got[i].LinkType))
			require.Equal(t, want[7], fmt.Sprintf("0x%04x", ipID(got[i].Packet)))
		}
	}
}

func requireOwner(t *testing.T, pid, comm string, p *Process) {
	t.Helper()
	if pid == "4294967295" {
		require.Nil(t, p)
		return
	}
	require.Equal(t, pid, strconv.Itoa(int(p.PID)))
	require.Equal(t, comm, p.Name)
}

func linkName(link uint32) string {
	return map[uint32]string{LinkNull: "null", LinkEthernet: "eth", LinkRaw: "raw"}[link]
}

// ipID is the identification field of a packet of the fixtures.
func ipID(p Packet) uint16 {
	return binary.BigEndian.Uint16(p.Data[map[uint32]int{LinkNull: 4, LinkEthernet: 14, LinkRaw: 0}[p.LinkType]+4:])
}

// TestPKTAPFixture: what make.py wrote that tshark 4.0 does not show: UUIDs, version 2 headers, and what is no packet.
func TestPKTAPFixture(t *testing.T) {
	t.Parallel()
	const uuid, reversed = "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF", "AFAEADAC-ABAA-A9A8-A7A6-A5A4A3A2A1A0"
	src := open(t, "testdata/pktap149.pcap")
	got, err := readAll(src)
	require.NoError(t, err)
	require.Len(t, got, 9)
	require.Equal(t, Stats{Packets: 9, Skipped: 5, Mode: ModeFile}, src.Stats())
	require.Equal(t, Process{PID: 501, Name: "curl", UUID: uuid}, *got[0].Process)
	require.Same(t, got[0].Process, got[1].Process)
	require.Equal(t, Process{PID: 501, Name: "curl", UUID: reversed}, *got[2].Process, "e_uuid")
	require.Empty(t, got[5].Process.UUID, "108 bytes have none")
	require.Equal(t, Process{PID: 501, Name: "worker", UUID: uuid}, *got[7].Process)
	require.Equal(t, Process{PID: 501, Name: "owner", UUID: reversed}, *got[8].Process)
	require.Equal(t, "utun3", got[8].Iface)
	require.EqualValues(t, 9, ipID(got[8].Packet))
	for _, p := range got {
		require.Equal(t, len(p.Data)+5, p.Length, "make.py claims 5 bytes more than it wrote")
	}
}

// TestAppleCaptures: facts of the tcpdump project's own test captures, counted by a separate program.
func TestAppleCaptures(t *testing.T) {
	t.Parallel()
	type key struct {
		link      uint32
		direction Direction
		pid       int32
		uuid      bool
	}
	for name, want := range map[string]map[key]int{
		"radar-74957353.pcapng": {
			{1, Out, 1500, true}: 23, {1, In, 1500, false}: 13, {1, Out, 1505, true}: 34, {1, In, 1505, false}: 35,
			{0, Out, 1505, true}: 2, {0, In, 1505, false}: 3, {1, Out, -1, false}: 10, {0, Out, -1, false}: 2,
			{1, Out, 1524, true}: 23, {1, In, 1524, false}: 16, {1, Out, 1528, true}: 23, {1, In, 1528, false}: 13,
		},
		"radar-101007576-iperf.pcapng": {
			{0, Out, 53245, true}: 9, {0, In, 53147, true}: 11, {0, Out, 53245, false}: 2, {0, Out, 53147, true}: 1, {0, In, 53245, true}: 1,
		},
		"radar-88502733.pcapng": {{0, Out, 554, false}: 2, {0, In, 554, false}: 1, {0, Out, -1, false}: 1},
	} {
		file := corpus + "/apple/" + name
		if _, err := os.Stat(file); err != nil {
			t.Skip("no ../shared/corpus")
		}
		all, err := readAll(open(t, file))
		require.NoError(t, err)
		got := map[key]int{}
		for _, p := range all {
			k := key{p.LinkType, p.Direction, -1, false}
			if p.Process != nil {
				k.pid, k.uuid = p.Process.PID, p.Process.UUID != ""
			}
			got[k]++
		}
		require.Equal(t, want, got, name)
	}
}

// TestInternedForgets: what is asked for stays, the rest goes, and the table never holds more than twice its limit.
func TestInternedForgets(t *testing.T) {
	t.Parallel()
	procs := processes{known: newInterned[Process, *Process](100)}
	busy := procs.intern(Process{PID: 1, Name: "busy"})
	for i := range int32(10_000) {
		procs.intern(Process{PID: 1000 + i})
		require.Same(t, busy, procs.intern(Process{PID: 1, Name: "busy"}))
	}
	require.LessOrEqual(t, len(procs.known.young)+len(procs.known.old), 200)
}
