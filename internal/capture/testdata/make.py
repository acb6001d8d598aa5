#!/usr/bin/env python3
"""Makes the fixtures of this folder, and with tshark (4.0 was used) and editcap what they hold: the .tsv beside each.

Each .tsv has a line a packet: time, captured length, length, MD5 of the data, direction (epb_flags), interface name.
"""
import os
import struct
import subprocess

os.chdir(os.path.dirname(os.path.abspath(__file__)))
UUID = bytes(range(0xA0, 0xB0))


def ipv4_udp(n, size):
    payload = bytes((n * 7 + i) & 0xFF for i in range(size))
    udp = struct.pack(">HHHH", 40000 + n, 53, 8 + size, 0) + payload
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), n, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2") + udp


def ether(n, size):
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + ipv4_udp(n, size)


def pcap(name, e, magic, units, link=1, version=(2, 4), fcs=0):
    with open(name, "wb") as f:
        f.write(struct.pack(e + "IHHiIII", magic, *version, 0, 0, 65535, link | fcs))
        for n in range(5):
            data = ether(n, 20 * n)
            cut = data[: len(data) - n]  # some are cut
            sizes = (len(cut), len(data)) if version >= (2, 3) else (len(data), len(cut))
            f.write(struct.pack(e + "IIII", 1700000000 + n, 123456 * n * units, *sizes) + cut)


def pad(b):
    return b + bytes(-len(b) % 4)


def options(e, opts):
    return b"".join(struct.pack(e + "HH", c, len(v)) + pad(v) for c, v in opts) + bytes(4) if opts else b""


def block(e, kind, body):
    body = pad(body)
    n = len(body) + 12
    return struct.pack(e + "II", kind, n) + body + struct.pack(e + "I", n)


def shb(e):
    return block(e, 0x0A0D0D0A, struct.pack(e + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options(e, [(4, b"fixture maker")]))


def idb(e, link, snap, opts):
    return block(e, 1, struct.pack(e + "HHI", link, 0, snap) + options(e, opts))


def epb(e, iface, ticks, data, length, opts=()):
    return block(e, 6, struct.pack(e + "IIIII", iface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length) + pad(data) + options(e, opts))


def flags(e, direction):
    return (2, struct.pack(e + "I", direction | 1 << 2))


def section(e):
    """One section with every kind of block and resolution."""
    t = 1700000000
    out = shb(e)
    out += idb(e, 1, 65535, [(2, b"eth0")])
    out += idb(e, 101, 0, [(2, b"tun0"), (9, b"\x09")])  # nanoseconds
    out += idb(e, 0, 0, [(2, b"lo0"), (9, b"\x03"), (14, struct.pack(e + "q", 1600000000))])  # milliseconds from an offset
    out += idb(e, 1, 40, [(2, b"bin"), (9, b"\x94")])  # 2^-20 seconds
    out += idb(e, 1, 0, [(2, b"fine"), (9, b"\x0a")])  # 10^-10 seconds
    out += block(e, 4, struct.pack(e + "HH4s", 1, 10, b"\x0a\0\0\1") + pad(b"host\0\0") + bytes(4))  # names
    out += block(e, 10, struct.pack(e + "II", 0x544C534B, 4) + b"none")  # secrets
    out += epb(e, 0, t * 10**6 + 654321, ether(1, 33), len(ether(1, 33)), [(1, b"comment"), flags(e, 1)])
    out += epb(e, 1, t * 10**9 + 987654321, ipv4_udp(2, 10), 38, [flags(e, 2)])
    out += epb(e, 2, 100000000 * 1000 + 5, struct.pack(e + "I", 2) + ipv4_udp(3, 7), 39)
    out += epb(e, 3, (t << 20) + 12345, ether(4, 100)[:40], len(ether(4, 100)), [flags(e, 0)])
    out += epb(e, 4, t * 10**10 + 5555555555, ether(5, 1), len(ether(5, 1)), [(0x7777, b"unknown"), flags(e, 2)])
    ticks = t * 10**6 + 777
    out += block(e, 2, struct.pack(e + "HHIIII", 0, 3, ticks >> 32, ticks & 0xFFFFFFFF, 43, 43) + pad(ether(6, 1)) + options(e, [flags(e, 1)]))
    out += block(e, 5, struct.pack(e + "III", 0, 0, 0) + options(e, [(4, struct.pack(e + "Q", 9)), (5, struct.pack(e + "Q", 7))]))
    out += block(e, 0x4321, b"unknown block")
    return out


def simple(e):
    out = shb(e) + idb(e, 1, 60, [])
    for n in range(3):
        data = ether(n, 20 * n)
        out += block(e, 3, struct.pack(e + "I", len(data)) + data[:60])
    return out


def processes(e):
    """Apple's process blocks, and Wireshark's."""
    t = 1700000000 * 10**6
    name = lambda n: (2, n)
    out = shb(e) + idb(e, 1, 0, [(2, b"en0")])
    out += block(e, 0x80000001, struct.pack(e + "I", 501) + options(e, [name(b"curl\0"), (4, UUID)]))
    out += block(e, 0x80000001, struct.pack(e + "I", 88) + options(e, [name(b"nsurlsessiond")]))
    out += block(e, 0x80000002, struct.pack(e + "IIII", 1, 1700000000, 5, 4) + b"evnt")
    index = lambda code, n: (code, struct.pack(e + "I", n))
    data = ether(1, 1)
    out += epb(e, 0, t + 1, data, len(data), [index(0x8001, 0), flags(e, 2)])
    out += epb(e, 0, t + 2, data, len(data), [index(0x8001, 1), index(0x8003, 0), flags(e, 2)])
    out += epb(e, 0, t + 3, data, len(data), [index(0x8003, 0), index(0x8001, 1), flags(e, 1)])
    out += epb(e, 0, t + 4, data, len(data), [index(0x8001, 7)])
    entry = struct.pack("<I", 1234) + options("<", [name(b"curl"), (3, b"/usr/bin/curl"), (5, struct.pack("<I", 1)), (8, UUID)])
    out += block(e, 0xBAD, struct.pack(e + "I", 32622) + struct.pack("<II", 3, len(entry)) + entry)
    out += block(e, 0xBAD, struct.pack(e + "I", 1) + b"someone else's")
    out += epb(e, 0, t + 5, data, len(data), [(8, struct.pack(e + "II", 1234, 9))])
    out += epb(e, 0, t + 6, data, len(data), [(8, struct.pack(e + "II", 77, 0))])
    return out


def pktap(flags, pid, comm, epid, ecomm, link, data, next_type=1, length=156):
    """A struct pktap_header, field by field as xnu's bsd/net/pktap.h declares it."""
    h = struct.pack("<III24sIIIIi17sBHIHHi17sxxx", length, next_type, link, b"en0", flags, 2, 14, 0, pid, comm, 17, 0, 0, 6, 0, epid, ecomm)
    assert len(h) == 108
    h += struct.pack("<IIQ16s16s", 1, 2, 3, UUID if pid >= 0 else b"", UUID[::-1])
    assert len(h) == 156
    return h[:length] + bytes(length - 156 if length > 156 else 0) + data


def pktap2(flags, pid, epid, link, data):
    """A struct pktap_v2_hdr with all variable fields."""
    tail = UUID + UUID[::-1] + b"utun3\0" + b"worker\0" + b"owner\0"
    length = 40 + len(tail)
    return struct.pack("<BBBBBBHHHHHIIIiiI", length, 40, 56, 72, 78, 85, link, 4, 0, 1, 6, 2, 0, 9, pid, epid, flags | 0x80000) + tail + data


def pktaps(name, link):
    """Inner Ethernet, null and raw; both directions; delegated; old and future lengths; dropped by the firewall; broken."""
    null = struct.pack("<I", 2)
    packets = [
        pktap(0x8002, 501, b"curl", -1, b"", 1, ether(1, 10)),
        pktap(0x8001, 501, b"curl", -1, b"", 1, ether(2, 10)),
        pktap(0x8006, 88, b"nsurlsessiond", 501, b"curl", 1, ether(3, 10)),
        pktap(2, 501, b"sixteen-bytes-xy", -1, b"", 0, null + ipv4_udp(4, 10)),
        pktap(1, -1, b"", -1, b"", 12, ipv4_udp(5, 10)),
        pktap(2, 0, b"kernel_task", -1, b"", 1, ether(6, 10), length=108),
        pktap(2, 501, b"curl", -1, b"", 1, ether(7, 10), length=168),
    ]
    if link == 149:
        packets += [
            pktap2(2, 501, -1, 0, null + ipv4_udp(8, 10)),
            pktap2(6, 88, 501, 0, null + ipv4_udp(9, 10)),
            pktap(2, 501, b"curl", -1, b"", 1, ether(1, 10), next_type=2, length=228),  # droptap
            pktap(2, 501, b"curl", -1, b"", 258, pktap(2, 501, b"curl", -1, b"", 1, ether(1, 10))),  # nested
            struct.pack("<I", 0xFFFFFFF0) + bytes(160),  # longer than the packet
            struct.pack("<I", 40) + bytes(160),  # too short
            b"\x9c\0\0\0",
        ]
    with open(name, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link))
        for n, data in enumerate(packets):
            f.write(struct.pack("<IIII", 1700000000 + n, 0, len(data), len(data) + 5) + data)


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


