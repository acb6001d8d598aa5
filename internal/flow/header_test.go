package flow

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
)

// build serializes layers with gopacket, lengths and checksums filled in.
func build(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, ls...))
	return buf.Bytes()
}

func mac() net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, 1} }

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac(), DstMAC: mac(), EthernetType: kind}
}

func ip4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, TTL: 64, Protocol: protocol,
		SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{198, 51, 100, 2},
	}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, NextHeader: next, HopLimit: 64,
		SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8:1::2"),
	}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 0xfffffff0, Ack: 7, PSH: true, ACK: true, DataOffset: 5}
}

func udp(dst layers.UDPPort) *layers.UDP { return &layers.UDP{SrcPort: 40000, DstPort: dst} }

// TestDecodeBuilt decodes packets that gopacket wrote: one inner TCP segment or UDP datagram behind every kind of header.
func TestDecodeBuilt(t *testing.T) {
	t.Parallel()
	body := gopacket.Payload("hello, flow")
	inner4, inner6 := build(t, ip4(layers.IPProtocolTCP), tcp(), body), build(t, ip6(layers.IPProtocolTCP), tcp(), body)
	frame := build(t, ethernet(layers.EthernetTypeIPv4), gopacket.Payload(inner4))
	raw := func(prefix []byte, rest []byte) []byte { return append(prefix, rest...) }
	segment := build(t, tcp(), body)
	extensions := []byte{44, 0, 5, 2, 0, 0, 1, 0 /* a whole packet as fragment */, 51, 0, 0, 0, 0, 0, 0, 1 /* AH */, TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		link uint32
		data []byte
		v6   bool
	}{
		"ethernet ipv4":       {1, frame, false},
		"ethernet padding":    {1, raw(append([]byte(nil), frame...), make([]byte, 9)), false},
		"ethernet ipv6":       {1, build(t, ethernet(layers.EthernetTypeIPv6), gopacket.Payload(inner6)), true},
		"vlan":                {1, build(t, ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4}, gopacket.Payload(inner4)), false},
		"qinq":                {1, build(t, ethernet(layers.EthernetTypeQinQ), &layers.Dot1Q{Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{Type: layers.EthernetTypeIPv6}, gopacket.Payload(inner6)), true},
		"mpls":                {1, build(t, ethernet(layers.EthernetTypeMPLSUnicast), &layers.MPLS{Label: 16}, &layers.MPLS{Label: 17, StackBottom: true}, gopacket.Payload(inner6)), true},
		"pppoe":               {1, build(t, ethernet(layers.EthernetTypePPPoESession), &layers.PPPoE{Version: 1, Type: 1}, &layers.PPP{PPPType: layers.PPPTypeIPv4}, gopacket.Payload(inner4)), false},
		"null, little endian": {0, raw([]byte{2, 0, 0, 0}, inner4), false},
		"null, big endian":    {0, raw([]byte{0, 0, 0, 2}, inner4), false},
		"null, Linux":         {0, raw([]byte{10, 0, 0, 0}, inner6), true},
		"null, NetBSD":        {0, raw([]byte{24, 0, 0, 0}, inner6), true},
		"null, FreeBSD":       {0, raw([]byte{0, 0, 0, 28}, inner6), true},
		"null, macOS":         {0, raw([]byte{30, 0, 0, 0}, inner6), true},
		"loop":                {108, raw([]byte{0, 0, 0, 24}, inner6), true},
		"raw ipv4":            {101, inner4, false},
		"raw ipv6":            {101, inner6, true},
		"raw, BSD":            {12, inner4, false},
		"raw, OpenBSD":        {14, inner6, true},
		"ipv4":                {228, inner4, false},
		"ipv6":                {229, inner6, true},
		"cooked":              {113, raw(append(make([]byte, 14), 0x08, 0x00), inner4), false},
		"cooked 2":            {276, raw(append([]byte{0x86, 0xdd}, make([]byte, 18)...), inner6), true},
		"ppp":                 {9, raw([]byte{0xff, 0x03, 0x00, 0x21}, inner4), false},
		"ppp, short":          {9, raw([]byte{0x57}, inner6), true},
		"ppi":                 {192, raw([]byte{0, 0, 12, 0, 1, 0, 0, 0, 9, 9, 9, 9}, frame), false},
		"cisco hdlc":          {104, raw([]byte{0x0f, 0, 0x08, 0x00}, inner4), false},
		"extensions":          {101, build(t, ip6(layers.IPProtocolIPv6HopByHop), gopacket.Payload(raw(extensions, segment))), true},
		"4in6":                {101, build(t, ip6(layers.IPProtocolIPv4), gopacket.Payload(inner4)), false},
		"6in4":                {101, build(t, ip4(layers.IPProtocolIPv6), gopacket.Payload(inner6)), true},
		"4in4":                {101, build(t, ip4(layers.IPProtocolIPv4), gopacket.Payload(inner4)), false},
		"gre":                 {101, build(t, ip4(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4, KeyPresent: true, Key: 9}, gopacket.Payload(inner4)), false},
		"gre, bridged":        {101, build(t, ip6(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeTransparentEthernetBridging}, gopacket.Payload(frame)), false},
		"erspan":              {101, build(t, ip4(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeERSPAN, SeqPresent: true}, &layers.ERSPANII{Version: 1}, gopacket.Payload(frame)), false},
		"vxlan":               {101, build(t, ip4(layers.IPProtocolUDP), udp(4789), &layers.VXLAN{ValidIDFlag: true, VNI: 3}, gopacket.Payload(frame)), false},
		"geneve":              {101, build(t, ip4(layers.IPProtocolUDP), udp(6081), gopacket.Payload(append([]byte{0, 0, 0x65, 0x58, 0, 0, 1, 0}, frame...))), false},
		"gtp-u":               {101, build(t, ip4(layers.IPProtocolUDP), udp(2152), &layers.GTPv1U{Version: 1, ProtocolType: 1, MessageType: 255, TEID: 7, MessageLength: uint16(len(inner6))}, gopacket.Payload(inner6)), true},
		"gtp-u, extension":    {101, build(t, ip4(layers.IPProtocolUDP), udp(2152), gopacket.Payload(append([]byte{0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0x10, 0, 0}, inner4...))), false},
		"teredo":              {101, build(t, ip4(layers.IPProtocolUDP), udp(3544), gopacket.Payload(append([]byte{0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6}, inner6...))), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Header
			require.NoError(t, Decode(c.link, c.data, &h))
			src, dst := "192.0.2.1:40000", "198.51.100.2:443"
			if c.v6 {
				src, dst = "[2001:db8::1]:40000", "[2001:db8:1::2]:443"
			}
			require.Equal(t, src, h.Source().String())
			require.Equal(t, dst, h.Destination().String())
			require.EqualValues(t, TCP, h.Transport)
			require.EqualValues(t, PSH|ACK, h.Flags)
			require.Equal(t, uint32(0xfffffff0), h.Seq)
			require.Equal(t, uint32(7), h.Ack)
			require.Equal(t, string(body), string(h.Payload))
			require.Equal(t, len(body), h.Length)
			require.False(t, h.Fragmented)
		})
	}
}

