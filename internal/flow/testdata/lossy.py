"""Makes lossy.pcap: real TCP connections of this kernel over a link that loses, repeats, delays and reorders packets.

Two network namespaces, a TUN device in each, and this program as the cable between them; it records what comes out at
either end. Connection i sends stream(i, side); flow's test computes the same. Needs root on Linux.
"""
import ctypes
import fcntl
import hashlib
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

CONNECTIONS, LENGTH = 4, 12000
rnd = random.Random(1)


def stream(i, side):
    """SHA-256 of "i side n" for n = 0, 1, ...: nothing in it repeats, so that no misplaced byte goes unseen."""
    return b"".join(hashlib.sha256(b"%d %s %d" % (i, side, n)).digest() for n in range(LENGTH // 32 + 1))[:LENGTH]


def enter(ns):
    with open("/run/netns/" + ns) as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")


def tun(ns, address):
    subprocess.run(["ip", "netns", "add", ns], check=True)
    enter(ns)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
    for args in (["addr", "add", address, "dev", "tun0"], ["link", "set", "tun0", "mtu", "600", "up"]):
        subprocess.run(["ip", *args], check=True)
    return fd


def cable(fds, stop):
    """Carries packets between the two devices, badly, and writes those that arrive."""
    due, n = [], 0
    with open("lossy.pcap", "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        while not stop.is_set():
            wait = max(0, due[0][0] - time.time()) if due else 0.05
            for fd in select.select(fds, [], [], wait)[0]:
                packet = os.read(fd, 2000)
                if packet[0] >> 4 != 4 or packet[9] != 6 or rnd.random() < 0.10:
                    continue
                for _ in range(2 if rnd.random() < 0.05 else 1):
                    late = rnd.choice((0.002, 0.002, 0.002, 0.012))
                    heapq.heappush(due, (time.time() + late, n, fds[1 - fds.index(fd)], packet))
                    n += 1
            while due and due[0][0] <= time.time():
                _, _, to, packet = heapq.heappop(due)
                now = time.time_ns() // 1000
                out.write(struct.pack("<IIII", now // 10**6, now % 10**6, len(packet), len(packet)) + packet)
                os.write(to, packet)


def talk(s, i, mine, theirs):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    out, got = stream(i, mine), b""

    def send():
        for at in range(0, LENGTH, 700):
            s.sendall(out[at : at + 700])
        s.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=send)
    t.start()
    while b := s.recv(4096):
        got += b
    t.join()
    assert got == stream(i, theirs)
    s.close()


def main():
    a, b = "flowa%d" % os.getpid(), "flowb%d" % os.getpid()
    try:
        fds = [tun(a, "192.0.2.1/24"), tun(b, "192.0.2.2/24")]
        listener = socket.create_server(("192.0.2.2", 7000))
        stop = threading.Event()
        link = threading.Thread(target=cable, args=(fds, stop))
        link.start()
        enter(a)
        for i in range(CONNECTIONS):
            client = socket.socket()
            client.bind(("192.0.2.1", 41000 + i))
            client.connect(("192.0.2.2", 7000))
            server = listener.accept()[0]
            t = threading.Thread(target=talk, args=(server, i, b"server", b"client"))
            t.start()
            talk(client, i, b"client", b"server")
            t.join()
        time.sleep(1)
        stop.set()
        link.join()
    finally:
        for ns in (a, b):
            subprocess.run(["ip", "netns", "del", ns])


main()
