package capture

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"
)

// seen is a packet with its own copy of the data.
type seen struct {
	Packet
	Iface string
}

// readAll reads a source to its end; the error is nil for io.EOF.
func readAll(src Source) ([]seen, error) {
	var all []seen
	for {
		var p Packet
		err := src.Next(&p)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		p.Data = bytes.Clone(p.Data)
		all = append(all, seen{p, src.(InterfaceNamer).InterfaceName(p.Interface)})
	}
}

func open(t *testing.T, name string) Source {
	t.Helper()
	src, err := OpenFile(name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// TestFilesAsTshark compares every fixture with what tshark reads in it.
func TestFilesAsTshark(t *testing.T) {
	t.Parallel()
	goldens, err := filepath.Glob("testdata/*.tsv")
	require.NoError(t, err)
	require.NotEmpty(t, goldens)
	for _, golden := range goldens {
		name := strings.TrimSuffix(golden, ".tsv")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			got, err := readAll(open(t, name))
			require.NoError(t, err)
			text, err := os.ReadFile(golden)
			require.NoError(t, err)
			for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
				want := strings.Split(line, "\t")
				if want[0] == "" && want[5] == "" {
					continue // Wireshark shows custom blocks as frames too
				}
				require.NotEmpty(t, got, "fewer packets than tshark sees")
				compare(t, want, got[0])
				got = got[1:]
			}
			require.Empty(t, got, "more packets than tshark sees")
		})
	}
}

func compare(t *testing.T, want []string, got seen) {
	t.Helper()
	if want[0] != "" { // a simple packet block has neither time nor name
		require.Equal(t, want[0], fmt.Sprintf("%d.%09d", got.Time/1e9, got.Time%1e9))
		require.Equal(t, want[5], got.Iface)
	}
	captured, length := want[1], want[2]
	require.Equal(t, captured, strconv.Itoa(len(got.Data)))
	require.Equal(t, length, strconv.Itoa(got.Length))
	sum := md5.Sum(got.Data)
	require.Equal(t, want[3], hex.EncodeToString(sum[:]))
	switch want[4] {
	case "", "0x00000000":
		require.Equal(t, Unknown, got.Direction)
	case "0x00000001":
		require.Equal(t, In, got.Direction)
	default:
		require.Equal(t, Out, got.Direction)
	}
}

// TestProcessBlocks: the owners that make.py put into its fixtures, Apple's blocks and Wireshark's, in both byte orders.
func TestProcessBlocks(t *testing.T) {
	t.Parallel()
	const uuid = "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF"
	curl := Process{PID: 501, Name: "curl", UUID: uuid}
	for _, name := range []string{"le_processes.pcapng", "be_processes.pcapng"} {
		got, err := readAll(open(t, "testdata/"+name))
		require.NoError(t, err)
		require.Len(t, got, 6)
		require.Equal(t, curl, *got[0].Process)
		require.Same(t, got[0].Process, got[1].Process, "the effective process, not the delegate")
		require.Same(t, got[0].Process, got[2].Process, "whichever comes first")
		require.Nil(t, got[3].Process, "a block that does not exist")
		require.Equal(t, Process{PID: 1234, Name: "curl", UUID: uuid, Path: "/usr/bin/curl"}, *got[4].Process)
		require.Equal(t, Process{PID: 77}, *got[5].Process)
	}
}

// TestStatisticsBlock: make.py writes isb_ifdrop 7.
func TestStatisticsBlock(t *testing.T) {
	t.Parallel()
	src := open(t, "testdata/be_blocks.pcapng")
	_, err := readAll(src)
	require.NoError(t, err)
	require.Equal(t, Stats{Packets: 6, Dropped: 7, Mode: ModeFile}, src.Stats())
}

func TestKuznetzovDirection(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/kuznetzov.pcap")
	require.NoError(t, err)
	data[24+16], data[24+22] = 2, 4 // interface 2, PACKET_OUTGOING in the first record
	data[24+24+42+16] = 2           // interface 2, PACKET_HOST in the second
	name := filepath.Join(t.TempDir(), "out.pcap")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	got, err := readAll(open(t, name))
	require.NoError(t, err)
	require.Equal(t, Out, got[0].Direction)
	require.Equal(t, In, got[1].Direction)
	require.Equal(t, Unknown, got[2].Direction, "no interface index: a converter wrote it")
}

// TestClock compares with exact arithmetic.
func TestClock(t *testing.T) {
	t.Parallel()
	for _, resolution := range []uint8{0, 3, 6, 9, 10, 12, 28, 29, 127, 0x80, 0x80 + 1, 0x80 + 20, 0x80 + 63, 0x80 + 64, 0x80 + 65, 0xff} {
		for _, ticks := range []uint64{0, 1, 999, 1700000000, 1700000000123456, 1 << 63, 1<<64 - 1} {
			for _, offset := range []int64{0, 5, -5} {
				base := int64(10)
				if resolution&0x80 != 0 {
					base = 2
				}
				unit := new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(resolution&0x7f)), nil)
				want := new(big.Int).Mul(new(big.Int).SetUint64(ticks), big.NewInt(1e9))
				want.Quo(want, unit)
				if !want.IsInt64() {
					want.SetInt64(1<<63 - 1)
				}
				want.Add(want, big.NewInt(offset*1e9))
				if !want.IsInt64() {
					want.SetInt64(1<<63 - 1)
				}
				require.Equal(t, want.Int64(), newClock(resolution, offset).nanoseconds(ticks), "%#x %d %d", resolution, ticks, offset)
			}
		}
	}
}