for e, order in (("<", "le"), (">", "be")):
    pcap(order + "_us.pcap", e, 0xA1B2C3D4, 1)
    pcap(order + "_ns.pcap", e, 0xA1B23C4D, 1000)
    write(order + "_blocks.pcapng", section(e))
    write(order + "_processes.pcapng", processes(e))
pcap("fcs.pcap", "<", 0xA1B2C3D4, 1, fcs=0x24000000)
pcap("v2_2.pcap", "<", 0xA1B2C3D4, 1, version=(2, 2))
write("simple.pcapng", simple("<"))
write("sections.pcapng", section("<") + section(">") + simple("<"))
pktaps("pktap149.pcap", 149)
pktaps("pktap258.pcap", 258)
subprocess.run(["editcap", "-F", "modpcap", "le_us.pcap", "kuznetzov.pcap"], check=True)

FIELDS = ["frame.time_epoch", "frame.cap_len", "frame.len", "frame.md5_hash", "frame.packet_flags_direction", "frame.interface_name"]
for name in sorted(os.listdir(".")):
    if name.endswith((".pcap", ".pcapng")) and not name.startswith("pktap"):
        args = ["tshark", "-n", "-o", "frame.generate_md5_hash:TRUE", "-r", name, "-T", "fields"]
        for field in FIELDS:
            args += ["-e", field]
        with open(name + ".tsv", "w") as f:
            subprocess.run(args, check=True, stdout=f, stderr=subprocess.DEVNULL)

TAP = ["pktap.pid", "pktap.cmdname", "pktap.epid", "pktap.ecmdname", "pktap.ifname", "pktap.flags", "frame.protocols", "ip.id"]
args = ["tshark", "-n", "-r", "pktap258.pcap", "-T", "fields"] + [a for field in TAP for a in ("-e", field)]
with open("pktap258.txt", "w") as f:
    subprocess.run(args, check=True, stdout=f, stderr=subprocess.DEVNULL)
