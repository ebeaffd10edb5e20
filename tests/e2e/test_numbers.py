#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.8. System calls by their numbers: every number by which a byte of a connection can be read or written,
or its state asked, is libc's function to us, or known not to do that.

syscalls.txt has all numbers that the kernel has, by class; one that it does not have yet is a failure, so
that somebody looks at it."""
import concurrent.futures
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO, GREET = 7000, 7001
ONLY_LATE = ("aio-", "pidfd", "sendm", "exec", "close_range")


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(GREET)


class Ways(L.TestCase):
    """As direct, byte for byte."""
    SETTINGS = "fast-open = no-cookie"
    WHEN = ("now", "late")

    def run_way(self, way, when, shim=None):
        return self.lab.run([L.TOOLS / "numbers", way, when, L.SERVER, GREET], shim=shim)

    def check(self, *options):
        self.lab.converter(*options)
        shim = self.lab.config(self.SETTINGS, "mptcp = off\ntimeout = 10s")
        runs = [(way, when) for way in L.command([L.TOOLS / "numbers", "list"]).split()
                for when in self.WHEN if when == "late" or not way.startswith(ONLY_LATE)]
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            direct = list(pool.map(lambda run: self.run_way(*run), runs))
            converted = list(pool.map(lambda run: self.run_way(*run, shim), runs))
        for run, plain, other in zip(runs, direct, converted):
            with self.subTest(" ".join(run)):
                self.assertEqual(plain.code, 0, plain)
                self.assertEqual((plain.code, plain.out.decode()), (other.code, other.out.decode()),
                                 other)
        self.note(f"{len(runs)} ways")

    def test_at_once(self):
        self.check()

    def test_reply_late(self):
        self.check("--fault", "split=1,gap=2")


class Owed(Ways):
    """The Connect TLV waits to be sent, which nobody does while the program sleeps."""
    SETTINGS = ""
    WHEN = ("now",)

    def setUp(self):
        super().setUp()
        L.sysctl("client", net__ipv4__tcp_fastopen=0)

    def tearDown(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=1)


class Unseen(L.TestCase):
    """A number that stood for something else, and comes back as a socket in a way that nobody sees."""
    CLIENT = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
a, b = socket.socketpair()
tcp = os.dup(0) if sys.argv[1] == "socket" else libc.syscall(%d, 2, 1, 0)
other = socket.socket(socket.AF_UNIX).detach()
socket.send_fds(a, [b"f"], [tcp])
os.close(other) if sys.argv[2] == "close" else libc.syscall(%d, other)
got = libc.syscall(%d, 2, 1, 0) if sys.argv[1] == "socket" else socket.recv_fds(b, 1, 1)[1][0]
assert got == other, (got, other)
s = socket.socket(fileno=got)
s.connect((sys.argv[3], int(sys.argv[4])))
print(s.getpeername()[0])
"""

    def test_it_is_converted(self):
        self.lab.converter()
        names = L.command(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        number = dict(re.findall(r"^#define __NR_(\w+) (\d+)$", names, re.M))
        program = self.CLIENT % tuple(int(number[name]) for name in ("socket", "close", "socket"))
        for made in "socket", "recvmsg":
            for closed in "close", "syscall":
                with self.subTest(made=made, closed=closed):
                    shim = self.lab.config("fast-open = no-cookie", "fallback = none\nmptcp = off")
                    r = self.lab.run([sys.executable, "-c", program, made, closed, L.SERVER, GREET], shim=shim)
                    self.assertEqual((r.code, r.out.decode()), (0, f"{L.SERVER}\n"), r)
                    self.assertEqual(r.log.count(": connected"), 1, r)


class Numbers(L.TestCase):
    def listed(self):
        """{name: class}"""
        found, kind = {}, None
        for line in (L.ROOT / "tests/e2e/syscalls.txt").read_text().splitlines():
            line = line.partition("#")[0]
            if line.endswith(":"):
                kind = line[:-1]
            else:
                for name in line.split():
                    self.assertNotIn(name, found, "twice")
                    found[name] = kind
        return found

    def test_every_number_has_a_class(self):
        text = L.command(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        kernel = set(re.findall(r"^#define __NR_(\w+) ", text, re.M))
        self.assertGreater(len(kernel), 250)
        self.assertFalse(kernel - set(self.listed()),
                         "new ones: which of them concern a connection (tests/e2e/syscalls.txt)?")

    def test_those_that_concern_us_do(self):
        """The table is what is listed as ours."""
        source = (L.ROOT / "preload/calls/syscall.c").read_text().replace("X(OLD_SELECT,", "X(SYS_select,")
        table = re.findall(r"\bX\(SYS_(\w+),", source)
        ours = [name for name, kind in self.listed().items() if kind == "ours"]
        self.assertEqual(sorted(table), sorted(ours))
        self.assertNotIn("case SYS_", source)


if __name__ == "__main__":
    L.main(setup, delay_ms=(20, 20))
