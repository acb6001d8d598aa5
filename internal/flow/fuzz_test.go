package flow

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// FuzzDecode compares the decoder with gopacket where that has an answer, and checks what must hold of any answer.
func FuzzDecode(f *testing.F) {
	body := gopacket.Payload("payload")
	inner := build(f, ip4(layers.IPProtocolTCP), tcp(), body)
	frame := build(f, ethernet(layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), udp(53), body)
	f.Add(uint16(linkRaw), inner)
	f.Add(uint16(linkEthernet), frame)
	f.Add(uint16(linkEthernet), build(f, ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{Type: layers.EthernetTypeIPv4}, gopacket.Payload(inner)))
	f.Add(uint16(linkNull), append([]byte{2, 0, 0, 0}, inner...))
	f.Add(uint16(linkPPP), append([]byte{0xff, 3, 0, 0x21}, inner...))
	f.Add(uint16(linkPPI), append([]byte{0, 0, 8, 0, 1, 0, 0, 0}, frame...))
	f.Add(uint16(linkCooked2), append(append([]byte{8, 0}, make([]byte, 18)...), inner...))
	f.Add(uint16(linkRaw), build(f, ip4(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeERSPAN, SeqPresent: true}, &layers.ERSPANII{}, gopacket.Payload(frame)))
	f.Add(uint16(linkRaw), build(f, ip4(layers.IPProtocolUDP), udp(4789), &layers.VXLAN{ValidIDFlag: true}, gopacket.Payload(frame)))
	f.Add(uint16(linkRaw), build(f, ip4(layers.IPProtocolUDP), udp(6081), gopacket.Payload(append([]byte{0, 0, 0x65, 0x58, 0, 0, 1, 0}, frame...))))
	f.Add(uint16(linkRaw), build(f, ip4(layers.IPProtocolUDP), udp(2152), &layers.GTPv1U{Version: 1, ProtocolType: 1, MessageType: 255, MessageLength: uint16(len(inner))}, gopacket.Payload(inner)))
	f.Add(uint16(linkRaw), build(f, ip4(layers.IPProtocolUDP), udp(3544), gopacket.Payload(build(f, ip6(layers.IPProtocolTCP), tcp(), body))))
	f.Add(uint16(linkRaw), build(f, ip6(layers.IPProtocolIPv4), gopacket.Payload(inner)))
	f.Add(uint16(linkRaw), build(f, ip6(layers.IPProtocolIPv6Destination), gopacket.Payload(append([]byte{44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9}, inner[20:]...))))
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		sameAsOracle(t, uint32(link), data)
		for _, decode := range []func(uint32, []byte, *Header) error{Decode, DecodeOuter} {
			var h Header
			if decode(uint32(link), data, &h) != nil {
				continue
			}
			require.Contains(t, []uint8{TCP, UDP}, h.Transport)
			require.LessOrEqual(t, len(h.Payload), len(data))
			require.LessOrEqual(t, len(h.Payload), h.Length)
		}
	})
}

