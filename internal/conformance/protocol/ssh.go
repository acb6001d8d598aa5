package protocol

import (
	"hash/crc32"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var ssh = []entry{
	{"ssh", conformance.TCP, midstream, []uint16{22}, either(plain), secureShell},
}

// secureShell is SSH (RFC 4253): each side's identification, then its key exchange packet with name lists that fill it, or
// version 1's packets with their checksum. An identification: 2^-50; each packet 2^-60 more.
func secureShell(v *view) bool {
	client, old, ok := sshBanner(v.client)
	server, older, fits := sshBanner(v.server)
	return ok && fits && len(v.client.data)+len(v.server.data) > 8 &&
		sshPackets(client, old || older) && sshPackets(server, old || older)
}

// sshBanner reads the identification line, with the other lines that a server may send before it. old is version 1.
func sshBanner(s side) (rest []byte, old, ok bool) {
	rest = s.data
	for n := 0; n < 16 && len(rest) > 0; n++ {
		l, after, whole := line(rest)
		if has(rest, "SSH-") {
			if !whole {
				return nil, false, len(rest) < 255 && ascii(rest)
			}
			if len(l) <= 8 {
				return nil, false, false
			}
			return after, l[4] == '1' && !has(l, "SSH-1.99"), len(l) <= 255 && ascii(l) && digit(l[4]) && l[5] == '.'
		}
		if !whole || !printable(l) {
			return nil, false, len(rest) < 4 && has([]byte("SSH-"), string(rest))
		}
		rest = after
	}
	return nil, false, len(s.data) == 0
}

// sshPackets says whether a direction goes on with KEXINIT, or a packet of version 1, or has not gone on.
func sshPackets(b []byte, old bool) bool {
	if len(b) < 6 {
		return true
	}
	r := read(b)
	length, padding, kind := int(r.u32()), int(r.u8()), r.u8()
	if old {
		return sshVersion1(b)
	}
	if length > 35000 || length < 12 || padding < 4 || kind != 20 {
		return false
	}
	r.skip(16)
	used := 1 + 1 + 16
	for range 10 {
		n := int(r.u32())
		if r.short {
			return true
		}
		if n > length || used > length {
			return false
		}
		list := r.b[:min(n, r.left())]
		if !ascii(list) {
			return false
		}
		r.skip(n)
		used += 4 + n
	}
	return used+5+padding == length || r.short
}

// sshVersion1 checks the first packet of SSH 1: its padding and CRC-32 (draft-ylonen-ssh-protocol-00, without the final inversion).
func sshVersion1(b []byte) bool {
	r := read(b)
	length := int(r.u32())
	body := r.take(8 - length%8 + length)
	if r.short {
		return length < 1<<18
	}
	n := len(body) - 4
	sum := read(body[n:])
	return ^crc32.Update(^uint32(0), crc32.IEEETable, body[:n]) == sum.u32()
}