// TestDecodeCut cuts and spoils packets in ways that each have one right answer.
func TestDecodeCut(t *testing.T) {
	t.Parallel()
	body := gopacket.Payload("0123456789")
	whole := build(t, ip4(layers.IPProtocolTCP), tcp(), body)
	datagram := build(t, ip4(layers.IPProtocolUDP), udp(53), body)
	edit := func(b []byte, at int, v ...byte) []byte {
		b = append([]byte(nil), b...)
		copy(b[at:], v)
		return b
	}
	deep := whole
	for range maxTunnels + 1 {
		deep = build(t, ip4(layers.IPProtocolIPv4), gopacket.Payload(deep))
	}
	tags := append(make([]byte, 12), 0x81, 0)
	for range 2 * maxHeaders {
		tags = append(tags, 0, 1, 0x81, 0)
	}
	closed := build(t, ip4(layers.IPProtocolUDP), udp(4789), &layers.VXLAN{ValidIDFlag: true}, gopacket.Payload("not a frame"))
	for name, c := range map[string]struct {
		link     uint32
		data     []byte
		err      error
		payload  string
		length   int
		fragment bool
	}{
		"whole":                   {101, whole, nil, string(body), 10, false},
		"cut in the payload":      {101, whole[:len(whole)-4], nil, "012345", 10, false},
		"cut in the TCP options":  {101, whole[:20+14], nil, "", 10, false},
		"cut in the TCP header":   {101, whole[:20+13], ErrTruncated, "", 0, false},
		"cut in the IP header":    {101, whole[:19], ErrTruncated, "", 0, false},
		"empty":                   {101, nil, ErrTruncated, "", 0, false},
		"no length: offload":      {101, edit(whole, 2, 0, 0), nil, string(body), 10, false},
		"IP length too small":     {101, edit(whole, 2, 0, 19), ErrMalformed, "", 0, false},
		"IP header too small":     {101, edit(whole, 0, 0x44), ErrMalformed, "", 0, false},
		"TCP header too large":    {101, edit(whole, 32, 0xf0), ErrMalformed, "", 0, false},
		"TCP header too small":    {101, edit(whole, 32, 0x40), ErrMalformed, "", 0, false},
		"later fragment":          {101, edit(whole, 6, 0, 1), ErrFragment, "", 0, false},
		"first fragment, TCP":     {101, edit(whole, 6, 0x20, 0), nil, string(body), 10, true},
		"first fragment, UDP":     {101, edit(edit(datagram, 6, 0x20, 0), 24, 0x07, 0xd8), nil, string(body), 2000, true},
		"UDP longer than IP":      {101, edit(datagram, 24, 0x07, 0xd8), nil, string(body), 10, false},
		"UDP shorter than IP":     {101, edit(datagram, 24, 0, 12), nil, "0123", 4, false},
		"UDP too short":           {101, edit(datagram, 24, 0, 7), ErrMalformed, "", 0, false},
		"ICMP":                    {101, edit(whole, 9, 1), ErrTransport, "", 0, false},
		"ARP":                     {1, build(t, ethernet(layers.EthernetTypeARP), body), ErrNotIP, "", 0, false},
		"unknown link":            {105, whole, ErrLinkType, "", 0, false},
		"tunnels without end":     {101, deep, ErrNesting, "", 0, false},
		"tags without end":        {1, tags, ErrNesting, "", 0, false},
		"tunnel with no TCP, UDP": {101, closed, nil, string(closed[28:]), len(closed) - 28, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Header
			err := Decode(c.link, c.data, &h)
			require.Equal(t, c.err, err)
			if err != nil {
				return
			}
			require.Equal(t, c.payload, string(h.Payload))
			require.Equal(t, c.length, h.Length)
			require.Equal(t, c.fragment, h.Fragmented)
		})
	}
}

