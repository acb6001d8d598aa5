#!/usr/bin/env python3
"""Records genuine TLS of OpenSSL, GnuTLS and NSS into testdata/genuine/: usage record.py OUTDIR. Needs openssl, gnutls-cli, gnutls-serv; tstclnt, selfserv,
certutil and pk12util of NSS.

A proxy on loopback stands between client and server and writes what each side sent, in order: C or S and the bytes of one read in hex.
"""
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

OUT = sys.argv[1]
TMP = tempfile.mkdtemp()
LIMIT = 16384


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    p = s.getsockname()[1]
    s.close()
    return p


def wait_port(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)


class Tap:
    """One recorded connection from a local port to the server's."""

    def __init__(self, target):
        self.lines, self.lock, self.target = [], threading.Lock(), target
        self.l = socket.create_server(("127.0.0.1", 0))
        self.port = self.l.getsockname()[1]
        self.t = threading.Thread(target=self.run, daemon=True)
        self.t.start()

    def run(self):
        c, _ = self.l.accept()
        s = socket.create_connection(("127.0.0.1", self.target))
        a = threading.Thread(target=self.pump, args=(c, s, "C"), daemon=True)
        b = threading.Thread(target=self.pump, args=(s, c, "S"), daemon=True)
        a.start(), b.start(), a.join(), b.join()

    def pump(self, src, dst, side):
        try:
            while data := src.recv(65536):
                with self.lock:
                    self.lines.append((side, data))
                dst.sendall(data)
        except OSError:
            pass
        try:
            dst.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def save(self, name):
        self.t.join(5)
        with open(os.path.join(OUT, name + ".txt"), "w") as f:
            for side, data in self.lines[:200]:
                f.write(f"{side} {data[:LIMIT].hex()}\n")


def sh(*cmd):
    subprocess.run(cmd, check=True, cwd=TMP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "rsa.key", "-out", "rsa.pem", "-subj", "/CN=localhost", "-days", "3650")
sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ec.key", "-out", "ec.pem", "-subj", "/CN=localhost", "-days", "3650")
sh("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ed.key", "-out", "ed.pem", "-subj", "/CN=localhost", "-days", "3650")


def openssl(name, server=(), client=(), key="rsa", talk=b"hello server\n" * 20, twice=False):
    port = free_port()
    srv = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", key + ".key", "-cert", key + ".pem", *([] if "-early_data" in server else ["-rev"]), *server],
                           cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port)
    for n in range(2 if twice else 1):
        tap = Tap(port)
        args = [a.replace("SESSION", "sess.pem") for a in client]
        if twice:
            args += ["-sess_out", "sess.pem"] if n == 0 else ["-sess_in", "sess.pem"]
            if n == 0 and "-early_data" in args:
                i = args.index("-early_data")
                args = args[:i] + args[i + 2:]
        cl = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{tap.port}", "-servername", "localhost", *args],
                              cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.3)
            cl.stdin.write(talk)
            cl.stdin.flush()
            time.sleep(0.3)
            cl.stdin.close()
        except OSError:
            pass
        time.sleep(0.2)
        cl.terminate()
        cl.wait()
        if n == (1 if twice else 0):
            tap.save("openssl_" + name)
    srv.terminate()
    srv.wait()


def gnutls(name, prio):
    port = free_port()
    srv = subprocess.Popen(["gnutls-serv", "--echo", "--port", str(port), "--x509keyfile", "rsa.key", "--x509certfile", "rsa.pem", "--priority", prio],
                           cwd=TMP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port)
    tap = Tap(port)
    cl = subprocess.Popen(["gnutls-cli", "--insecure", "--priority", prio, "-p", str(tap.port), "127.0.0.1"], cwd=TMP,
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.4)
        cl.stdin.write(b"hello gnutls server\n" * 20)
        cl.stdin.flush()
        time.sleep(0.3)
        cl.stdin.close()
    except OSError:
        pass
    time.sleep(0.2)
    cl.terminate()
    cl.wait()
    tap.save("gnutls_" + name)
    srv.terminate()
    srv.wait()


def nss_database():
    """A key database with one certificate of one's own for both sides."""
    os.mkdir(os.path.join(TMP, "nss"))
    sh("certutil", "-N", "-d", "sql:nss", "--empty-password")
    sh("certutil", "-A", "-d", "sql:nss", "-n", "both", "-t", "CT,C,C", "-i", "rsa.pem")
    sh("openssl", "pkcs12", "-export", "-inkey", "rsa.key", "-in", "rsa.pem", "-name", "both", "-out", "both.p12", "-passout", "pass:x")
    sh("pk12util", "-i", "both.p12", "-d", "sql:nss", "-W", "x")


