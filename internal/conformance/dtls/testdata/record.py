#!/usr/bin/env python3
"""Records genuine DTLS of OpenSSL and GnuTLS into testdata/: usage record.py OUTDIR. Needs openssl, gnutls-cli, gnutls-serv.

A line is C or S and one datagram in hex, in order.
"""
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

OUT = sys.argv[1]
TMP = tempfile.mkdtemp()


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


class Tap(threading.Thread):
    def __init__(self, target):
        super().__init__(daemon=True)
        self.a, self.b, self.target, self.lines, self.stop = udp(), udp(), ("127.0.0.1", target), [], False
        self.port = self.a.getsockname()[1]
        self.start()

    def run(self):
        peer = None
        while not self.stop:
            for s in select.select([self.a, self.b], [], [], 0.1)[0]:
                d, addr = s.recvfrom(65536)
                if s is self.a:
                    peer = addr
                    self.lines.append(("C", d))
                    self.b.sendto(d, self.target)
                elif peer:
                    self.lines.append(("S", d))
                    self.a.sendto(d, peer)

    def save(self, name):
        self.stop = True
        self.join(1)
        with open(os.path.join(OUT, name + ".txt"), "w") as f:
            for side, d in self.lines[:60]:
                f.write(f"{side} {d.hex()}\n")


subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-subj", "/CN=localhost", "-days", "3650"],
               check=True, cwd=TMP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(name, server, client):
    probe = udp()
    port = probe.getsockname()[1]
    probe.close()
    srv = subprocess.Popen(server(port), cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    tap = Tap(port)
    cl = subprocess.Popen(client(tap.port), cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.6)
    for _ in range(3):
        try:
            cl.stdin.write(b"hello over datagrams " * 20 + b"\n")
            cl.stdin.flush()
        except OSError:
            pass
        time.sleep(0.15)
    cl.terminate()
    cl.wait()
    srv.terminate()
    srv.wait()
    tap.save(name)


def openssl(name, server=(), client=()):
    run("openssl_" + name, lambda p: ["openssl", "s_server", "-accept", f"127.0.0.1:{p}", "-key", "k", "-cert", "c", *server],
        lambda p: ["openssl", "s_client", "-connect", f"127.0.0.1:{p}", *client])


def gnutls(name, prio):
    run("gnutls_" + name, lambda p: ["gnutls-serv", "--udp", "--echo", "--port", str(p), "--x509keyfile", "k", "--x509certfile", "c", "--priority", prio],
        lambda p: ["gnutls-cli", "--udp", "--insecure", "--priority", prio, "-p", str(p), "127.0.0.1"])


old = ["-cipher", "ALL:@SECLEVEL=0"]
openssl("dtls10", ["-dtls1", *old], ["-dtls1", *old])
openssl("dtls12", ["-dtls1_2"], ["-dtls1_2"])
openssl("dtls12_cookie_mtu", ["-dtls1_2", "-listen", "-mtu", "300"], ["-dtls1_2", "-mtu", "300"])
openssl("dtls12_cbc", ["-dtls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"], ["-dtls1_2"])
openssl("dtls12_psk", ["-dtls1_2", "-psk", "1a2b3c4d", "-cipher", "PSK-AES128-CBC-SHA256"], ["-dtls1_2", "-psk", "1a2b3c4d", "-cipher", "PSK-AES128-CBC-SHA256"])
openssl("dtls12_alert", ["-dtls1_2", "-cipher", "AES128-SHA256"], ["-dtls1_2", "-cipher", "AES256-SHA256"])
gnutls("dtls10", "NORMAL:-VERS-ALL:+VERS-DTLS1.0")
gnutls("dtls12", "NORMAL:-VERS-ALL:+VERS-DTLS1.2")
