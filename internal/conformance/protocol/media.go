package protocol

import "github.com/cipherlens/cipherlens/internal/conformance"

// media are RTP and what is made of it.
var media = []entry{
	{"zoom", conformance.UDP, midstream, []uint16{8801}, anything, isZoom},
	{"rtp", conformance.UDP, midstream, nil, anything, isRTP},
	{"rtcp", conformance.UDP, midstream, nil, either(span(0x80, 0xbf)), isRTCP},
	{"discord", conformance.UDP, midstream, nil, either(of("\x00\x13").or(span(0x80, 0xbf))), isDiscord},
}

// isRTP wants media of RTP (RFC 3550), encrypted or not, behind the same few bytes in every packet: version, a source that stays, and
// a sequence number that counts up. Each packet after the first of its source and direction has 32 bits of source and 10 of
// sequence number; three are wanted. What is not RTP may be STUN, RTCP or one datagram in eight.
func isRTP(v *view) bool {
	if v.looked() < 3 {
		return false
	}
	for _, at := range rtpOffsets {
		if rtpAt(v, at) {
			return true
		}
	}
	return false
}

// rtpOffsets are how long headers before RTP are: none, TURN's channel data.
var rtpOffsets = [...]int{0, 4}

func rtpAt(v *view, at int) bool {
	s, all := share{}, v.looked()
	for _, h := range v.sides() {
		sources := rtpSources{}
		for m := range h.each {
			if s.lost(all) {
				return false
			}
			switch {
			case at > 0 && !isChannelData(m):
				if !isSTUN(m) {
					s.other++
				}
			case sources.follows(m[min(at, len(m)):]):
				s.known++
			case !isSTUN(m) && !sources.fresh && !isRTCPPacket(m[min(at, len(m)):]):
				s.other++
			}
		}
	}
	return s.most(3)
}

// rtpSources remembers the sources that spoke last in one direction.
type rtpSources struct {
	known [4]rtpSource
	used  int
	fresh bool // the last datagram started a source, or was sent again
}

// rtpSource is what one source said last.
type rtpSource struct {
	id          uint32
	sequence    int
	stamp       uint32 // timestamp
	contributor uint32 // the first contributing source, 0 where there is none
}

// maxStampStep is by how much timestamps of a source's packets that follow each other may differ: three minutes at 90 kHz, for silence that is
// not sent (RFC 3550, 5.1); frames of video come in the order of decoding.
const maxStampStep = 1 << 24

// next says whether s can speak as after: its clock goes on, and those who contribute are the same but for once in a while.
func (s *rtpSource) next(after *rtpSource) bool {
	return after.stamp-s.stamp+maxStampStep < 2*maxStampStep && after.contributor == s.contributor
}

// follows says whether m is the next packet of a source that is known.
func (r *rtpSources) follows(m []byte) bool {
	r.fresh = false
	if !isRTPHeader(m) {
		return false
	}
	packet := rtpSource{id: be32(m[8:]), sequence: be16(m[2:]), stamp: be32(m[4:])}
	if m[0]&15 > 0 {
		packet.contributor = be32(m[12:])
	}
	for i := range min(r.used, len(r.known)) {
		last := r.known[i]
		if last.id != packet.id {
			continue
		}
		r.known[i] = packet
		step := (packet.sequence - last.sequence + 64) & 0xffff
		r.fresh = step == 64 // sent again: says nothing new
		return step < 128 && step != 64 && last.next(&packet)
	}
	r.known[r.used%len(r.known)] = packet
	r.used++
	r.fresh = r.used <= len(r.known)
	return false
}

// isRTPHeader checks what one packet alone can show: version 2, not the payload types that RTCP's look like, and room for the
// sources and the extension that the header speaks of.
func isRTPHeader(m []byte) bool {
	if len(m) < 12 || m[0]>>6 != 2 || m[1]&0x7f >= 72 && m[1]&0x7f <= 76 {
		return false
	}
	at := 12 + 4*int(m[0]&15)
	if m[0]&0x10 != 0 {
		if at+4 > len(m) {
			return false
		}
		at += 4 + 4*be16(m[at+2:])
	}
	return at <= len(m)
}

