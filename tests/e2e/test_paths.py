#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Two networks between the client and the converter, and a server that has no Multipath TCP.

What an unmodified curl gains by the shim there: a download over both paths, which goes on when one
of them is cut. And what is on the wire for that: MP_CAPABLE, the Fast Open cookie and the whole
Convert message in one SYN, then an MP_JOIN over the second network; the same as of a client that
speaks Convert by itself on bare MPTCP sockets.

And connections from outside, by a converter that calls.

PATHS=rates (make check-paths) measures, too: nearly the goodput of both paths, with longer downloads.
"""
import hashlib
import json
import os
import statistics
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import paths
import servers

RATES = os.environ.get("PATHS") == "rates"
BIG = (100 if RATES else 20) * 10**6     # bytes; 20 MB take 1.8 s over two paths
MIDDLE = (50 if RATES else 10) * 10**6
URL = f"http://{L.SERVER}"
MB = 1 << 20

CONNECT = bytes.fromhex("0a050050 00000000 00000000 0000ffff 0a020002")
BASE = bytes.fromhex("01062263") + CONNECT                                    # 24 bytes
EXTENDED = (bytes.fromhex("01072263 0a06") + CONNECT[2:] + bytes.fromhex("1e020000"))  # 28 bytes


def setup(lab):
    paths.serve(lab, big=BIG, middle=MIDDLE)


class Download(L.TestCase):
    """curl under the shim, mptcp = auto."""

    def setUp(self):
        self.on = paths.shim(self.lab, "auto")

    def fetch(self, name, shim, **more):
        d = paths.download(self.lab, ["curl", "-sS", f"{URL}/{name}"], shim, **more)
        self.assertEqual((d.code, d.digest), (0, self.lab.digests[name]), d)
        self.assertEqual(d.log.count(": connected"), 1, d)
        return d


class Curl(Download):
    def received(self):
        """Bytes, by each path."""
        devices = (json.loads(L.command(["ip", "-n", "client", "-j", "-s", "link", "show", "dev", dev]))
                   for dev in paths.DEVICES)
        return [device[0]["stats64"]["rx"]["bytes"] for device in devices]

    def test_both_paths_carry(self):
        before = self.received()
        self.fetch("big", self.on)
        carried = [after - b for after, b in zip(self.received(), before)]
        self.note(" and ".join(f"{n / 1e6:.1f} MB" for n in carried))
        self.assertGreater(min(carried), BIG / 4)
        self.assertLess(sum(carried), BIG * 1.5)  # and nothing twice

    def test_a_reader_that_rests(self):
        """It gets what it has room for. What is sent past that comes again by a slow timer: it would take minutes."""
        def past_the_window():
            return self.lab.counters("client")["NoDSSInWindow"]
        before = past_the_window()
        d = self.fetch("big", self.on, rests=(1 << 18, 0.05))
        self.note(f"{d.seconds:.1f} s, {past_the_window() - before} packets past the window")
        self.assertLess(past_the_window() - before, 300)

    def test_a_metered_path_waits(self):
        """What `check` proposes for one: it carries data when the other is gone, and not before."""
        endpoint = ["ip", "-n", "client", "mptcp", "endpoint", "change", paths.CLIENT2]
        L.command(endpoint + ["backup"])
        self.addCleanup(L.command, endpoint + ["nobackup"])
        before = self.received()
        self.fetch("middle", self.on)
        carried = [after - b for after, b in zip(self.received(), before)]
        self.note(" and ".join(f"{n / 1e6:.3f} MB" for n in carried))
        self.assertGreater(carried[0], MIDDLE)
        self.assertLess(carried[1], MIDDLE / 20)
        self.on = paths.shim(self.lab, "on")
        self.check_cut(0)

    def check_cut(self, path, silently=False):
        self.addCleanup(self.lab.mend, path)
        d = self.fetch("big", self.on, at=BIG // 2, then=lambda: self.lab.cut(path, silently))
        self.note(f"{d.size / 1e6:.0f} MB in {d.seconds:.1f} s, longest gap "
                  f"{d.longest_gap * 1000:.0f} ms, at {d.gap_at / 1e6:.1f} MB")
        self.assertLess(d.longest_gap, 5)  # a person would not have given up yet

    def test_first_path_cut(self):
        self.check_cut(0)

    def test_second_path_cut(self):
        self.check_cut(1)

    def test_first_path_cut_silently(self):
        self.check_cut(0, silently=True)

    def test_begun_while_a_path_is_cut(self):
        """Over the other network, and still to the converter; that is one path for now, so who wants it to
        be MPTCP says on."""
        self.addCleanup(self.lab.mend, 0)
        self.lab.cut(0)
        capture = captures.Capture(self.lab, dev="c1", marker_to=paths.CONVERTER2)
        r = self.lab.run(["curl", "-sS", f"{URL}/who"], shim=paths.shim(self.lab, "on"))
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)
        syn = captures.connections(capture.packets())[0][0]
        self.assertEqual((syn.src, syn.dst, paths.subtype(syn)),
                         (paths.CLIENT2, L.CONVERTER, paths.MP_CAPABLE), syn)

    def test_without_mptcp_a_cut_is_the_end(self):
        """The control: what is cut above is really cut."""
        self.addCleanup(self.lab.mend, 0)
        shim = paths.shim(self.lab, "off")
        d = paths.download(self.lab, ["curl", "-sS", "--speed-time", "3", f"{URL}/middle"],
                           shim, at=MIDDLE // 20, then=lambda: self.lab.cut(0))
        self.assertNotEqual(d.code, 0, d)
        self.assertLess(d.size, MIDDLE)


if RATES:
    class Goodput(Download):
        def test_goodput(self):
            """Two paths against one of them, side by side."""
            ones, twos = [], []
            for _ in range(3):
                ones.append(paths.mbit(self.fetch("middle", paths.shim(self.lab, "off"))))
                twos.append(paths.mbit(self.fetch("middle", paths.shim(self.lab, "auto"))))
            ratios = [two / one for one, two in zip(ones, twos)]
            self.note(f"one path {paths.summary(ones, 1)} Mbit/s, two {paths.summary(twos, 1)}, "
                      f"ratio {paths.summary(ratios)} (min/median/max of 3)")
            self.assertGreaterEqual(statistics.median(ratios), 1.9)


class OnTheWire(L.TestCase):
    def captured(self, run):
        """Both paths' packets while run() runs."""
        ends = [captures.Capture(self.lab),
                captures.Capture(self.lab, dev="c1", marker_to=paths.CONVERTER2)]
        run()
        return [end.packets() for end in ends]

    def curl(self, shim):
        r = self.lab.run(["curl", "-sS", "-o", "/dev/null", f"{URL}/page"], shim=shim)
        self.assertEqual(r.code, 0, r)
        self.assertEqual(r.log.splitlines()[-1].split()[-2:], ["connected,", "MPTCP"], r)

    def bare(self, *options):
        r = self.lab.run(paths.bare("get", "/page", "-m", *options))
        self.assertEqual((r.code, len(r.out)), (0, 300000), r)

    def check(self, run, message, refused=None):
        """refused: the message of a connection before it, which the converter does not want."""
        first, second = self.captured(run)
        found = captures.connections(first)
        seen = "\n".join(str(p) for c in found + [second] for p in c[:4])
        self.assertEqual([c[0].data for c in found],
                         [refused, message] if refused else [message], seen)
        for syn, answer, *_ in found:
            self.assertEqual(paths.subtype(syn), paths.MP_CAPABLE, seen)
            self.assertEqual(len(syn.option(captures.FAST_OPEN) or b""), 8, seen)
            self.assertEqual(answer.ack, (syn.seq + 1 + len(syn.data)) % 2**32, seen)
            self.assertEqual(paths.subtype(answer), paths.MP_CAPABLE, seen)
        joined = captures.connections(second)[-1]
        self.assertEqual(paths.subtype(joined[0]), paths.MP_JOIN, seen)
        self.assertEqual((joined[0].src, joined[0].dst), (paths.CLIENT2, L.CONVERTER), seen)
        self.assertFalse(joined[0].data, seen)
        self.assertGreater(joined[0].t, answer.t, seen)
        self.assertGreater(sum(len(p.data) for p in joined if p.src == L.CONVERTER), 1000)

    def test_curl(self):
        """28 bytes: the TLV asks for the server's MPTCP option."""
        self.check(lambda: self.curl(paths.shim(self.lab, "on")), EXTENDED)

    def test_bare_24(self):
        self.check(self.bare, BASE)

    def test_bare_28(self):
        self.check(lambda: self.bare("-x"), EXTENDED)

    def test_curl_and_a_converter_that_refuses_the_option(self):
        """Error 33; then once more, with 24 bytes."""
        self.lab.wide_converter("--mptcp", "--fastopen", "cookie", "--kinds", "34",
                                port=L.PORT + 1)
        self.check(lambda: self.curl(paths.shim(self.lab, "on", port=L.PORT + 1)), BASE, EXTENDED)


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


