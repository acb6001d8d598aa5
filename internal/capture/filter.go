package capture

import (
	"fmt"
	"math/bits"

	"golang.org/x/net/bpf"
)

// assembler puts a BPF program together whose jumps name labels instead of counting instructions.
type assembler struct {
	code   []bpf.Instruction
	labels map[string]int
	jumps  []jump
}

type jump struct {
	at          int
	yes, no     string
	conditional bool
}

func (a *assembler) add(code ...bpf.Instruction) { a.code = append(a.code, code...) }

// label names the next instruction.
func (a *assembler) label(name string) {
	if a.labels == nil {
		a.labels = map[string]int{}
	}
	a.labels[name] = len(a.code)
}

// when jumps to yes if the accumulator compares so with value, else to no; an empty label is the next instruction.
func (a *assembler) when(cond bpf.JumpTest, value uint32, yes, no string) {
	a.jumps = append(a.jumps, jump{len(a.code), yes, no, true})
	a.add(bpf.JumpIf{Cond: cond, Val: value})
}

func (a *assembler) goTo(label string) {
	a.jumps = append(a.jumps, jump{at: len(a.code), yes: label})
	a.add(bpf.Jump{})
}

// program resolves the labels.
func (a *assembler) program() ([]bpf.Instruction, error) {
	for _, j := range a.jumps {
		yes, err := a.distance(j.at, j.yes)
		if err != nil {
			return nil, err
		}
		if !j.conditional {
			a.code[j.at] = bpf.Jump{Skip: uint32(yes)}
			continue
		}
		no, err := a.distance(j.at, j.no)
		if err != nil {
			return nil, err
		}
		if yes > 255 || no > 255 {
			return nil, fmt.Errorf("capture: filter: a jump from %d is too long", j.at)
		}
		test := a.code[j.at].(bpf.JumpIf)
		test.SkipTrue, test.SkipFalse = uint8(yes), uint8(no)
		a.code[j.at] = test
	}
	return a.code, nil
}

func (a *assembler) distance(from int, label string) (int, error) {
	if label == "" {
		return 0, nil
	}
	to, ok := a.labels[label]
	if !ok || to <= from {
		return 0, fmt.Errorf("capture: filter: no label %q after %d", label, from)
	}
	return to - from - 1, nil
}

// IP protocols. Of those that carry other IP packets, the inner headers are for the decoder to judge, not for the kernel.
const (
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoGRE    = 47
	protoICMPv6 = 58
)

// network appends the filter of an IPv4 or IPv6 packet that begins at byte base: it keeps TCP that carries data or begins or
// ends a connection, UDP that carries data, fragments and tunnels. scope tells the labels of one copy from another's.
func (a *assembler) network(scope string, base, snaplen uint32) {
	at := func(name string) string { return scope + "." + name }
	keep, drop := at("keep"), at("drop")
	a.add(bpf.LoadAbsolute{Off: base, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	a.when(bpf.JumpEqual, 6, at("ipv6"), "")
	a.when(bpf.JumpEqual, 4, "", drop)

	a.add(bpf.LoadAbsolute{Off: base + 6, Size: 2})
	a.when(bpf.JumpBitsSet, 0x1fff, keep, "") // a later fragment has no ports
	a.add(bpf.LoadMemShift{Off: base})        // X: the length of the header
	a.add(bpf.LoadAbsolute{Off: base + 2, Size: 2})
	a.when(bpf.JumpEqual, 0, keep, "") // longer than 64 KiB: merged by the kernel
	a.add(bpf.ALUOpX{Op: bpf.ALUOpSub}, bpf.StoreScratch{Src: bpf.RegA, N: 0})
	a.add(bpf.LoadAbsolute{Off: base + 9, Size: 1})
	a.transport(at)

	a.label(at("ipv6"))
	a.add(bpf.LoadAbsolute{Off: base + 4, Size: 2})
	a.when(bpf.JumpEqual, 0, keep, "")
	a.add(bpf.StoreScratch{Src: bpf.RegA, N: 0})
	a.add(bpf.LoadConstant{Dst: bpf.RegX, Val: 40})
	a.add(bpf.LoadAbsolute{Off: base + 6, Size: 1})
	for _, extension := range []uint32{0, 43, 44, 51, 60} { // hop-by-hop, routing, fragment, authentication, destination
		a.when(bpf.JumpEqual, extension, at("extension"), "")
	}
	a.transport(at)
	a.label(at("extension"))
	a.add(bpf.LoadAbsolute{Off: base + 40, Size: 1})
	a.when(bpf.JumpEqual, protoICMPv6, drop, keep) // multicast listener reports, mostly

	// From here on: M[0] is the length of header and data of TCP or UDP, X where the IP header ends.
	a.label(at("udp"))
	a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 0})
	a.when(bpf.JumpGreaterThan, 8, keep, drop)
	a.label(at("tcp"))
	a.add(bpf.LoadIndirect{Off: base + 13, Size: 1})
	a.when(bpf.JumpBitsSet, 0x07, keep, "") // FIN, SYN, RST
	a.add(bpf.LoadIndirect{Off: base + 12, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 2},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x3c}, bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: 0})
	a.add(bpf.ALUOpX{Op: bpf.ALUOpSub})
	a.when(bpf.JumpEqual, 0, drop, "")
	a.when(bpf.JumpGreaterThan, 0xffff, drop, "") // lengths that contradict each other
	a.label(keep)
	a.add(bpf.RetConstant{Val: snaplen})
	a.label(drop)
	a.add(bpf.RetConstant{Val: 0})
}

