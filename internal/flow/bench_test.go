package flow

import (
	"encoding/binary"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// mix is flows TCP connections of packets Ethernet frames each, interleaved: a handshake, then messages of 200 bytes in turn.
func mix(t testing.TB, flows, packets int) []capture.Packet {
	t.Helper()
	var all []capture.Packet
	body := gopacket.Payload(strings.Repeat("x", 200))
	seq := make([][2]uint32, flows)
	for n := range packets {
		for i := range flows {
			up := n%2 == 0
			tcp := &layers.TCP{SrcPort: layers.TCPPort(1024 + i%60000), DstPort: 443, ACK: n > 0, SYN: n < 2, DataOffset: 5}
			ip := ip4(layers.IPProtocolTCP)
			ip.SrcIP[1] = byte(i / 60000)
			if !up {
				tcp.SrcPort, tcp.DstPort, ip.SrcIP, ip.DstIP = tcp.DstPort, tcp.SrcPort, ip.DstIP, ip.SrcIP
			}
			tcp.Seq, tcp.Ack = seq[i][n%2], seq[i][1-n%2]
			ls := []gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv4), ip, tcp}
			if n < 2 {
				seq[i][n%2]++
			} else {
				seq[i][n%2] += uint32(len(body))
				ls = append(ls, body)
			}
			data := slices.Clone(build(t, ls...))
			all = append(all, capture.Packet{Time: epoch + int64(len(all))*1000, LinkType: linkEthernet, Data: data, Length: len(data)})
		}
	}
	return all
}

// decided is a judge that needs both sides.
func decided(_ *Flow, c *conformance.Conversation) conformance.Judgement {
	return conformance.Judgement{Verdict: conformance.TLS, Final: len(c.Client.Data) > 0 && len(c.Server.Data) > 0}
}

// run plays the packets over and over, each round to a table of its own.
func run(b *testing.B, packets []capture.Packet) {
	b.Helper()
	table := New(Config{Judge: decided})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if at := i % len(packets); at == 0 && i > 0 {
			table.Close()
			table = New(Config{Judge: decided})
		}
		table.Add(&packets[i%len(packets)])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpackets/s")
}

func BenchmarkDecode(b *testing.B) {
	packets := mix(b, 100, 10)
	var h Header
	b.ResetTimer()
	for i := range b.N {
		p := &packets[i%len(packets)]
		if err := Decode(p.LinkType, p.Data, &h); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpackets/s")
}

func BenchmarkTable(b *testing.B) {
	for name, flows := range map[string]int{"100 flows": 100, "5000 flows": 5000} {
		b.Run(name, func(b *testing.B) { run(b, mix(b, flows, 40)) })
	}
}

// BenchmarkNewFlows opens a flow with every fourth packet.
func BenchmarkNewFlows(b *testing.B) {
	packets := mix(b, 20000, 4)
	table := New(Config{Judge: decided})
	b.ReportAllocs()
	b.ResetTimer()
	var round uint32
	for i := range b.N {
		p := &packets[i%len(packets)]
		if i%len(packets) == 0 {
			round++
		}
		binary.BigEndian.PutUint16(p.Data[26:], uint16(round)) // another source address
		binary.BigEndian.PutUint16(p.Data[30:], uint16(round)) // and destination
		table.Add(p)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpackets/s")
}

// BenchmarkCorpus plays all labelled captures one after the other, read into memory first.
func BenchmarkCorpus(b *testing.B) {
	var packets []capture.Packet
	err := filepath.WalkDir(corpus(b), func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Ext(name), "cap") {
			return err
		}
		source, err := capture.OpenFile(name)
		if err != nil {
			return nil
		}
		defer source.Close()
		var p capture.Packet
		for source.Next(&p) == nil {
			p.Data, p.Process = slices.Clone(p.Data), nil
			p.Time = epoch + int64(len(packets))*10_000
			packets = append(packets, p)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, packets)
}
