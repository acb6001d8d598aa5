package protocol

// mqtt is MQTT 3.1 to 5 (OASIS): a CONNECT that names it, answered by CONNACK, or, joined late, packets that follow one another
// exactly, among them a ping and its answer or a publication with a name of text. CONNECT: 2^-64; joined late 2^-32.
func mqtt(v *view) bool {
	client, ok := mqttPackets(v.client)
	server, fits := mqttPackets(v.server)
	if !ok || !fits || client.n == 0 {
		return false
	}
	switch {
	case client.connect:
		return server.n == 0 || v.server.data[0] == 0x20 || v.server.data[0] == 0xf0
	case v.c.StartSeen:
		return false
	}
	return client.pings+server.pings >= 2 || client.topics+server.topics >= 2
}

// mqttSeen is what one direction's packets are.
type mqttSeen struct {
	n, pings, topics int
	connect          bool
}

func mqttPackets(s side) (seen mqttSeen, ok bool) {
	for r := read(s.data); r.left() > 0 && seen.n < 64; seen.n++ {
		kind, length := r.u8(), mqttLength(&r)
		if r.short {
			return seen, s.open
		}
		if length < 0 {
			return seen, false
		}
		b := read(r.b[:min(length, r.left())])
		switch kind >> 4 {
		case 1:
			if seen.n > 0 || kind != 0x10 || !mqttNamed(&b) {
				return seen, false
			}
			seen.connect = true
		case 3:
			topic := b.take(int(b.u16()))
			if kind&6 == 6 || len(topic) > 0 && !printable(topic) || b.short && length <= r.left() {
				return seen, false
			}
			if len(topic) >= 4 {
				seen.topics++
			}
		case 2, 4, 5, 7, 9, 11, 14, 15:
			if kind&0xf != 0 || kind>>4 < 8 && length < 2 {
				return seen, false
			}
		case 6, 8, 10:
			if kind&0xf != 2 || length < 2 {
				return seen, false
			}
		case 12, 13:
			if kind&0xf != 0 || length != 0 {
				return seen, false
			}
			seen.pings++
		default:
			return seen, false
		}
		r.skip(length)
		if r.short {
			seen.n++
			return seen, s.open
		}
	}
	return seen, true
}

// mqttKind says whether a packet may begin with x: its kind, and the flags that this has.
func mqttKind(x byte) bool {
	switch flags := x & 0xf; x >> 4 {
	case 0:
		return false
	case 3:
		return flags&6 != 6
	case 6, 8, 10:
		return flags == 2
	default:
		return flags == 0
	}
}

// mqttNamed reads CONNECT's protocol name, version, flags, and the client's name of text.
func mqttNamed(b *cursor) bool {
	name := b.take(int(b.u16()))
	version := b.u8()
	known := string(name) == "MQTT" && version >= 4 && version <= 5 || string(name) == "MQIsdp" && version == 3
	flags := b.u8()
	if !known || flags&1 != 0 || flags&0x18 == 0x18 || flags&4 == 0 && flags&0x38 != 0 {
		return false
	}
	b.skip(2)
	if version == 5 {
		b.skip(mqttLength(b))
	}
	id := b.take(int(b.u16()))
	return printable(id) && !b.short
}

// mqttLength reads the length, of at most four bytes of seven bits; -1 where it is longer.
func mqttLength(r *cursor) int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		x := r.u8()
		n |= int(x&0x7f) << shift
		if x < 0x80 {
			return n
		}
	}
	return -1
}