// TestTruncated: a file that ends anywhere gives the packets before and an error with an offset, or ends between records.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"le_us.pcap", "be_blocks.pcapng", "le_processes.pcapng", "simple.pcapng", "kuznetzov.pcap"} {
		whole, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		all, err := readAll(open(t, "testdata/"+name))
		require.NoError(t, err)
		clean := 0
		for n := range whole {
			src, err := newFile(name, bytes.NewReader(whole[:n]), io.NopCloser(nil))
			var got []seen
			if err == nil {
				got, err = readAll(src)
			}
			if err == nil {
				clean++
			} else {
				require.ErrorContains(t, err, "capture: "+name+": offset ")
			}
			require.LessOrEqual(t, len(got), len(all))
			for i := range got {
				require.Equal(t, all[i].Data, got[i].Data)
			}
		}
		require.LessOrEqual(t, clean, 20, "only cuts between records go unnoticed")
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	pcap, err := os.ReadFile("testdata/le_us.pcap")
	require.NoError(t, err)
	changed := func(offset int, b ...byte) []byte {
		c := bytes.Clone(pcap)
		copy(c[offset:], b)
		return c
	}
	ng, err := os.ReadFile("testdata/le_blocks.pcapng")
	require.NoError(t, err)
	for _, c := range []struct{ name, want string }{
		{filepath.Join(dir, "missing"), "no such file"},
		{dir, "a folder"},
		{fifo, "a FIFO"},
		{"/dev/null", "a device"},
		{file("empty", nil), "offset 0: magic number: the file is empty"},
		{file("one", []byte{1}), "offset 0: magic number: neither pcap nor pcapng: starts with 01"},
		{file("text", []byte("hello, world")), "neither pcap nor pcapng"},
		{file("gzip", []byte("\x1f\x8b\x08\x00")), "compressed with gzip"},
		{file("version", changed(4, 9)), "offset 4: file header: pcap version 9"},
		{file("short", pcap[:10]), "offset 0: file header: the file ends within it"},
		{file("order", append(bytes.Clone(ng[:8]), make([]byte, 20)...)), "offset 8: section header: byte order"},
	} {
		_, err := OpenFile(c.name)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, c.name)
	}
	huge := open(t, file("huge", changed(24+16+42+8, 0xff, 0xff, 0xff, 0x7f)))
	got, err := readAll(huge)
	require.Len(t, got, 1, "the packet before")
	require.ErrorContains(t, err, "offset 90: packet header: a packet of 2147483647 bytes: more than 262144")
}

// TestBadBlocks: blocks that contradict themselves are errors with the offset of the block or of the field.
func TestBadBlocks(t *testing.T) {
	t.Parallel()
	section := []byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00" + strings.Repeat("\xff", 8) + "\x1c\x00\x00\x00")
	iface := "\x01\x00\x00\x00\x14\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00"
	packet := func(iface, captured string) string {
		return "\x06\x00\x00\x00\x24\x00\x00\x00" + iface + "\x00\x00\x00\x00\x00\x00\x00\x00" + captured + "\x04\x00\x00\x00data\x24\x00\x00\x00"
	}
	for _, c := range []struct{ name, blocks, want string }{
		{"good", iface + packet("\x00\x00\x00\x00", "\x04\x00\x00\x00"), ""},
		{"length", "\x07\x00\x00\x00\x0a\x00\x00\x00", "offset 32: block header: a block of 10 bytes"},
		{"not a multiple of 4", "\x07\x00\x00\x00\x0d\x00\x00\x00", "offset 32: block header: a block of 13 bytes"},
		{"trailer", "\x07\x00\x00\x00\x0c\x00\x00\x00\x10\x00\x00\x00", "offset 28: block: is 12 bytes long at its start and 16 at its end"},
		{"no interface", packet("\x00\x00\x00\x00", "\x04\x00\x00\x00"), "offset 28: block: a packet of interface 0, which is not described"},
		{"other interface", iface + packet("\x01\x00\x00\x00", "\x04\x00\x00\x00"), "offset 48: block: a packet of interface 1"},
		{"too long", iface + packet("\x00\x00\x00\x00", "\x05\x00\x00\x00"), "offset 48: block: the packet is longer than its block"},
		{"huge", iface + packet("\x00\x00\x00\x00", "\xff\xff\xff\xff"), "offset 48: block: a packet of 4294967295 bytes"},
		{"short interface", "\x01\x00\x00\x00\x10\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00", "offset 28: block: too short for its type"},
		{"too many interfaces", strings.Repeat(iface, maxInterfaces+1), "more than 16384 interfaces"},
		{"too many processes", strings.Repeat("\x01\x00\x00\x80\x10\x00\x00\x00\x07\x00\x00\x00\x10\x00\x00\x00", maxProcesses+1), "more than 8192 processes"},
	} {
		src, err := newFile("x", io.MultiReader(bytes.NewReader(section), strings.NewReader(c.blocks)), io.NopCloser(nil))
		require.NoError(t, err)
		got, err := readAll(src)
		if c.want == "" {
			require.NoError(t, err)
			require.Equal(t, "data", string(got[0].Data))
			continue
		}
		require.ErrorContains(t, err, "capture: x: ", c.name)
		require.ErrorContains(t, err, c.want, c.name)
		require.Empty(t, got)
	}
}