// FuzzTable plays what its input says: segments of a true stream, cut, repeated, reordered and lost as it likes, beside
// FIN, RST, silence and noise. Whatever comes, the judge must be shown a prefix of the true stream.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 10, 3, 0, 0, 20, 2, 0, 20, 10, 2, 0, 10, 10, 6, 0, 0, 0, 7, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 200, 2, 1, 0, 200, 2, 2, 0, 200, 8, 0, 60, 0, 2, 0, 200, 255, 9, 0, 3, 9})
	f.Add([]byte{0, 0, 0, 0, 4, 0, 9, 9, 5, 0, 9, 9, 10, 9, 9, 9, 11, 1, 2, 3, 2, 60, 0, 255, 2, 63, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		const client, server = 0xffffff00, 77
		truth := func(dir int, at uint32) byte { return byte((at*2654435761)>>24) ^ byte(dir*0x55) }
		stream := func(dir int, at uint32, n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = truth(dir, at+uint32(i))
			}
			return string(b)
		}
		forged := false // a step that may start a second flow was taken, so offsets are not the true ones
		w := &wire{}
		w.table = New(Config{Memory: minMemory, Judge: func(f *Flow, c *conformance.Conversation) conformance.Judgement {
			for dir, h := range []*conformance.Half{&c.Client, &c.Server} {
				checkHalf(t, h)
				if f.Transport == TCP && f.StartSeen && !forged {
					require.Equal(t, stream(dir, 0, len(h.Data)), string(h.Data))
				}
			}
			return conformance.Judgement{Verdict: conformance.Undetermined, Final: len(c.Client.Data) > 9999}
		}})
		for ; len(in) >= 4; in = in[4:] {
			op, at, n := in[0]%12, uint32(binary.BigEndian.Uint16(in[1:])), int(in[3])
			switch op {
			case 0:
				w.tcp(true, SYN, client, 0, "", 0)
			case 1:
				w.tcp(false, SYN|ACK, server, client+1&0xffffffff, "", 0)
			case 2:
				w.up(client+1+at&0xffffffff, server+1, stream(0, at, n))
			case 3:
				w.down(server+1+at, client+1+at&0xffffffff, stream(1, at, n))
			case 4: // cut by the capture
				w.tcp(true, ACK, client+1+at&0xffffffff, server+1, stream(0, at, n/2), n)
			case 5:
				w.tcp(true, RST, client+1+at&0xffffffff, 0, "", 0)
			case 6:
				w.tcp(true, FIN|ACK, client+1+at&0xffffffff, server+1, "", 0)
			case 7:
				w.tcp(false, FIN|ACK, server+1+at, client+1+at&0xffffffff, "", 0)
			case 8:
				w.now += time.Duration(at) * 10 * time.Millisecond
			case 9:
				forged = true
				w.tcp(n%2 == 0, in[3], at<<16, at, "noise", 5)
			case 10:
				w.port = uint16(n)
				w.udp(true, stream(0, 0, n), n)
				w.port = 0
			case 11:
				w.table.Advance(int64(w.now) + int64(at)*int64(time.Second))
			}
		}
		w.table.Close()
		st := w.table.Stats()
		require.Zero(t, st.Flows)
		require.Zero(t, st.SampleBytes)
		require.Zero(t, w.table.flows.count)
	})
}

// checkHalf holds for every half that a judge is shown.
func checkHalf(t *testing.T, h *conformance.Half) {
	require.LessOrEqual(t, len(h.Data), MaxSample)
	require.GreaterOrEqual(t, h.Total, uint64(len(h.Data)))
	at := 0
	for _, s := range h.Segments {
		require.Equal(t, at, s.Offset)
		require.Positive(t, s.Length)
		at += s.Length
	}
	require.LessOrEqual(t, at, len(h.Data))
}

// FuzzPackets puts whole packets of any bytes to one table.
func FuzzPackets(f *testing.F) {
	segment := build(f, ip4(layers.IPProtocolTCP), tcp(), gopacket.Payload("payload"))
	f.Add(uint16(linkRaw), segment, build(f, ip6(layers.IPProtocolUDP), udp(443), gopacket.Payload("payload")), int64(5))
	f.Add(uint16(linkRaw), segment, segment, int64(1)<<62)
	f.Fuzz(func(t *testing.T, link uint16, a, b []byte, step int64) {
		table := New(Config{Memory: minMemory, Judge: func(_ *Flow, c *conformance.Conversation) conformance.Judgement {
			checkHalf(t, &c.Client)
			checkHalf(t, &c.Server)
			return conformance.Judgement{}
		}})
		for i := range int64(4) {
			for _, data := range [][]byte{a, b} {
				table.Add(&capture.Packet{Time: i * step, LinkType: uint32(link), Data: data, Length: len(data), Interface: int(i)})
			}
		}
		table.Close()
		require.Zero(t, table.Stats().Flows)
		require.Zero(t, table.Stats().SampleBytes)
	})
}
