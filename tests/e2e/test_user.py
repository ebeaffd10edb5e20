#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What root hides (case 2.7): a choice of test_transparency.py by a user without any capability, over
Multipath TCP and over TCP. For all of it LAB_USER=nobody and that suite, test_failures.py, or
test_storms.py."""
import contextlib
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import test_transparency as T

# Refused, by each family, bound to the interface or not: what epoll, to which the library can add
# nothing, and SO_ERROR say.
REFUSED = """
import select, socket, sys
port = int(sys.argv[1])
for family, server in (socket.AF_INET, sys.argv[2]), (socket.AF_INET6, sys.argv[3]):
    for device in b"", b"c0":
        s = socket.socket(family)
        s.setblocking(False)
        if device:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        s.connect_ex((server, port))
        waiting = select.epoll()
        waiting.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
        print(server, device, waiting.poll(10)[0][1], end=" ")
        print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), waiting.poll(0)[0][1])
"""


class OverMptcp(T.Transparency):
    direct = {}

    def test_refused(self):
        self.through("at_once", "whole", "data", [
            ("", client, "*", "refused") for client in ("t_matrix", "t_args", "t_options")])

    def test_without_fast_open(self):
        self.through("at_once", "whole", "off", [("", "t_matrix", "[ep]*-after-*", "refused"),
                                                 ("", "t_io", "shutdown*", "refused")], enough=3)

    def test_abandoned(self):
        self.through("at_once", "whole", "data", [("", "t_io", "shutdown*", outcome)
                                                  for outcome in T.BOTH], enough=3)


class OverTcp(T.Transparency):
    direct = {}

    def setUp(self):
        L.MPTCP = "off"

    def tearDown(self):
        L.MPTCP = "on"

    def test_both(self):
        self.through("at_once", "whole", "data", [("", "t_matrix", "*", "refused"),
                                                  ("", "t_args", "*", "accepted")])


class Refused(L.TestCase):
    def ask(self, shim=None):
        r = self.lab.run(["/usr/bin/python3", "-c", REFUSED, T.CLOSED, L.SERVER, L.SERVER6],
                         shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r

    @contextlib.contextmanager
    def client(self, fast_open, loopback):
        L.sysctl("client", net__ipv4__tcp_fastopen=fast_open)
        L.command(["ip", "-n", "client", "link", "set", "lo", loopback])
        try:
            yield
        finally:
            L.command(["ip", "-n", "client", "link", "set", "lo", "up"])
            L.sysctl("client", net__ipv4__tcp_fastopen=1)

    def test_wherever_it_is_bound(self):
        converter = self.lab.converter("--mptcp", listen=T.LISTEN)
        direct = self.ask()
        for fast_open in 1, 0:
            for loopback in "up", "down":
                for address in L.CONVERTER, L.CONVERTER6:
                    with self.subTest(fast_open=fast_open, loopback=loopback, address=address), \
                            self.client(fast_open, loopback):
                        r = self.ask(self.lab.config("fast-open = no-cookie", T.POLICY, address))
                        self.assertEqual(r.out.decode(), direct.out.decode(), r)
                        self.assertEqual(r.log.count("failed"), 4, r)
        self.assertEqual({event["mptcp"] for event in converter.events("accept")}, {"yes"})


if __name__ == "__main__":
    L.MPTCP = "on"
    L.USER = "nobody"
    L.main(T.setup, delay_ms=(30, 20))