// TestHugeBlocks: blocks that are not looked at may be of any size that is really there; others are bounded.
func TestHugeBlocks(t *testing.T) {
	t.Parallel()
	fixture, err := os.ReadFile("testdata/le_processes.pcapng")
	require.NoError(t, err)
	var secrets bytes.Buffer
	a := &AppleWriter{w: &secrets}
	require.NoError(t, a.block(10, make([]byte, 3<<20)))
	joined := append(secrets.Bytes(), secrets.Bytes()...)
	start := int(fixture[4]) // the section header
	src, err := newFile("x", io.MultiReader(
		bytes.NewReader(fixture[:start]), bytes.NewReader(joined), bytes.NewReader(fixture[start:])), io.NopCloser(nil))
	require.NoError(t, err)
	got, err := readAll(src)
	require.NoError(t, err)
	require.Len(t, got, 6)

	secrets.Reset()
	require.NoError(t, a.block(blockEnhanced, make([]byte, 3<<20)))
	src, err = newFile("x", io.MultiReader(bytes.NewReader(fixture), &secrets), io.NopCloser(nil))
	require.NoError(t, err)
	got, err = readAll(src)
	require.Len(t, got, 6)
	require.ErrorContains(t, err, fmt.Sprintf("capture: x: offset %d: block header: a block of 3145740 bytes: more than 524288", len(fixture)+4))
}

// TestClosed: a closed source is at its end.
func TestClosed(t *testing.T) {
	t.Parallel()
	src, err := OpenFile("testdata/le_us.pcap")
	require.NoError(t, err)
	require.NoError(t, src.Close())
	require.NoError(t, src.Close())
	require.ErrorIs(t, src.Next(&Packet{}), io.EOF)
}

// stubborn is a reader that never gives anything.
type stubborn struct{}

func (stubborn) Read([]byte) (int, error) { return 0, nil }

func TestReaderWithoutProgress(t *testing.T) {
	t.Parallel()
	_, err := newFile("x", stubborn{}, io.NopCloser(nil))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

const corpus = "../../../shared/corpus"

// TestCorpusAsGopacket reads every capture of the corpus that gopacket's own readers can read, and compares all packets.
func TestCorpusAsGopacket(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(corpus + "/*/*.pcap*")
	require.NoError(t, err)
	if len(names) == 0 {
		t.Skip("no ../shared/corpus")
	}
	packets := 0
	for _, name := range names {
		if strings.HasSuffix(name, "pktap-heap-overflow.pcap") {
			continue
		}
		packets += compareWithGopacket(t, name)
	}
	t.Logf("%d files, %d packets", len(names), packets)
}

func compareWithGopacket(t *testing.T, name string) int {
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	src := open(t, name)
	read, err := gopacketReader(f)
	if err != nil {
		t.Logf("%s: gopacket: %v", name, err)
		return 0
	}
	for n := 0; ; n++ {
		data, info, want := read()
		var p Packet
		err := src.Next(&p)
		if want != nil {
			require.Equal(t, errors.Is(want, io.EOF), err == io.EOF, "%s: packet %d: %v, gopacket %v", name, n, err, want)
			return n
		}
		require.NoError(t, err, "%s: packet %d", name, n)
		// gopacket overflows where a hostile file claims more microseconds than a second has
		sameTime := info.Timestamp.UnixNano() == p.Time || strings.Contains(name, "fuzz")
		if !bytes.Equal(data, p.Data) || info.Length != p.Length || !sameTime {
			require.Fail(t, "differs", "%s: packet %d: %d of %d bytes at %d, gopacket %d of %d at %d",
				name, n, len(p.Data), p.Length, p.Time, len(data), info.Length, info.Timestamp.UnixNano())
		}
	}
}

// gopacketReader gives a function that reads the next packet of a capture with gopacket.
func gopacketReader(f io.ReadSeeker) (func() ([]byte, gopacket.CaptureInfo, error), error) {
	if r, err := pcapgo.NewReader(f); err == nil {
		return r.ReadPacketData, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return nil, err
	}
	return r.ReadPacketData, nil
}