def nss(name, server, script, tickets=True):
    """TLS 1.3 of NSS's tstclnt, which packs its flight with a certificate into one record. Script: who says what, C or S."""
    port = free_port()
    own = server[0] == "selfserv"
    args = ["-p", str(port), "-d", "sql:nss", "-n", "both", "-V", "tls1.3:tls1.3", "-r", "-r"] if own else \
        ["-accept", f"127.0.0.1:{port}", "-key", "rsa.key", "-cert", "rsa.pem", "-CAfile", "rsa.pem", "-Verify", "1", "-tls1_3", "-quiet"]
    srv = subprocess.Popen([*server, *args], cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    tap = Tap(port)
    cl = subprocess.Popen(["tstclnt", "-4", "-h", "localhost", "-p", str(tap.port), "-d", "sql:nss", "-n", "both", "-V", "tls1.3:tls1.3", "-o", "-f",
                           *(["-u"] if tickets else [])], cwd=TMP, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.4)
    for side, line in script:
        to = cl if side == "C" else srv
        to.stdin.write(line)
        to.stdin.flush()
        time.sleep(0.2)
    cl.terminate()
    cl.wait()
    srv.terminate()
    srv.wait()
    tap.save("nss_" + name)


def starttls(name, script):
    """A server that plays the cleartext part and then OpenSSL (Python's ssl); openssl s_client -starttls is the client."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(os.path.join(TMP, "rsa.pem"), os.path.join(TMP, "rsa.key"))
    l = socket.create_server(("127.0.0.1", 0))

    def serve():
        c, _ = l.accept()
        for step in script:
            if isinstance(step, bytes):
                c.sendall(step)
            else:
                got = b""
                while not step(got):
                    d = c.recv(4096)
                    if not d:
                        return
                    got += d
        try:
            t = ctx.wrap_socket(c, server_side=True)
            t.sendall(b"welcome " * 20)
            t.recv(100)
            t.close()
        except (OSError, ssl.SSLError):
            pass

    threading.Thread(target=serve, daemon=True).start()
    tap = Tap(l.getsockname()[1])
    cl = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{tap.port}", "-starttls", name, "-name", "localhost"], cwd=TMP,
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        cl.stdin.write(b"hello behind starttls\n" * 5)
        cl.stdin.flush()
        time.sleep(0.2)
        cl.stdin.close()
    except OSError:
        pass
    time.sleep(0.2)
    cl.terminate()
    cl.wait()
    tap.save("starttls_" + name)


old = ["-cipher", "ALL:@SECLEVEL=0"]
openssl("tls10", ["-tls1", *old], ["-tls1", *old])
openssl("tls11", ["-tls1_1", *old], ["-tls1_1", *old])
openssl("tls12", [], ["-tls1_2"])
openssl("tls13", [], ["-tls1_3"])
openssl("tls13_ed25519", [], ["-tls1_3"], key="ed")
openssl("tls12_ecdsa", [], ["-tls1_2"], key="ec")
openssl("tls12_cbc_etm", ["-cipher", "ECDHE-RSA-AES128-SHA256"], ["-tls1_2"])
openssl("tls12_cbc_mte", ["-cipher", "AES256-SHA256"], ["-tls1_2", "-legacy_server_connect", "-no_etm"])
openssl("tls12_dhe", ["-cipher", "DHE-RSA-AES256-GCM-SHA384"], ["-tls1_2"])
openssl("tls12_ccm8", ["-cipher", "AES128-CCM8:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-CCM8:@SECLEVEL=0"])
openssl("tls12_null", ["-cipher", "NULL-SHA256:@SECLEVEL=0"], ["-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"])
openssl("tls12_anon", ["-cipher", "ADH-AES128-SHA256:@SECLEVEL=0"], ["-tls1_2", "-cipher", "ADH-AES128-SHA256:@SECLEVEL=0"])
openssl("tls12_psk", ["-psk", "1a2b3c4d5e6f", "-cipher", "PSK-AES128-CBC-SHA256", "-nocert"], ["-tls1_2", "-psk", "1a2b3c4d5e6f", "-cipher", "PSK-AES128-CBC-SHA256"])
openssl("tls13_psk", ["-psk", "1a2b3c4d5e6f" * 4, "-nocert"], ["-tls1_3", "-psk", "1a2b3c4d5e6f" * 4])
openssl("tls12_resumed_ticket", [], ["-tls1_2"], twice=True)
openssl("tls12_resumed_id", ["-no_ticket"], ["-tls1_2", "-no_ticket"], twice=True)
openssl("tls13_resumed", [], ["-tls1_3"], twice=True)
with open(os.path.join(TMP, "early.txt"), "wb") as f:
    f.write(b"early data " * 30)
openssl("tls13_early_data", ["-early_data"], ["-tls1_3", "-early_data", "early.txt"], twice=True)
openssl("tls13_early_data_refused", [], ["-tls1_3", "-early_data", "early.txt"], twice=True)
openssl("tls13_retry", ["-groups", "P-384"], ["-tls1_3", "-groups", "X25519:P-384"])
openssl("tls12_renegotiated", [], ["-tls1_2"], talk=b"R\n")
openssl("tls13_key_update", [], ["-tls1_3"], talk=b"K\n")
openssl("tls12_client_cert", ["-verify", "1"], ["-tls1_2", "-key", "ec.key", "-cert", "ec.pem"])
openssl("tls13_client_cert", ["-verify", "1"], ["-tls1_3", "-key", "ec.key", "-cert", "ec.pem"])
openssl("tls13_client_cert_rsa", ["-verify", "1"], ["-tls1_3", "-key", "rsa.key", "-cert", "rsa.pem"])
openssl("tls13_no_client_cert", ["-verify", "1"], ["-tls1_3"])
openssl("tls13_padded", ["-record_padding", "512"], ["-tls1_3", "-record_padding", "512"])
openssl("tls12_maxfrag", [], ["-tls1_2", "-maxfraglen", "512"])
openssl("alert_no_cipher", ["-cipher", "AES128-SHA256"], ["-tls1_2", "-cipher", "AES256-SHA256"])
openssl("alert_version", ["-tls1_2"], ["-tls1_3"])
openssl("alert_verify_12", [], ["-tls1_2", "-verify_return_error", "-CAfile", "ec.pem"])
openssl("alert_verify_13", [], ["-tls1_3", "-verify_return_error", "-CAfile", "ec.pem"])
openssl("tls12_status", [], ["-tls1_2", "-status"])
openssl("tls13_npn_less_alpn", ["-alpn", "h2"], ["-tls1_3", "-alpn", "h2,http/1.1"])
openssl("tls12_npn", ["-nextprotoneg", "http/1.1"], ["-tls1_2", "-nextprotoneg", "http/1.1"])

gnutls("tls10", "NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT")
gnutls("tls11", "NORMAL:-VERS-ALL:+VERS-TLS1.1")
gnutls("tls12", "NORMAL:-VERS-ALL:+VERS-TLS1.2")
gnutls("tls12_cbc", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC")
gnutls("tls12_rsa_kx", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA")
gnutls("tls13", "NORMAL:-VERS-ALL:+VERS-TLS1.3")
gnutls("tls13_no_compat", "NORMAL:-VERS-ALL:+VERS-TLS1.3:%DISABLE_TLS13_COMPAT_MODE")
gnutls("arcfour", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+ARCFOUR-128:-KX-ALL:+RSA")


def has(word):
    return lambda got: word in got


starttls("smtp", [b"220 localhost ESMTP\r\n", has(b"\r\n"), b"250-localhost\r\n250 STARTTLS\r\n", has(b"STARTTLS\r\n"), b"220 go ahead\r\n"])
starttls("pop3", [b"+OK ready\r\n", has(b"STLS\r\n"), b"+OK begin\r\n"])
starttls("imap", [b"* OK ready\r\n", has(b"CAPABILITY\r\n"), b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n", has(b"STARTTLS\r\n"), b". OK begin\r\n"])
starttls("ftp", [b"220 ready\r\n", has(b"AUTH TLS\r\n"), b"234 proceed\r\n"])
starttls("nntp", [b"200 ready\r\n", has(b"CAPABILITIES\r\n"), b"101 list:\r\nSTARTTLS\r\n.\r\n", has(b"STARTTLS\r\n"), b"382 continue\r\n"])
starttls("sieve", [b'"IMPLEMENTATION" "test"\r\n"STARTTLS"\r\nOK\r\n', has(b"STARTTLS\r\n"), b'OK "begin"\r\n'])
starttls("lmtp", [b"220 localhost LMTP\r\n", has(b"\r\n"), b"250-localhost\r\n250 STARTTLS\r\n", has(b"STARTTLS\r\n"), b"220 go ahead\r\n"])
starttls("xmpp", [has(b">"), b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' "
                 b"from='localhost' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
                 has(b"starttls"), b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"])
starttls("postgres", [lambda got: len(got) >= 8, b"S"])
starttls("mysql", [bytes([0x4a, 0, 0, 0, 10]) + b"8.0.30\0" + bytes([1, 0, 0, 0]) + b"abcdefgh\0" + b"\xff\xff\xff\x02\x00\xff\xdf\x15" + bytes(10)
                   + b"ijklmnopqrst\0" + b"caching_sha2_password\0", lambda got: len(got) >= 36])
starttls("ldap", [lambda got: len(got) >= 31, bytes.fromhex("300c02010178070a010004000400")])
starttls("irc", [has(b"STARTTLS\r\n"), b":localhost 670 * :begin\r\n"])

nss_database()
get = [("C", b"GET / HTTP/1.0\r\n\r\n")]
lines = [("C", b"helo me\r\n"), ("S", b"250 ok\r\n"), ("C", b"quit\r\n"), ("S", b"221 bye\r\n")]
nss("tls13_packed", ["selfserv"], get)
nss("tls13_packed_tickets", ["selfserv", "-u"], get)
nss("tls13_packed_lines", ["openssl", "s_server", "-num_tickets", "0"], lines)
nss("tls13_packed_greeting", ["openssl", "s_server", "-num_tickets", "0"], [("S", b"220 ok\r\n"), *lines])
nss("tls13_packed_greeting_tickets", ["openssl", "s_server"], [("S", b"220 ok\r\n"), *lines])
