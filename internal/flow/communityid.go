package flow

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
)

// CommunityID is version 1 of the flow hash that Zeek, Suricata and others share, with seed 0: the same for both
// directions. It is for protocols with ports (TCP, UDP). Source: https://github.com/corelight/community-id-spec.
func CommunityID(protocol uint8, a, b netip.AddrPort) string {
	lo, hi := a.Addr().Unmap().AsSlice(), b.Addr().Unmap().AsSlice()
	loPort, hiPort := a.Port(), b.Port()
	if c := bytes.Compare(lo, hi); c > 0 || c == 0 && loPort > hiPort {
		lo, hi, loPort, hiPort = hi, lo, hiPort, loPort
	}
	in := make([]byte, 2, 40) // the seed
	in = append(append(in, lo...), hi...)
	in = append(in, protocol, 0)
	in = binary.BigEndian.AppendUint16(in, loPort)
	in = binary.BigEndian.AppendUint16(in, hiPort)
	sum := sha1.Sum(in)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}
