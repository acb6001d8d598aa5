package protocol

import (
	"bytes"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

var games = []entry{
	{"source_engine", conformance.UDP, midstream, []uint16{27015}, either(of("\xff\xfe")), isSourceEngine},
	{"quake", conformance.UDP, midstream, []uint16{27960, 26000}, either(of("\xff")), isQuake},
	{"steam", conformance.UDP, midstream, []uint16{27036}, either(of("\xff")), datagrams(1, isSteamDiscovery)},
	{"steam", conformance.TCP, start, []uint16{27017}, starts{server: some}, isSteamConnection},
	{"raknet", conformance.UDP, midstream | turned, []uint16{19132}, asked(some), isRakNet},
	{"minecraft", conformance.TCP, start, []uint16{25565}, asked(span(7, 0xff)), isMinecraft},
	{"teamspeak", conformance.UDP, midstream, []uint16{9987}, asked(of("T")), isTeamSpeak},
	{"netcode", conformance.UDP, midstream, []uint16{40000}, asked(of("\x00")), isNetcode},
	{"photon", conformance.UDP, midstream, []uint16{5055, 5056}, asked(some), isPhoton},
	{"mumble", conformance.UDP, midstream, []uint16{64738}, starts{of("\x00"), some}, isMumblePing},
	{"worldofwarcraft", conformance.TCP, midstream | turned, []uint16{3724}, asked(some), isWarcraft},
}

// connectionless is what queries of Quake's and its heirs' servers start with.
const connectionless = 0xffffffff

// isSourceEngine wants a query of Valve's servers (developer.valvesoftware.com, Server queries): marker, kind, and the name or number that
// belongs to it; an answer repeats the kind's counterpart. 2^-64.
func isSourceEngine(v *view) bool {
	found := false
	ok := v.all(1, func(m []byte) bool {
		if len(m) < 5 || be32(m) != connectionless && be32(m) != 0xfeffffff {
			return false
		}
		switch m[4] {
		case 'T':
			found = found || bytes.HasPrefix(m[5:], []byte("Source Engine Query\x00"))
		case 'U', 'V', 'W':
			return len(m) == 9 || len(m) == 5
		case 'A':
			found = found || len(m) == 9 && v.client.datagrams() > 0
		case 'I':
			found = found || isServerInfo(m[5:])
		case 'D', 'E', 'i', 'j', 'm', 'p', 'q', 'r', 'l', 'K':
		default:
			return false
		}
		return true
	})
	return found && ok
}

// isServerInfo knows what a server says about itself: a version, then its name, map, folder and game, each ended by a zero.
func isServerInfo(b []byte) bool {
	if len(b) < 12 || b[0] >= 64 {
		return false
	}
	rest := b[1:]
	for range 4 {
		text, after, ok := bytes.Cut(rest, []byte{0})
		if !ok || !isUTF8Text(text) {
			return false
		}
		rest = after
	}
	return true
}

// isQuake wants a query or an answer of Quake's servers: marker, then a word and text.
func isQuake(v *view) bool {
	return v.all(1, func(m []byte) bool {
		if len(m) < 8 || be32(m) != connectionless {
			return false
		}
		for _, word := range [...]string{
			"getinfo", "getstatus", "getchallenge", "getservers", "infoResponse", "statusResponse", "challengeResponse",
			"connect", "status\n", "print\n",
		} {
			if bytes.HasPrefix(m[4:], []byte(word)) {
				return true
			}
		}
		return false
	})
}

// isSteamDiscovery knows the announcements of Steam's in-home streaming: marker, magic, and the lengths of a header and a body, 2^-96.
func isSteamDiscovery(m []byte) bool {
	if len(m) < 16 || be32(m) != connectionless || be32(m[4:]) != 0x214c5fa0 {
		return false
	}
	header := le32(m[8:])
	return header <= uint32(len(m)-16) && le32(m[12+header:]) <= uint32(len(m))-16-header
}

// isSteamConnection wants the connection of Steam's client (github.com/SteamRE/SteamKit): a length and "VT01" before every message in both
// directions, and the server's request to encrypt first, to which no job belongs: 2^-200. What follows is encrypted.
func isSteamConnection(v *view) bool {
	s := v.server.data
	return len(s) >= 28 && le32(s[8:]) == 1303 && bytes.Count(s[12:28], []byte{0xff}) == 16 && isSteamStream(v)
}

var isSteamStream = streams(1, func(b []byte) int {
	switch {
	case len(b) < 8:
		return 0
	case string(b[4:8]) != "VT01" || le32(b) > 1<<24:
		return -1
	}
	return 8 + int(le32(b))
})

// rakNetMagic marks what RakNet sends before there is a connection ("offline message ID").
const rakNetMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

// isRakNet wants RakNet's magic in the first datagram where its kind has it, 2^-128, and then nothing but frames, acknowledgements and more of the
// magic.
func isRakNet(v *view) bool {
	return isRakNetOffline(v.client.first()) && v.mostly(func(m []byte) bool {
		return len(m) > 0 && m[0]&0x80 != 0 || isRakNetOffline(m)
	})
}

func isRakNetOffline(m []byte) bool {
	return len(m) >= 17 && string(m[1:17]) == rakNetMagic || len(m) >= 25 && m[0] <= 2 && string(m[9:25]) == rakNetMagic ||
		len(m) >= 33 && m[0] == 0x1c && string(m[17:33]) == rakNetMagic
}

// isMinecraft wants the handshake of Minecraft's Java edition (minecraft.wiki, Java Edition protocol): lengths of packet and host name that fit, and
// then a status or a login, 2^-40; what follows a login is encrypted.
func isMinecraft(v *view) bool {
	b := v.client.data
	if len(b) < 8 {
		return false
	}
	size, host := int(b[0]), 0
	for at := 2; at < 7 && at < len(b); at++ { // the version, a number of up to five bytes
		if b[at]&0x80 == 0 {
			host = at + 1
			break
		}
	}
	if b[1] != 0 || size < 7 || size >= len(b) || host == 0 || host+1+int(b[host])+3 != size+1 {
		return false
	}
	name := b[host+1 : host+1+int(b[host])]
	return len(name) >= 3 && isText(name) && (b[size] == 1 || b[size] == 2)
}

// isTeamSpeak wants TeamSpeak 3's first datagram: its name in the place of the authentication, packet number 101 and kind 8 (unencrypted
// INIT1), 2^-100. What follows is encrypted.
func isTeamSpeak(v *view) bool {
	m := v.client.first()
	return len(m) >= 18 && string(m[:8]) == "TS3INIT1" && be16(m[8:]) == 101 && m[12] == 0x88
}

// isNetcode wants the request that a connection of netcode.io starts with: zero, name, version, and 1,078 bytes in all.
func isNetcode(v *view) bool {
	m := v.client.first()
	return len(m) >= 1062 && bytes.HasPrefix(m, []byte("\x00NETCODE 1.0"))
}

// isPhoton wants Exit Games' Photon over UDP: header with number of commands and times, commands whose lengths fill each datagram,
// and the same challenge in both directions, 2^-60.
func isPhoton(v *view) bool {
	c, s := v.client.first(), v.server.first()
	if len(c) < 24 || len(s) >= 12 && string(c[8:12]) != string(s[8:12]) {
		return false
	}
	return v.all(2, isPhotonDatagram) || v.all(1, isPhotonDatagram) && be16(c) == 0xffff && c[12] == 2
}

func isPhotonDatagram(m []byte) bool {
	if len(m) < 24 || m[3] == 0 {
		return false
	}
	at := 12
	for range m[3] {
		if at+12 > len(m) || m[at] == 0 || m[at] > 16 {
			return false
		}
		size := be32(m[at+4:])
		if size < 12 || uint64(size) > uint64(len(m)-at) {
			return false
		}
		at += int(size)
	}
	return at == len(m)
}

// isMumblePing wants Mumble's ping: four zeros, and an answer with its version and the same eight bytes of the question.
func isMumblePing(v *view) bool {
	c, s := v.client.first(), v.server.first()
	return len(c) == 12 && be32(c) == 0 && len(s) == 24 && string(c[4:]) == string(s[4:12])
}

// isWarcraft wants the greeting that both sides send in clear; what follows is encrypted by parts.
func isWarcraft(v *view) bool {
	return len(v.client.data) > 32 && bytes.HasPrefix(v.client.data[2:], []byte("WORLD OF WARCRAFT CONNECTION - "))
}
