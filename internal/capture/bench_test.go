package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"
)

// synthesized is a capture of about 100 MB: packets of 60 to 1500 bytes.
func synthesized(w func(io.Writer) func(Packet)) []byte {
	var out bytes.Buffer
	out.Grow(110 << 20)
	write := w(&out)
	data := make([]byte, 1500)
	for i := range data {
		data[i] = byte(i)
	}
	for n := 0; out.Len() < 100_000_000; n++ {
		size := 60 + n*397%1440
		write(Packet{Time: int64(n) * 1000, LinkType: LinkEthernet, Data: data[:size], Length: size, Direction: Out})
	}
	return out.Bytes()
}

func pcapWriter(w io.Writer) func(Packet) {
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], maxPacket)
	binary.LittleEndian.PutUint32(head[20:], LinkEthernet)
	_, _ = w.Write(head)
	return func(p Packet) {
		for i, v := range []uint32{uint32(p.Time / 1e9), uint32(p.Time / 1e3 % 1e6), uint32(len(p.Data)), uint32(p.Length)} {
			binary.LittleEndian.PutUint32(head[4*i:], v)
		}
		_, _ = w.Write(head[:16])
		_, _ = w.Write(p.Data)
	}
}

func pcapngWriter(w io.Writer) func(Packet) {
	a, err := NewAppleWriter(w, AppleSection{})
	if err == nil {
		_, err = a.AddInterface("en0", LinkEthernet)
	}
	owner := &Process{PID: 7, Name: "curl", UUID: "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF"}
	return func(p Packet) {
		p.Process = owner
		if err == nil {
			err = a.Write(ApplePacket{Packet: p})
		}
		if err != nil {
			panic(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, format := range []struct {
		name  string
		write func(io.Writer) func(Packet)
		other func(io.Reader) (func() ([]byte, error), error)
	}{
		{"pcap", pcapWriter, func(r io.Reader) (func() ([]byte, error), error) {
			g, err := pcapgo.NewReader(r)
			return func() ([]byte, error) { data, _, err := g.ZeroCopyReadPacketData(); return data, err }, err
		}},
		{"pcapng", pcapngWriter, func(r io.Reader) (func() ([]byte, error), error) {
			g, err := pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
			return func() ([]byte, error) { data, _, err := g.ZeroCopyReadPacketData(); return data, err }, err
		}},
	} {
		data := synthesized(format.write)
		b.Run(format.name+"/cipherlens", func(b *testing.B) {
			bench(b, data, func(r io.Reader) (func() ([]byte, error), error) {
				src, err := newFile("bench", r, io.NopCloser(nil))
				var p Packet
				return func() ([]byte, error) { err := src.Next(&p); return p.Data, err }, err
			})
		})
		b.Run(format.name+"/gopacket", func(b *testing.B) { bench(b, data, format.other) })
	}
}

func bench(b *testing.B, data []byte, open func(io.Reader) (func() ([]byte, error), error)) {
	packets := 0
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		next, err := open(bytes.NewReader(data))
		require.NoError(b, err)
		for {
			if _, err := next(); err != nil {
				break
			}
			packets++
		}
	}
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "packets/s")
}

// TestNoAllocation: reading allocates nothing a packet, PKTAP and process blocks included.
func TestNoAllocation(t *testing.T) {
	for name, data := range map[string][]byte{
		"pcap":   repeated(t, pcapWriter, LinkEthernet, nil),
		"pcapng": repeated(t, pcapngWriter, LinkEthernet, nil),
		"pktap":  repeated(t, pcapWriter, linkPKTAPDarwin, tapFixture(t)),
	} {
		src, err := newFile(name, bytes.NewReader(data), io.NopCloser(nil))
		require.NoError(t, err)
		var p Packet
		require.NoError(t, src.Next(&p))
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if err := src.Next(&p); err != nil {
				panic(fmt.Sprint(name, err))
			}
		}), name)
	}
}

// repeated is a small capture of more than 1001 packets with this link type and data.
func repeated(t *testing.T, w func(io.Writer) func(Packet), link uint8, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	write := w(&out)
	if data == nil {
		data = make([]byte, 100)
	}
	for range 1100 {
		write(Packet{Data: data, Length: len(data)})
	}
	if link != LinkEthernet {
		out.Bytes()[20] = link
	}
	return out.Bytes()
}

// tapFixture is the first packet of the PKTAP fixture, header included.
func tapFixture(t *testing.T) []byte {
	t.Helper()
	var raw pcapFile
	src := open(t, "testdata/pktap149.pcap")
	raw = *src.(*pcapFile)
	var p Packet
	require.NoError(t, raw.read(&p))
	return bytes.Clone(p.Data)
}