func TestDecodeOuter(t *testing.T) {
	t.Parallel()
	frame := build(t, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcp())
	data := build(t, ip6(layers.IPProtocolUDP), udp(4789), &layers.VXLAN{ValidIDFlag: true}, gopacket.Payload(frame))
	var h Header
	require.NoError(t, DecodeOuter(101, data, &h))
	require.Equal(t, "[2001:db8:1::2]:4789", h.Destination().String())
	require.NoError(t, Decode(101, data, &h))
	require.Equal(t, "198.51.100.2:443", h.Destination().String())
}

// oracle has gopacket decode the packet: the innermost TCP or UDP and the IP around it. It says no where gopacket met
// anything that it could not read.
func oracle(link uint32, data []byte) (h Header, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var first gopacket.Decoder
	switch link {
	case linkEthernet:
		first = layers.LayerTypeEthernet
	case linkIPv4:
		first = layers.LayerTypeIPv4
	case linkIPv6:
		first = layers.LayerTypeIPv6
	case linkRaw, linkRawBSD, linkRawOpen:
		first = layers.LayerTypeIPv4
		if len(data) > 0 && data[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
	case linkCooked:
		first = layers.LayerTypeLinuxSLL
	default:
		return h, false
	}
	p := gopacket.NewPacket(data, first, gopacket.DecodeOptions{NoCopy: true})
	if p.ErrorLayer() != nil {
		return h, false
	}
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.ERSPANII: // gopacket does not know type I
			return h, false
		case *layers.IPv4:
			if ok = false; l.Version != 4 { // which gopacket does not mind
				return h, false
			}
			h.IPv6, h.Fragmented = false, l.Flags&layers.IPv4MoreFragments != 0
			copy(h.Src[:], l.SrcIP.To16())
			copy(h.Dst[:], l.DstIP.To16())
		case *layers.IPv6:
			if ok = false; l.Version != 6 {
				return h, false
			}
			h.IPv6, h.Fragmented = true, false
			copy(h.Src[:], l.SrcIP)
			copy(h.Dst[:], l.DstIP)
		case *layers.TCP:
			ok = true
			h.Transport, h.SrcPort, h.DstPort = TCP, uint16(l.SrcPort), uint16(l.DstPort)
			h.Seq, h.Ack, h.Flags, h.Payload = l.Seq, l.Ack, l.Contents[13], l.Payload
		case *layers.UDP:
			ok = true
			h.Transport, h.SrcPort, h.DstPort = UDP, uint16(l.SrcPort), uint16(l.DstPort)
			h.Seq, h.Ack, h.Flags, h.Payload = 0, 0, 0, l.Payload
		}
	}
	return h, ok
}

