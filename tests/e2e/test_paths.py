#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Two networks between the client and the converter, and a server that has no Multipath TCP.

What an unmodified curl gains by the shim there: a download over both paths, which goes on when one
of them is cut. And what is on the wire for that: MP_CAPABLE, the Fast Open cookie and the whole
Convert message in one SYN, then an MP_JOIN over the second network; the same as of a client that
speaks Convert by itself on bare MPTCP sockets.

PATHS=rates (make check-paths) measures, too: nearly the goodput of both paths, with longer downloads.
"""
import json
import os
import statistics
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import paths
import servers

RATES = os.environ.get("PATHS") == "rates"
BIG = (100 if RATES else 20) * 10**6     # bytes; 20 MB take 1.8 s over two paths
MIDDLE = (50 if RATES else 10) * 10**6
URL = f"http://{L.SERVER}"

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


if __name__ == "__main__":
    L.main(setup, kind=paths.TwoPaths)
