#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A connection from outside over two paths, of which the first is cut in the middle: of what the server sends,
and of what it is sent. PATHS=rates (make check-paths): of 100 MB."""
import hashlib
import json
import os
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import paths

MB = 1 << 20
LONG = os.environ.get("PATHS") == "rates"

# To each connection the digest of what has come by it.
SINK = """
import hashlib, socket
s = socket.create_server(("0.0.0.0", 8000))
while True:
    c, _ = s.accept()
    digest = hashlib.sha256()
    while block := c.recv(1 << 16):
        digest.update(block)
    c.sendall(digest.hexdigest().encode())
    c.close()
"""
SEND = """
import socket, sys
s = socket.create_connection((sys.argv[1], 8000))
s.sendfile(open(sys.argv[2], "rb"))
s.shutdown(socket.SHUT_WR)
print(s.recv(100).decode(), "done")
"""


def setup(lab):
    L.sysctl("client", net__ipv4__tcp_fastopen=3)
    # the converter connects, so it is told of the second network
    lab.endpoint(f"{paths.CLIENT2} dev c1 signal")


class Cut(L.TestCase):
    def page(self, size):
        page = self.lab.file("page", os.urandom(MB) * size)
        return page, hashlib.sha256(page.read_bytes()).hexdigest()

    def serve(self, argv, converter, *options):
        env = self.lab.config(converter=converter + "\n[incoming]\nrule = accept")
        server = self.lab.start("client", ["env", f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                           "/usr/bin/python3", *argv])
        server.wait_for_listeners(8000)
        self.lab.converter("--mptcp", "--incoming", f"8000={L.CLIENT}:8000", *options, listen=("0.0.0.0",))
        return env["LAB_LOG"]

    def carried(self, way):
        shown = L.command(L.inside("client", ["ip", "-s", "-j", "link", "show", "c1"]))
        return json.loads(shown)[0]["stats64"][way]["bytes"]

    def check(self, argv, way, size, digest):
        """argv: what the remote host runs, and says the digest."""
        before, started = self.carried(way), time.monotonic()
        remote = self.lab.start("server", argv)
        L.wait_for("both paths to carry", lambda: self.carried(way) - before > size * MB // 20, 60)
        self.lab.cut(0)
        try:
            L.wait_for("the end", lambda: "done" in remote.text(), 100)
        finally:
            self.lab.mend(0)
        self.note(f"{size} MB in {time.monotonic() - started:.1f} s, "
                  f"{self.carried(way) - before >> 20} MB over the second path")
        self.assertIn(digest, remote.text())

    def download(self, size, how, converter, *options):
        page, digest = self.page(size)
        log = self.serve(["-m", "http.server", "-d", page.parent, "8000"], converter, *options)
        fetch = f"curl -sS -m 100 http://{L.ROUTER}:8000/{page.name} | sha256sum; echo done"
        self.check(["sh", "-c", fetch], "tx", size, digest)
        self.says(log, how)

    def says(self, log, how):
        with open(log) as lines:
            text = lines.read()
        self.assertIn(f"message {how} the SYN", text)
        self.assertIn("connected, MPTCP", text)

    def test_message_behind_the_syn(self):
        self.download(100 if LONG else 8, "behind", "", "--fastopen", "cookie")

    def test_message_in_the_syn(self):
        self.download(20 if LONG else 4, "in", "fast-open = no-cookie")

    def test_towards_the_server(self):
        size = 100 if LONG else 8
        page, digest = self.page(size)
        log = self.serve(["-c", SINK], "", "--fastopen", "cookie")
        self.check(["/usr/bin/python3", "-c", SEND, L.ROUTER, page], "rx", size, digest)
        self.says(log, "behind")


if __name__ == "__main__":
    L.main(setup, kind=paths.TwoPaths)