// sameAsOracle compares where gopacket has an answer.
func sameAsOracle(t testing.TB, link uint32, data []byte) (compared bool) {
	want, ok := oracle(link, data)
	if !ok {
		return false
	}
	var h Header
	if err := Decode(link, data, &h); err != nil {
		t.Errorf("%v, but gopacket has %v -> %v", err, want.Source(), want.Destination())
		return true
	}
	tunnel := func(h *Header) bool { return tunnelPort(h.SrcPort, h.DstPort) || tunnelPort(h.DstPort, h.SrcPort) }
	if tunnel(&want) || tunnel(&h) {
		return false // only one of the two took it for a tunnel: gopacket looks at either port
	}
	require.Equal(t, want.Source(), h.Source())
	require.Equal(t, want.Destination(), h.Destination())
	require.Equal(t, want.Transport, h.Transport)
	require.Equal(t, want.Flags, h.Flags)
	require.Equal(t, want.Seq, h.Seq)
	require.Equal(t, want.Ack, h.Ack)
	require.Equal(t, string(want.Payload), string(h.Payload))
	require.GreaterOrEqual(t, h.Length, len(h.Payload))
	return true
}

// TestDecodeCorpus compares the decoder with gopacket on every packet of the labelled captures.
func TestDecodeCorpus(t *testing.T) {
	t.Parallel()
	dir := corpus(t)
	packets, compared := 0, 0
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Ext(name), "cap") {
			return err
		}
		source, err := capture.OpenFile(name)
		if err != nil {
			return nil
		}
		defer source.Close()
		var p capture.Packet
		for err = source.Next(&p); err == nil; err = source.Next(&p) {
			packets++
			if sameAsOracle(t, p.LinkType, p.Data) {
				compared++
			}
			if t.Failed() {
				t.Fatalf("%s: packet of %d bytes: %x", name, len(p.Data), p.Data)
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Log(err)
		}
		return nil
	})
	require.NoError(t, err)
	t.Logf("%d of %d packets compared", compared, packets)
	require.NotZero(t, compared)
}
