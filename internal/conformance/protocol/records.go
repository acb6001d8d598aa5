package protocol

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

// records are hospitals, exchanges, messages between operators, and what steers switches and storage.
var records = []entry{
	{"hl7", conformance.TCP, midstream, []uint16{2575}, either(of("\x0b")), streams(1, hl7Size)},
	{"dicom", conformance.TCP, start, []uint16{104, 11112}, starts{of("\x01"), span(1, 7).orNothing()}, isDICOM},
	{"fix", conformance.TCP, midstream, nil, either(of("8")), streams(1, fixSize)},
	{"smpp", conformance.TCP, midstream, []uint16{2775}, either(of("\x00")), streams(1, smppSize)},
	{"openflow", conformance.TCP, start, []uint16{6653, 6633}, starts{span(1, 6), span(1, 6)}, isOpenFlow},
	{"ceph", conformance.TCP, start, []uint16{6789, 3300}, starts{of("c"), of("c")}, isCeph},
}

// hl7Size wants HL7 version 2 in its minimal frame (MLLP): a vertical tab, the header segment, and text up to the frame's end.
func hl7Size(b []byte) int {
	const start, end = "\x0bMSH|", "\x1c\r"
	switch {
	case len(b) < len(start):
		return 0
	case string(b[:len(start)]) != start:
		return -1
	}
	at := bytes.Index(b, []byte(end))
	if at < 0 {
		return 0
	}
	return at + len(end)
}

// dicomSize wants DICOM's units (PS3.8, 9.3): kind, a reserved zero and the length.
func dicomSize(b []byte) int {
	switch {
	case len(b) < 6:
		return 0
	case b[0] < 1 || b[0] > 7 || b[1] != 0 || be32(b[2:]) > 1<<24:
		return -1
	}
	return 6 + int(be32(b[2:]))
}

// isDICOM wants an association that is asked for: version, and two names in letters, 2^-90, then units whose lengths lead to each other.
func isDICOM(v *view) bool {
	b := v.client.data
	return len(b) >= 74 && b[0] == 1 && be16(b[6:]) == 1 && be16(b[8:]) == 0 && isText(b[10:42]) && isDICOMStream(v)
}

var isDICOMStream = streams(1, dicomSize)

// fixSize wants FIX: version, and the length of the body, behind which are seven bytes of checksum.
func fixSize(b []byte) int {
	if len(b) < 24 {
		return 0
	}
	version, rest, ok := bytes.Cut(b[:24], []byte("\x019="))
	digits, _, closed := bytes.Cut(rest, []byte{1})
	size := decimal(digits)
	if !ok || !closed || size < 0 || !bytes.HasPrefix(version, []byte("8=FIX")) {
		return -1
	}
	whole := len(version) + 3 + len(digits) + 1 + size
	if string(version) == "8=FIXCOMP" { // compressed by zlib, without a checksum
		return whole
	}
	return whole + len("10=000\x01")
}

// smppSize wants SMPP 3.4: length, command, status and a sequence number, 2^-60.
func smppSize(b []byte) int {
	if len(b) < 16 {
		return 0
	}
	size, command := be32(b), be32(b[4:])&^0x80000000
	if size < 16 || size > 1<<16 || be32(b[8:]) > 0x500 || command > 0x112 || command > 0x21 && command < 0x103 || be32(b[12:]) == 0 {
		return -1
	}
	return int(size)
}

// isOpenFlow wants both sides to say hello with versions of OpenFlow and lengths that add up, 2^-36.
func isOpenFlow(v *view) bool {
	c, s := v.client.data, v.server.data
	return len(c) >= 8 && len(s) >= 8 && c[1]|s[1] == 0 && openFlowMessages(c) && openFlowMessages(s)
}

func openFlowMessages(b []byte) bool {
	n, ok := framed(b, func(b []byte) int {
		switch {
		case len(b) < 8:
			return 0
		case b[0] < 1 || b[0] > 6 || b[1] > 35 || be16(b[2:]) < 8:
			return -1
		}
		return be16(b[2:])
	})
	return ok && n > 0 && be16(b[2:]) <= 32
}

// isCeph wants both banners of Ceph.
func isCeph(v *view) bool {
	return bytes.HasPrefix(v.client.data, []byte("ceph v")) && bytes.HasPrefix(v.server.data, []byte("ceph v"))
}
