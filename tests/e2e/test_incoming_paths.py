#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A connection from outside over two paths, of which the first is cut in the middle."""
import hashlib
import json
import os
import time

import lab as L
import paths

MB = 1 << 20


def setup(lab):
    L.sysctl("client", net__ipv4__tcp_fastopen=3)
    # the converter connects, so it is told of the second network
    lab.endpoint(f"{paths.CLIENT2} dev c1 signal")
    lab.pages = {}
    for size in (20, 100):
        page = lab.file("page", os.urandom(MB) * size)
        lab.pages[size] = page.name, page.parent, hashlib.sha256(page.read_bytes()).hexdigest()


class Cut(L.TestCase):
    def fetch(self, size, converter, *options):
        name, folder, digest = self.lab.pages[size]
        env = self.lab.config(converter=converter + "\n[incoming]\nrule = accept")
        server = self.lab.start("client", ["env", f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                           "/usr/bin/python3", "-m", "http.server", "-d", folder, 8000])
        server.wait_for_listeners(8000)
        self.lab.converter("--mptcp", "--incoming", f"8000={L.CLIENT}:8000", *options, listen=("0.0.0.0",))
        fetch = f"curl -sS -m 100 http://{L.ROUTER}:8000/{name} | sha256sum; echo done"
        return env, self.lab.start("server", ["sh", "-c", fetch]), digest

    def sent(self, dev):
        shown = L.command(L.inside("client", ["ip", "-s", "-j", "link", "show", dev]))
        return json.loads(shown)[0]["stats64"]["tx"]["bytes"]

    def check(self, size, how, *more):
        before, started = self.sent("c1"), time.monotonic()
        env, curl, digest = self.fetch(size, *more)
        L.wait_for("both paths to carry", lambda: self.sent("c1") - before > 2 * MB, 60)
        self.lab.cut(0)
        try:
            L.wait_for("the end", lambda: "done" in curl.text(), 100)
        finally:
            self.lab.mend(0)
        self.note(f"{time.monotonic() - started:.1f} s, {self.sent('c1') - before >> 20} MB over the second path")
        self.assertIn(digest, curl.text())
        log = open(env["LAB_LOG"]).read()
        self.assertIn(f"message {how} the SYN", log)
        self.assertIn("connected, MPTCP", log)

    def test_message_behind_the_syn(self):
        self.check(100, "behind", "", "--fastopen", "cookie")

    def test_message_in_the_syn(self):
        self.check(20, "in", "fast-open = no-cookie")


if __name__ == "__main__":
    L.main(setup, kind=paths.TwoPaths)