class Incoming(L.TestCase):
    """A connection from outside over two paths, of which the first is cut in the middle: of what the server sends,
    and of what it is sent. PATHS=rates: of 100 MB."""

    def setUp(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=3)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        # the converter connects, so it is told of the second network
        self.lab.endpoint(f"{paths.CLIENT2} dev c1 signal")
        self.addCleanup(self.lab.second_network, True)

    def page(self, size):
        page = self.lab.file("page", os.urandom(MB) * size)
        return page, hashlib.sha256(page.read_bytes()).hexdigest()

    def serve(self, argv, converter, *options):
        env = self.lab.config(converter=converter + "\n[incoming]\nrule = accept", port=L.PORT + 2)
        server = self.lab.start("client", ["env", f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                           "/usr/bin/python3", *argv])
        server.wait_for_listeners(8000)
        self.lab.converter("--mptcp", "--incoming", f"8000={L.CLIENT}:8000", *options, listen=("0.0.0.0",),
                           port=L.PORT + 2)
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
        self.download(100 if RATES else 8, "behind", "", "--fastopen", "cookie")

    def test_message_in_the_syn(self):
        self.download(20 if RATES else 4, "in", "fast-open = no-cookie")

    def test_towards_the_server(self):
        size = 100 if RATES else 8
        page, digest = self.page(size)
        log = self.serve(["-c", SINK], "", "--fastopen", "cookie")
        self.check(["/usr/bin/python3", "-c", SEND, L.ROUTER, page], "rx", size, digest)
        self.says(log, "behind")


if __name__ == "__main__":
    L.main(setup, kind=paths.TwoPaths)
