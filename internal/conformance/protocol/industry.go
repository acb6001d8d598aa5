package protocol

import (
	"bytes"
	"slices"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var industry = slices.Concat([]entry{
	{"dnp3", conformance.TCP, midstream, []uint16{20000}, either(of("\x05")), streams(1, dnp3Size)},
	{"dnp3", conformance.UDP, midstream, []uint16{20000}, either(of("\x05")), datagrams(1, isDNP3)},
	{"modbus", conformance.TCP, midstream, []uint16{502}, anything, isModbus},
	{"s7comm", conformance.TCP, midstream, []uint16{102}, either(of("\x03")), isS7},
	{"mms", conformance.TCP, midstream, []uint16{102}, either(of("\x03")), isMMS},
	{"iec60870", conformance.TCP, midstream, []uint16{2404}, either(of("\x68")), isIEC104},
	{"bacnet", conformance.UDP, midstream, []uint16{47808}, either(of("\x81")), datagrams(1, isBACnet)},
	{"opcua", conformance.TCP, midstream, []uint16{4840}, either(of("HAEROCM")), streams(1, opcuaSize)},
	{"ethernetip", conformance.TCP, midstream, []uint16{44818}, either(of("\x00\x04\x63\x64\x65\x66\x6f\x70")), streams(1, enipSize)},
	{"ethernetip", conformance.UDP, midstream, []uint16{44818}, either(of("\x00\x04\x63\x64\x65\x66\x6f\x70")), datagrams(1, func(m []byte) bool { return enipSize(m) == len(m) })},
	{"dcerpc", conformance.UDP, midstream, []uint16{34964}, either(of("\x04")), datagrams(1, isConnectionlessRPC)},
	{"knx", conformance.UDP, midstream, []uint16{3671}, either(of("\x06")), datagrams(1, isKNX)},
	{"hart-ip", conformance.TCP, midstream, []uint16{5094}, either(span(1, 2)), streams(1, hartSize)},
	{"hart-ip", conformance.UDP, midstream, []uint16{5094}, either(span(1, 2)), datagrams(1, func(m []byte) bool { return hartSize(m) == len(m) })},
	{"fins", conformance.TCP, midstream, []uint16{9600}, either(of("F")), streams(1, finsSize)},
	{"fins", conformance.UDP, midstream, []uint16{9600}, either(those(func(x byte) bool { return x&0xbe == 0x80 })), datagrams(1, isFINS)},
	{"dlms", conformance.UDP, midstream, []uint16{4059}, either(of("\x7e\x00")), datagrams(1, isDLMS)},
	{"ads", conformance.TCP, midstream, []uint16{48898}, either(of("\x00")), streams(1, adsSize)},
	{"synchrophasor", conformance.TCP, midstream, []uint16{4712}, either(of("\xaa")), streams(1, synchrophasorSize)},
}, devices, records)

// crc16 is a CRC of 16 bits that takes the lowest bit first.
func crc16(b []byte, polynomial, initial uint16) uint16 {
	sum := initial
	for _, c := range b {
		sum ^= uint16(c)
		for range 8 {
			if sum&1 != 0 {
				sum = sum>>1 ^ polynomial
			} else {
				sum >>= 1
			}
		}
	}
	return sum
}

// dnp3Size checks the link header of DNP3 (IEEE 1815): start, length, control, addresses and their checksum; 2^-32. After it comes
// a checksum with each sixteen bytes.
func dnp3Size(b []byte) int {
	switch {
	case len(b) < 10:
		return 0
	case b[0] != 0x05 || b[1] != 0x64 || b[2] < 5 || ^crc16(b[:8], 0xa6bc, 0) != uint16(le16(b[8:])):
		return -1
	}
	user := int(b[2]) - 5
	return 10 + user + 2*((user+15)/16)
}

func isDNP3(m []byte) bool {
	n, ok := framed(m, dnp3Size)
	return ok && n > 0
}

// isModbus wants Modbus/TCP: protocol 0 and a small length in every message, and an answer with the transaction, unit and
// function of the question, 2^-60; or at least three messages in one direction, 2^-24 each.
func isModbus(v *view) bool {
	n, ok := framed(v.client.data, modbusSize)
	m, answered := framed(v.server.data, modbusSize)
	c, s := v.client.data, v.server.data
	switch {
	case !ok || !answered:
		return false
	case n > 0 && m > 0:
		return string(c[:2]) == string(s[:2]) && c[6] == s[6] && c[7] == s[7]&0x7f
	}
	return n+m >= 3
}

func modbusSize(b []byte) int {
	switch {
	case len(b) < 8:
		return 0
	case be16(b[2:]) != 0 || be16(b[4:]) < 2 || be16(b[4:]) > 260 || b[7] == 0:
		return -1
	}
	return 6 + be16(b[4:])
}

// isS7 wants S7comm (0x32, 0x72) in COTP (ISO 8073) in TPKT: both lengths add up, 2^-40.
func isS7(v *view) bool {
	return isTPKT(v) && (carriesCOTP(v.client.data, "\x32") || carriesCOTP(v.server.data, "\x32") ||
		carriesCOTP(v.client.data, "\x72") || carriesCOTP(v.server.data, "\x72"))
}

// isMMS wants ISO 9506 in COTP in TPKT: a session that connects, or gives tokens and transfers data (ISO 8327), 2^-50.
func isMMS(v *view) bool {
	return isTPKT(v) && (carriesCOTP(v.client.data, "\x01\x00\x01\x00\x61") || carriesCOTP(v.server.data, "\x01\x00\x01\x00\x61") ||
		carriesCOTP(v.client.data, "\x0d") && carriesCOTP(v.server.data, "\x0e"))
}

// carriesCOTP says whether one of a stream's first data packets of COTP starts with what is wanted, and all before are of COTP.
func carriesCOTP(b []byte, wanted string) bool {
	for range 8 {
		size := tpktSize(b)
		if size <= 0 || size > len(b) || int(b[4])+5 > size {
			return false
		}
		switch b[5] & 0xf0 {
		case 0xe0, 0xd0: // connection
		case 0xf0:
			if b[4] != 2 {
				return false
			}
			if bytes.HasPrefix(b[7:size], []byte(wanted)) {
				return true
			}
		default:
			return false
		}
		b = b[size:]
	}
	return false
}

// isIEC104 wants IEC 60870-5-104: start, length and control field in every message. One without data is 40 bits; of messages with data, 12
// bits each, three are wanted.
func isIEC104(v *view) bool {
	n, ok := framed(v.client.data, iec104Size)
	m, answered := framed(v.server.data, iec104Size)
	return ok && answered && (n+m >= 3 || n > 0 && v.client.data[1] == 4 || m > 0 && v.server.data[1] == 4)
}

func iec104Size(b []byte) int {
	if len(b) < 6 {
		return 0
	}
	if b[0] != 0x68 || b[1] < 4 || b[1] > 253 {
		return -1
	}
	switch {
	case b[2]&3 == 3:
		if b[1] != 4 || b[3]|b[4]|b[5] != 0 {
			return -1
		}
	case b[2]&3 == 1:
		if b[1] != 4 || b[2] != 1 || b[3] != 0 || b[4]&1 != 0 {
			return -1
		}
	case b[1] < 10 || b[4]&1 != 0:
		return -1
	}
	return 2 + int(b[1])
}

// isBACnet wants BACnet/IP (ASHRAE 135, annex J): type, function, length, and the version of the network layer behind, 2^-36.
func isBACnet(m []byte) bool {
	if len(m) < 4 || m[0] != 0x81 || m[1] > 0x0c || be16(m[2:]) != len(m) {
		return false
	}
	switch m[1] {
	case 4:
		return len(m) > 11 && m[10] == 1
	case 9, 10, 11:
		return len(m) > 5 && m[4] == 1 && m[5]&0x50 == 0
	}
	return len(m) <= 6 || m[1] == 1 || m[1] == 3
}

// opcuaSize wants OPC UA's message header (part 6, 7.1.2): three letters, a chunk and a length, 2^-29, and version 0 in a hello.
func opcuaSize(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	if b[3] != 'F' && b[3] != 'C' && b[3] != 'A' || le32(b[4:]) < 8 || le32(b[4:]) > 1<<24 {
		return -1
	}
	switch string(b[:3]) {
	case "HEL", "ACK", "ERR", "RHE", "OPN", "CLO", "MSG":
		return int(le32(b[4:]))
	}
	return -1
}

// enipSize wants EtherNet/IP's encapsulation (ODVA volume 2): command, length, a small status, no options: 2^-60.
func enipSize(b []byte) int {
	const header = 24
	if len(b) < header {
		return 0
	}
	if le32(b[8:]) > 0x69 || le32(b[20:]) != 0 {
		return -1
	}
	switch le16(b) {
	case 0, 4, 0x63, 0x64, 0x65, 0x66, 0x6f, 0x70:
		return header + le16(b[2:])
	}
	return -1
}

// isConnectionlessRPC knows DCE/RPC version 4 over UDP (C706, 12.5), which PROFINET uses: the length of its body adds up, 2^-45.
func isConnectionlessRPC(m []byte) bool {
	const header = 80
	if len(m) < header || m[0] != 4 || m[1] > 10 || m[4]&0xee != 0 || m[5] > 3 || m[6] != 0 {
		return false
	}
	if m[4]&0x10 != 0 {
		return le16(m[74:]) == len(m)-header
	}
	return be16(m[74:]) == len(m)-header
}

// isKNX knows KNXnet/IP (ISO 22510): header length, version, service family and total length, 2^-36.
func isKNX(m []byte) bool {
	return len(m) >= 6 && be16(m) == 0x0610 && m[2] >= 2 && m[2] <= 9 && be16(m[4:]) == len(m)
}

// hartSize wants HART-IP (TP10300): version, type, kind of message, and the length that this kind has; what it carries of HART ends with the
// exclusive or of all before it. 2^-44.
func hartSize(b []byte) int {
	switch {
	case len(b) < 8:
		return 0
	case b[0] != 1 && b[0] != 2 || b[1] > 3 && b[1] != 15 || b[2] > 4 || be16(b[6:]) < 8:
		return -1
	}
	size := be16(b[6:])
	switch b[2] {
	case 0:
		if size != 13 {
			return -1
		}
	case 1, 2:
		if size != 8 {
			return -1
		}
	default:
		sum := byte(0)
		for _, c := range b[8:min(size, len(b))] {
			sum ^= c
		}
		if size < 13 || size <= len(b) && sum != 0 {
			return -1
		}
	}
	return size
}

// finsSize wants FINS/TCP of Omron: its name and a length, 2^-48.
func finsSize(b []byte) int {
	switch {
	case len(b) < 8:
		return 0
	case string(b[:4]) != "FINS" || be32(b[4:]) > 4096 || be32(b[4:]) < 8:
		return -1
	}
	return 8 + int(be32(b[4:]))
}

// isFINS knows FINS over UDP within one network: control field, reserved zero, gateways, networks and units 0, and a command that exists,
// 2^-60.
func isFINS(m []byte) bool {
	return len(m) >= 12 && m[0]&0xbe == 0x80 && m[1] == 0 && m[2] <= 7 && m[3]|m[5]|m[6]|m[8] == 0 && m[10] >= 1 && m[10] <= 0x26 && m[11] <= 0x28
}

// isDLMS knows a frame of HDLC as DLMS/COSEM uses it (IEC 62056-46): flags around it, a length that adds up, and the checksum of ISO
// 13239, 2^-43; or COSEM's wrapper with version and length (IEC 62056-47), 2^-32.
func isDLMS(m []byte) bool {
	if len(m) >= 9 && m[0] == 0x7e && m[len(m)-1] == 0x7e {
		body := m[1 : len(m)-1]
		return be16(body)&0xf000 == 0xa000 && be16(body)&0x7ff == len(body) && crc16(body, 0x8408, 0xffff) == 0xf0b8
	}
	return len(m) >= 9 && be16(m) == 1 && be16(m[6:]) == len(m)-8
}

// adsSize wants Beckhoff's AMS/TCP: zeros, a length, and the length of the data in the header behind it, 2^-60.
func adsSize(b []byte) int {
	const header = 6 + 32
	switch {
	case len(b) < header:
		return 0
	case be16(b) != 0 || le32(b[2:]) < 32 || le32(b[26:]) != le32(b[2:])-32 || le16(b[22:]) > 9:
		return -1
	}
	return 6 + int(min(le32(b[2:]), 1<<24))
}

// synchrophasorSize wants IEEE C37.118 frames: sync, version, length, and the checksum at the end, 2^-29.
func synchrophasorSize(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	size := be16(b[2:])
	if b[0] != 0xaa || b[1]&0x80 != 0 || b[1]&15 < 1 || b[1]&15 > 3 || size < 16 {
		return -1
	}
	if size > len(b) {
		return 0
	}
	sum := uint16(0xffff)
	for _, c := range b[:size-2] {
		sum = sum<<8 ^ ccitt[byte(sum>>8)^c]
	}
	if int(sum) != be16(b[size-2:]) {
		return -1
	}
	return size
}

// ccitt are what each byte adds to CRC-CCITT, which takes the highest bit first.
var ccitt = func() (table [256]uint16) {
	for i := range table {
		sum := uint16(i) << 8
		for range 8 {
			carry := sum >> 15
			sum = sum<<1 ^ carry*0x1021
		}
		table[i] = sum
	}
	return table
}()
