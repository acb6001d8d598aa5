package capture

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// The structures as xnu declares them (bsd/net/pktap.h, bpf.h, if.h, if_private.h of xnu-11417.101.15), in Go's words. Every member has the size and
// alignment that it has in C on arm64 and x86_64, so that Go lays them out alike on any system.
type (
	pktapHeader struct {
		length, typeNext, dlt uint32
		ifname                [24]byte
		flags, _              uint32 // protocol_family
		_, _                  uint32 // frame_pre_length, frame_post_length
		pid                   int32
		comm                  [17]byte
		_                     uint8  // ipproto
		_                     uint16 // trace_tag
		_                     uint32 // svc
		_, _                  uint16 // iftype, ifunit
		epid                  int32
		ecomm                 [17]byte
		flowID, _             uint32 // comp_gencnt
		_, _                  int32  // struct timeval32
		uuid, euuid           [16]byte
	}
	pktapHeaderV2 struct {
		_, _, _, _, _, _ uint8  // length, and where uuid, e_uuid, ifname, comm and e_comm are
		dlt, _, _        uint16 // pre_len, post_len
		_, _             uint16 // iftype, ipproto
		_, _, _          uint32 // proto_family, svc, flowid
		pid, epid        int32
		flags            uint32
	}
	bpfHeader struct {
		seconds, micros  int32
		captured, onWire uint32
		header           uint16
	}
	pktapFilter struct {
		_, _ uint32   // operation, kind
		_    [24]byte // interface name or type
	}
	ifDescription struct {
		_ [16]byte // name
		_ uint32   // length
		_ [128]byte
	}
	ifDriver64 struct {
		_    [16]byte // name
		_, _ uint64   // command, length
		data uint64
	}
	bpfProgram struct {
		_            uint32 // length
		instructions uintptr
	}
	interfaceRequest struct {
		_     [16]byte // name
		value [16]byte
	}
)

// TestLayout: offsets and sizes are those that a C compiler gives.
func TestLayout(t *testing.T) {
	t.Parallel()
	var h pktapHeader
	require.EqualValues(t, 156, unsafe.Sizeof(h))
	require.EqualValues(t, tapFull, unsafe.Sizeof(h))
	require.EqualValues(t, tapTypeNext, unsafe.Offsetof(h.typeNext))
	require.EqualValues(t, tapLink, unsafe.Offsetof(h.dlt))
	require.EqualValues(t, tapIfname, unsafe.Offsetof(h.ifname))
	require.EqualValues(t, tapFlags, unsafe.Offsetof(h.flags))
	require.EqualValues(t, tapPID, unsafe.Offsetof(h.pid))
	require.EqualValues(t, tapComm, unsafe.Offsetof(h.comm))
	require.EqualValues(t, tapEPID, unsafe.Offsetof(h.epid))
	require.EqualValues(t, tapEComm, unsafe.Offsetof(h.ecomm))
	require.EqualValues(t, tapUUID, unsafe.Offsetof(h.uuid))
	require.EqualValues(t, tapEUUID, unsafe.Offsetof(h.euuid))
	require.EqualValues(t, tapMinimum, unsafe.Offsetof(h.flowID), "what OS X 10.9 had")
	require.Len(t, h.comm, tapCommBytes)

	var h2 pktapHeaderV2
	require.EqualValues(t, tap2Minimum, unsafe.Sizeof(h2))
	require.EqualValues(t, tap2Link, unsafe.Offsetof(h2.dlt))
	require.EqualValues(t, tap2PID, unsafe.Offsetof(h2.pid))
	require.EqualValues(t, tap2EPID, unsafe.Offsetof(h2.epid))
	require.EqualValues(t, tapFlags, unsafe.Offsetof(h2.flags))

	var b bpfHeader
	require.EqualValues(t, recordSeconds, unsafe.Offsetof(b.seconds))
	require.EqualValues(t, recordMicros, unsafe.Offsetof(b.micros))
	require.EqualValues(t, recordCaptured, unsafe.Offsetof(b.captured))
	require.EqualValues(t, recordLength, unsafe.Offsetof(b.onWire))
	require.EqualValues(t, recordHeader, unsafe.Offsetof(b.header))
	require.EqualValues(t, recordMinimum, unsafe.Offsetof(b.header)+2)
	require.EqualValues(t, recordAlign, unsafe.Alignof(b))

	require.EqualValues(t, tapFilterSize, unsafe.Sizeof(pktapFilter{}))
	require.Len(t, ifdescreq("en0", "x"), int(unsafe.Sizeof(ifDescription{})))
	require.EqualValues(t, 40, unsafe.Sizeof(ifDriver64{}))
	require.EqualValues(t, 32, unsafe.Offsetof(ifDriver64{}.data))
	require.EqualValues(t, 16, unsafe.Sizeof(bpfProgram{}))
	require.EqualValues(t, 8, unsafe.Offsetof(bpfProgram{}.instructions))
	require.EqualValues(t, ifreqSize, unsafe.Sizeof(interfaceRequest{}))
	require.EqualValues(t, ifreqValue, unsafe.Offsetof(interfaceRequest{}.value))
	require.Len(t, timeval(1_500_000), 16)

	// The size of an argument is part of its request (bsd/sys/ioccom.h).
	for request, size := range map[uint32]uintptr{
		siocSIFDESC: unsafe.Sizeof(ifDescription{}), siocSDRVSPEC: unsafe.Sizeof(ifDriver64{}), biocSETF: unsafe.Sizeof(bpfProgram{}),
		biocSETIF: unsafe.Sizeof(interfaceRequest{}), biocSRTIMEOUT: 16, biocSBLEN: 4, biocSWANTPKTAP: 4, biocGSTATS: 8,
	} {
		require.EqualValues(t, size, request>>16&0x1fff, "%#x", request)
	}
}

// TestDelegated: the process that another one works for is the owner, where the kernel says which.
func TestDelegated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags uint32
		epid  int32
		want  int32
	}{
		"not delegated":             {tapFlagOut, 77, 501},
		"delegated":                 {tapFlagOut | tapFlagDelegated, 77, 77},
		"delegated by nobody known": {tapFlagOut | tapFlagDelegated, -1, 501},
		"delegated by the kernel":   {tapFlagOut | tapFlagDelegated, 0, 501},
	} {
		h := pktapHeader{length: tapFull, typeNext: tapNextPacket, dlt: 12, flags: c.flags, pid: 501, epid: c.epid}
		data := append((*[tapFull]byte)(unsafe.Pointer(&h))[:], 0x45)
		p := Packet{LinkType: linkPKTAP, Data: data, Length: len(data)}
		u := newUnwrapper()
		require.True(t, u.unwrap(&p), name)
		require.Equal(t, c.want, p.Process.PID, name)
		require.Equal(t, Out, p.Direction, name)
	}
}