// transport goes on by the protocol number in the accumulator.
func (a *assembler) transport(at func(string) string) {
	a.when(bpf.JumpEqual, protoTCP, at("tcp"), "")
	a.when(bpf.JumpEqual, protoUDP, at("udp"), "")
	for _, tunnel := range []uint32{protoIPIP, protoIPv6, protoGRE} {
		a.when(bpf.JumpEqual, tunnel, at("keep"), "")
	}
	a.goTo(at("drop"))
}

// Linux's values for filters (linux/if_arp.h, if_packet.h, if_ether.h).
const (
	hardwareLoopback = 772
	packetOtherHost  = 3
	packetOutgoing   = 4
	etherTypeIPv4    = 0x0800
	etherTypeIPv6    = 0x86dd
)

// linuxFilter is the filter of a cooked packet socket, whose packets begin with the IP header. Of the loopback interface, which
// shows every packet leaving and arriving, it keeps the arriving one, as libpcap does. No indexes mean all interfaces.
func linuxFilter(snaplen uint32, indexes []int) ([]bpf.Instruction, error) {
	var a assembler
	if len(indexes) > 0 {
		a.add(bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		for _, index := range indexes {
			a.when(bpf.JumpEqual, uint32(index), "wanted", "")
		}
		a.goTo("ip.drop")
		a.label("wanted")
	}
	a.add(bpf.LoadExtension{Num: bpf.ExtType})
	a.when(bpf.JumpEqual, packetOtherHost, "ip.drop", "")
	a.when(bpf.JumpEqual, packetOutgoing, "", "protocol")
	a.add(bpf.LoadExtension{Num: bpf.ExtLinkLayerType})
	a.when(bpf.JumpEqual, hardwareLoopback, "ip.drop", "")
	a.label("protocol")
	a.add(bpf.LoadExtension{Num: bpf.ExtProto})
	a.when(bpf.JumpEqual, etherTypeIPv4, "ip", "")
	a.when(bpf.JumpEqual, etherTypeIPv6, "", "ip.drop")
	a.label("ip")
	a.network("ip", 0, snaplen)
	return a.program()
}

// tapFilter is the filter of PKTAP, whose packets have a header of 156 bytes and then the interface's own link layer. It leaves
// out the packets of the process self, and cuts what it keeps to snaplen bytes behind the headers. Link layers that it does
// not know pass whole.
//
// BPF loads big-endian, while the header is little-endian: numbers are compared with their bytes swapped.
func tapFilter(snaplen uint32, self int32) ([]bpf.Instruction, error) {
	const linkEnd = tapFull + 14
	var a assembler
	a.add(bpf.LoadAbsolute{Off: 0, Size: 4})
	a.when(bpf.JumpEqual, swapped(tapFull), "", "all") // another version's header: let the reader judge
	a.add(bpf.LoadAbsolute{Off: tapPID, Size: 4})
	a.when(bpf.JumpEqual, swapped(uint32(self)), "none", "")
	a.add(bpf.LoadAbsolute{Off: tapLink, Size: 4})
	a.when(bpf.JumpEqual, swapped(LinkEthernet), "ethernet", "")
	a.when(bpf.JumpEqual, swapped(LinkNull), "to null", "")
	a.when(bpf.JumpEqual, swapped(darwinRaw), "to raw", "")
	a.label("all")
	a.add(bpf.RetConstant{Val: linkEnd + snaplen})
	a.label("none")
	a.add(bpf.RetConstant{Val: 0})
	a.label("to null")
	a.goTo("null")
	a.label("to raw")
	a.goTo("raw")
	a.label("ethernet")
	a.ethernet(tapFull, snaplen)
	a.label("null")
	a.network("null", tapFull+4, tapFull+4+snaplen)
	a.label("raw")
	a.network("raw", tapFull, tapFull+snaplen)
	return a.program()
}

// darwinRaw is DLT_RAW in the kernel of macOS.
const darwinRaw = 12

// ethernet appends the filter of an Ethernet frame at byte base, with one VLAN tag or none.
func (a *assembler) ethernet(base, snaplen uint32) {
	a.add(bpf.LoadAbsolute{Off: base + 12, Size: 2})
	a.when(bpf.JumpEqual, etherTypeIPv4, "to untagged", "")
	a.when(bpf.JumpEqual, etherTypeIPv6, "to untagged", "")
	a.when(bpf.JumpEqual, 0x8100, "", "tagged.drop")
	a.network("tagged", base+18, base+18+snaplen)
	a.label("to untagged")
	a.network("untagged", base+14, base+14+snaplen)
}

// plainFilter is the filter of one interface of macOS without PKTAP; nil for a link layer that it does not know.
func plainFilter(link, snaplen uint32) ([]bpf.Instruction, error) {
	var a assembler
	switch link {
	case LinkEthernet:
		a.ethernet(0, snaplen)
	case LinkNull:
		a.network("ip", 4, 4+snaplen)
	case darwinRaw:
		a.network("ip", 0, snaplen)
	default:
		return nil, nil
	}
	return a.program()
}

func swapped(v uint32) uint32 { return bits.ReverseBytes32(v) }