// isRTCPPacket knows a compound packet of RTCP (RFC 3550, 6.1), whose lengths end where the datagram does, or what SRTCP leaves
// clear of one (RFC 3711, 3.4).
func isRTCPPacket(m []byte) bool {
	if len(m) < 8 || m[0]>>6 != 2 || m[1] < 192 || m[1] > 223 {
		return false
	}
	return 4*be16(m[2:])+4 <= len(m)
}

// isRTCP wants RTCP without RTP: compound packets, the first of them a report, all whole. The lengths and types of one are 29 bits.
// Encrypted ones need the same source in three of a direction.
func isRTCP(v *view) bool {
	if v.all(1, isRTCPCompound) {
		return true
	}
	n := 0
	for _, h := range v.sides() {
		var source uint32
		for m := range h.each {
			if !isRTCPPacket(m) || m[1] != 200 && m[1] != 201 && m[1] != 205 && m[1] != 206 {
				return false
			}
			if be32(m[4:]) == source {
				n++
			}
			source = be32(m[4:])
		}
	}
	return n >= 2
}

func isRTCPCompound(m []byte) bool {
	packets := 0
	for len(m) > 0 {
		if len(m) < 8 || m[0]>>6 != 2 || m[1] < 200 || m[1] > 207 || packets == 0 && m[1] > 201 {
			return false
		}
		size := 4*be16(m[2:]) + 4
		if size > len(m) || size < 8 {
			return false
		}
		m = m[size:]
		packets++
	}
	return packets > 0
}

// isZoom wants a greeting whose identity of 17 bytes the answer repeats, or Zoom's encapsulation around RTP whose source stays
// (Michel et al., IMC 2022): type 5 and a sequence number for its servers, then the kind of media.
func isZoom(v *view) bool {
	c, s := v.client.first(), v.server.first()
	if len(c) >= 32 && len(s) >= 32 && c[0] == 1 && s[0] == 2 && c[1]|s[1] == 0 && string(c[3:20]) == string(s[3:20]) {
		return true
	}
	known := 0
	if v.looked() < 4 {
		return false
	}
	for _, h := range v.sides() {
		sources := rtpSources{}
		for m := range h.each {
			if at := zoomMedia(m); at > 0 && sources.follows(m[at:]) {
				known++
			}
		}
	}
	return known >= 4
}

// zoomMedia is where RTP starts in a datagram of Zoom, or 0.
func zoomMedia(m []byte) int {
	at := 0
	if len(m) > 8 && m[0] == 5 {
		at = 8
	}
	if len(m) < at+40 {
		return 0
	}
	switch m[at] {
	case 13:
		return at + 27
	case 15:
		return at + 19
	case 16:
		return at + 24
	}
	return 0
}

// isDiscord wants what a voice call of Discord starts with, the discovery of one's own address (discord.com/developers, voice
// connections: kind, length 70, the source, text, zeros), or its keepalives of eight bytes that count up: 2^-44. Beside them is RTP
// and RTCP only.
func isDiscord(v *view) bool {
	found := isDiscovery(v.client.first()) || isDiscovery(v.server.first()) || v.count(isDiscordKeepalive).known > 0
	return found && v.all(1, func(m []byte) bool {
		return isDiscordKeepalive(m) || isDiscovery(m) || isRTPHeader(m) || isRTCPPacket(m)
	})
}

func isDiscovery(m []byte) bool {
	return len(m) == 74 && (be32(m) == 0x00010046 || be32(m) == 0x00020046) && allZero(m[24:72])
}

func isDiscordKeepalive(m []byte) bool {
	return len(m) == 8 && be32(m) == 0x1337cafe && le32(m[4:]) < 1<<20
}
